"""A trained fold with adapters, whose emotion head reads all layers: exported it is a plain encoder, and the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from local.core.errors import UserError
from local.data.store import AudioStore
from local.decode import decode
from local.deploy.gather import load_trained
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.inference import model_folder
from local.inference.recognizer import EmotionRecognizer
from local.scoring import predictions
from local.train import train


@pytest.mark.slow
def test_adapters_are_merged_and_the_posteriors_are_those_of_the_decoding(own_corpus, tmp_path):
    pytest.importorskip("peft")
    words = ["--", "--epochs", "2", "--device", "cpu", "--lora", "{rank: 2}", "--emotion_layers", "weighted"]
    words += ["--ctc_layer", "2", "--unfreeze", "{every: 1, layers: 2}"]
    job = Job(parse([*own_corpus, "--folds", "1A", *words]), "1A", 1)
    train(job)
    decode(job)
    facts = json.loads((job.folder / "decode.json").read_text())["facts"]
    assert sum(facts["layer_shares"]) == pytest.approx(1) and len(set(facts["layer_shares"])) > 1
    model = load_trained(job.folder)
    assert not any("lora" in name for name in model.system.state_dict())
    assert model.system.settings()["ctc_layer"] == 2
    model_folder.write(tmp_path / "MODEL", model)
    again = EmotionRecognizer.from_hparams(tmp_path / "MODEL")
    table = predictions.read(job.folder / "predictions.csv")
    store = AudioStore.of(*job.options.audio())
    for row in table.head(4).to_dict("records"):
        wav = store[row["ID"]]
        with torch.inference_mode():
            found = again.model.system(wav[None], torch.tensor([len(wav)])).emotion[0].softmax(-1)
        np.testing.assert_allclose(found, [row[f"p_{label}"] for label in model.labels], rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="has adapters"):
        load_trained(job.folder, average=2)

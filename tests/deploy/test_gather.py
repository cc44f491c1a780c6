"""A trained fold with adapters, whose emotion head reads all layers: exported it is a plain encoder, and the same."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hand_made_runs import predict
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from local.core.errors import UserError
from local.data.store import AudioStore
from local.decode import decode
from local.deploy import huggingface
from local.deploy.gather import load_trained
from local.encoders import adapters
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.inference import model_folder
from local.inference.recognizer import EmotionRecognizer
from local.scoring import predictions
from local.stress import stress
from local.train import train


@pytest.mark.slow
def test_adapters_are_merged_and_the_posteriors_are_those_of_the_decoding(own_corpus, tmp_path):
    pytest.importorskip("peft")
    words = ["--", "--epochs", "2", "--device", "cpu", "--lora", "{rank: 2}", "--emotion_layers", "weighted"]
    words += ["--ctc_layer", "2", "--unfreeze", "{every: 1, layers: 2}"]
    job = Job(parse([*own_corpus, "--folds", "1A", "--stress", "white", *words]), "1A", 1)
    train(job)
    decode(job)
    stress(job)
    decoded = predictions.read(job.folder / "predictions.csv")
    clean = pd.read_csv(job.folder / "stress.csv").query("condition == 'clean'")
    assert clean["emo_hyp"].tolist() == decoded["emo_hyp"].tolist()
    facts = json.loads((job.folder / "decode.json").read_text())["facts"]
    assert sum(facts["layer_shares"]) == pytest.approx(1) and len(set(facts["layer_shares"])) > 1
    model = load_trained(job.folder)
    assert not any("lora" in name for name in model.system.state_dict())
    assert model.system.settings()["ctc_layer"] == 2
    model_folder.write(tmp_path / "MODEL", model)
    again = EmotionRecognizer.from_hparams(tmp_path / "MODEL")
    huggingface.write(tmp_path, model)
    classifier = AutoModelForAudioClassification.from_pretrained(tmp_path / "emotion").eval()
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "emotion")
    store = AudioStore.of(*job.options.audio())
    for row in decoded.head(4).to_dict("records"):
        wav = store[row["ID"]]
        with torch.inference_mode():
            found = [again.model.system(wav[None], torch.tensor([len(wav)])).emotion[0].softmax(-1)]
            plain = classifier(**extractor(wav.numpy(), sampling_rate=16_000, return_tensors="pt"))
            found.append(plain.logits[0].softmax(-1))
        for each in found:
            np.testing.assert_allclose(each, [row[f"p_{label}"] for label in model.labels], rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="has adapters"):
        load_trained(job.folder, average=2)


def test_without_peft_a_run_with_adapters_is_refused_with_what_installs_it(own_corpus, tmp_path, command, monkeypatch):
    facts = {"corpus": "own", "protocol": "speaker", "valid": "partner", "hold_text": False}
    facts |= {"fold": "1A", "seed": 1, "name": "mini"}
    job = predict([*own_corpus, "--", "--lora", "{rank: 2}"], "1A", job=facts)
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    code, _, errors = command("export", job.folder, tmp_path / "MODEL")
    assert code == 2 and errors.startswith("error: lora: the library peft is not installed\n  try: install the extra: ")
    assert not (tmp_path / "MODEL").exists()

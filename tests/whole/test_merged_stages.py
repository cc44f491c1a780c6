"""A merged encoder from two trainings to the model in use, and what each fold may be merged of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from stages import run_stages

from local.core.errors import UserError
from local.data.store import AudioStore
from local.deploy import onnx
from local.deploy.gather import load_trained
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.inference import model_folder
from local.scoring import predictions
from local.training.checkpoints import RunCheckpointer

PLACE = "results/own/speaker"


def words(own_corpus: list[str], name: str, *more: str, fold: str = "1A") -> list[str]:
    small = ["--epochs", "2", "--batch-size", "6", "--device", "cpu"]
    return [*own_corpus, "--folds", fold, "--name", name, "--", *small, *more]


def merging(ctc: str = f"{PLACE}/ctc", emotion: str = f"{PLACE}/emotion") -> list[str]:
    return ["--ctc-run", ctc, "--emotion-run", emotion]


@pytest.fixture
def trained(own_corpus) -> list[str]:
    """The corpus, and a run of fold 1A of either task alone."""
    run_stages(words(own_corpus, "ctc", "--emotion-weight", "0", "--selection", "valid_wer"), "train")
    run_stages(words(own_corpus, "emotion", "--alpha", "0"), "train")
    return own_corpus


@pytest.mark.slow
def test_a_merged_encoder_from_two_trainings_to_the_model_in_use(trained, tmp_path):
    given = words(trained, "merged", *merging(), "--merge-start", "0.4")
    run_stages(given, "check", "train", "decode", "score", "report")
    (job,) = Job.all(parse(given))
    system = torch.load(RunCheckpointer(job.folder / "save").chosen().path / "system.ckpt", weights_only=True)
    shares = system["encoder.task_vectors.coefficients"]
    facts = json.loads((job.folder / "decode.json").read_text())["facts"]["coefficients"]
    assert [*facts] == ["ctc", "emotion"] and [*facts["ctc"]] == ["front", "1", "2", "3"]
    np.testing.assert_allclose([[*each.values()] for each in facts.values()], shares.T)
    assert shares.std() > 0 and (shares - 0.4).abs().max() < 0.3
    # theta0 is that with which both began, and which none of their run folders holds.
    run = Path(PLACE, "ctc/seed1/1A")
    ctc = torch.load(RunCheckpointer(run / "save").chosen().path / "system.ckpt", weights_only=True)
    name = "model.encoder.layers.1.attention.k_proj.weight"
    vectors = system[f"encoder.task_vectors.{name.removeprefix('model.').replace('.', '-')}"]
    torch.testing.assert_close(system[f"encoder.{name}"] + vectors[0], ctc[f"encoder.{name}"])
    assert 0 < vectors.abs().max() < 0.2  # a training of few updates, not the distance of two random encoders
    folder = job.folder.parents[1]
    table = pd.read_csv(folder / "coefficients.csv")
    assert len(table) == 8 and table["coefficient"].iloc[0] == pytest.approx(float(shares[0, 0]))
    assert "Merged: shares of what the training of each task" in (folder / "RESULTS.md").read_text()
    assert "Merged: shares of what the training of each task" in (folder / "report.html").read_text()

    model = load_trained(job.folder)
    assert model.provenance["merged"] == facts and not any("task_vectors" in name for name in model.system.state_dict())
    model_folder.write(tmp_path / "MODEL", model)
    again = model_folder.read(tmp_path / "MODEL")
    assert not onnx.write(tmp_path / "model.onnx", model)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rows = predictions.read(job.folder / "predictions.csv").head(3).to_dict("records")
    store = AudioStore.of(*job.options.audio())
    for row in rows:
        wav, expected = store[row["ID"]], [row[f"p_{label}"] for label in model.labels]
        with torch.inference_mode():
            found = again.system(wav[None], torch.tensor([len(wav)])).emotion[0].softmax(-1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        logits = session.run(["emotion"], {"wavs": wav[None].numpy(), "lengths": np.array([len(wav)])})[0]
        np.testing.assert_allclose(torch.tensor(logits[0]).softmax(-1), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_run_of_another_fold_seed_or_encoder_is_refused(trained):
    def refused(*more: str, fold: str = "1A", **runs: str) -> str:
        with pytest.raises(UserError) as error:
            Job.all(parse(words(trained, "merged", *merging(**runs), *more, fold=fold)))[0].begin()
        return error.value.what

    one = f"{PLACE}/emotion/seed1/1A"
    assert "ctc has no run of fold 1B and seed 1 whose training has ended" in refused(fold="1B")
    for fold, why in {
        "2A": "train.csv, valid.csv, ",
        "1B": "valid.csv",
    }.items():  # 1B trains as 1A, but tests its valid.csv
        run_stages(words(trained, "ctc", "--emotion-weight", "0", "--selection", "valid_wer", fold=fold), "train")
        assert f"emotion/seed1/1A was trained on other utterances ({why}" in refused(fold=fold, emotion=one)
    assert "did not begin as this training: freeze_layers (None, here 1)" in refused("--freeze-layers", "1")
    assert "has alpha 0: it has not learned that task" in refused(ctc=one)
    assert not Path(PLACE, "merged").exists()

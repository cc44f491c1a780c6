"""What stage 3 says of heads that were not trained, and the temperature that it fits on the validation set alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax

from local import decode
from local.corpora import manifest
from local.decode import write_temperature
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.folds import make_folds
from local.jobs.job_lines import result
from local.launch import print_pooled
from local.scoring import predictions
from local.scoring.calibration import Temperature

LABELS = ["ang", "hap", "sad"]


def predict_with(job: Job, asked: list[str]):
    """Predictions of a set from its manifest: posteriors are drawn by the ID, whatever the emotion is."""

    def predict(name: str):
        asked.append(name)
        rows = []
        for row in manifest.read(job.manifests / name).itertuples():
            drawn = np.random.default_rng([*row.ID.encode()]).normal(0, 3, len(LABELS))
            rows.append((row.ID, row.emo, *softmax(drawn), row.wrd, ""))
        return predictions.frame(rows, LABELS)

    return predict


def relabel(path: Path) -> None:
    table = manifest.read(path)
    manifest.write(path, table.assign(emo=np.roll(table["emo"], 1)))


@pytest.fixture
def job(own_corpus) -> Job:
    made = Job(parse(own_corpus), "1A", 1)
    made.folder.mkdir(parents=True)
    return made


def test_labels_of_the_test_set_change_nothing(job):
    asked: list[str] = []
    (path,) = write_temperature(job, predict_with(job, asked), 4)
    first = path.read_text()
    assert Temperature.read(job.folder).valid == "partner" and Temperature.read(job.folder).n == 12
    relabel(job.manifests / "test.csv")
    write_temperature(job, predict_with(job, asked), 4)
    assert path.read_text() == first and asked == ["valid.csv", "valid.csv"]
    relabel(job.manifests / "valid.csv")
    write_temperature(job, predict_with(job, asked), 4)
    assert path.read_text() != first


@pytest.mark.parametrize("valid", ["none", "oracle"])
def test_without_a_set_of_its_own_there_is_none(own_corpus, valid, caplog):
    options = parse([*own_corpus, "--valid", valid])
    make_folds(options)
    made = Job(options, "1A", 1)
    made.folder.mkdir(parents=True)
    (made.folder / "temperature.json").write_text("of an earlier training")
    asked: list[str] = []
    caplog.set_level("INFO")
    assert write_temperature(made, predict_with(made, asked), 4) == [] == asked
    assert "no temperature: " in caplog.text and not (made.folder / "temperature.json").exists()


def test_of_emotions_that_were_not_trained_there_is_none(job, caplog):
    caplog.set_level("INFO")
    Temperature(1.5, 10, 1.0, 0.9, "partner", 4).write(job.folder)  # of an earlier version
    assert write_temperature(job, pytest.fail, 4, emotions_trained=False) == []
    assert "the emotion head is not trained" in caplog.text and Temperature.read(job.folder) is None


@pytest.mark.parametrize(
    ("weights", "missing"), [({}, []), ({"alpha": 0.0}, ["WER"]), ({"alpha": 1.0, "emotion_weight": 0.0}, ["WA", "UA"])]
)
def test_a_head_that_was_not_trained_has_no_figure(job, monkeypatch, capsys, caplog, weights, missing):
    caplog.set_level("INFO")
    system = SimpleNamespace(**{"emotion_weight": 1.0} | weights, tasks=(), learned=dict)
    monkeypatch.setattr(decode, "loaded", lambda *_: (1, system, predict_with(job, [])))
    (job.folder / "train.json").write_text("{}")
    decode.decode_chosen(job)
    done = SimpleNamespace(folder=job.folder, options=SimpleNamespace(values=job.options.values | weights))
    print_pooled([done, done])
    for said in (result(job.folder, "decode"), caplog.text, capsys.readouterr().out):
        assert [name for name in ("WA", "UA", "WER") if f"{name} " not in said] == missing


def test_a_model_on_another_corpus_keeps_its_own(tmp_path):
    borrowed = SimpleNamespace(folder=tmp_path, options=SimpleNamespace(source="the corpus of its training"))
    assert write_temperature(borrowed, pytest.fail, 4) == []
    Temperature(1.5, 10, 1.0, 0.9, "partner", 4).write(tmp_path)
    assert write_temperature(borrowed, pytest.fail, 4) == [tmp_path / "temperature.json"]

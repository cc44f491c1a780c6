"""Folds of one training and validation set: one is trained, and the others take its training."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hand_made_runs import predict

from local import launch, status
from local.core import markers
from local.corpora import manifest
from local.experiment import shared
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.folds import make_folds
from local.scoring import set_up

LISTS = {"1A": "train", "1B": "train", "2A": "test1", "2B": "test2"}
RUNS = Path("results/own/official/n/seed1")


@pytest.fixture
def words(own_corpus) -> list[str]:
    """The options of own.csv with two test lists, whose speakers the other session's do not know."""
    path = Path("manifests/own/all.csv")
    table = manifest.read(path)
    manifest.write(path, table.assign(split=table["spk_id"].map(LISTS)))
    given = [*own_corpus, "--protocol", "official", "--name", "n"]
    make_folds(parse(given))
    return given


def trained(words: list[str], fold: str, **recorded: object) -> Job:
    """A run with one checkpoint, which is not decoded."""
    job = predict(words, fold, wrong=1, lost=0, job={"fold": fold, "seed": 1}, **recorded)
    checkpoint = job.folder / "save/CKPT+1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "CKPT.yaml").write_text("epoch: 7")
    (checkpoint / "system.ckpt").write_text("weights")
    (job.folder / "train_log.txt").write_text("epoch: 1\nEpoch loaded: 1 - test WA: 12.00\n")
    job.training().write([job.folder / "epochs.csv", checkpoint / "CKPT.yaml"], config="mini.yaml", epoch=7)
    for name in ("decode.json", "predictions.csv"):
        (job.folder / name).unlink()
    return job


def of(words: list[str], *more: str) -> dict[str, str]:
    """`sources` by the names of folds."""
    return {job.fold: source.fold for job, source in shared.sources(Job.all(parse([*words, *more]))).items()}


def test_who_trains_for_whom(words):
    assert of(words) == {"test2": "test1"}
    assert of(words, "--folds", "test2 test1") == {"test1": "test2"}
    assert of(words, "--folds", "test2") == {}
    assert len(shared.sources(Job.all(parse([*words, "--seeds", "1 2"])))) == 2
    (RUNS / "test2").mkdir(parents=True)
    (RUNS / "test2/hyperparams.yaml").write_text("")
    assert of(words) == {"test1": "test2"} and of(words, "--folds", "test1") == {}  # it has not ended
    shutil.rmtree(RUNS)
    trained(words, "test2")
    assert of(words) == of(words, "--folds", "test1") == {"test1": "test2"}
    assert of(words, "--force", "true") == {"test2": "test1"}  # all of them begin again
    assert of(words, "--force", "true", "--folds", "test1") == of(words, "--folds", "test1", "--", "--lr", "1") == {}
    trained(words, "test1")
    assert of(words) == {}  # an earlier version trained each


def test_other_sets_are_not_shared(words, own_corpus):
    oracle = [*words, "--valid", "oracle"]
    make_folds(parse(oracle))
    assert of(oracle) == of([*own_corpus, "--name", "n"]) == {}


def test_a_run_folder_of_its_own(words, capsys):
    source = trained(words, "test1")
    job = Job(parse(words), "test2", 1)
    assert shared.take(job, source).startswith("the training of test1 is that of test2")
    assert job.is_done("train") and not job.is_done("decode")
    assert (job.folder / "train_log.txt").read_text() == "epoch: 1\n"  # the scores are of another test set
    for name in ("hyperparams.yaml", "epochs.csv", "save/CKPT+1/CKPT.yaml"):
        assert (job.folder / name).read_bytes() == (source.folder / name).read_bytes()
    assert os.path.samefile(*(run.folder / "save/CKPT+1/system.ckpt" for run in (job, source)))
    told = json.loads((job.folder / "env.json").read_text())["job"]
    assert told == {"fold": "test2", "seed": 1, "trained_as": "test1"}
    assert markers.read(job.folder / "train.json")["facts"] == {"config": "mini.yaml", "epoch": 7}
    rows = {name: more for name, _, more in status.rows(RUNS.parent, set())}
    assert rows["seed1/test2"].endswith("the training of test1") and "training" not in rows["seed1/test1"]
    shutil.rmtree(source.folder)
    assert job.is_done("train")
    # What is taken once more names who was trained.
    shared.take(source, job)
    assert shared.trained_as(source.folder) == "test1"


def test_without_hard_links_it_is_a_copy(words, monkeypatch):
    def refused(*_):
        raise OSError

    monkeypatch.setattr(os, "link", refused)
    job, source = Job(parse(words), "test2", 1), trained(words, "test1")
    shared.take(job, source)
    files = [run.folder / "save/CKPT+1/system.ckpt" for run in (job, source)]
    assert files[0].read_bytes() == files[1].read_bytes() and not os.path.samefile(*files)


def test_the_pages_say_it_and_count_its_hours_once(words):
    source, job = trained(words, "test1", device="cpu"), Job(parse(words), "test2", 1)
    shared.take(job, source)
    epochs = pd.concat(
        pd.DataFrame({"seed": 1, "fold": fold, "epoch": [1, 2], "seconds": 1800.0}) for fold in ("test1", "test2")
    )
    setup = dict(set_up.of_runs([source.folder, job.folder], epochs))
    assert setup["trained once"] == "fold test1, also for test2" and setup["time"] == "1.00 h on a CPU"
    assert "trained once" not in dict(set_up.of_runs([source.folder], epochs))


def test_stage_2_trains_one_and_gives_it_to_the_other(words, monkeypatch, capsys):
    def run_jobs(step, options, given, waiting):
        assert [run.name for run in waiting] == ["seed1/test1"]
        trained(words, "test1")
        return []

    monkeypatch.setattr(launch, "run_jobs", run_jobs)
    assert launch.launch("train", parse(words), words) == []
    assert "the training of test1 is that of test2" in capsys.readouterr().out
    log = (RUNS / "test2/train.log").read_text().splitlines()
    assert log[0].endswith("--folds test2 --seeds 1") and log[2].startswith("the training of test1")
    assert log[-1].startswith("# Ended (code 0)")
    assert launch.pending_jobs("train", parse(words), words) == []


def test_stage_3_gives_what_ended_on_a_cluster_after_the_command(words, monkeypatch, capsys):
    trained(words, "test1")
    monkeypatch.setattr(launch, "run_jobs", lambda *_: [])
    launch.launch("decode", parse([*words, "--force", "true"]), words)
    assert shared.trained_as(RUNS / "test2") == "test1" and not shared.trained_as(RUNS / "test1")


def test_a_training_that_failed_is_given_to_nobody(words, monkeypatch):
    monkeypatch.setattr(launch, "run_jobs", lambda *given: given[-1])
    assert [run.name for run in launch.launch("train", parse(words), words)] == ["seed1/test1"]
    assert not (RUNS / "test2").exists()

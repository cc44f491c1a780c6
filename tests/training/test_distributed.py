"""One job with two processes: what it computes is what one process computes, and it ends as one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import several
import torch
from paths import REPOSITORY
from tiny_training import Corpus

from local import decode, folds, prepare, score
from local.core.errors import UserError
from local.experiment.command_line import parse
from local.jobs.machine import gpu_slots
from local.jobs.torchrun import torchrun_command

SAME_AS_ONE = {  # without random numbers, which each process draws for itself
    "all parameters": {},
    "the encoder has no gradient at first": {"freeze_encoder_epochs": 1},
    "a loss depends on the whole update": {"rated": True},
}
MORE = {
    "the token head has no gradient": {"alpha": 0.0},
    "the lowest layers never have one": {"freeze_layers": 1},
    "dropped layers have no gradient": {"layerdrop": 1.0},
    "its layers have one, one after another": {"unfreeze": {"every": 1, "layers": 1}},
    "the emotion head reads all layers": {"emotion_layers": "weighted"},
    "its encoder is merged": {"merged": True},
}
RANDOM = {"layerdrop": 0.5, "hidden_dropout": 0.1, "running": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    for name in ("corpus0", "corpus1"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def corpus(place) -> Corpus:
    return Corpus(place / "corpus0")


def two(place: Path, out: Path, trainings: dict[str, dict]) -> subprocess.CompletedProcess:
    """Train as two processes, by name in folders of `out`."""
    program = REPOSITORY / "tests" / "support" / "several.py"
    command = [*torchrun_command(2), program, place, out, json.dumps(trainings)]
    path = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests' / 'support'}"
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def trained(place, tmp_path_factory) -> Path:
    """The folder of two processes' trainings, by name: of one start, for it takes most of the time."""
    folder = tmp_path_factory.mktemp("trained")
    done = two(place, folder, {"random": RANDOM, "solved": {"solves": True}, **SAME_AS_ONE})
    assert done.returncode == 0, done.stderr
    return folder


def ranks(folder: Path) -> list[dict]:
    return [torch.load(folder / f"rank{rank}.pt") for rank in (0, 1)]


def epochs(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "epochs.csv").drop(columns="seconds")


def assert_close(found, expected, scale: float) -> None:
    assert (found is None) == (expected is None)
    if expected is not None:
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * scale)


def assert_same_as_one(folder: Path, corpus: Corpus, tmp_path: Path, settings: dict) -> None:
    """Compare what two processes have written to a folder with what one process makes of the same settings."""
    first, second = ranks(folder)
    one = several.train(corpus, tmp_path, **settings)
    # The same updates, each utterance in one of the two processes; the one that has nothing to do takes another's.
    for mine, yours, all_names in zip(first["names"], second["names"], one.names, strict=True):
        assert set(mine) | set(yours) == all_names
        assert len(all_names) == 1 or not set(mine) & set(yours)
    # The same loss on each update, and the same gradient on both.
    losses = torch.tensor([first["losses"], second["losses"]]).mean(0)
    torch.testing.assert_close(losses, torch.tensor(one.update_losses), rtol=1e-5, atol=1e-5)
    for mine, yours, whole in zip(first["raw"], second["raw"], one.raw, strict=True):
        assert mine.keys() == yours.keys() == whole.keys()
        scale = max(gradient.abs().max().item() for gradient in whole.values())
        for parameter in whole:
            assert torch.equal(mine[parameter], yours[parameter])
            assert_close(mine[parameter], whole[parameter], scale)
    for parameter, weight in one.system.state_dict().items():
        assert torch.equal(first["weights"][parameter], second["weights"][parameter])
        assert_close(first["weights"][parameter], weight, 20)
    # Validated once, each utterance by one of them.
    pd.testing.assert_frame_equal(epochs(folder), epochs(tmp_path), rtol=1e-4, atol=1e-5)
    assert (folder / "train_log.txt").read_text().count("\n") == 3


@pytest.mark.parametrize("name", SAME_AS_ONE)
def test_two_processes_learn_what_one_learns(corpus, trained, tmp_path, name):
    assert_same_as_one(trained / name, corpus, tmp_path, SAME_AS_ONE[name])


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_in_further_ways(corpus, place, tmp_path):
    done = two(place, tmp_path, MORE)
    assert done.returncode == 0, done.stderr
    for number, (name, settings) in enumerate(MORE.items()):
        assert_same_as_one(tmp_path / name, corpus, tmp_path / str(number), settings)


def test_with_layers_dropped_at_random_the_processes_stay_the_same(trained):
    first, second = (record["weights"] for record in ranks(trained / "random"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["emotion_head.0.running_mean"].abs().max() > 0  # of other utterances in each, and yet the same


def test_the_last_step_is_solved_on_both_whole_sets_and_is_that_of_the_first_process(trained):
    for record in ranks(trained / "solved"):
        assert record["weights"]["emotion_head.bias"].tolist() == [16.0, 6.0]
    rows = epochs(trained / "solved")
    assert rows["solved"].tolist() == [0, 0, 0, 1] and rows["valid_ua"].notna().all()


@pytest.mark.slow
def test_one_of_two_asked_to_end_they_end_together_and_resume(place, trained):
    stopped = two(place, trained, {"resumed": RANDOM | {"ends_at": 6}})
    again = two(place, trained, {"resumed": RANDOM})
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    assert "stopped by signal 15 after update 2 of epoch 2" in stopped.stderr and "Traceback" not in stopped.stderr
    assert again.stderr.count("resuming after epoch 1 and update 2 of the next") == 1
    resumed, whole = trained / "resumed", trained / "random"
    for one, other in zip(ranks(resumed), ranks(whole), strict=True):
        assert all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])
    pd.testing.assert_frame_equal(epochs(resumed), epochs(whole))


def test_a_killed_process_ends_the_other(place, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import os, time\nos.kill(os.getpid(), 9) if os.environ['RANK'] == '1' else time.sleep(99)\n")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run([*torchrun_command(2), program], env=environment, capture_output=True, text=True)
    assert ended.returncode == 128 + signal.SIGKILL


# ---------------------------------------------------------------- as a stage


def two_for_a_fold(table: Path) -> list[str]:
    given = ["--corpus", "csv", "--data", str(table), "--hparams", "hparams/mini.yaml"]
    return [*given, "--folds", "1A", "--processes", "2"]


@pytest.mark.slow
def test_a_fold_trained_by_two_processes_decodes_and_scores(workplace, own_table, module, monkeypatch):
    words = two_for_a_fold(own_table)
    words += ["--", "--epochs", "1", "--batch-size", "5", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["", *words])
    prepare.main()
    folds.main()
    ended = module("launch", "train", *words, OMP_NUM_THREADS="2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    decode.main()
    score.main()
    run = workplace / "results" / "own" / "speaker" / "mini" / "seed1" / "1A"
    log = (run / "train.log").read_text()
    assert "--nproc-per-node 2" in log.splitlines()[0] and log.count(" epoch 1/1 ") == 1
    assert pd.read_json(run / "env.json", typ="series")["processes"] == 2
    assert pd.read_csv(run.parents[1] / "folds.csv")["n"].tolist() == [12]


@pytest.mark.slow
def test_an_error_is_reported_without_a_traceback(workplace, own_table, module):
    words = two_for_a_fold(own_table)
    assert module("prepare", *words).returncode == module("folds", *words).returncode == 0
    # The job alone: the stage's check would refuse it before there are two processes.
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}
    command = [*torchrun_command(2), "-m", "local.train", *words, "--seeds", "1", "--", "--encoder", "not/there"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr and "error: " in ended.stderr, ended.stderr


def test_gpus_are_given_to_jobs_in_groups(monkeypatch, workplace, own_table):
    monkeypatch.setattr("local.jobs.machine.gpus", lambda: ["0", "1", "2", "3", "4"])
    given = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--processes"]
    two_each = gpu_slots(parse([*given, "2"]), n_jobs=9)
    assert two_each.names == ["0,1", "2,3"] and two_each.count == 2
    assert gpu_slots(parse([*given, "2", "--jobs", "1"]), n_jobs=9).names == ["0,1"]
    with pytest.raises(UserError, match=r"--processes 6: this machine has 5 GPUs"):
        gpu_slots(parse([*given, "6"]), n_jobs=9)
    monkeypatch.setattr("local.jobs.machine.gpus", list)
    assert gpu_slots(parse([*given, "6", "--jobs", "3"]), n_jobs=9).count == 3

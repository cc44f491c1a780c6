"""One job with two processes: what it computes is what one process computes, and it ends as one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import several
import torch
from paths import REPOSITORY
from tiny_training import Corpus, Recorder

from local.core.errors import UserError
from local.experiment.options import parse
from local.jobs.machine import gpu_slots
from local.jobs.torchrun import torchrun_command


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    for name in ("corpus0", "corpus1", "alone"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def corpus(place) -> Corpus:
    return Corpus(place / "corpus0")


def two(place: Path, out: Path, *settings: str) -> subprocess.CompletedProcess:
    """Train as two processes."""
    out.mkdir(exist_ok=True)
    command = [*torchrun_command(2), REPOSITORY / "tests" / "support" / "several.py", place, out, *settings]
    path = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests' / 'support'}"
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=300)


def alone(corpus: Corpus, folder: Path, **settings) -> Recorder:
    return several.fit(several.build(corpus, folder, **settings), corpus)


def epochs(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "epochs.csv").drop(columns="seconds")


def assert_close(found, expected, scale: float) -> None:
    assert (found is None) == (expected is None)
    if expected is not None:
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    "settings",
    [{}, {"alpha": 0.0}, {"layerdrop": 1.0}],
    ids=["all parameters", "alpha 0: the token head has no gradient", "every layer dropped: they have none"],
)
def test_two_processes_learn_what_one_learns(corpus, place, tmp_path, settings):
    ended = two(place, tmp_path, *(f"{name}={value}" for name, value in settings.items()))
    assert ended.returncode == 0, ended.stderr
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
    (tmp_path / "alone").mkdir()
    one = alone(corpus, tmp_path / "alone", **settings)
    # The same updates, each utterance in one of the two processes; the one that has nothing to do takes another's.
    for mine, yours, all_names in zip(ranks[0]["names"], ranks[1]["names"], one.names, strict=True):
        assert set(mine) | set(yours) == all_names
        assert len(all_names) == 1 or not set(mine) & set(yours)
    # The same loss on each update, and the same gradient on both.
    losses = torch.tensor([rank["losses"] for rank in ranks]).mean(0)
    torch.testing.assert_close(losses, torch.tensor(one.update_losses), rtol=1e-5, atol=1e-5)
    for mine, yours, whole in zip(ranks[0]["raw"], ranks[1]["raw"], one.raw, strict=True):
        assert mine.keys() == yours.keys() == whole.keys()
        scale = max(gradient.abs().max().item() for gradient in whole.values())
        for name in whole:
            assert torch.equal(mine[name], yours[name])
            assert_close(mine[name], whole[name], scale)
    for name, weight in one.system.state_dict().items():
        assert torch.equal(ranks[0]["weights"][name], ranks[1]["weights"][name])
        assert_close(ranks[0]["weights"][name], weight, 20)
    # Validated once, each utterance by one of them.
    pd.testing.assert_frame_equal(epochs(tmp_path), epochs(tmp_path / "alone"), rtol=1e-4, atol=1e-5)
    assert (tmp_path / "train_log.txt").read_text().count("\n") == 3


@pytest.fixture(scope="module")
def dropped(place) -> Path:
    """Two processes with layers dropped at random, to the end."""
    ended = two(place, place / "dropped", "layerdrop=0.5", "hidden_dropout=0.1")
    assert ended.returncode == 0, ended.stderr
    return place / "dropped"


def test_with_layers_dropped_at_random_the_processes_stay_the_same(dropped):
    one, other = (torch.load(dropped / f"rank{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(one["weights"][name], other["weights"][name]) for name in one["weights"])


def test_one_of_two_asked_to_end_they_end_together_and_go_on(place, tmp_path, dropped):
    ended = two(place, tmp_path, "layerdrop=0.5", "hidden_dropout=0.1", "ends_at=6")
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    assert "stopped by signal 15 after update 2 of epoch 2" in ended.stderr and "Traceback" not in ended.stderr
    again = two(place, tmp_path, "layerdrop=0.5", "hidden_dropout=0.1")
    assert again.returncode == 0 and "resuming after epoch 1 and update 2 of the next" in again.stderr
    one, other = (torch.load(folder / "rank0.pt")["weights"] for folder in (tmp_path, dropped))
    assert all(torch.equal(one[name], other[name]) for name in one)
    pd.testing.assert_frame_equal(epochs(tmp_path), epochs(dropped))


def test_a_process_that_is_killed_takes_the_other_along(place, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import os, time\nos.kill(os.getpid(), 9) if os.environ['RANK'] == '1' else time.sleep(99)\n")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run([*torchrun_command(2), program], env=environment, capture_output=True, text=True)
    assert ended.returncode == 128 + signal.SIGKILL


# ---------------------------------------------------------------- as a stage


def two_for_a_fold(table: Path) -> list[str]:
    given = ["--corpus", "csv", "--data", str(table), "--hparams", "hparams/mini.yaml"]
    return [*given, "--folds", "1A", "--processes", "2"]


def test_a_fold_trained_by_two_processes_decodes_and_scores(workplace, own_table, module):
    words = two_for_a_fold(own_table)
    words += ["--", "--epochs", "1", "--batch-size", "5", "--device", "cpu"]
    for stage in (["prepare"], ["folds"], ["launch", "train"], ["launch", "decode"], ["score"]):
        ended = module(*stage, *words, OMP_NUM_THREADS="2")
        assert ended.returncode == 0, ended.stdout + ended.stderr
    run = workplace / "results" / "own" / "speaker" / "mini" / "seed1" / "1A"
    log = (run / "train.log").read_text()
    assert "--nproc-per-node 2" in log.splitlines()[0] and log.count("Going into epoch 1") == 1
    assert pd.read_json(run / "env.json", typ="series")["processes"] == 2
    assert pd.read_csv(run.parents[1] / "folds.csv")["n"].tolist() == [12]


@pytest.mark.slow
def test_a_mistake_is_told_without_a_traceback(workplace, own_table, module):
    words = two_for_a_fold(own_table)
    assert module("prepare", *words).returncode == module("folds", *words).returncode == 0
    assert module("launch", "train", *words, "--", "--encoder", "not/there", HF_HUB_OFFLINE="1").returncode == 1
    log = (workplace / "results" / "own" / "speaker" / "mini" / "seed1" / "1A" / "train.log").read_text()
    assert "Traceback" not in log and "# Ended (code 2)" in log and "error: " in log


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

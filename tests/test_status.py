"""./run.sh --status: what run folders, logs and locks tell of jobs; with Slurm, see test_slurm.py."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import REPOSITORY

from local import status
from local.core import lock
from local.core.progress_json import Progress

EXPERIMENT = Path("results/own/speaker/n")
STARTED = "# python -m local.train\n# Started at Mon Nov 23 05:01:30 2026 UTC\n"


def made(job: str, **files: str) -> None:
    """A run folder with such files; `_` is the dot in their names."""
    folder = EXPERIMENT / "seed1" / job
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)


def marker(**facts: object) -> str:
    return json.dumps({"inputs": {}, "outputs": {}, "facts": facts})


def shown() -> dict[str, tuple[str, str]]:
    return {name: (word, more) for name, word, more in status.rows(EXPERIMENT, set())}


@pytest.mark.parametrize(
    ("log", "word", "more"),
    [
        ("# Ended (code 143) at\n", "interrupted", "2 of 30 epochs; the same command continues"),
        ("# Ended (code -9) at\n", "interrupted", "2 of 30 epochs; the same command continues"),
        ("half of a li", "interrupted", "2 of 30 epochs; the same command continues"),
        ("error: no\n  try: yes\n# Ended (code 2) at\n", "failed", "code 2: error: no, see LOG"),
        ("Traceback\nKeyError: 'x'\n\n# Ended (code 1) at\n", "failed", "code 1: KeyError: 'x', see LOG"),
        ("# Ended (code 143) at\nerror: Slurm ended job 1\n", "failed", "error: Slurm ended job 1, see LOG"),
        (f"error: old\n# Ended (code 2)\n{STARTED}", "interrupted", "2 of 30 epochs; the same command continues"),
    ],
)
def test_a_training_that_runs_no_more(workplace, log, word, more):
    made("1A", train_log=STARTED + log, epochs_csv="epoch,lr\n1,0\n2,0\n", hyperparams_yaml="epochs: 30\n")
    assert shown() == {"seed1/1A": (word, more.replace("LOG", f"{EXPERIMENT}/seed1/1A/train.log"))}


def test_what_has_ended_well(workplace):
    (EXPERIMENT / "seed1_old" / "1A").mkdir(parents=True)  # the user's own, of which nothing is shown
    made("1A", train_json="", train_log=STARTED + "# Ended (code 0) at\n")
    made("1B", train_json="", decode_json="", train_log=STARTED, decode_log=STARTED)
    made("2A", train_json="", decode_log=STARTED + "error: x\n# Ended (code 2) at\n")
    made("2B")
    scores = {"n": 12, "wa": 0.75, "ua": 0.7, "wer": None}
    made("3A", train_json=marker(epoch=2), epochs_csv="epoch,valid_ua\n1,0.5\n2,0.75\n")
    made("3B", train_json=marker(epoch=2), decode_json=marker(epoch=2, scores=scores))
    expected = [("trained", ""), ("decoded", ""), ("failed", f"code 2: error: x, see {EXPERIMENT}/seed1/2A/decode.log")]
    results = [("trained", "epoch 2 of 2, valid UA 75.00"), ("decoded", "n 12 WA 75.00 UA 70.00")]
    assert list(shown().values()) == [*expected, ("waiting", ""), *results]


def test_stage_7_is_shown_where_it_was_asked_for(workplace):
    facts = {"cases": ["clean", "white_0"], "scores": {"n": 12, "wa": 0.75, "ua": 0.7}, "lowest": ["babble", 0.25]}
    made("1A", train_json="", decode_json="", stress_log=STARTED + "# Ended (code -9) at\n")
    made("1B", train_json="", decode_json="", stress_json=marker(**facts))
    made("2A", train_json="", decode_json="", stress_log=STARTED + "# Ended (code 0) at\n")  # trained again since
    assert [*shown().values()] == [
        ("interrupted", "stress test; the same command continues"),
        ("stressed", "2 cases, clean n 12 WA 75.00 UA 70.00, lowest WA 25.00, babble"),
        ("decoded", ""),
    ]


def test_a_job_that_runs_holds_the_lock_of_its_folder(workplace):
    made("1A", train_log=STARTED)
    path = EXPERIMENT / "seed1/1A/.lock"
    since = "since Mon Nov 23 05:01:30 2026 UTC"
    with lock.locked(path, "works"):
        process = f"process {os.getpid()} on {platform.node()}"
        assert shown() == {"seed1/1A": ("running", f"no epoch yet, {process}, {since}")}
        Progress(31, 48, 3, 20, 4.08, 0.5625, 0.5625, 3, 130).write(path.parent)
        now = "epoch 3/20  update 31/48  loss 4.1  valid UA 56.2 (best 56.2 @3)  ETA 2:10"
        assert shown() == {"seed1/1A": ("running", f"{now}, {process}, {since}")}
        elsewhere = path.read_text().replace(platform.node(), "elsewhere")
    path.write_text(elsewhere)
    assert shown()["seed1/1A"] == ("running", f"{now}, process {os.getpid()} on elsewhere, {since}")
    long_ago = time.time() - 10 * lock.STALE
    os.utime(path, (long_ago, long_ago))  # no heartbeat any more
    # What a killed job has left says nothing.
    assert shown()["seed1/1A"] == ("interrupted", "no epoch yet; the same command continues")


def test_a_job_in_a_container_is_shown_without_the_containers_name(workplace, monkeypatch):
    made("1A", train_log=STARTED)
    path = EXPERIMENT / "seed1/1A/.lock"
    with lock.locked(path, "works"):
        here = path.read_text().replace(platform.node(), "here?0a1b2c")
    path.write_text(here)
    process = f"no epoch yet, process {os.getpid()} on here, since Mon Nov 23 05:01:30 2026 UTC"
    assert shown()["seed1/1A"] == ("running", process)
    os.utime(path, (0, 0))
    assert shown()["seed1/1A"][0] == "interrupted"
    with monkeypatch.context() as patch:  # let go of while it is looked at
        patch.setattr(lock, "holder", lambda path: (os.getpid(), "here?0a1b2c"))
        path.rename(path.with_name("away"))
        assert shown()["seed1/1A"][0] == "interrupted"
        path.with_name("away").rename(path)
    monkeypatch.setattr(lock, "host_name", lambda: "here?0a1b2c")  # this container: its process is seen
    assert shown()["seed1/1A"] == ("running", process)


@pytest.fixture
def words(own_corpus) -> list[str]:
    return own_corpus


def test_which_experiments_are_shown(words):
    made("1A", decode_json="")
    other = Path("results/mini/session/m/seed2/x")
    other.mkdir(parents=True)
    Path("results/mini/session/paper_table3.html").touch()  # a recipe's table
    both = {EXPERIMENT, other.parents[1]}
    assert set(status.experiments([])) == both
    assert set(status.experiments(words)) == {EXPERIMENT} == set(status.experiments(["--name", "n"]))
    assert set(status.experiments(["--protocol", "session"])) == {other.parents[1]}
    assert set(status.experiments(["--name", "absent"])) == set()
    # The folds that the options name, begun or not.
    assert status.experiments([*words, "--name", "n", "--folds", "1A 2B", "--seeds", "1 2"])[EXPERIMENT] == {
        *("seed1/1A", "seed1/2B", "seed2/1A", "seed2/2B")
    }


def test_the_table_in_seconds_and_without_torch(words, workplace):
    made("1A", decode_json="")
    program = (
        "import runpy, sys; runpy.run_module('local.status', run_name='__main__'); assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", program, *words, "--name", "n", "--seeds", "2 10"]
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    told = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert (told.returncode, told.stderr) == (0, "")
    title, *lines = told.stdout.splitlines()
    assert title == f"== {EXPERIMENT}: 1 decoded, 8 waiting"
    assert (
        lines[0] == "  seed1/1A   decoded"
        and lines[1] == "  seed2/1A   waiting"
        and lines[-1] == "  seed10/2B  waiting"
    )
    assert not list(EXPERIMENT.rglob("*.lock"))


def test_jobs_that_were_sent_are_shown_where_squeue_cannot_be_asked(workplace, monkeypatch, capsys):
    (EXPERIMENT / "slurm").mkdir(parents=True)
    (EXPERIMENT / "slurm/train.json").write_text(json.dumps({"seed1/1A": "7_0"}))
    monkeypatch.setenv("PATH", "/nowhere")
    assert shown() == {"seed1/1A": ("waiting", "")}
    assert capsys.readouterr().err.startswith("squeue does not answer")

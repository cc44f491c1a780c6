"""Runs that are killed or asked to end at any moment, and started again: the results are the same."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import survivors
from paths import copy_project
from tiny_training import Corpus, assert_same_runs, build, fit
from tones import tones

EXPERIMENT = Path("results/tones/speaker/n")
# Layer drop, dropout, SpecAugment; a checkpoint several times within an epoch.
VALUES = {"epochs": 3, "batch_size": 3, "micro_batch_size": 2, "ckpt_interval_minutes": 0.0005, "device": "cpu"}
# Files that must come out the same, byte for byte; the manifests too, and epochs.csv but for the seconds.
SAME = ("predictions.csv", "scores.json", "folds.csv", "summary.csv", "train_log.txt", "tokenizer.model")
MANIFESTS = ("train.csv", "valid.csv", "test.csv", "leaks.csv")


@pytest.fixture
def words(workplace, tmp_path) -> list[str]:
    yaml = workplace / "hparams" / "mini.yaml"
    text = yaml.read_text(encoding="utf-8")
    yaml.write_text(
        text.replace("layerdrop: 0.0", "layerdrop: 0.3").replace("mask_time_min_masks: 0", "mask_time_min_masks: 1")
    )
    data = tmp_path / "tones"
    data.mkdir()
    overrides = [word for name, value in VALUES.items() for word in (f"--{name}", str(value))]
    given = ["--corpus", "csv", "--data", str(tones(data)), "--hparams", str(yaml), "--name", "n"]
    return [*given, "--folds", "A D", "--", *overrides]


def place(workplace: Path, name: str) -> Path:
    """A folder of its own to run in."""
    folder = workplace.parent / name
    folder.mkdir()
    shutil.copytree(workplace / "hparams", folder / "hparams")
    return folder


def outcome(folder: Path) -> dict[str, bytes | str]:
    """The contents of all files that must come out the same."""
    contents: dict[str, bytes | str] = {}
    for path in sorted([*folder.glob("manifests/**/*.*"), *folder.glob("results/**/*.*")]):
        if path.name in SAME + MANIFESTS:
            contents[str(path.relative_to(folder))] = path.read_bytes()
        elif path.name == "epochs.csv":
            contents[str(path.relative_to(folder))] = re.sub(r",[^,\n]*\n", "\n", path.read_text())
    assert {Path(name).name for name in contents} == {*SAME, *MANIFESTS, "epochs.csv"}
    assert len([name for name in contents if name.endswith("predictions.csv")]) == 2
    assert (folder / EXPERIMENT / "report.html").exists()
    return contents


def assert_tidy(folder: Path) -> None:
    """No row twice or missing, no temporary file or lock left by a killed process."""
    for log in folder.glob("results/**/epochs.csv"):
        assert pd.read_csv(log)["epoch"].tolist() == [*range(1, VALUES["epochs"] + 1)]
    left = [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".lock"))]
    assert not left
    for saved in folder.glob("results/**/save"):
        assert all((each / "CKPT.yaml").exists() for each in saved.iterdir())


def kill_until_done(folder: Path, words: list[str], draw: random.Random, longest: float, kills: int) -> int:
    """Start the stages again and again, killing them at random moments, until they end or were killed so often."""
    for killed in range(kills):
        process = survivors.start(folder, words)
        process.join(draw.uniform(0, longest))
        process.kill()
        process.join()
        if process.exitcode == 0:  # it has ended before
            return killed
        assert process.exitcode == -signal.SIGKILL, (folder / "log.txt").read_text()
    return kills


def survive(workplace: Path, words: list[str], seed: int, kills: int) -> None:
    survivors.start_server()
    whole = place(workplace, "whole")
    began = time.monotonic()
    process = survivors.start(whole, words)
    process.join()
    seconds = time.monotonic() - began
    assert process.exitcode == 0, (whole / "log.txt").read_text()
    expected = outcome(whole)
    draw, left, number = random.Random(seed), kills, 0
    while left:
        number += 1
        folder = place(workplace, f"killed{number}")
        left -= kill_until_done(folder, words, draw, seconds / 2, left)
        process = survivors.start(folder, words)
        process.join()
        assert process.exitcode == 0, (folder / "log.txt").read_text()
        assert outcome(folder) == expected
        assert_tidy(folder)


def test_killed_at_a_random_moment_of_all_stages_it_ends_the_same(workplace, words):
    survive(workplace, words, seed=1, kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_fifty_times_at_random_moments_of_all_stages_it_ends_the_same(workplace, words, seed):
    survive(workplace, words, seed=100 + seed, kills=10)


# ---------------------------------------------------------------- asked to end


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def uninterrupted(corpus, tmp_path_factory):
    return fit(build(corpus, tmp_path_factory.mktemp("whole")), corpus.utterances(corpus.table[::3]))


def ask(brain, method: str, call: int, number: int) -> None:
    """Send this process a signal in the call of this number of a method."""
    calls, wrapped = [], getattr(brain, method)

    def calling(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return wrapped(*args, **kwargs)

    setattr(brain, method, calling)


# 16 utterances by 6, in micro-batches of up to 4: three updates of two or one.
MOMENTS = [*(("fit_batch", call) for call in (1, 2, 7, 15)), *(("evaluate_batch", call) for call in (1, 6))]
OTHER_SIGNALS = [(*moment, number) for number in (signal.SIGINT, signal.SIGHUP) for moment in MOMENTS]


@pytest.mark.parametrize(
    ("method", "call", "number"),
    [
        *((*moment, signal.SIGTERM) for moment in MOMENTS),
        *OTHER_SIGNALS[2::7],  # each at a moment of its own
        *(pytest.param(*each, marks=pytest.mark.slow) for each in OTHER_SIGNALS if each not in OTHER_SIGNALS[2::7]),
    ],
)
def test_asked_to_end_it_saves_after_the_update_and_resumes_there(
    corpus, tmp_path, uninterrupted, method, call, number
):
    valid = corpus.utterances(corpus.table[::3])
    first = build(corpus, tmp_path)
    ask(first, method, call, number)
    with pytest.raises(SystemExit) as ended:
        fit(first, valid)
    assert ended.value.code == 128 + number
    (latest,) = [c for c in first.checkpointer.list_checkpoints() if c.meta["updates"] is not None]
    second = fit(build(corpus, tmp_path, system_seed=99), valid)
    done = (latest.meta["epoch"] - 1) * 3 + latest.meta["updates"]
    assert len(second.names) == 9 - done and done == len(first.names)
    # No update beyond the one that was running.
    assert len(first.batches) <= (call + 1 if method == "fit_batch" else 10**9)
    assert_same_runs(second, uninterrupted)


def test_a_second_ctrl_c_ends_at_once(corpus, tmp_path):
    brain = build(corpus, tmp_path)
    ask(brain, "fit_batch", 1, signal.SIGINT)
    ask(brain, "optimizers_step", 1, signal.SIGINT)
    with pytest.raises(SystemExit):
        fit(brain, None)
    assert not list((tmp_path / "save").glob("CKPT*"))


# ---------------------------------------------------------------- run.sh and what it starts


def processes_in(folder: Path) -> list[str]:
    """The commands of the processes that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if os.readlink(entry / "cwd") == str(folder):
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:  # it has ended, or is another user's
                continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc, to see processes")
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGKILL, id="SIGKILL", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, id="SIGINT", marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_run_sh_ends_its_jobs_and_the_same_command_resumes(tmp_path, workplace, words, number):
    place = copy_project(tmp_path / "house")
    shutil.copytree(workplace / "hparams", place / "hparams", dirs_exist_ok=True)
    words = [word.replace(str(workplace), str(place)) for word in words]
    words[words.index("--folds") + 1] = "A"
    if number == signal.SIGTERM:  # resuming is tried above: a system that starts in half the time, and does not end
        words[words.index("--hparams") + 1] = str(place / "hparams" / "statistics.yaml")
        words[words.index("--epochs") + 1] = "100000"
    run, command = place / EXPERIMENT / "seed1" / "A", [place / "run.sh", "--stop-stage", "3", *words]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not list((run / "save").glob("*/CKPT.yaml")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(number)
    output = process.communicate()[0]
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), output
    while processes_in(place):  # they end with their work at the latest, which the log would show
        time.sleep(0.05)
    log = (run / "train.log").read_text()
    assert "stopped by signal 15 after" in log and "# Ended (code 143)" in log and "Traceback" not in log + output
    if number == signal.SIGTERM:
        return
    again = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "resuming after" in (run / "train.log").read_text() and (run / "predictions.csv").exists()

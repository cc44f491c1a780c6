"""The launcher: logs, exit codes, the machine divided; and one launch of real jobs, one of which fails."""

from __future__ import annotations

import os
import re
import shlex
import sys

import pytest

from local.errors import UserError
from local.folds import make_folds
from local.launch import Run, gpus, runs, slots
from local.options import Options, parse
from local.prepare import prepare

STARTED = re.compile(r"# Started at \S.*\S")
ENDED = re.compile(r"# Ended \(code (-?\d+)\) at \S.*, elapsed time \d+ seconds")


def sections(log: str) -> list[list[str]]:
    """Cut a log into its runs, each from its command to its end."""
    lines = log.splitlines()
    starts = [i - 1 for i, line in enumerate(lines) if STARTED.match(line)]
    assert starts[0] == 0
    return [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


# ---------------------------------------------------------------- one job


@pytest.mark.parametrize("code", [0, 3])
def test_a_log_begins_with_the_command_and_ends_with_the_code(tmp_path, code):
    program = f"import os, sys; print('out', os.environ['SLOT']); print('err', file=sys.stderr); sys.exit({code})"
    run = Run("job", [sys.executable, "-c", program], tmp_path / "seed1" / "01F" / "train.log")
    run.start(0, os.environ | {"SLOT": "7"})
    assert run.end() == code
    run.start(0, os.environ | {"SLOT": "8"})  # made again, it is written on
    run.end()
    found = sections(run.log.read_text())
    assert len(found) == 2
    for slot, (command, started, *said, ended) in zip("78", found, strict=True):
        assert shlex.split(command) == ["#", *run.command]
        assert STARTED.fullmatch(started) and sorted(said) == ["err", f"out {slot}"]
        assert ENDED.fullmatch(ended)[1] == str(code)


def test_a_job_that_is_killed_has_an_ending_too(tmp_path):
    run = Run(
        "job", [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"], tmp_path / "log"
    )
    run.start(0, dict(os.environ))
    assert run.end() == -9
    assert ENDED.fullmatch(run.log.read_text().splitlines()[-1])[1] == "-9"


# ---------------------------------------------------------------- the machine


def options(*words: str) -> Options:
    return parse(["--hparams", "hparams/mini.yaml", *words])


@pytest.mark.parametrize("threads", ["1", "2", "64"])
@pytest.mark.parametrize("n_jobs", [1, 2, 5])
@pytest.mark.parametrize("jobs", [None, 1, 2, 3])
def test_threads_are_divided(workplace, monkeypatch, threads, n_jobs, jobs):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = slots(options(*([] if jobs is None else ["--jobs", str(jobs)])), n_jobs)
    assert len(found) == min(jobs or 1, n_jobs)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    available = min(int(threads), cores)
    for slot in found:
        assert set(slot) == {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}
        each = int(slot["OMP_NUM_THREADS"])
        assert each >= 1 and slot["MKL_NUM_THREADS"] == str(each)
        assert each * len(found) <= available < (each + 1) * len(found) or each == 1


def test_gpus_are_dealt_one_job_each(workplace, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,GPU-5a")
    assert gpus() == ["0", "3", "GPU-5a"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(options(), 10)] == ["0", "3", "GPU-5a"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(options(), 2)] == ["0", "3"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(options("--jobs", "4"), 9)] == ["0", "3", "GPU-5a", "0"]
    on_cpu = slots(options("--", "--device", "cpu"), 10)
    assert len(on_cpu) == 1 and "CUDA_VISIBLE_DEVICES" not in on_cpu[0]
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert gpus() == []


# ---------------------------------------------------------------- the jobs of an experiment


@pytest.fixture
def words(workplace, own_table) -> list[str]:
    """Two folds of own.csv, after stages 0 and 1, to be trained for an epoch of one update."""
    given = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml"]
    prepare(parse(given))
    make_folds(parse(given))
    overrides = ["--epochs", "1", "--batch-size", "24", "--micro-batch-size", "24", "--device", "cpu"]
    return [*given, "--name", "n", "--folds", "1A 2A", "--", *overrides]


def test_every_fold_with_every_seed_is_a_job(words):
    words[words.index("--") : words.index("--")] = ["--seeds", "3 1"]
    jobs = runs("train", parse(words), words)
    assert [run.name for run in jobs] == ["seed3/1A", "seed3/2A", "seed1/1A", "seed1/2A"]
    for run in jobs:
        assert str(run.log) == f"results/own/speaker/n/{run.name}/train.log"
        seed, fold = run.name.removeprefix("seed").split("/")
        assert run.command[:3] == [sys.executable, "-m", "local.train"]
        alone = parse(run.command[3:])  # the job reads its own command so
        assert (alone.seeds, alone.folds, alone.overrides) == ((int(seed),), (fold,), parse(words).overrides)


def test_a_failing_job_stops_nobody_else(words, module, workplace, own_table):
    """A file that only fold 1A trains on has gone since stage 1; in fold 2A it is a file of the test part."""
    (own_table.parent / "wav" / "20A0.wav").unlink()
    ended = module("launch", "train", *words, CUDA_VISIBLE_DEVICES="")
    folder = workplace / "results" / "own" / "speaker" / "n" / "seed1"
    assert ended.returncode == 1
    assert "seed1/1A: FAILED (code 2), see results/own/speaker/n/seed1/1A/train.log" in ended.stdout
    assert "seed1/2A: done" in ended.stdout
    assert "error: seed1/1A failed" in ended.stderr and "see results/own/speaker/n/seed1/1A/train.log" in ended.stderr
    assert "20A0.wav" in ended.stderr and "2A failed" not in ended.stderr
    for fold, code in (("1A", "2"), ("2A", "0")):
        ((command, started, *said, last),) = sections((folder / fold / "train.log").read_text())
        assert shlex.split(command)[1:4] == [sys.executable, "-m", "local.train"] and f"--folds {fold}" in command
        assert STARTED.fullmatch(started) and ENDED.fullmatch(last)[1] == code
        assert ("error: " in "\n".join(said)) == (fold == "1A") and "Traceback" not in "\n".join(said)
        assert (folder / fold / "train.json").exists() == (fold == "2A")

    # Started again, only what failed is left; and it cannot be decoded.
    assert [run.name for run in runs("train", parse(words), words)] == ["seed1/1A"]
    with pytest.raises(UserError, match=r"seed1/1A/train\.json is missing"):
        runs("decode", parse(words), words)
    decoding = [*words[: words.index("1A 2A")], "2A", *words[words.index("--") :]]
    assert [run.name for run in runs("decode", parse(decoding), decoding)] == ["seed1/2A"]

    # With another value what is trained is not passed for done.
    with pytest.raises(UserError, match=r"seed1/2A was made with other inputs: lr \(0\.002 -> 0\.5\)"):
        changed = [*decoding, "--lr", "0.5"]
        runs("train", parse(changed), changed)

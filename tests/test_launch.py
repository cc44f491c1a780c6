"""The launcher: logs, exit codes, the machine divided, GPUs shared, and the jobs of an experiment."""

from __future__ import annotations

import fcntl
import os
import random
import re
import shlex
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hand_made_runs import predict
from job_logs import ENDED, STARTED, sections
from nvidia_smi import StandIn

from local import launch
from local.core.errors import UserError
from local.core.threads import ALL, thread_limits
from local.experiment.command_line import parse
from local.experiment.options import Options
from local.jobs.gpus import GpuSlots
from local.jobs.machine import gpu_slots, run_all
from local.jobs.process import JobProcess
from local.launch import failure_report, other_values, pending_jobs, refuse_other_values

# ---------------------------------------------------------------- one job


@pytest.mark.parametrize("code", [0, 3])
def test_a_log_begins_with_the_command_and_ends_with_the_code(tmp_path, code):
    program = f"import os, sys; print('out', os.environ['SLOT']); print('err', file=sys.stderr); sys.exit({code})"
    run = JobProcess("job", [sys.executable, "-c", program], tmp_path / "seed1" / "01F" / "train.log")
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
    run = JobProcess(
        "job", [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"], tmp_path / "log"
    )
    run.start(0, dict(os.environ))
    assert run.end() == -9
    *_, said, ended = run.log.read_text().splitlines()
    assert ENDED.fullmatch(ended)[1] == "-9" and said.startswith("error: killed by signal 9")
    assert "try: fewer --jobs" in failure_report(run, "train")


# ---------------------------------------------------------------- the machine


def options(*words: str) -> Options:
    return parse(["--hparams", "hparams/mini.yaml", *words])


@pytest.mark.parametrize("allowed", ["1", "2", "64"])
@pytest.mark.parametrize("n_jobs", [1, 2, 5])
@pytest.mark.parametrize("jobs", [None, 1, 2, 3])
def test_threads_are_divided(workplace, monkeypatch, allowed, n_jobs, jobs):
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    of_yaml = options(*([] if jobs is None else ["--jobs", str(jobs)]), "--", "--threads", "0")
    found = gpu_slots(of_yaml, n_jobs)
    assert (found.names, found.count, found.shared) == ([], min(jobs or 1, n_jobs), False)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    available = min(int(allowed), cores)
    variables = thread_limits(found.count)
    assert set(variables) == {"OMP_NUM_THREADS", "MKL_NUM_THREADS", ALL} and found.environment(0) == {}
    each = int(variables["OMP_NUM_THREADS"])
    assert each >= 1 and variables["MKL_NUM_THREADS"] == str(each) and variables[ALL] == str(available)
    assert each * found.count <= available < (each + 1) * found.count or each == 1


@pytest.mark.parametrize(
    ("cores", "threads", "words", "expected"),
    [
        (8, 1, (), (5, 1)),  # five jobs wait
        (4, 1, (), (4, 1)),
        (1, 1, (), (1, 1)),
        (8, 3, (), (2, 3)),
        (2, 3, (), (1, 2)),
        (8, 1, ("--processes", "3"), (2, 1)),
        (8, 1, ("--jobs", "2"), (2, 1)),  # the user's number comes first
        (2, 1, ("--jobs", "3"), (3, 1)),
        (8, 0, (), (1, 8)),
    ],
)
def test_a_yaml_gives_each_job_its_threads(workplace, monkeypatch, cores, threads, words, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr("local.jobs.machine.room", lambda _: SimpleNamespace(free=100e9))
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
    asked = options(*words, "--", "--threads", str(threads))
    found = gpu_slots(asked, 5)
    each = thread_limits(found.count * asked.processes, asked.values["threads"])["OMP_NUM_THREADS"]
    assert (found.names, found.count, int(each)) == ([], *expected)
    assert thread_limits(1)["OMP_NUM_THREADS"] == str(cores)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert gpu_slots(asked, 5).count == (asked.jobs or 1)


def test_no_more_jobs_are_started_than_memory_allows(workplace, monkeypatch, capsys):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
    for free, need, expected in ((7.9, 2, 3), (0.5, 2, 1), (16.0, 2, 5), (0.5, "null", 5)):
        monkeypatch.setattr("local.jobs.machine.room", lambda _, free=free: SimpleNamespace(free=1e9 * free))
        asked = options("--", "--threads", "1", "--slurm", f"{{mem_gb: {need}}}")
        assert gpu_slots(asked, 5).count == expected
        said = f"  {free:.1f} GB of memory are free, and a process may need {need} (slurm.mem_gb of the YAML)\n"
        assert capsys.readouterr().out == (said if expected < 5 else "")


def test_where_one_job_has_all_threads_it_is_said_that_several_get_more_done(workplace, monkeypatch, capsys):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
    words = ("--", "--threads", "0")
    for n_jobs, given, most in (
        (5, (), 5),
        (20, (), 8),
        (5, ("--processes", "3"), 2),
        (1, (), 0),
        (5, ("--jobs", "1"), 0),
    ):
        assert gpu_slots(options(*given, *words), n_jobs).count == 1
        said = f"  one at a time, with all threads: --jobs {most} gets more done, where memory is for {most}\n"
        assert capsys.readouterr().out == (said if most else "")


def test_gpus_are_dealt_one_job_each_unless_more_are_asked_for(workplace, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # a machine without nvidia-smi
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,GPU-5a")

    def found(*words: str, n_jobs: int = 10) -> tuple[list[str], int, bool]:
        divided = gpu_slots(options(*words), n_jobs)
        return divided.names, divided.count, divided.shared

    assert found() == (["0", "3", "GPU-5a"], 3, False)
    assert found(n_jobs=2) == (["0", "3"], 2, False)
    assert found("--jobs", "1") == (["0"], 1, False)
    assert found("--jobs", "4") == (["0", "3", "GPU-5a"], 4, True)
    assert found("--jobs", "4", n_jobs=3) == (["0", "3", "GPU-5a"], 3, False)
    assert found("--processes", "2") == (["0,3"], 1, False)  # the third alone would be too few
    assert found("--", "--device", "cpu", "--threads", "0") == ([], 1, False)
    yaml = Path("hparams/mini.yaml")
    yaml.write_text(yaml.read_text() + "device: cpu\n")
    assert found("--jobs", "4") == ([], 4, False)


# ---------------------------------------------------------------- several jobs on one GPU

# A job as the GPU sees it: it starts, takes half of what it needs, all of it, says so, stays for a while, and goes.
# Before each step it waits for a file of that name. The GPU refuses what it has not.
PROGRAM = r"""
import fcntl, json, os, sys, time
from pathlib import Path
from types import SimpleNamespace

name, need, proof, smi, n_jobs = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
gpu = next(gpu for gpu in json.loads((smi / "state.json").read_text())["gpus"]
           if os.environ["CUDA_VISIBLE_DEVICES"] == str(gpu["index"]))
held = smi / "held" / gpu["uuid"] / str(os.getpid())

def note(what):
    with open(smi / "notes", "a") as notes:
        notes.write(f"{what} {name} {gpu['index']}\n")

def lines(of):
    return (smi / of).read_text().splitlines()

def step(what):
    while not any((smi / go).exists() for go in (f"{name}.{what}", f"all.{what}")):
        time.sleep(0.005)

def hold(mib):
    with open(smi / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        others = sum(int(file.read_text()) for file in held.parent.iterdir() if file != held)
        if not mib or others + mib > gpu["memory.free"]:
            held.unlink(missing_ok=True)
            note("end")
            sys.exit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 MiB." if mib else 0)
        held.write_text(str(mib))

held.parent.mkdir(parents=True, exist_ok=True)
note("start")
step("take")
hold(need // 2)
step("epoch")
hold(need)
proof.write_text("epoch\n1\n")
asked = len(lines("asked"))
while len(lines("asked")) < asked + 6 and sum(line.startswith("start") for line in lines("notes")) < n_jobs:
    time.sleep(0.005)  # until the launcher has looked at it, if it still has jobs to place
step("end")
hold(0)
"""


class Launch(threading.Thread):
    """A launch of such jobs, and what can be seen of it from outside."""

    def __init__(self, smi: StandIn, needs: dict[str, int], names: list[str], count: int) -> None:
        super().__init__(daemon=True)
        self.smi, self.failed = smi, None
        self.jobs = []
        for name, need in needs.items():
            folder = smi.folder / "runs" / name
            folder.mkdir(parents=True, exist_ok=True)
            words = [name, need, folder / "epochs.csv", smi.folder, len(needs)]
            command = [sys.executable, "-S", "-E", "-c", PROGRAM, *map(str, words)]
            self.jobs.append(JobProcess(name, command, folder / "train.log", folder / "epochs.csv"))
        self.places = GpuSlots(names, count)

    def run(self) -> None:
        """Launch them."""
        self.failed = [run.name for run in run_all(list(self.jobs), self.places)]

    def notes(self) -> list[list[str]]:
        """What the jobs did, in order: start or end, name, GPU."""
        file = self.smi.folder / "notes"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def started(self) -> str:
        """Which jobs have started, in order, each with its GPU: a0 b1."""
        return " ".join(name + gpu for what, name, gpu in self.notes() if what == "start")

    def go(self, *steps: str) -> None:
        """Let jobs take steps: a.take, all.end."""
        for step in steps:
            (self.smi.folder / step).touch()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, as long as the launch goes on."""
        while not condition():
            assert self.is_alive() or condition(), f"it never came: {self.notes()}"
            time.sleep(0.01)

    def looked(self) -> None:
        """Wait until the launcher has looked at the GPUs twice from now on, and acted on what it saw first."""
        before = len(self.smi.asked())
        self.until(lambda: len(self.smi.asked()) >= before + 6)


@pytest.fixture
def smi(tmp_path, monkeypatch) -> StandIn:
    monkeypatch.setattr("local.jobs.gpus.LOOK", 0.02)
    monkeypatch.setattr("local.jobs.machine.POLL", 0.02)
    return StandIn(tmp_path / "smi", monkeypatch)


def held(smi: StandIn) -> int:
    with open(smi.folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return sum(int(file.read_text()) for file in smi.folder.glob("held/*/*"))


@pytest.mark.parametrize("shows_pids", [True, False])
def test_a_gpu_takes_as_many_jobs_as_fit(smi, capsys, shows_pids):
    """50 GiB, of which another user has 5, for jobs that need 20: two at a time, of the four allowed."""
    smi.add("GPU-8932f937", 50 * 1024, 5 * 1024)
    smi.write(shows_pids=shows_pids)
    launch = Launch(smi, dict.fromkeys("abcd", 20 * 1024), ["0"], 4)
    launch.start()
    launch.go("all.take")
    launch.until(lambda: held(smi) == 10 * 1024)
    launch.looked()
    assert launch.started() == "a0"  # it holds half of what it needs, which cannot be known
    launch.go("a.epoch")
    launch.until(lambda: launch.started() == "a0 b0")
    launch.looked()
    assert launch.started() == "a0 b0"
    launch.go("all.epoch")
    launch.until(lambda: held(smi) == 40 * 1024)
    launch.looked()
    assert launch.started() == "a0 b0"
    launch.go("a.end")
    launch.until(lambda: launch.started() == "a0 b0 c0")
    launch.go("all.end")
    launch.join()
    assert launch.started() == "a0 b0 c0 d0" and launch.failed == []
    said = capsys.readouterr().out
    assert "  4 jobs, 4 at a time, as memory allows on GPU 0, " in said and "does not show" not in said
    # Of 45 GiB a holds 20, and b may come to hold 22.
    short = "one more needs 22.0 GiB with a tenth to spare, 3.0 GiB are left on GPU 0; the next waits until one ends"
    assert said.count("no room") == said.count(f"  no room beside 2 running: {short}\n") == 1


def test_what_a_job_has_yet_to_take_is_not_given_to_another(smi):
    smi.add("GPU-8932f937", 50 * 1024)
    launch = Launch(smi, dict.fromkeys("abc", 20 * 1024), ["0"], 4)
    launch.start()
    launch.go("a.take", "a.epoch")
    launch.until(lambda: launch.started() == "a0 b0")
    launch.looked()
    assert held(smi) == 20 * 1024  # 30 GiB are free, but b is going to take 20
    assert launch.started() == "a0 b0"
    launch.go("all.take", "all.epoch", "all.end")
    launch.join()
    assert launch.failed == [] and launch.started() == "a0 b0 c0"


def test_jobs_are_spread_evenly_and_a_need_that_is_known_is_waited_for_no_more(smi):
    smi.add("GPU-8932f937", 80 * 1024)
    smi.add("GPU-5a0d0c6e", 80 * 1024)
    launch = Launch(smi, dict.fromkeys("abcdefg", 10 * 1024), ["1", "0"], 5)
    launch.start()
    launch.until(lambda: launch.started() in ("a1 b0", "b0 a1"))
    launch.looked()
    assert len(launch.notes()) == 2
    launch.go("b.take", "b.epoch")  # what b showed on one GPU is good for the other, where no job holds anything yet
    launch.until(lambda: len(launch.notes()) == 5)
    assert Counter(launch.started().split()) == Counter(["a1", "b0", "c1", "d0", "e1"])
    launch.looked()
    assert len(launch.notes()) == 5  # no more than five at a time
    launch.go("c.take", "c.epoch", "c.end")
    launch.until(lambda: "f1" in launch.started())
    launch.go("all.take", "all.epoch", "all.end")
    launch.join()
    assert launch.failed == [] and Counter(launch.started()) >= Counter("abcdefg")


def test_a_resumed_jobs_old_epochs_show_nothing(smi):
    smi.add("GPU-8932f937", 80 * 1024)
    launch = Launch(smi, dict.fromkeys("ab", 10 * 1024), ["0"], 2)
    launch.jobs[0].proof.write_text("epoch\n1\n2\n3\n")
    launch.start()
    launch.go("all.take")
    launch.until(lambda: held(smi) > 0)
    launch.looked()
    assert launch.started() == "a0"
    launch.go("all.epoch", "all.end")
    launch.join()
    assert launch.started() == "a0 b0"


def test_where_free_memory_is_unknown_the_number_alone_counts(smi, capsys):
    smi.add("GPU-8932f937", 80 * 1024, **{"memory.used": "[N/A]"})
    launch = Launch(smi, dict.fromkeys("abcd", 10), ["0"], 3)
    launch.start()
    launch.until(lambda: len(launch.notes()) == 3)
    launch.go("all.take", "all.epoch", "all.end")
    launch.join()
    assert launch.failed == []
    said = capsys.readouterr().out
    assert said.count("  nvidia-smi does not show the free memory of GPU 0: --jobs is the only limit\n") == 1
    assert "no room" not in said


def test_a_job_too_large_for_its_gpu_fails_alone_and_its_report_says_what_to_do(smi):
    """Another user has most of the memory: the first job of a GPU is started nevertheless, and the next after it."""
    smi.add("GPU-8932f937", 50 * 1024, 45 * 1024)
    launch = Launch(smi, {"a": 20 * 1024, "b": 20 * 1024, "c": 4 * 1024, "d": 4 * 1024}, ["0"], 2)
    launch.start()
    launch.go("all.take", "all.epoch", "all.end")
    launch.join()
    assert launch.failed == ["a", "b"]
    told = failure_report(launch.jobs[0], "train").splitlines()
    assert told[0] == "error: a failed; its log ends:" and "CUDA out of memory" in told[-4]
    assert told[-2:] == [
        f"  see {launch.jobs[0].log}",
        "  try: fewer --jobs, or a smaller --micro_batch_seconds",
    ]
    assert failure_report(launch.jobs[0], "decode").endswith("  try: fewer --jobs, or a smaller --eval_batch_seconds")
    again = JobProcess("a", [sys.executable, "-c", "import sys; sys.exit('error: something else')"], launch.jobs[0].log)
    again.start(0, dict(os.environ))
    assert again.end() == 1
    assert "try:" not in failure_report(again, "train")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_no_job_is_lost_run_twice_or_started_into_memory_that_is_not_there(smi, seed):
    """Random sizes; jobs are like each other to a tenth. The GPU itself refuses what it has not: then a job fails."""
    draw = random.Random(seed)
    total, n_gpus = 40_000, draw.choice((1, 2))
    count = draw.randint(n_gpus + 1, 6)
    for index in range(n_gpus):
        smi.add(f"GPU-{index}", total, draw.randint(0, 9_000))
    smi.write(shows_pids=seed % 2 == 0)
    need = draw.randint(4_000, 15_000)
    needs = {name: need - draw.randint(0, need // 12) for name in "abcdefgh"}
    launch = Launch(smi, needs, [str(index) for index in range(n_gpus)], count)
    launch.go("all.take", "all.epoch", "all.end")
    launch.start()
    launch.join()
    assert launch.failed == [] and launch.started().count(" ") == len(needs) - 1
    assert Counter(name for what, name, _ in launch.notes()) == dict.fromkeys(needs, 2)
    running: set[str] = set()
    most = 0
    for what, name, _ in launch.notes():
        (running.add if what == "start" else running.remove)(name)
        most = max(most, len(running))
    several_fit = any(gpu["memory.free"] >= 1.1 * 2 * need for gpu in smi.state["gpus"])
    assert n_gpus + several_fit <= most <= count


# ---------------------------------------------------------------- the jobs of an experiment


@pytest.fixture
def words(own_corpus) -> list[str]:
    """Two folds of own.csv, after stages 0 and 1, to be trained for an epoch of one update."""
    overrides = ["--epochs", "1", "--batch-size", "24", "--micro-batch-size", "24", "--device", "cpu"]
    return [*own_corpus, "--name", "n", "--folds", "1A 2A", "--", *overrides]


def test_every_fold_with_every_seed_is_a_job(words):
    words[words.index("--") : words.index("--")] = ["--seeds", "3 1"]
    jobs = pending_jobs("train", parse(words), words)
    assert [run.name for run in jobs] == ["seed3/1A", "seed3/2A", "seed1/1A", "seed1/2A"]
    for run in jobs:
        assert str(run.log) == f"results/own/speaker/n/{run.name}/train.log"
        assert str(run.proof) == f"results/own/speaker/n/{run.name}/epochs.csv"
        seed, fold = run.name.removeprefix("seed").split("/")
        assert run.command[:3] == [sys.executable, "-m", "local.train"]
        alone = parse(run.command[3:])  # the job reads its own command so
        assert (alone.seeds, alone.folds, alone.overrides) == ((int(seed),), (fold,), parse(words).overrides)


def test_started_again_only_what_is_left_is_done(words):
    predict(words[: words.index("--folds")] + words[words.index("--") :], "2A")
    assert [run.name for run in pending_jobs("train", parse(words), words)] == ["seed1/1A"]
    with pytest.raises(UserError, match=r"seed1/1A/train\.json is missing"):
        pending_jobs("decode", parse(words), words)
    decoding = [*words[: words.index("1A 2A")], "2A", *words[words.index("--") :]]
    assert pending_jobs("decode", parse(decoding), decoding) == []
    Path("results/own/speaker/n/seed1/2A/decode.json").unlink()
    (left,) = pending_jobs("decode", parse(decoding), decoding)
    assert left.name == "seed1/2A" and left.proof.name == "predictions.csv"

    # With another value what is trained is not passed for done.
    with pytest.raises(UserError, match=r"seed1/2A was made with other inputs: lr \(0\.003 -> 0\.5\)"):
        changed = [*decoding, "--lr", "0.5"]
        pending_jobs("train", parse(changed), changed)


def test_what_is_trained_beside_runs_with_other_values_is_refused_before_it_is_trained(words, capsys):
    for fold in ("1A", "2A"):
        predict(words[: words.index("--folds")] + words[words.index("--") :], fold)
    one = [*words[: words.index("1A 2A")], "1A", *words[words.index("--") :]]
    differ = r"seed1/2A: lr \(0\.003 -> 0\.5\), head_lr \(0\.003 -> 0\.5\)"
    assert other_values(parse(one)) == []
    # Another seed or fold is refused where stage 4 would refuse it, and not for what changes rounding alone.
    for fold in ("1A", "2A"):
        Path(f"results/own/speaker/n/seed1/{fold}/decode.json").unlink()  # trained, and not decoded yet
    shutil.rmtree("results/own/speaker/n/seed1/1A")
    for each in (one, ["--seeds", "2", *one]):
        refuse_other_values(parse([*each, "--micro-batch-seconds", "7"]), False)
        with pytest.raises(UserError, match=f"results/own/speaker/n has runs with other values.*{differ}"):
            refuse_other_values(parse([*each, "--lr", "0.5"]), False)
    assert capsys.readouterr().out == ""
    # With --force they may be trained again one by one, and what that began goes on: it is only said.
    for force, resumes in (("true", False), ("false", True)):
        refuse_other_values(parse(["--force", force, *one, "--lr", "0.5"]), resumes)
        assert re.search(rf"stage 4 will refuse.*{differ}", capsys.readouterr().out)
    refuse_other_values(parse(["--force", "true", *words, "--lr", "0.5"]), False)
    assert capsys.readouterr().out == ""
    # Nor is it trained beside runs on other sets, as without the extra training that this call has.
    train = Path("manifests/own/speaker/2A/train.csv")
    lines = train.read_text().splitlines(keepends=True)
    train.write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match=r"has runs with other values or sets.*\(seed1/2A: train.csv \("):
        refuse_other_values(parse(["--seeds", "2", *one]), False)
    train.write_text("".join(lines))
    # One that has begun, with a checkpoint, has its values as well; without one it would be begun again.
    other = Path("results/own/speaker/n/seed1/2A")
    (other / "train.json").unlink()
    refuse_other_values(parse([*one, "--lr", "0.5"]), False)
    (other / "save" / "CKPT").mkdir(parents=True)
    (other / "save" / "CKPT" / "CKPT.yaml").touch()
    with pytest.raises(UserError, match=f"has runs with other values.*{differ}"):
        refuse_other_values(parse([*one, "--lr", "0.5"]), False)


def test_a_failed_job_stops_no_other_and_the_code_is_1(words, command, monkeypatch):
    jobs = pending_jobs("train", parse(words), words)
    for run, code in zip(jobs, ("sys.exit('error: broken')", "print('well')"), strict=True):
        run.command = [sys.executable, "-S", "-E", "-c", f"import sys; {code}"]
    monkeypatch.setattr(launch, "pending_jobs", lambda *_: [*jobs])
    monkeypatch.setattr(launch, "check_setup", lambda *_: None)
    monkeypatch.setattr(launch, "build_audio_store", lambda *_: None)
    code, out, err = command("launch", "train", *words)
    assert code == 1 and "1 thread each (threads: 1)\n" in out
    first, broken, _, last = err.splitlines()
    assert (first, broken) == ("error: seed1/1A failed; its log ends:", "  error: broken")
    assert last == f"  see {jobs[0].log}"
    assert "  1A FAILED (code 1) after " in out and f"see {jobs[0].log}\n" in out and "  2A done " in out
    for run, ending in zip(jobs, "10", strict=True):
        ((_, _, *_, last),) = sections(run.log.read_text())
        assert ENDED.fullmatch(last)[1] == ending

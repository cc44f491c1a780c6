"""The Slurm backend, on a real Slurm: jobs are sent, queued again, left, come back to, cancelled; and train."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import slurm_cluster
from paths import ONE_THREAD, REPOSITORY, copy_project
from stages import run_stages
from tones import tones

from local import status
from local.core import signals
from local.core.errors import UserError
from local.core.files import atomic
from local.experiment.command_line import parse
from local.experiment.options import Options
from local.jobs import slurm
from local.jobs.process import JobProcess, file_version
from local.launch import failure_report

needs_slurm = pytest.mark.skipif(
    bool(slurm_cluster.MISSING), reason=f"Slurm is not installed: no {' '.join(slurm_cluster.MISSING)}"
)

SMALL = "{cpus_per_task: 1, mem_gb: 1}"

# A job that says when it starts, ends as training does on SIGTERM, and else with a code that it waits for.
PROGRAM = r"""
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with open(folder / "starts", "a") as starts:
    print(*sys.argv[2:], file=starts)
while not (folder / "code").exists():
    time.sleep(0.02)
code = int((folder / "code").read_text())
if code:
    print("error: it was told so", file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def cluster() -> dict[str, str]:
    if slurm_cluster.MISSING:
        pytest.skip(needs_slurm.kwargs["reason"])
    with slurm_cluster.running(4) as environment:
        yield environment


@pytest.fixture
def jobs(cluster, workplace, monkeypatch) -> Jobs:
    """A workplace from which the cluster is reached, and four jobs."""
    for name, value in {**cluster, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slurm, "POLL", 0.2)
    return Jobs(workplace)


class Jobs:
    """Four folds of an experiment, and what they are told."""

    def __init__(self, workplace: Path) -> None:
        self.experiment = Path("results/mini/speaker/n")
        self.runs = []
        self.launch: Future[list[JobProcess]] | None = None
        program = workplace / "program.py"
        program.write_text(PROGRAM)
        for fold in "ABCD":
            folder = self.experiment / "seed1" / fold
            folder.mkdir(parents=True)
            command = [sys.executable, "-S", "-E", str(program), str(folder), "a b;c"]
            self.runs.append(JobProcess(f"seed1/{fold}", command, folder / "train.log"))

    def options(self, *words: str, block: str = SMALL) -> Options:
        given = ["--hparams", "hparams/mini.yaml", "--name", "n", "--backend", "slurm", *words]
        return parse([*given, "--", "--device", "cpu", "--slurm", block])

    def tell(self, folds: str, code: int) -> None:
        for fold in folds:
            with atomic(self.experiment / "seed1" / fold / "code") as file:  # a job reads it meanwhile
                file.write(str(code))

    def starts(self) -> str:
        """The folds that have started, each as often as it has."""
        files = {fold: self.experiment / "seed1" / fold / "starts" for fold in "ABCD"}
        return "".join(fold * len(file.read_text().splitlines()) for fold, file in files.items() if file.exists())

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, as long as somebody waits for the jobs or one of them is with Slurm."""
        while not condition():
            queue = slurm.queue_entries(self.experiment, "train") or {}
            going = not slurm.submitted_ids(self.experiment, "train")  # before the first is submitted
            going |= self.launch is not None and not self.launch.done()
            going |= any(entry.state not in slurm.ENDED for entry in queue.values())
            assert going or condition(), f"it never came: started {self.starts()}, {queue}"
            time.sleep(0.1)

    def codes(self, fold: str) -> list[str]:
        """The codes with which it has ended, from its log."""
        return re.findall(r"^# Ended \(code (-?\d+)\)", self.log(fold), re.MULTILINE)

    def log(self, fold: str) -> str:
        return (self.experiment / "seed1" / fold / "train.log").read_text()

    def id(self, fold: str) -> str:
        return slurm.submitted_ids(self.experiment, "train")[f"seed1/{fold}"]

    def states(self) -> dict[str, tuple[str, str]]:
        """What `--status` shows of each."""
        return {name[-1]: (word, more) for name, word, more in status.rows(self.experiment, set())}

    @contextlib.contextmanager
    def waited_for(self, folds: str, *words: str) -> Iterator[Future[list[JobProcess]]]:
        """Let a launcher wait for jobs meanwhile, and in the end until they have ended."""
        runs = [run for run in self.runs if run.name[-1] in folds]
        with ThreadPoolExecutor() as pool, pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                signals, "defer", lambda: contextlib.nullcontext(signals.DeferredSignal())
            )  # for the main thread
            self.launch = failed = pool.submit(slurm.run_all, runs, "train", self.options(*words))
            try:
                yield failed
            finally:
                self.tell(folds, 0)


def control(*words: str, environment: dict[str, str] | None = None) -> None:
    subprocess.run(words, check=True, env=os.environ | (environment or {}))


def test_an_array_of_four_of_which_one_fails(jobs, capsys):
    jobs.tell("ABD", 0)
    jobs.tell("C", 3)
    failed = slurm.run_all(jobs.runs, "train", jobs.options())
    assert [run.name for run in failed] == ["seed1/C"]
    said = capsys.readouterr().out
    array = jobs.id("A").removesuffix("_0")
    assert [jobs.id(fold) for fold in "ABCD"] == [f"{array}_{index}" for index in range(4)]
    assert f"  4 jobs submitted to Slurm, as {array}\n" in said
    assert "  seed1/B done 0:00\n" in said  # without epochs
    assert f"  seed1/C (job {array}_2): FAILED (code 3), see {failed[0].log}\n" in said
    assert "error: it was told so" in failure_report(failed[0], "train")
    for fold, code in zip("ABCD", "0030", strict=True):
        command, started, *_ = jobs.log(fold).splitlines()
        assert command.startswith(f"# {sys.executable}") and "'a b;c'" in command
        assert started.startswith("# Started at ") and jobs.codes(fold) == [code]
    assert jobs.states()["C"] == ("failed", f"code 3: error: it was told so, see {failed[0].log}")


def test_one_job_alone_is_sent_again_after_it_failed(jobs):
    jobs.tell("A", 2)
    assert slurm.run_all(jobs.runs[:1], "train", jobs.options()) == jobs.runs[:1]
    first = jobs.id("A")
    jobs.tell("A", 0)
    assert slurm.run_all(jobs.runs[:1], "train", jobs.options()) == []
    assert jobs.id("A") != first and jobs.starts() == "AA" and jobs.codes("A") == ["2", "0"]


def test_requeued_jobs_and_those_whose_time_is_up_end_well_and_go_on(jobs, capsys):
    with jobs.waited_for("ABCD") as failed:
        jobs.until(lambda: jobs.starts() == "ABCD")
        control("scontrol", "requeue", jobs.id("A"))
        control("scancel", "--signal=USR2", jobs.id("B"))  # as Slurm does 90 s before the time limit
        jobs.until(lambda: [jobs.states()[fold][0] for fold in "ABCD"] == ["queued", "queued", "running", "running"])
        jobs.until(lambda: jobs.states()["A"] == ("queued", f"job {jobs.id('A')}, BeginTime, no epoch yet"))
        assert f"job {jobs.id('C')} on localhost, since " in jobs.states()["C"][1]
    assert failed.result() == []
    assert jobs.starts() == "AABBCD"
    # 143: they were asked to end and did. The signal of the time limit itself would be -12.
    assert [jobs.codes(fold) for fold in "ABCD"] == [["143", "0"], ["143", "0"], ["0"], ["0"]]
    said = capsys.readouterr().out
    assert [f"seed1/{fold} (job {jobs.id(fold)}): requeued" in said for fold in "ABCD"] == [True, True, False, False]


def test_ctrl_c_leaves_the_jobs_and_the_same_command_comes_back_to_them(jobs, capsys):
    def interrupt() -> None:
        jobs.until(lambda: jobs.starts() == "A")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(SystemExit) as left:
        slurm.run_all(jobs.runs[:3], "train", jobs.options("--jobs", "1"))
    assert left.value.code == 130
    array = jobs.id("A").removesuffix("_0")
    told = capsys.readouterr().err
    assert "the jobs continue without this command: seed1/A seed1/B seed1/C\n" in told
    assert "  ./run.sh --status --name n " in told and f"  scancel {array} " in told
    # --jobs 1: one at a time.
    assert [jobs.states()[fold][0] for fold in "ABCD"] == ["running", "queued", "queued", "waiting"]
    jobs.tell("A", 0)
    jobs.until(lambda: jobs.starts() == "AB")
    with jobs.waited_for("BCD") as failed:  # A has ended, D is new
        jobs.until(lambda: jobs.starts() == "ABD")
    assert failed.result() == [] and jobs.starts() == "ABCD"
    said = capsys.readouterr().out
    assert f"  2 jobs are with Slurm already, as {array}\n" in said and "  1 job submitted to Slurm, as " in said


def test_a_cancelled_job_has_failed_whether_it_had_started_or_not(jobs, monkeypatch, capsys):
    """What has not started is gone from Slurm's memory at once; then the marker would tell that it was done."""
    monkeypatch.setattr(slurm, "Job", lambda *_: SimpleNamespace(is_done=lambda step: False))
    with jobs.waited_for("ABC", "--jobs", "1") as failed:
        jobs.until(lambda: jobs.starts() == "A")
        control("scancel", jobs.id("A"), jobs.id("B"))
    assert sorted(run.name for run in failed.result()) == ["seed1/A", "seed1/B"] and jobs.starts() == "AC"
    said = capsys.readouterr().out
    for run, state in zip(jobs.runs[:2], ("cancelled", "gone from the queue"), strict=True):
        assert f"  {run.name} (job {jobs.id(run.name[-1])}): FAILED ({state}), see {run.log}\n" in said
        assert f"error: Slurm ended job {jobs.id(run.name[-1])}: {state};" in failure_report(run, "train")
        assert jobs.states()[run.name[-1]][0] == "failed"


def test_what_slurm_refuses_is_reported_and_nothing_is_recorded(jobs):
    block = "{cpus_per_task: 1, partition: $(touch pwned)}"
    with pytest.raises(UserError, match=r"Slurm refuses the jobs: .*nvalid partition"):
        slurm.run_all(jobs.runs, "train", jobs.options(block=block))
    assert slurm.submitted_ids(jobs.experiment, "train") == {} and not Path("pwned").exists()


def test_a_slurm_that_does_not_answer(jobs, tmp_path, monkeypatch, capsys):
    jobs.tell("A", 0)
    slurm.run_all(jobs.runs[:1], "train", jobs.options())
    pretend(tmp_path, monkeypatch, "squeue", "exit 1")
    with pytest.raises(UserError, match="squeue does not answer"):
        slurm.run_all(jobs.runs, "train", jobs.options())
    capsys.readouterr()
    jobs.states()
    assert capsys.readouterr().err == "squeue does not answer: jobs in its queue are not shown as such\n"


def test_a_job_that_has_to_start_over_does_so_once(tmp_path):
    """Queued again, it goes on with what it has begun; but not if it was ended before it had begun."""
    yaml = tmp_path / "hyperparams.yaml"
    yaml.write_text("of an earlier training")
    words = ["python", "-m", "local.train", "--force", "true", "--", "--lr", "1"]
    log = tmp_path / "train.log"
    forced, plain = (slurm.SlurmTask("A", words, log, force, file_version(yaml), 1, 1) for force in (True, False))
    assert forced._command() == plain._command() == words
    yaml.unlink()
    yaml.write_text("of this one")
    assert forced._command() == [*words[:5], "--force", "false", *words[5:]] and plain._command() == words


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("", {}),
        ("Welcome!\n\n7|PENDING|\xe9|\n", {"7": slurm.Entry("PENDING", "\ufffd", "")}),
        ("Welcome!\n", None),  # nor is it taken for an empty queue: what runs would be sent again
    ],
)
def test_of_what_squeue_says_its_table_is_read(tmp_path, monkeypatch, said, found):
    (tmp_path / "said").write_text(said, encoding="latin-1")
    pretend(tmp_path, monkeypatch, "squeue", f"cat {tmp_path}/said")
    assert slurm.queue_entries(Path("results/mini/speaker/n"), "train") == found


def test_an_sbatch_that_gives_no_number_is_reported(workplace, tmp_path, monkeypatch):
    pretend(tmp_path, monkeypatch, "sbatch", "echo Welcome!")
    pretend(tmp_path, monkeypatch, "squeue", "true")
    pretend(tmp_path, monkeypatch, "srun", "true")
    made = Jobs(workplace)
    with pytest.raises(UserError, match=r"Slurm refuses the jobs: .*Welcome!"):
        slurm.run_all(made.runs[:1], "train", made.options())
    assert slurm.submitted_ids(made.experiment, "train") == {}


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str, line: str) -> None:
    """Have a program do what a line of the shell does."""
    (folder / program).write_text(f"#!/bin/sh\n{line}\n")
    (folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


# ---------------------------------------------------------------- real training


@pytest.fixture
def training(tmp_path) -> tuple[Path, list[str], list[str]]:
    """A copy of the project in a folder with an awkward name, options of run.sh for the tones, and overrides."""
    place = tmp_path / "a house; of $(touch pwned)"
    place.mkdir()
    copy_project(place)
    words = ["--corpus", "csv", "--data", str(tones(tmp_path)), "--hparams", str(place / "hparams/mini.yaml")]
    sizes = ["--", "--epochs", "8", "--batch-size", "4", "--micro-batch-size", "3"]
    return place, words, sizes


def start(place: Path, environment: dict[str, str], *words: str) -> subprocess.Popen:
    variables = ONE_THREAD | environment
    return subprocess.Popen([place / "run.sh", *words], cwd=place, env=variables, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_fold_that_is_requeued_gives_what_it_gives_without_slurm(cluster, training, monkeypatch):
    place, words, sizes = training
    words += ["--folds", "A"]
    by_slurm = [*words, "--stop-stage", "3", "--name", "by_slurm", "--jobs", "2", "--backend", "slurm"]
    sizes = [*sizes, "--device", "cpu", "--slurm", SMALL]
    going = start(place, cluster, *by_slurm, *sizes)
    experiment = place / "results/tones/speaker/by_slurm"
    run = experiment / "seed1/A"
    while not (run / "epochs.csv").exists():
        assert going.poll() is None, going.stdout.read()
        time.sleep(0.05)
    job = slurm.submitted_ids(experiment, "train")["seed1/A"]
    control("scontrol", "requeue", job, environment=cluster)
    said = going.communicate()[0]
    assert going.returncode == 0, said
    assert f"  A (job {job}): requeued" in said
    assert re.search(r"^  A  epoch 8/8  loss .*$\n^  A done \d+:\d\d, epoch \d of 8, valid UA .*$", said, re.MULTILINE)
    log = (run / "train.log").read_text()
    assert log.count("# Started at ") == 2 and "# Ended (code 143)" in log and "resuming after epoch" in log
    monkeypatch.chdir(place)
    run_stages([*words, "--name", "alone", *sizes], "train", "decode")
    alone = experiment.with_name("alone") / "seed1/A"
    assert (run / "predictions.csv").read_bytes() == (alone / "predictions.csv").read_bytes()
    tables = [pd.read_csv(folder / "epochs.csv").drop(columns="seconds") for folder in (run, alone)]
    assert tables[0]["epoch"].tolist() == list(range(1, 9))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert not list(place.parent.rglob("pwned"))


@pytest.mark.slow
def test_two_folds_under_distortion_give_what_they_give_without_slurm(cluster, training, monkeypatch):
    """Of stage 7: one of the jobs is requeued, and goes on with the cases that are left, even with --force."""
    place, words, sizes = training
    words = [*words, "--folds", "A B", "--name", "n"]
    sizes = [*sizes, "--device", "cpu", "--slurm", SMALL]
    monkeypatch.chdir(place)
    run_stages([*words, *sizes], "prepare", "folds", "train", "decode", "score")
    asked = [*words, "--stress", "white pink reverb telephone clipping gain tilt speed"]
    run_stages([*asked, *sizes], "stress")
    runs = [place / "results/tones/speaker/n/seed1" / fold for fold in "AB"]
    alone = [(run / "stress.csv").read_bytes() for run in runs]
    by_slurm = [*asked, "--stage", "7", "--stop-stage", "7", "--jobs", "2", "--backend", "slurm", "--force", "true"]
    going = start(place, cluster, *by_slurm, *sizes)
    while (runs[0] / "stress.csv").exists() or not [*(runs[0] / "stress").glob("white_*.csv")]:
        assert going.poll() is None, going.stdout.read()
        time.sleep(0.01)
    control("scontrol", "requeue", slurm.submitted_ids(runs[0].parents[1], "stress")["seed1/A"], environment=cluster)
    said = going.communicate()[0]
    assert going.returncode == 0 and "requeued" in said, said
    log = (runs[0] / "stress.log").read_text()
    counts = [int(n) for n in re.findall(r"(\d+) cases of \d+ utterances", log)]
    assert counts[1] < counts[0] and "--force true" in log and log.count("--force false") == 1
    assert [(run / "stress.csv").read_bytes() for run in runs] == alone
    assert (runs[0].parents[1] / "stress.html").exists()


@needs_slurm
@pytest.mark.slow
def test_one_job_on_two_nodes(training):
    """This machine under two of its addresses, each with a GPU that it says it has; the processes meet over gloo."""
    place, words, sizes = training
    words = [*words, "--stop-stage", "2", "--folds", "A", "--processes", "2", "--backend", "slurm", "--name", "two"]
    block = "{cpus_per_task: 1, mem_gb: 1, gpus_per_node: 1}"
    with slurm_cluster.running(2, ("127.0.0.1", "127.0.0.2"), gpus=1) as environment:
        going = start(place, environment, *words, *sizes, "--slurm", block)
        said = going.communicate()[0]
    run = place / "results/tones/speaker/two/seed1/A"
    assert going.returncode == 0, said + (run / "train.log").read_text()
    assert json.loads((run / "env.json").read_text())["processes"] == 2
    logs = [(run / name).read_text() for name in ("train.log", "train.node1.log")]
    assert all("--nnodes 2 --nproc-per-node 1" in log and "# Ended (code 0)" in log for log in logs)
    assert ["is trained; epoch" in log for log in logs] == [True, False]

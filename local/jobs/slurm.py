"""Stages 2, 3 and 7 on a Slurm cluster: a job array each, submitted by submitit, and waited for.

A job is what the local launcher would start, with the same log. When its time is up or it is preempted, it is
queued again and continues from what it has saved. `slurm/<step>.json` of the experiment's folder, beside what
submitit writes, has the id that Slurm gave to each job.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import submitit
from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError

from local.config import cluster
from local.core import signals
from local.core.counted import counted
from local.core.errors import UserError
from local.core.files import write_text
from local.core.lock import locked
from local.core.threads import thread_limits
from local.experiment.folders import corpus_elsewhere
from local.experiment.job import Job
from local.experiment.options import Options
from local.jobs.display import Display, say
from local.jobs.process import JobLog, JobProcess, add_options, command_on_node, file_version

POLL = 5.0  # seconds between two calls of squeue, each for all jobs
RESTARTS = 1000  # times that a job may reach its time limit
# In every other state a job runs, or may run yet.
ENDED = (
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL"),
    *("DEADLINE", "PREEMPTED", "REVOKED"),
)
TIME_IS_UP = signal.SIGUSR2  # submitit has Slurm send it before the time limit


@dataclass(frozen=True)
class Entry:
    """A job as squeue shows it: its state, why it waits, and where it runs."""

    state: str
    reason: str
    nodes: str


@dataclass
class SlurmTask:
    """What one element of the array does, on each of its nodes.

    Attributes
    ----------
    force
        Whether the job is to overwrite what is in the run folder.
    begun
        The version of what it is begun with (see `_begun`) when the job was submitted; see `file_version`.
    nodes, processes
        Nodes of the job, and processes on each.
    """

    name: str
    command: list[str]
    log: Path
    force: bool
    begun: tuple[int, int] | None
    nodes: int
    processes: int
    process: subprocess.Popen | None = field(default=None, init=False)

    def __call__(self) -> None:
        """Run the job; end with its code."""
        node = int(os.environ["SLURM_NODEID"])
        run = JobProcess(self.name, self._command(), self.log.with_suffix(f".node{node}.log") if node else self.log)
        os.environ.setdefault("OMP_NUM_THREADS", os.environ["SLURM_CPUS_ON_NODE"])
        with _blocked(TIME_IS_UP):  # Slurm signals every process of a job: this signal must not reach the training
            run.start(0, os.environ | thread_limits(self.processes))
        self.process = run.process
        try:
            run.process.wait()
        finally:  # also when submitit ends this process, after `checkpoint`
            code = run.end()
        if code:
            sys.exit(code)

    def checkpoint(self) -> DelayedSubmission:
        """Let the training save and end, as its time is up; return what is to be queued again."""
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):  # it has ended, and been waited for
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(replace(self))

    def _command(self) -> list[str]:
        command = self.command
        if self.nodes > 1:
            host = submitit.JobEnvironment().hostnames[0]
            port = 10_000 + int(os.environ["SLURM_JOB_ID"]) % 20_000
            node = int(os.environ["SLURM_NODEID"])
            command = command_on_node(command, self.processes, self.nodes, node, f"{host}:{port}")
        # What was begun since the job was submitted, it began itself before it was queued again.
        was_queued_again = self.force and file_version(_begun(self.log)) != self.begun
        return add_options(command, "--force", "false") if was_queued_again else command


@contextlib.contextmanager
def _blocked(number: int) -> Iterator[None]:
    """Block a signal; in a process that is started meanwhile, it stays blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begun(log: Path) -> Path:
    """The file that a job writes when it begins, and not when it continues."""
    return log.parent / ("stress/begun.json" if log.stem == "stress" else "hyperparams.yaml")


def queue_entries(experiment: Path, step: str) -> dict[str, Entry] | None:
    """The entries of an experiment's jobs by their ids, until some minutes after their end.

    None when squeue does not answer, or what it says is no such table.
    """
    name = cluster.job_name(experiment, step, corpus_elsewhere(experiment))
    command = ["squeue", "--me", "--array", "--states=all", "--noheader", f"--name={name}", "--format=%i|%T|%r|%N"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    if answer.returncode:
        return None
    lines = answer.stdout.splitlines()
    rows = [fields for line in lines if len(fields := line.split("|")) == 4]  # a site may have it say more
    if not rows and any(lines):
        return None
    return {job_id: Entry(state, reason, nodes) for job_id, state, reason, nodes in rows}


def submitted_ids(experiment: Path, step: str) -> dict[str, str]:
    """The ids under which Slurm knows an experiment's jobs, by their names: `seed1/01F`."""
    try:
        return json.loads((experiment / "slurm" / f"{step}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def run_all(waiting: list[JobProcess], step: str, options: Options) -> list[JobProcess]:
    """Submit the jobs that are not with Slurm already, and wait for all of them; return those that failed.

    When the waiting is interrupted, the jobs stay. `UserError` where Slurm does not answer or refuses them.
    """
    left = {run.name: run for run in waiting}
    with signals.defer() as ending:
        _submit_missing(waiting, step, options)
        failed = _wait(left, step, options, ending)
    if left:
        _say_that_jobs_stay(left, step, options)
        sys.exit(signals.exit_code(ending.number))
    return failed


def _say_that_jobs_stay(left: Iterable[str], step: str, options: Options) -> None:
    ids = submitted_ids(options.experiment_folder, step)
    print(
        f"the jobs continue without this command: {' '.join(left)}\n"
        f"  ./run.sh --status --name {options.name}   shows them\n"
        f"  the same command again   waits for them\n"
        f"  scancel {_arrays(ids[name] for name in left)}   ends them",
        file=sys.stderr,
    )


def _submit_missing(waiting: list[JobProcess], step: str, options: Options) -> None:
    """Submit the jobs that are not with Slurm, and record their ids."""
    record = options.experiment_folder / "slurm" / f"{step}.json"
    # Of two commands at once the second waits for the jobs of the first. A Ctrl-C does not reach sbatch.
    with locked(record.with_name(f".{step}.lock"), "submits jobs"), _blocked(signal.SIGINT):
        known = queue_entries(options.experiment_folder, step)
        if known is None:
            raise UserError("squeue does not answer", "try it by hand; run the same command again when it does")
        ids = submitted_ids(options.experiment_folder, step)
        alive = {job_id for job_id, entry in known.items() if entry.state not in ENDED}
        queued = [run for run in waiting if ids.get(run.name) in alive]
        missing = [run for run in waiting if run not in queued]
        if missing:
            ids |= _submit(missing, step, options)
            write_text(record, json.dumps(ids, indent=1))
    for runs, what in ((queued, "are with Slurm already"), (missing, "submitted to Slurm")):
        if runs:
            print(f"  {counted(len(runs), 'job')} {what}, as {_arrays(ids[run.name] for run in runs)}")


def _arrays(ids: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(one.split("_")[0] for one in ids))


def _submit(runs: list[JobProcess], step: str, options: Options) -> dict[str, str]:
    """Submit jobs as one array; return their ids by their names."""
    folder, processes = options.experiment_folder, options.processes
    executor = submitit.AutoExecutor(folder / "slurm", cluster="slurm", slurm_max_num_timeout=RESTARTS)
    name = cluster.job_name(folder, step, corpus_elsewhere(folder))
    executor.update_parameters(**cluster.submit_parameters(options.values, processes, options.jobs, name, step))
    nodes, processes, _ = cluster.nodes_and_gpus(options.values, processes) if step == "train" else (1, 1, 0)
    tasks = [
        SlurmTask(*(run.name, run.command, run.log), options.force, file_version(_begun(run.log)), *(nodes, processes))
        for run in runs
    ]
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit shows what it raises as well
            jobs = executor.submit_array(tasks)
    except (FailedJobError, FailedSubmissionError) as error:
        reason = " ".join(str(error).split())
        remedy = "correct the block slurm of the YAML; or if Slurm did not answer, run the same command again"
        raise UserError(f"Slurm refuses the jobs: {reason}", remedy) from None
    return {run.name: job.job_id for run, job in zip(runs, jobs, strict=True)}


def _wait(left: dict[str, JobProcess], step: str, options: Options, ending: signals.DeferredSignal) -> list[JobProcess]:
    """Wait until the jobs of `left` have ended and are taken out, or a signal comes; return those that failed."""
    ids = submitted_ids(options.experiment_folder, step)
    states: dict[str, str] = {}
    failed: list[JobProcess] = []
    with Display(POLL) as display:  # over the network
        for run in left.values():
            display.watch(run)
        while left and not ending.number:
            known = queue_entries(options.experiment_folder, step)
            for run in list(left.values()) if known is not None else ():
                entry, where = known.get(ids[run.name]), f"  {run.label} (job {ids[run.name]}): "
                if entry is None or entry.state in ENDED:
                    del left[run.name]
                    if _is_done(run, entry, step, options):
                        display.end(run)
                    else:
                        failed.append(run)
                        say(where + _failure(run, ids[run.name], entry))
                elif entry.state == "RUNNING" != states.get(run.name):
                    run.ignore_old_progress()
                    say(f"{where}running on {entry.nodes}")
                elif entry.state == "PENDING" != states.get(run.name, "PENDING"):
                    say(f"{where}requeued")
                states[run.name] = entry.state if entry else ""
            until = time.monotonic() + POLL
            while left and not ending.number and time.monotonic() < until:
                display.show(run for run in left.values() if states.get(run.name) == "RUNNING")
                time.sleep(0.1)
    return failed


def _is_done(run: JobProcess, entry: Entry | None, step: str, options: Options) -> bool:
    """Whether a job that has ended is done: by Slurm's state or, where Slurm has forgotten it, by the marker."""
    if (folder := run.log.parent).is_dir():
        folder.chmod(folder.stat().st_mode)  # lets NFS see what a node has written there
    if entry is not None:
        return entry.state == "COMPLETED"
    seed, fold = run.name.removeprefix("seed").split("/")
    return Job(replace(options, force=False), fold, int(seed)).is_done(step)


def _failure(run: JobProcess, job_id: str, entry: Entry | None) -> str:
    """Say how a job failed; where its log does not, because Slurm ended the job, add it there."""
    state = entry.state.replace("_", " ").lower() if entry else "gone from the queue"
    log = JobLog(run.log)
    if (entry is None or entry.state == "FAILED") and (start := log.last_start()) and start.code is not None:
        state = f"code {start.code}"
    else:
        errors = run.log.parents[2] / "slurm" / f"{job_id}_0_log.err"
        log.add_error(f"Slurm ended job {job_id}: {state}; its own output is in {errors}")
    return f"FAILED ({state}), see {run.log}"

"""Stages 2 and 3 over folds and seeds: jobs side by side on this machine, one log each.

    python -m local.launch {train,decode} OPTIONS

Each GPU has one job, or, with `--jobs`, as many as its memory bears; without a GPU the processor's
threads are divided among the jobs (two jobs with all threads each run ten times slower than alone).
A job that fails stops nobody else; the exit code is 1 when any has failed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from local import signals, store
from local.errors import UserError, exits
from local.gpus import gpus
from local.hparams import scalars
from local.job import Job
from local.options import Options, parse
from local.places import Places
from local.torchrun import torchrun

POLL = 0.2  # seconds between two looks at the jobs
STAGES = {"train": 2, "decode": 3}
# The file of the run folder that a job writes when it has held all the memory that it needs: in
# training after an epoch, in decoding at the end, which is soon.
PROOFS = {"train": "epochs.csv", "decode": "predictions.csv"}
SIZES = {"train": "micro_batch_seconds", "decode": "eval_batch_seconds"}  # what bounds that memory


@dataclass
class Run:
    """One job: its command, its log, the file that it writes at its need's height and, once started, its process."""

    name: str
    command: list[str]
    log: Path
    proof: Path | None = None
    place: int = -1
    process: subprocess.Popen | None = None
    began: float = field(default_factory=time.monotonic)
    old_proof: tuple[int, int] | None = None

    def start(self, place: int, environment: dict[str, str]) -> None:
        """Start it, its log beginning with the command."""
        self.place, self.began, self.old_proof = place, time.monotonic(), version(self.proof)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"# {shlex.join(self.command)}\n# Started at {datetime.now().astimezone():%c %Z}\n")
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def end(self) -> int:
        """Write the log's last line; return the exit code."""
        code = self.process.wait()
        seconds = time.monotonic() - self.began
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(
                f"# Ended (code {code}) at {datetime.now().astimezone():%c %Z}, elapsed time {seconds:.0f} seconds\n"
            )
        return code

    def has_shown_need(self) -> bool:
        """Whether it has held all the memory that it needs: a resumed job finds the file of its earlier start."""
        return version(self.proof) not in (None, self.old_proof)


def version(path: Path | None) -> tuple[int, int] | None:
    """What tells a file from an earlier one of the same name."""
    try:
        status = path.stat() if path else None
    except FileNotFoundError:
        return None
    return status and (status.st_mtime_ns, status.st_ino)


def places(options: Options, n_jobs: int) -> Places:
    """Divide the machine. Without `--jobs`: one job for each GPU, or `--processes` of them, or one with all threads.

    Raises
    ------
    UserError
        A job needs more GPUs than there are.
    """
    device = scalars(options.hparams, options.overrides)["device"]
    devices = [] if str(device or "").startswith("cpu") else gpus()
    each, jobs = options.processes, options.jobs
    if devices and each > len(devices):
        raise UserError(
            f"--processes {each}: this machine has {len(devices)} GPUs", f"give --processes {len(devices)} or fewer"
        )
    if devices and each > 1:  # which they fill
        devices = [",".join(devices[start : start + each]) for start in range(0, len(devices) - each + 1, each)]
        jobs = min(jobs or len(devices), len(devices))
    count = max(1, min(jobs or len(devices) or 1, n_jobs))
    return Places(devices[:count], count)


def threads(count: int) -> dict[str, str]:
    """The environment variables that give each of so many processes its share of the processor."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores = min(cores, int(allowed)) if allowed.isdecimal() else cores
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(max(1, cores // count)))


def runs(step: str, options: Options, words: list[str]) -> list[Run]:
    """List the jobs that are not done: every fold with every seed.

    Raises
    ------
    UserError
        One of them is done with other inputs.
    """
    at = words.index("--") if "--" in words else len(words)
    folds = options.chosen_folds()
    jobs = [Job(options, fold, seed) for seed in options.seeds for fold in folds]
    waiting = []
    for job in jobs:
        name = f"seed{job.seed}/{job.fold}"
        if job.done(step):
            print(f"  {name}: already done")
            continue
        one = ("--folds", job.fold, "--seeds", str(job.seed))
        start = torchrun(options.processes) if step == "train" else [sys.executable]
        command = [*start, "-m", f"local.{step}", *words[:at], *one, *words[at:]]
        waiting.append(Run(name, command, job.folder / f"{step}.log", job.folder / PROOFS[step]))
    return waiting


def decode_audio(options: Options, words: list[str]) -> None:
    """Make the audio store before the jobs start, of which all but one would wait for it.

    In a process of its own, which alone needs torch. If it fails, so would the jobs: its error is the end.
    """
    if not store.stands(options):
        sys.stdout.flush()
        code = subprocess.run([sys.executable, "-m", "local.store", *words]).returncode
        if code:
            sys.exit(code)


def launch(step: str, options: Options, words: list[str]) -> list[Run]:
    """Run all jobs; return those that failed."""
    print(f"== stage {STAGES[step]}: {step} {options.experiment_folder}")
    waiting = runs(step, options, words)
    if not waiting:
        return []
    decode_audio(options, words)
    if options.backend == "slurm":
        from local import slurm  # it needs Run

        return slurm.run_all(waiting, step, options)
    return run_all(waiting, places(options, len(waiting)), options.processes if step == "train" else 1)


def run_all(waiting: list[Run], among: Places, processes: int = 1) -> list[Run]:
    """Run jobs of so many processes in their order, each when there is a place; return those that failed."""
    each = threads(among.count * processes)
    room = f", as memory allows on GPU {', '.join(among.names)}" if among.shared else ""
    print(f"  {len(waiting)} jobs, {among.count} at a time{room}, {each['OMP_NUM_THREADS']} threads each")
    if among.untold:
        print(f"  nvidia-smi does not tell the free memory of GPU {', '.join(among.untold)}: --jobs alone counts there")
    running: list[Run] = []
    failed: list[Run] = []
    with tqdm(total=len(waiting), unit="job", disable=not sys.stderr.isatty()) as bar:
        try:
            while waiting or running:
                shown = {run.process.pid for run in running if run.has_shown_need()}
                while waiting and (place := among.choose(shown)) is not None:
                    run = waiting.pop(0)
                    run.start(place, os.environ | signals.named_parent() | each | among.environment(place))
                    among.enter(place, run.process.pid)
                    running.append(run)
                for run in _ended(running):
                    code = run.end()
                    among.leave(run.place, run.process.pid, run.has_shown_need())
                    said = "done" if code == 0 else f"FAILED (code {code}), see {run.log}"
                    bar.write(f"  {run.name}: {said}, {time.monotonic() - run.began:.0f} s", file=sys.stdout)
                    failed += [run] if code else []
                    bar.update()
                bar.set_postfix_str(", ".join(f"{run.name} {_last_line(run)}" for run in running)[:100])
                time.sleep(POLL)
        finally:
            if running:  # Ctrl-C, SIGTERM or a fault of this program: leave no orphan
                end_all(running)
    return failed


def end_all(running: list[Run]) -> None:
    """Ask jobs to save and end, and wait until they have."""
    print(f"  ending {len(running)} running jobs; the same command goes on from where they are", flush=True)
    with signals.deferred():  # a second Ctrl-C leaves at once
        for run in running:
            run.process.terminate()
        for run in running:
            run.end()


def _ended(running: list[Run]) -> Iterator[Run]:
    for run in list(running):
        if run.process.poll() is not None:
            running.remove(run)
            yield run


def _last_line(run: Run) -> str:
    """The last line of SpeechBrain's training log: epoch and figures."""
    log = run.log.parent / "train_log.txt"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return lines[-1] if lines else "..."


def complaint(run: Run, step: str) -> str:
    """Say that a job failed, with the end of its log, and what to do if memory was short."""
    log = run.log.read_text(encoding="utf-8", errors="replace")
    last = log.rpartition("# Started at ")[2].splitlines()[-10:]  # not of an earlier start
    lines = [f"error: {run.name} failed; its log ends:", *(f"  {line}" for line in last[-4:]), f"  see {run.log}"]
    if any("out of memory" in line for line in last):
        lines.append(f"  try: fewer --jobs, or a smaller --{SIZES[step]}")
    return "\n".join(lines)


@exits
def main() -> None:
    """Run one stage's jobs."""
    step, words = sys.argv[1], sys.argv[2:]
    failed = launch(step, parse(words), words)
    for run in failed:
        print(complaint(run, step), file=sys.stderr)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()

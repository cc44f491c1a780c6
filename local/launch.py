"""Stages 2 and 3 over folds and seeds: jobs side by side on this machine, one log each.

    python -m local.launch {train,decode} OPTIONS

GPUs are shared out one job each; without a GPU the processor's threads are divided among the jobs
(two jobs with all threads each run ten times slower than alone). A job that fails stops nobody
else; the exit code is 1 when any has failed.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from local import store
from local.errors import exits
from local.job import Job
from local.options import Options, parse

STAGES = {"train": 2, "decode": 3}


@dataclass
class Run:
    """One job: its command, its log and, once started, its process."""

    name: str
    command: list[str]
    log: Path
    slot: int = -1
    process: subprocess.Popen | None = None
    began: float = field(default_factory=time.monotonic)

    def start(self, slot: int, environment: dict[str, str]) -> None:
        """Start it, its log beginning with the command."""
        self.slot, self.began = slot, time.monotonic()
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


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(index) for index, line in enumerate(listed.splitlines()) if line.startswith("GPU ")]


def slots(options: Options, n_jobs: int) -> list[dict[str, str]]:
    """Divide the machine: one set of environment variables per job that runs at the same time.

    Without `--jobs`: as many as there are GPUs, or one job with all threads.
    """
    devices = [] if str(options.overrides.get("device") or "").startswith("cpu") else gpus()
    count = max(1, min(options.jobs or len(devices) or 1, n_jobs))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores = min(cores, int(allowed)) if allowed.isdecimal() else cores
    threads = str(max(1, cores // count))
    divided = [{"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} for _ in range(count)]
    for index, slot in enumerate(divided if devices else ()):
        slot["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
    return divided


def runs(step: str, options: Options, words: list[str]) -> list[Run]:
    """List the jobs that are not done: every fold with every seed.

    Raises
    ------
    UserError
        One of them is done with other inputs.
    """
    at = words.index("--") if "--" in words else len(words)
    jobs = [Job(options, fold, seed) for seed in options.seeds for fold in options.chosen_folds()]
    waiting = []
    for job in jobs:
        name = f"seed{job.seed}/{job.fold}"
        if job.done(step):
            print(f"  {name}: already done")
            continue
        one = ("--folds", job.fold, "--seeds", str(job.seed))
        command = [sys.executable, "-m", f"local.{step}", *words[:at], *one, *words[at:]]
        waiting.append(Run(name, command, job.folder / f"{step}.log"))
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
    free = slots(options, len(waiting))
    environments = [os.environ | slot for slot in free]
    idle, running, failed = list(range(len(free))), [], []
    print(f"  {len(waiting)} jobs, {len(free)} at a time, {free[0]['OMP_NUM_THREADS']} threads each")
    with tqdm(total=len(waiting), unit="job", disable=not sys.stderr.isatty()) as bar:
        try:
            while waiting or running:
                while waiting and idle:
                    run = waiting.pop(0)
                    slot = idle.pop(0)
                    run.start(slot, environments[slot])
                    running.append(run)
                for run in _ended(running):
                    code = run.end()
                    idle.append(run.slot)
                    said = "done" if code == 0 else f"FAILED (code {code}), see {run.log}"
                    bar.write(f"  {run.name}: {said}, {time.monotonic() - run.began:.0f} s", file=sys.stdout)
                    failed += [run] if code else []
                    bar.update()
                bar.set_postfix_str(", ".join(f"{run.name} {_last_line(run)}" for run in running)[:100])
                time.sleep(0.2)
        finally:
            for run in running:  # Ctrl-C, or a fault of this program: leave no orphan
                run.process.terminate()
                run.end()
    return failed


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


@exits
def main() -> None:
    """Run one stage's jobs."""
    step, words = sys.argv[1], sys.argv[2:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # take the jobs along, as with Ctrl-C
    failed = launch(step, parse(words), words)
    for run in failed:
        print(f"error: {run.name} failed; its log ends:", file=sys.stderr)
        for line in run.log.read_text(encoding="utf-8", errors="replace").splitlines()[-4:]:
            print(f"  {line}", file=sys.stderr)
        print(f"  see {run.log}", file=sys.stderr)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()

"""Jobs side by side on this machine: on its GPUs as far as their memory goes, or on its CPU."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from local.core import signals
from local.core.errors import UserError
from local.experiment.options import Options
from local.jobs.gpus import gpus
from local.jobs.places import GpuSlots
from local.jobs.process import JobProcess, thread_limits

POLL = 0.2  # seconds between two looks at the jobs


def gpu_slots(options: Options, n_jobs: int) -> GpuSlots:
    """Divide the machine. Without `--jobs`: one job for each GPU, or `--processes` of them, or one with all threads.

    Raises
    ------
    UserError
        A job needs more GPUs than there are.
    """
    device = options.values["device"]
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
    return GpuSlots(devices[:count], count)


def run_all(waiting: list[JobProcess], among: GpuSlots, processes: int = 1) -> list[JobProcess]:
    """Run jobs of so many processes in their order, each when there is a place; return those that failed."""
    each = thread_limits(among.count * processes)
    room = f", as memory allows on GPU {', '.join(among.names)}" if among.shared else ""
    print(f"  {len(waiting)} jobs, {among.count} at a time{room}, {each['OMP_NUM_THREADS']} threads each")
    if among.untold:
        print(f"  nvidia-smi does not tell the free memory of GPU {', '.join(among.untold)}: --jobs alone counts there")
    running: list[JobProcess] = []
    failed: list[JobProcess] = []
    with tqdm(total=len(waiting), unit="job", disable=not sys.stderr.isatty()) as bar:
        try:
            while waiting or running:
                shown = {run.process.pid for run in running if run.has_shown_need()}
                while waiting and (place := among.choose(shown)) is not None:
                    run = waiting.pop(0)
                    run.start(place, os.environ | signals.parent_variable() | each | among.environment(place))
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


def end_all(running: list[JobProcess]) -> None:
    """Ask jobs to save and end, and wait until they have."""
    print(f"  ending {len(running)} running jobs; the same command goes on from where they are", flush=True)
    with signals.defer():  # a second Ctrl-C leaves at once
        for run in running:
            run.process.terminate()
        for run in running:
            run.end()


def _ended(running: list[JobProcess]) -> Iterator[JobProcess]:
    for run in list(running):
        if run.process.poll() is not None:
            running.remove(run)
            yield run


def _last_line(run: JobProcess) -> str:
    """The last line of SpeechBrain's training log: epoch and figures."""
    log = run.log.parent / "train_log.txt"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return lines[-1] if lines else "..."

"""Jobs side by side on this machine: on its GPUs, as many as fit in their memory, or on its CPU."""

from __future__ import annotations

import math
import os
import time
from typing import Any

from local.config import cluster
from local.core import signals
from local.core.counted import counted
from local.core.errors import UserError
from local.core.free_memory import room
from local.core.threads import cores, thread_limits
from local.experiment.options import Options
from local.jobs.display import Display, say
from local.jobs.gpus import GpuSlots, gpus
from local.jobs.job_lines import clock
from local.jobs.process import JobProcess

POLL = 0.2  # seconds between two looks at the jobs


def gpu_slots(options: Options, n_jobs: int) -> GpuSlots:
    """Divide the machine: by `--jobs`, or a job for each `--processes` GPUs, or the CPU by the YAML's `threads`.

    `UserError` where a job needs more GPUs than there are.
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
    count = max(1, min(jobs or len(devices) or cpu_slots(options.values, n_jobs, each), n_jobs))
    return GpuSlots(devices[:count], count)


def cpu_slots(values: dict[str, Any], n_jobs: int, processes: int) -> int:
    """How many of the jobs, of so many processes, the CPU has room for, by the YAML's `threads`: one if that is 0.

    Their memory is what the YAML asks of Slurm for a process. Side by side, jobs of one thread do more than one job
    with all threads, which wait for each other in every operation; and beside other programs they lose less.
    """
    threads, free = values["threads"], room("cpu").free / 1e9
    if not threads:
        if (most := min(n_jobs, cores() // processes)) > 1:
            print(f"  one at a time, with all threads: --jobs {most} gets more done, where memory is for {most}")
        return 1
    need = cluster.slurm_block(values).get("mem_gb")
    by_cores = min(n_jobs, cores() // (threads * processes))
    by_memory = free // (need * processes) if need else math.inf
    if by_memory < by_cores:
        print(f"  {free:.1f} GB of memory are free, and a process may need {need} (slurm.mem_gb of the YAML)")
    return int(min(by_cores, by_memory))


def run_all(waiting: list[JobProcess], slots: GpuSlots, processes: int = 1, most_threads: int = 0) -> list[JobProcess]:
    """Run jobs of so many processes in their order, each when a slot is free; return those that failed.

    A process gets its share of the CPU's threads; at most `most_threads`, if that is not 0.
    """
    limits = thread_limits(slots.count * processes, most_threads)
    allowed = f", as memory allows on GPU {', '.join(slots.names)}" if slots.shared else ""
    jobs, threads = len(waiting), int(limits["OMP_NUM_THREADS"])
    of_yaml = f" (threads: {most_threads})" if most_threads else ""
    print(
        f"  {counted(jobs, 'job')}, {slots.count} at a time{allowed}, {counted(threads, 'thread')} each{of_yaml}",
        flush=True,
    )
    if slots.unknown:
        print(f"  nvidia-smi does not show the free memory of GPU {', '.join(slots.unknown)}: --jobs is the only limit")
    running: list[JobProcess] = []
    failed: list[JobProcess] = []
    display = Display()
    try:
        while waiting or running:
            shown = {run.process.pid for run in running if run.has_shown_need()}
            while waiting and (slot := slots.choose(shown)) is not None:
                run = waiting.pop(0)
                display.watch(run)
                run.start(slot, os.environ | signals.parent_variable() | limits | slots.environment(slot))
                slots.enter(slot, run.process.pid)
                running.append(run)
            for run in [run for run in running if run.process.poll() is not None]:
                running.remove(run)
                code, seconds = run.end(), time.monotonic() - run.began
                slots.leave(run.slot, run.process.pid, run.has_shown_need())
                if code:
                    failed.append(run)
                    say(f"  {run.label} FAILED (code {code}) after {clock(seconds)}, see {run.log}")
                else:
                    display.end(run, seconds)
            display.show(running)
            time.sleep(POLL)
    finally:
        if running:  # Ctrl-C, SIGTERM or a fault of this program: leave no orphan
            end_all(running, display)
        display.close()
    return failed


def end_all(running: list[JobProcess], display: Display) -> None:
    """Ask jobs to save and end, and wait until they have."""
    with signals.defer():  # Ctrl-C comes with a SIGTERM of run.sh; a second one leaves at once
        display.close()
        jobs = "job" + "s" * (len(running) > 1)
        print(f"  ending {len(running)} running {jobs}; the same command continues them", flush=True)
        for run in running:
            run.process.terminate()
        for run in running:
            run.end()

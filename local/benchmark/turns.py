"""The ways take turns, each in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from local.benchmark.machine import gemm, look, others
from local.benchmark.page import KINDS, USES
from local.benchmark.ways import make
from local.core.errors import UserError
from local.core.threads import thread_limits


def _start(way: str, arguments: list[str], jobs: int, stack: ExitStack) -> subprocess.Popen:
    """A process that does what each line that it is sent says, one of so many jobs, until the stack is closed."""
    command = [sys.executable, "-m", "local.benchmark.ways", way, *arguments]
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    worker = subprocess.Popen(command, env=os.environ | thread_limits(jobs), text=True, **pipes)
    stack.callback(worker.wait)
    stack.callback(worker.stdin.close)  # before the wait
    return worker


def _ask(way: str, workers: list[subprocess.Popen], what: str) -> list[dict[str, Any]]:
    """Let all jobs of a way do it together: the answer of each."""
    for worker in workers:
        print(what, file=worker.stdin, flush=True)
    lines = [worker.stdout.readline() for worker in workers]
    if "" in lines:
        raise UserError(f"way {way} ended with code {workers[lines.index('')].wait()}", "see its message above")
    return [json.loads(line) for line in lines]


def measure(ways: list[str], rounds: int, jobs: int, arguments: list[str]) -> list[dict[str, Any]]:
    """Let the ways take turns, so many jobs of each at a time; a way settles first, and after it gave memory back.

    `arguments` of a process: folder, device, encoder. A row for each way and round: `way`, `jobs`, `round`, `seconds`,
    `audio` seconds and `flops` of all jobs, `peak` bytes of one, its `precision` and `weights`, the share of the CPUs'
    time that `others` took, which are no process of this command, GEMM rates `float32` and `bfloat16` in operations/s,
    and the share `gemm_others` while these were measured.
    """
    rows, unsettled = [], set(ways)
    with ExitStack() as stack:
        workers = {way: [_start(way, arguments, jobs, stack) for _ in range(jobs)] for way in ways}
        for way in ways:  # their start would disturb the first GEMM, and is no other process
            _ask(way, workers[way], "built")
        for number in range(1, rounds + 1):
            before = look()
            rates = {kind: gemm(arguments[1], getattr(torch, kind)) for kind in KINDS.values()}
            rates["gemm_others"] = others(before, look())
            for way in ways:
                if way in unsettled:
                    _ask(way, workers[way], "settle")
                before = look()
                results = _ask(way, workers[way], "round")
                row = {"way": way, "jobs": jobs, "round": number, "others": others(before, look())} | rates
                row |= {name: results[0][name] for name in ("precision", "weights")}
                row |= {name: max(result[name] for result in results) for name in ("seconds", "peak")}
                row |= {name: sum(result[name] for result in results) for name in ("audio", "flops")}
                speed = f"{row['audio'] / row['seconds']:.2f} audio-s/s"
                print(f"  round {number} {way}, {jobs} at a time: {speed}", file=sys.stderr)
                rows.append(row)
                gave_back = any(result["gave_back"] for result in results)
                unsettled = unsettled | {way} if gave_back else unsettled - {way}
    return rows


def measure_all(given: Namespace) -> list[dict[str, Any]]:
    """Measure the ways that the command line names, one number of jobs after another."""
    with TemporaryDirectory() as folder:
        make(Path(folder), given.utterances)
        if set(given.ways) & set(USES):
            # In a process of its own, as its memory would be counted for the processes that are started here.
            subprocess.run([sys.executable, "-m", "local.benchmark.uses", folder, given.encoder], check=True)
        arguments = [folder, given.device, given.encoder]
        return [row for jobs in given.jobs for row in measure(given.ways, given.rounds, jobs, arguments)]

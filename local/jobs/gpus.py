"""The GPUs: which there are, and how much of their memory is free.

The figures are nvidia-smi's, of which no other file knows. Its answers are lines of CSV, memory in MiB. What it cannot
tell is a word in brackets ([N/A], [Not Supported], [Insufficient Permissions]); what has gone wrong is a sentence in
between, on whatever exit code. So an answer is taken line by line, and what cannot be read counts as not told.
"""

from __future__ import annotations

import os
import re
import subprocess
from itertools import takewhile
from typing import NamedTuple

PATIENCE = 20  # seconds; with a driver in trouble, nvidia-smi hangs
NAME = re.compile(r"[0-9]+|(GPU|MIG)-.+")


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them: by index, UUID or its beginning.

    As in CUDA, a name that is none (-1, say) hides those after it. A GPU that is split (MIG) is the
    list of its parts: CUDA cannot use the whole.
    """
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        names = [name.strip() for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
        return list(takewhile(NAME.fullmatch, names))
    found: list[tuple[str, list[str]]] = []
    for line in _ask("-L"):
        if gpu := re.match(r"GPU ([0-9]+): ", line):
            found.append((gpu[1], []))
        elif found and (part := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)):
            found[-1][1].append(part[1])
    return [name for gpu, parts in found for name in parts or [gpu]]


class Memory(NamedTuple):
    """The memory of a GPU, in MiB.

    used, free
        Of the whole device, whoever holds it. They need not add up to its size: the driver keeps some.
    by_process
        What each process holds, by pid. In a container it may be empty, or name the host's pids.
    """

    used: int
    free: int
    by_process: dict[int, int]


def memory(names: list[str]) -> list[Memory | None]:
    """What of each GPU is in use now; None where nvidia-smi does not tell, as of parts of a GPU (MIG).

    Parameters
    ----------
    names
        As `gpus` gives them. An index is nvidia-smi's, which is CUDA's if CUDA_DEVICE_ORDER is PCI_BUS_ID.
    """
    # Processes first: one that grows in between has its new memory missed here and no longer free there, and not both
    # free and counted as taken.
    processes = _table("compute-apps", "gpu_uuid", "pid", "used_memory")
    devices = _table("gpu", "index", "uuid", "mig.mode.current", "memory.used", "memory.free")
    found: list[Memory | None] = []
    for name in names:
        rows = [row for row in devices if row[0] == name or (name.startswith("GPU-") and row[1].startswith(name))]
        told = None
        if len(rows) == 1:
            _, uuid, mig, *figures = rows[0]
            used, free = map(_whole, figures)
            if mig != "Enabled" and used is not None and free is not None:  # else the figures are not of what CUDA uses
                of_device = [(_whole(pid), _whole(held)) for of, pid, held in processes if of == uuid]
                told = Memory(used, free, {pid: held for pid, held in of_device if None not in (pid, held)})
        found.append(told)
    return found


def _table(of: str, *fields: str) -> list[list[str]]:
    """Ask for these fields; return those lines that have as many."""
    lines = _ask(f"--query-{of}={','.join(fields)}", "--format=csv,noheader,nounits")
    rows = [[word.strip() for word in line.split(",")] for line in lines]
    return [row for row in rows if len(row) == len(fields)]


def _whole(word: str) -> int | None:
    return int(word) if word.isdecimal() else None


def _ask(*words: str) -> list[str]:
    """The lines of nvidia-smi's answer: none where it cannot be asked."""
    try:
        command = ["nvidia-smi", *words]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PATIENCE
        ).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return []

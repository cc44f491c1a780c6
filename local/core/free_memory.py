"""How much memory there is: of a GPU, or of this machine, less where a control group or Slurm limits it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

CGROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # bytes: a cgroup without a limit has a number as high as this


class Room(NamedTuple):
    """Bytes of memory: all that there may be, what is free of it now, and where."""

    size: float
    free: float
    where: str


def room(device: str) -> Room:
    """The memory of a GPU; of a CPU that of the machine, with what it swaps, or less where a limit is set."""
    if device.startswith("cuda"):
        import torch  # takes seconds

        free, size = torch.cuda.mem_get_info(device)
        return Room(size, free, f"GPU {device}")
    memory, swap = psutil.virtual_memory(), psutil.swap_memory().total
    rooms = [Room(memory.total + swap, memory.available, "this machine")]
    if (limit := cgroup_limit(Path("/proc/self/cgroup"), CGROUPS)) is not None:
        # A group's limit is of memory alone: what it may swap comes on top.
        rooms.append(Room(limit + swap, min(limit, memory.available), "this control group (cgroup, container)"))
    if (limit := slurm_limit(os.environ)) is not None:
        rooms.append(Room(limit, min(limit, memory.available), "this Slurm job"))
    return min(rooms)


def cgroup_limit(groups: Path, root: Path) -> float | None:
    """The lowest memory limit of the control groups that a process is in, of either version; None without one.

    `groups` is its file in /proc, `root` is where they are mounted; in a container that is the process's own group.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    limits = []
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        base, name = (root / "memory", "memory.limit_in_bytes") if kinds else (root, "memory.max")
        inner = base / path.strip("/")
        for folder in (inner, *inner.parents):
            if folder == base or base in folder.parents:
                limits.append(_number(folder / name))
    known = [limit for limit in limits if limit is not None and limit < UNLIMITED]
    return min(known, default=None)


def _number(file: Path) -> float | None:
    """The number in a file; None where there is none, or the word max."""
    try:
        return float(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def slurm_limit(environment: Mapping[str, str]) -> float | None:
    """What Slurm gives the job on a node, by the variables that it sets, in MiB; None outside Slurm."""
    by_node, by_cpu = (environment.get(f"SLURM_MEM_PER_{each}", "") for each in ("NODE", "CPU"))
    cpus = environment.get("SLURM_CPUS_ON_NODE", "")
    if by_node.isdecimal() and int(by_node):
        return float(int(by_node) << 20)
    if by_cpu.isdecimal() and int(by_cpu) and cpus.isdecimal():
        return float(int(by_cpu) * int(cpus) << 20)
    return None

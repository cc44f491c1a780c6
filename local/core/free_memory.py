"""How much memory there is: of a GPU, or of this machine, less where a control group or Slurm limits it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

CGROUPS = Path("/sys/fs/cgroup")
# In either version of control groups: the files of the limit and of what is used, and before the names in memory.stat.
OF_FIRST = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
OF_SECOND = ("memory.max", "memory.current", "")
OF_FILES = ("active_file", "inactive_file")  # what is kept of files, and goes where memory is short
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
    if (found := cgroup_memory(Path("/proc/self/cgroup"), CGROUPS)) is not None:
        limit, free = found  # of memory alone: what a group may swap comes on top
        rooms.append(Room(limit + swap, min(free, memory.available), "this control group (cgroup, container)"))
    if (limit := slurm_limit(os.environ)) is not None:
        rooms.append(Room(limit, min(limit, memory.available), "this Slurm job"))
    return min(rooms)._replace(free=min(each.free for each in rooms))


def cgroup_memory(groups: Path, root: Path) -> tuple[float, float] | None:
    """The lowest memory limit of the control groups that a process is in, and the least that one has free.

    `groups` is its file in /proc, `root` is where they are mounted, in either version; in a container that is the
    process's own group. None without a limit. What is kept of files that were read counts as free.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        base, *names = (root / "memory", *OF_FIRST) if kinds else (root, *OF_SECOND)
        inner = base / path.strip("/")
        for folder in (inner, *inner.parents):
            if folder == base or base in folder.parents:
                found.append(_limit_and_free(folder, *names))
    known = [each for each in found if each is not None]
    return (min(limit for limit, _ in known), min(free for _, free in known)) if known else None


def _limit_and_free(group: Path, of_limit: str, of_use: str, begins: str) -> tuple[float, float] | None:
    """Bytes that a group may use, and of them those that it does not; None where it has no limit."""
    limit = _number(group / of_limit)
    if limit is None or limit >= UNLIMITED:
        return None
    used = _number(group / of_use) or 0.0
    try:
        kinds = dict(line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        kinds = {}
    of_files = sum(float(kinds.get(begins + kind, 0)) for kind in OF_FILES)
    return limit, max(0.0, limit - max(0.0, used - of_files))


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

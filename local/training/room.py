"""How much memory there is for a training, and whether what it needs fits: see `local.training.memory`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

from local.core.errors import UserError
from local.training.memory import Need

CGROUPS = Path("/sys/fs/cgroup")
FROZEN = {"freeze_cnn": "true", "freeze_layers": "N", "freeze": "true"}  # keys by which less of an encoder learns
UNLIMITED = 1 << 60  # bytes: a cgroup without a limit has a number as high as this


class Room(NamedTuple):
    """Bytes of memory: all that there may be, what is free of it now, and where."""

    size: float
    free: float
    where: str


def room(device: str) -> Room:
    """The memory of a GPU; of a CPU that of the machine, with what it swaps, or less where a limit is set."""
    if device.startswith("cuda"):
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


def refuse_too_large(need: Need, there: Room, count: int, values: dict[str, Any]) -> None:
    """Raise a UserError where so many processes at a time certainly need more memory than there is.

    `values` are the YAML's.
    """
    if count * need.certain <= there.size:
        return
    each = f"{count} processes at a time need" if count > 1 else "a training needs"
    remedies = ["fewer --jobs or --processes"] if count > 1 else []
    if need.batch > 0.2 * need.certain:
        remedies.append(f"a smaller --{need.bound} than {values[need.bound]:g}")
    if need.states > 0.2 * need.certain:
        frozen = [f"--{key} {value}" for key, value in FROZEN.items() if key in values]
        remedies += [f"{', '.join(frozen)} or a smaller --encoder"] if frozen else []
    raise UserError(
        f"{each} {count * need.certain / 1e9:.1f} GB of memory at least, and {there.where} has {there.size / 1e9:.1f}",
        f"take {'; or '.join([*remedies, 'another --device or machine'])}",
    )


def said(need: Need, there: Room, count: int = 1) -> str:
    """Say what is predicted, of how much, and where that is not free now."""
    times = f", {count} at a time" if count > 1 else ""
    line = f"memory: {need}{times}; {there.where} has {there.size / 1e9:.1f} GB"
    if count * need.predicted > there.free:
        line += f", of which only {there.free / 1e9:.1f} are free now: expect it to be slow, or to be ended"
    return line

"""The GPUs: which there are, how much of their memory is free, and which of them a job gets.

The figures are nvidia-smi's, of which no other file knows. It prints lines of CSV, memory in MiB. A value that it
does not know is a word in brackets ([N/A], [Not Supported], [Insufficient Permissions]); a fault is a sentence in
between, whatever the exit code. So its output is read line by line, and what cannot be read counts as unknown.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from itertools import takewhile
from typing import NamedTuple

from tqdm import tqdm

TIMEOUT = 20  # seconds; when the driver is in trouble, nvidia-smi hangs
NAME = re.compile(r"[0-9]+|(GPU|MIG)-.+")
LOOK = 1.0  # seconds between two looks at the memory
MARGIN = 1.1  # what must be free for one more process, relative to the most that one has needed


def gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them: by index, UUID or its beginning.

    As in CUDA, an invalid name (-1, say) hides those after it. A GPU that is split (MIG) is given by
    its parts: CUDA cannot use the whole.
    """
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        names = [name.strip() for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
        return list(takewhile(NAME.fullmatch, names))
    listed: list[tuple[str, list[str]]] = []
    for line in _nvidia_smi("-L"):
        if gpu := re.match(r"GPU ([0-9]+): ", line):
            listed.append((gpu[1], []))
        elif listed and (part := re.match(r"\s+MIG .*\(UUID: (MIG-[^)]+)\)", line)):
            listed[-1][1].append(part[1])
    return [name for gpu, parts in listed for name in parts or [gpu]]


class Memory(NamedTuple):
    """The memory of a GPU, in MiB.

    used, free
        Of the whole device, by any user. Their sum may be less than its size: the driver keeps some.
    by_process
        What each process uses, by pid. In a container it may be empty, or have the host's pids.
    """

    used: int
    free: int
    by_process: dict[int, int]


def memory(names: list[str]) -> list[Memory | None]:
    """The memory of each GPU now; None where nvidia-smi does not know it, as of parts of a GPU (MIG).

    Parameters
    ----------
    names
        As `gpus` gives them. An index is nvidia-smi's, which is CUDA's if CUDA_DEVICE_ORDER is PCI_BUS_ID.
    """
    # Processes first: the new memory of one that grows in between is then missed as its own but seen as used; in the
    # other order it would count both as its own and as free.
    processes = _query("compute-apps", "gpu_uuid", "pid", "used_memory")
    devices = _query("gpu", "index", "uuid", "mig.mode.current", "memory.used", "memory.free")
    return [_memory(name, devices, processes) for name in names]


def _memory(name: str, devices: list[list[str]], processes: list[list[str]]) -> Memory | None:
    rows = [row for row in devices if row[0] == name or (name.startswith("GPU-") and row[1].startswith(name))]
    if len(rows) != 1:
        return None
    _, uuid, mig, *figures = rows[0]
    used, free = map(_whole, figures)
    if mig == "Enabled" or used is None or free is None:  # of a split GPU the figures are not those of a part
        return None
    by_process = {_whole(pid): _whole(size) for of, pid, size in processes if of == uuid}
    return Memory(used, free, {pid: size for pid, size in by_process.items() if None not in (pid, size)})


def _query(of: str, *fields: str) -> list[list[str]]:
    """The lines that have a value for each of these fields."""
    lines = _nvidia_smi(f"--query-{of}={','.join(fields)}", "--format=csv,noheader,nounits")
    rows = [[word.strip() for word in line.split(",")] for line in lines]
    return [row for row in rows if len(row) == len(fields)]


def _whole(word: str) -> int | None:
    return int(word) if word.isdecimal() else None


def _nvidia_smi(*words: str) -> list[str]:
    """The lines of its output; none where it cannot be run."""
    command = ["nvidia-smi", *words]
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "errors": "replace"}
    try:
        return subprocess.run(command, timeout=TIMEOUT, **options).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return []


class GpuSlots:
    """Slots for processes: on GPUs, as many as fit in their memory, or on the CPU where there are none.

    A GPU's first process may start at once. Another may join when some process has shown what it
    needs, and that much and a tenth is free besides what those there have yet to allocate (each may
    need a tenth more as well). Needs are measured, not estimated: by pid or, where nvidia-smi does not
    show our pids, as in containers, as equal shares of what has been allocated since the beginning.

    Parameters
    ----------
    names
        The GPUs, as `gpus` gives them; none for the CPU.
    count
        How many processes may run at a time, on all of them together.
    """

    def __init__(self, names: list[str], count: int) -> None:
        self.names, self.count = names, count
        self.shared = count > len(names) > 0
        self.held: list[dict[int, int]] = [{} for _ in names or ["cpu"]]  # of each slot: MiB by pid, when last seen
        self.before = memory(names) if self.shared else [None] * len(self.held)
        pairs = zip(names, self.before, strict=True) if self.shared else ()
        self.unknown = [name for name, figures in pairs if not figures]  # the GPUs whose memory is not known
        self.now, self.looked = self.before, -math.inf
        self.shows_pids = False  # whether nvidia-smi has shown a process of ours
        self.need = 0  # MiB, the most that a process has needed; 0 while it is unknown
        self.has_warned = False

    def environment(self, slot: int) -> dict[str, str]:
        """The environment variables of a process there. CUDA alone counts the fastest first, nvidia-smi by bus."""
        return {"CUDA_VISIBLE_DEVICES": self.names[slot], "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if self.names else {}

    def enter(self, slot: int, pid: int) -> None:
        """Note that a process runs there."""
        self.held[slot][pid] = 0

    def leave(self, slot: int, pid: int, has_shown_need: bool) -> None:
        """Note that a process has ended, and whether it has held all that it needs."""
        held = self.held[slot].pop(pid)
        self.need = max(self.need, held) if has_shown_need else self.need
        self.looked = -math.inf

    def choose(self, shown: set[int]) -> int | None:
        """Choose the slot of one more process: where there is room, the one with the fewest.

        Parameters
        ----------
        shown
            The pids that hold all that they need by now.
        """
        if self.shared and time.monotonic() - self.looked >= LOOK:
            self._look(shown)
        if sum(map(len, self.held)) >= self.count:
            return None
        fewest_first = sorted(range(len(self.held)), key=lambda slot: len(self.held[slot]))
        rooms = {slot: self._room(slot, shown) for slot in fewest_first}
        for slot, room in rooms.items():
            if room >= MARGIN * self.need:
                return slot
        if self.need and not self.has_warned:
            self.has_warned = True
            self._say_short(*max(rooms.items(), key=lambda item: item[1]))
        return None

    def _look(self, shown: set[int]) -> None:
        """See how much memory is used, and learn from it what a process needs."""
        looks = memory(self.names)
        # Figures that were known once and are not now are taken as they were: they will come again.
        self.now = [old and (new or old) for old, new in zip(self.now, looks, strict=True)]
        self.looked = time.monotonic()
        for held, before, now in zip(self.held, self.before, looks, strict=True):
            if held and before and now:
                by_pid = [now.by_process.get(pid, 0) for pid in held]
                self.shows_pids |= any(by_pid)
                share = max(0, now.used - before.used) // len(held)
                for pid, seen in zip(list(held), by_pid if self.shows_pids else [share] * len(held), strict=True):
                    held[pid] = seen or held[pid]  # one that is about to end holds nothing
                    self.need = max(self.need, held[pid]) if pid in shown else self.need

    def _room(self, slot: int, shown: set[int]) -> float:
        """What one more process may take there, in MiB: no limit for the first, and where nothing is known."""
        held, now = self.held[slot], self.now[slot]
        if not held or not now:
            return math.inf
        if not self.need:
            return -math.inf
        to_hold = sum(self.need if pid in shown else MARGIN * self.need for pid in held)
        return now.free - max(0.0, to_hold - sum(held.values()))

    def _say_short(self, slot: int, room: float) -> None:
        needed, left = MARGIN * self.need / 1024, max(0.0, room) / 1024
        running = sum(map(len, self.held))
        tqdm.write(
            f"  no room beside {running} running: one more needs {needed:.1f} GiB with a tenth to spare, "
            f"{left:.1f} GiB are left on GPU {self.names[slot]}; the next waits until one ends",
            file=sys.stdout,
        )

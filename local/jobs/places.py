"""Where jobs that run at the same time find their places: on GPUs, as far as the memory goes, or on the processor."""

from __future__ import annotations

import math
import sys
import time

from tqdm import tqdm

from local.jobs.gpus import memory

LOOK = 1.0  # seconds from one look at the memory to the next
MARGIN = 1.1  # what must be free for one more process, over the most that one was seen to need


class GpuSlots:
    """Places for processes: the GPUs, or the processor where there are none.

    A GPU's first process may come at once. Another may join it when some process has shown what it
    needs, and that much and a tenth is free besides what those there have yet to take (which may
    be a tenth more as well). Needs are seen, not estimated: by pid, or, where nvidia-smi does not
    show ours, as in containers, as equal shares of what has been taken since the beginning.

    Parameters
    ----------
    names
        The GPUs, as `gpus` gives them; none for the processor.
    count
        How many processes may run at a time, on all of them together.
    """

    def __init__(self, names: list[str], count: int) -> None:
        self.names, self.count = names, count
        self.shared = count > len(names) > 0
        self.held: list[dict[int, int]] = [{} for _ in names or ["processor"]]  # of each: MiB by pid, when last seen
        self.before = memory(names) if self.shared else [None] * len(self.held)
        self.untold = [name for name, told in zip(names, self.before, strict=True) if not told] if self.shared else []
        self.now, self.looked = self.before, -math.inf
        self.shows_pids = False  # whether nvidia-smi has shown a process of ours
        self.need = 0  # MiB, the most that a process was seen to need; 0 while it is unknown
        self.said = False

    def environment(self, place: int) -> dict[str, str]:
        """The environment variables of a process there. CUDA counts the fastest first, unless told to as nvidia-smi."""
        return {"CUDA_VISIBLE_DEVICES": self.names[place], "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if self.names else {}

    def enter(self, place: int, pid: int) -> None:
        """Note that a process runs there."""
        self.held[place][pid] = 0

    def leave(self, place: int, pid: int, has_shown_need: bool) -> None:
        """Note that a process has ended, and whether it came to hold all that it needs."""
        held = self.held[place].pop(pid)
        self.need = max(self.need, held) if has_shown_need else self.need
        self.looked = -math.inf

    def choose(self, shown: set[int]) -> int | None:
        """Choose the place of one more process: where there is room, the one with the fewest.

        Parameters
        ----------
        shown
            The pids that hold all that they need by now.
        """
        if self.shared and time.monotonic() - self.looked >= LOOK:
            self._look(shown)
        if sum(map(len, self.held)) >= self.count:
            return None
        fewest_first = sorted(range(len(self.held)), key=lambda place: len(self.held[place]))
        rooms = {place: self._room(place, shown) for place in fewest_first}
        for place, room in rooms.items():
            if room >= MARGIN * self.need:
                return place
        if self.need and not self.said:
            self.said = True
            self._say_short(*max(rooms.items(), key=lambda item: item[1]))
        return None

    def _look(self, shown: set[int]) -> None:
        """See what is in use, and learn from it what a process needs."""
        looks = memory(self.names)
        # What was told once is told again, sooner or later.
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

    def _room(self, place: int, shown: set[int]) -> float:
        """What one more process may take there, in MiB: without bound as the first, and where nothing is told."""
        held, now = self.held[place], self.now[place]
        if not held or not now:
            return math.inf
        if not self.need:
            return -math.inf
        to_hold = sum(self.need if pid in shown else MARGIN * self.need for pid in held)
        return now.free - max(0.0, to_hold - sum(held.values()))

    def _say_short(self, place: int, room: float) -> None:
        needed, left = MARGIN * self.need / 1024, max(0.0, room) / 1024
        running = sum(map(len, self.held))
        tqdm.write(
            f"  no room beside {running} running: one more needs {needed:.1f} GiB with a tenth to spare, "
            f"{left:.1f} GiB are left on GPU {self.names[place]}; the next waits until one ends",
            file=sys.stdout,
        )

"""Which utterances pass through the model together.

An update (optimizer step) takes a random set of utterances. It is cut into micro-batches for speed and memory
alone: similar lengths together, so that there is little padding, and no more seconds than fit
into memory. The gradient of the update does not depend on the cut, but for batch norm, which measures each micro-batch:
then it is cut no more than the limits ask for (see `local.data.device.limits`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class MicroBatch(NamedTuple):
    """Utterances that pass through the model together, as part of one update.

    `share` is the weight of its mean loss in the update's gradient; times the number of processes where several average
    their gradients. It is 0 where a process has no utterance of the update and takes one of another's to keep step.
    """

    indices: list[int]  # of the utterances
    share: float
    ends_update: bool  # whether the optimizer steps after this one
    update: int  # number of the update in the epoch, from 1


class Limits(NamedTuple):
    """The largest micro-batch, and what a pass costs besides its seconds.

    `overhead` is the cost of a pass however short it is, in seconds of audio that the device computes in the same time:
    a fraction of one on a CPU, tens on a GPU.
    """

    size: int  # utterances at most
    seconds: float  # padded seconds at most: utterances x the longest of them; a longer utterance passes alone
    overhead: float
    packed: bool = False  # utterances pass one behind the other: `seconds` are their own, without padding


def cut(durations: np.ndarray, limits: Limits) -> list[slice]:
    """Cut utterances in order of length into micro-batches at the least total cost: padded seconds and overhead.

    By dynamic programming: the best cut of the first n is the best of those whose last micro-batch begins at any
    place that the limits allow. Padding is a cost where utterances are packed, too: what the encoder is given and what
    it gives are side by side. `durations` are [n] seconds, ascending; returns slices of them, in order.
    """
    best, begins = [0.0], [0]
    before = np.cumsum([0.0, *durations])
    for end, longest in enumerate(durations.tolist(), start=1):
        if limits.packed:
            fit = end - int(np.searchsorted(before, before[end] - limits.seconds))
        else:
            fit = int(min(limits.seconds // longest, end)) if longest > 0 else end
        sizes = range(1, max(1, min(limits.size, fit)) + 1)
        costs = [best[end - size] + size * longest + limits.overhead for size in sizes]
        best.append(min(costs))
        begins.append(end - sizes[costs.index(best[-1])])
    slices, end = [], len(durations)
    while end:
        slices.append(slice(begins[end], end))
        end = begins[end]
    return slices[::-1]


class UpdateSampler(Sampler[list[int]]):
    """Every utterance once an epoch, shuffled into updates, each cut into micro-batches of similar lengths.

    The order depends on seed and epoch alone. Several processes (DDP) have the same updates, and divide the utterances
    of each so that their seconds are even.

    Parameters
    ----------
    durations
        [n] seconds per utterance.
    batch_size
        Utterances per update; the last update of an epoch takes what is left.
    limits
        Of a micro-batch.
    seed
        Of the run.
    rank, world_size
        Of this process, and the number of processes.

    Attributes
    ----------
    plan
        The epoch's micro-batches in order.
    done
        Number of the epoch's updates that are done already: iterating begins with the next.
    """

    def __init__(
        self, durations: np.ndarray, batch_size: int, limits: Limits, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.durations = np.asarray(durations, float)
        self.batch_size = batch_size
        self.limits = limits
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.done = 0
        self.set_epoch(1)

    @property
    def updates_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return -(-len(self.durations) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Draw the plan of an epoch."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.durations))
        self.plan: list[MicroBatch] = []
        for number, start in enumerate(range(0, len(order), self.batch_size), start=1):
            update = order[start : start + self.batch_size]
            update = update[np.argsort(self.durations[update], kind="stable")]
            mine = update
            if self.world_size > 1:
                shares = even_shares(self.durations[update], self.world_size)
                mine = update[shares[(self.rank + number) % self.world_size]]  # each has the longest in its turn
            share = self.world_size / len(update) if len(mine) else 0.0
            mine = mine if len(mine) else update[:1]
            micro_batches = (mine[part].tolist() for part in cut(self.durations[mine], self.limits))
            self.plan += [MicroBatch(indices, share * len(indices), False, number) for indices in micro_batches]
            self.plan[-1] = self.plan[-1]._replace(ends_update=True)

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def first(self) -> int:
        """Index of the plan's first micro-batch that is not done."""
        return sum(micro_batch.update <= self.done for micro_batch in self.plan)

    def __iter__(self) -> Iterator[list[int]]:
        return iter([micro_batch.indices for micro_batch in self.plan[self.first :]])


def even_shares(durations: np.ndarray, count: int) -> list[list[int]]:
    """Divide utterances into `count` shares of about equally many seconds.

    From the longest on, each goes to the share with the fewest seconds so far (Graham: Bounds on
    multiprocessing timing anomalies. SIAM Journal on Applied Mathematics 17, 1969).

    `durations` are [n] seconds, ascending; returns the indices of each share, ascending. No share is empty
    if n is at least `count`.
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    seconds = np.zeros(count)
    for index in reversed(range(len(durations))):
        least = int(np.argmin(seconds))
        shares[least].insert(0, index)
        seconds[least] += durations[index]
    return shares


def sorted_batches(durations: np.ndarray, limits: Limits) -> list[list[int]]:
    """Batches of similar lengths for evaluation, longest first: if memory is too small, it shows at once."""
    order = np.argsort(durations, kind="stable")
    return [order[part].tolist() for part in cut(np.asarray(durations, float)[order], limits)][::-1]

"""The memory that a training needs at its peak, predicted before it starts, and what there is of it.

At its peak a training holds

    process     on a CPU all that it has loaded, with the weights; on a GPU the weights
    states      of the optimizer, and the gradients: for Adam 8 and 4 bytes a number that learns
    batch       what the largest micro-batch keeps from its forward pass for its backward pass

or, if it is more, what a batch of the validation takes. Both follow from the lengths: an utterance of t seconds keeps
f = a + b t + c t^2 bytes, of which c is attention's, which keeps none on a GPU. A batch keeps k, which is computed of
the weights alone, and for each utterance f of the longest, as all are padded to that; but where a system lays them one
behind the other, or cuts them into windows, f of each. These numbers are not written here, as kernels change: they are
found from a few short passes of noise through the system, whose tensors are counted. What a system cuts off, it says
(`most_samples`, `most_seconds`). The largest micro-batch is that of the plan, which depends on the seed alone. A system
that cannot take noise is counted without its batches. Files that are mapped into memory, as all stores are, do not
count: the system can drop their pages.

All of that is certain. The gradients of what a batch keeps, memory within an operation, and what the C library keeps of
what is freed come on top: what is said is `BEYOND` times as much for a batch. But a training is refused only where the
certain part does not fit. On a GPU CUDA graphs come on top as well, uncounted: none is made with less than half of its
memory free.
"""

from __future__ import annotations

import contextlib
import copy
import random
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from local.data.batches import UpdateSampler, sorted_batches
from local.data.device import evaluation_limits, kind
from local.data.noise import noise, seconds_read
from local.systems import System

LENGTHS = (0.64, 1.28, 1.92)  # seconds of the passes: whole numbers of frames, whatever the strides
# Seconds of one more, of what is no encoder that learns: some such systems read windows of a second or two, or so many
# seconds at most, and then three short lengths say nothing of long ones. A cost that is as far off there is a line.
LONGER, WRONG = 7.68, 0.1
MIXED = (LONGER, *LENGTHS[2:] * 3)  # seconds of the utterances of a pass that shows what padding costs
EPOCHS = 3  # whose plans are looked at
HALF = 0.49  # of what a batch keeps in single precision, in 16 bits; beside the casts of all weights
# What a batch takes on a CPU, times what it keeps: 1.5 was measured of encoders of 1 and 13 million parameters, 2.1 of
# an x-vector. Of these same runs, a peak was then 1 % lower to 10 % higher than predicted, 15 % after a validation;
# of others, whose utterances lay one behind the other (`local.encoders.packing`), 6 to 8 % higher.
BEYOND = 1.5


class Need(NamedTuple):
    """Bytes that one process of a training holds at its peak: the first two, and the larger of the others if known."""

    process: float
    states: float
    training: float | None  # what the largest micro-batch adds to them
    validation: float | None = None  # and the largest batch of the validation set

    @property
    def batch(self) -> float:
        """What the largest batch adds."""
        return max(self.training or 0.0, self.validation or 0.0)

    @property
    def bound(self) -> str:
        """The YAML's key that bounds it."""
        return "micro_batch_seconds" if self.batch == self.training else "eval_batch_seconds"

    @property
    def certain(self) -> float:
        """All of it."""
        return self.process + self.states + self.batch

    @property
    def predicted(self) -> float:
        """What it is to be expected to hold."""
        return self.process + self.states + BEYOND * self.batch

    def __str__(self) -> str:
        """Say what is predicted, in GB."""
        known = "batches not known" if self.training is None else f"{self.batch / 1e9:.1f} by {self.bound}"
        parts = f"{self.process / 1e9:.1f} process, {self.states / 1e9:.1f} gradients and optimizer, {known}"
        return f"{self.predicted / 1e9:.1f} GB predicted ({parts})"


def predict(
    system: System, values: dict[str, Any], sampler: UpdateSampler, valid: np.ndarray | None, processes: int = 1
) -> Need:
    """Predict the peak of a process of a training, of which there are so many.

    Parameters
    ----------
    system
        On the CPU, before its first update. Nothing of it changes, nor does any random generator.
    values
        The YAML's, with the precision that is used.
    sampler
        Of the training set.
    valid
        [n] seconds of the utterances of the validation set, if there is one.
    processes
        That train it together.
    """
    system.to("cpu")  # a store of what is frozen may have been computed on the device
    learning = float(sum(p.numel() * p.element_size() for p in system.parameters() if p.requires_grad))
    gradients = learning * (2 if processes > 1 else 1)  # DDP copies them into buckets
    on_gpu = kind(values) == "cuda"
    process = psutil.Process().memory_info()
    weights = sum(p.numel() * p.element_size() for p in (*system.parameters(), *system.buffers()))
    held = float(weights if on_gpu else process.rss - getattr(process, "shared", 0))
    states = gradients
    try:  # whatever the YAML names: an optimizer may need other parameters, a system other inputs than noise
        states += numbers_kept(values["optimizer"]) * learning
        kept, taken = costs(system, values["augment"] is not None, fused=on_gpu)
    except Exception:
        return Need(held, states, None)
    half = values["precision"] in ("bf16", "fp16")
    share, casts = (HALF, learning / 2) if half else (1.0, 0.0)
    each = kept.of_each(sampler.durations)
    training = max(
        casts + share * kept.of_batch(each[indices]) - (0.0 if later else gradients)
        for indices, later in micro_batches(sampler)
    )
    validation = 0.0
    if valid is not None and values["eval_precision"] not in ("bf16", "fp16"):
        each = taken.of_each(valid)
        batches = sorted_batches(valid, evaluation_limits(values, system))
        validation = max(taken.of_batch(each[batch]) for batch in batches) - gradients
    return Need(held, states, max(0.0, training), max(0.0, validation))


def micro_batches(sampler: UpdateSampler) -> Iterator[tuple[list[int], bool]]:
    """The micro-batches of the first epochs: their utterances, and whether the update of each has begun."""
    sampler = copy.copy(sampler)
    for epoch in range(1, EPOCHS + 1):
        sampler.set_epoch(epoch)
        begun = 0
        for micro_batch in sampler.plan:
            yield micro_batch.indices, micro_batch.update == begun
            begun = micro_batch.update


def numbers_kept(optimizer: Callable[..., torch.optim.Optimizer]) -> float:
    """How many numbers an optimizer keeps for each that it trains: 2 for Adam, 1 with a momentum."""
    parameter = nn.Parameter(torch.zeros(64, 64))
    built = optimizer([parameter])
    parameter.grad = torch.ones_like(parameter)
    built.step()
    kept = (value.numel() for value in tree_leaves(dict(built.state)) if isinstance(value, Tensor))
    return sum(number for number in kept if number > 1) / parameter.numel()


class Cost(NamedTuple):
    """The bytes of a batch, by the seconds of its utterances."""

    alone: float  # k
    curve: np.ndarray  # c, b, a
    most: float  # seconds of an utterance that are read
    padded: float  # share of what is kept of padding as of true frames: 1 for all, 0 for nothing

    def of_each(self, seconds: np.ndarray) -> np.ndarray:
        """[n] seconds -> [n] bytes."""
        return np.polyval(self.curve, np.minimum(seconds, self.most))

    def __call__(self, seconds: Sequence[float]) -> float:
        """[B] seconds -> bytes of the batch."""
        return self.of_batch(self.of_each(np.array(seconds)))

    def of_batch(self, each: np.ndarray) -> float:
        """[B] bytes of its utterances, as of `of_each` -> those of the batch."""
        sum_of_all = self.padded * len(each) * each.max() + (1 - self.padded) * each.sum()
        return max(0.0, self.alone + float(sum_of_all))


def costs(system: System, augmented: bool, fused: bool = False) -> tuple[Cost, Cost]:
    """What a batch keeps in training, and what it takes in validation; both in single precision.

    `augmented` says that waveforms are the inputs, whatever does not learn; `fused`, that attention keeps no weights.
    """
    learns = system.encoder is not None and not system.encoder.freeze
    lengths = LENGTHS if learns else (*LENGTHS, LONGER)
    with _left_as_it_is(system):
        # Batch norm of pooled frames needs two utterances.
        for least in (1, 2):
            try:
                kept = [_most(system.train(), augmented, [seconds] * least) for seconds in lengths]
                break
            except ValueError:
                if least == 2:
                    raise
        one_more = _most(system.train(), augmented, LENGTHS[:1] * (least + 1))
        mixed = None if learns else _most(system.train(), augmented, MIXED)
        with torch.no_grad():
            taken = [_most(system.eval(), augmented, [seconds]) for seconds in lengths]
    alone = kept[0] - least * (one_more - kept[0])
    cost = Cost(alone, _curve([(each - alone) / least for each in kept]), seconds_read(system), 1.0)
    if mixed is not None:
        cost = cost._replace(padded=_padded(cost, mixed))
    if learns and not fused and system.encoder.packs:  # then nothing is kept of padding
        cost = cost._replace(padded=0.0)
    costs = cost, cost._replace(alone=0.0, curve=_curve(taken))
    for each in costs:
        each.curve[0] *= not fused
    return costs


def _curve(kept: list[float]) -> np.ndarray:
    """c, b, a of what an utterance takes at `LENGTHS`, and at `LONGER`: a line, if the three do not tell of that."""
    curve = np.polyfit(LENGTHS, kept[: len(LENGTHS)], 2)
    if len(kept) > len(LENGTHS) and abs(np.polyval(curve, LONGER) - kept[-1]) > WRONG * abs(kept[-1]):
        return np.array([0.0, *np.polyfit((LENGTHS[-1], LONGER), kept[-2:], 1)])
    return curve


def _padded(cost: Cost, mixed: float) -> float:
    """The share that padding has, from what utterances of the lengths `MIXED` keep."""
    without, whole = (cost._replace(padded=share)(MIXED) for share in (0.0, 1.0))
    return min(1.0, max(0.0, (mixed - without) / (whole - without))) if whole > without else 1.0


@contextlib.contextmanager
def _left_as_it_is(system: System) -> Iterator[None]:
    """Restore a system's buffers and mode and all random generators; skip no layer at random."""
    buffers, training = [(buffer, buffer.clone()) for buffer in system.buffers()], system.training
    config = getattr(getattr(system.encoder, "model", None), "config", None)
    names = ("layerdrop", "encoder_layerdrop")  # the latter is Whisper's
    drops = {name: drop for name in names if (drop := getattr(config, name, None))}
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            for name in drops:
                setattr(config, name, 0.0)
            yield
        finally:
            for name, drop in drops.items():
                setattr(config, name, drop)
            random.setstate(states[0])
            np.random.set_state(states[1])
            system.train(training)
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


def _most(system: System, augmented: bool, seconds: Sequence[float]) -> float:
    """The most bytes that a pass of noise, of such utterances, holds at a time, besides the weights."""
    wavs, lengths = noise(system, augmented, seconds)
    # The waveforms are among what is known: a view of them is no copy.
    with Counter([wavs, *system.parameters(), *system.buffers()]) as counter:
        system(wavs, lengths)
    return float(wavs.nbytes + counter.most)


class Counter(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, as long as they are held; those of `known` do not count."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self.seen: dict[int, Any] = {tensor.untyped_storage().data_ptr(): None for tensor in known}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and look at what it made."""
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage.data_ptr(), storage.nbytes()
        if not size or key in self.seen:
            return

        def forget(_: Any) -> None:
            if self.seen.pop(key, None) is not None:
                self.now -= size

        self.seen[key] = weakref.ref(storage, forget)
        self.now += size
        self.most = max(self.most, self.now)

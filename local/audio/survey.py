"""What the samples of a recording tell: the warnings about it, and whether its channels cancel each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from local.audio.header import BLOCK, SAMPLE_RATE

SILENT = 1e-3  # -60 dBFS
FULL_SCALE = 0.98  # the top of 8-bit mu-law, the coarsest scale in use, lies at 0.9803
CLIPPED = 1e-3
SHORT = 0.1
# Channels cancel each other if their sum has less than this share of the energy that unrelated channels would give it:
# two of equal level, if they correlate by less than -0.75.
CANCELLED = 0.25
# What is further out is no sample: even integers that were not scaled end there. Sums of its squares fit 32-bit floats.
FARTHEST = 2.0**31
FLAGS = {
    "silent": f"no sample is further than {SILENT:g} of full scale (-60 dB) from the mean",
    "clipped": f"in a channel, {CLIPPED:.1%} of the samples or more lie within 2 % of full scale or above it "
    "and repeat the two before them; clipping that was turned down later is not found",
    "short": f"it lasts less than {SHORT} s",
    "over full scale": "some samples lie above full scale, as those of floating point can; they are used as they are",
    "opposite phase": "its channels cancel each other; the loudest of them is used instead of their mean",
    "not finite": "some samples were NaN or infinite; they were set to 0",
}
OF_FILE = ("over full scale", "opposite phase", "not finite")  # found in a file as a whole, not in a window of it


class Survey:
    """What all samples of a recording tell: whether its channels cancel each other, and the flags of `OF_FILE`.

    Channels of which one is the other's negative, as after a swapped wire, leave only their noise in the mean. Sums are
    over `BLOCK` samples at a time, so that a file gives the same ones whole and in blocks.
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sums = torch.zeros(2, channels + 1, dtype=torch.float64)  # of values and squares; the mean comes last
        self.highest, self.is_finite = 0.0, True

    def add(self, samples: Tensor) -> None:
        """Add the next [n, channels] samples; n is a multiple of the block, or they are the last."""
        for part in samples.split(BLOCK):
            finite = _finite(part)
            self.highest = max(self.highest, float(finite.abs().max()))
            self.is_finite &= bool(part.isfinite().all())
            self.count += len(part)
            if part.shape[1] > 1:
                values = torch.cat([finite, finite.mean(1, keepdim=True)], 1).double()
                self.sums += torch.stack([values.sum(0), values.square().sum(0)])

    def refuse_unbelievable(self) -> None:
        """Raise an OSError where samples are further out than any format has them."""
        if self.highest > FARTHEST:
            raise OSError(
                f"its samples reach {self.highest:.0e} times full scale: these are no samples, or its header says "
                "floating point of integers"
            )

    @property
    def channel(self) -> int | None:
        """The loudest channel where the channels cancel each other; None where their mean is taken."""
        values, squares = self.sums
        energies = (squares - values.square() / max(self.count, 1)).clamp(min=0)  # without the offset of each channel
        channels = energies[:-1]
        rounding = 1e-12 * squares.sum()
        if len(channels) ** 2 * energies[-1] + rounding < CANCELLED * channels.sum():
            return int(channels.argmax())
        return None

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of `OF_FILE` that apply."""
        applies = dict(zip(OF_FILE, (self.highest > 1, self.channel is not None, not self.is_finite), strict=True))
        return tuple(flag for flag in OF_FILE if applies[flag])


def mono(samples: Tensor, channel: int | None) -> Tensor:
    """[n, channels] -> [n]: a channel, or the mean of all; samples that are not finite count as 0."""
    finite = _finite(samples)
    return finite.mean(1) if channel is None else finite[:, channel].contiguous()


def own_flags(wav: Tensor, samples: Tensor) -> Iterator[str]:
    """The flags of [N] samples at 16 kHz, and of the [n, channels] that they were made of, besides `OF_FILE`."""
    if (wav - wav.mean()).abs().max() < SILENT:
        yield "silent"
    if _clipped(samples) >= CLIPPED:
        yield "clipped"
    if len(wav) < SHORT * SAMPLE_RATE:
        yield "short"


def in_order(flags: Iterable[str]) -> tuple[str, ...]:
    """Flags in the order of `FLAGS`."""
    return tuple(sorted(flags, key=list(FLAGS).index))


def _finite(samples: Tensor) -> Tensor:
    return samples.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _clipped(samples: Tensor) -> float:
    """Share of samples at full scale that equal the two before them, in the channel with most."""
    last, middle, first = samples[2:], samples[1:-1], samples[:-2]
    stuck = (last == middle) & (middle == first) & (last.abs() >= FULL_SCALE)
    return stuck.sum(0).max().item() / len(samples)

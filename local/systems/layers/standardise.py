"""z = (x - mean) / deviation, with mean and deviation of a training set, which a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from local.encoders import length_mask


class Standardise(nn.Module):
    """Standardise each of the numbers of a row, `shape`, by its mean and standard deviation over all true rows.

    A number that varies by less than `least` is constant but for rounding, and is not divided: else it would count a
    hundred thousandfold where it does vary, as the bands above 4 kHz do that a corpus of telephone audio has not.
    """

    def __init__(self, *shape: int, least: float = 1e-5) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))
        self.least = least

    def forward(self, rows: Tensor) -> Tensor:
        """[..., *shape] -> the same shape; padding does not stay zero."""
        return (rows - self.mean) / self.deviation

    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take mean and deviation from the training set, see `moments`. Called from `System.measure`."""
        mean, deviation = moments(batches)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.where(deviation >= self.least, 1.0))


def moments(batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of rows [B, T, *shape], of which [B] are true, on the CPU: both [*shape].

    In double precision, so that the order of the batches hardly matters.
    """
    count, about, total, squares = 0, 0.0, 0.0, 0.0
    for rows, n_rows in batches:
        true = rows[length_mask(n_rows, rows.shape[1], rows.device)].double()
        # About the first mean, or the squares of a large mean would hide a small deviation.
        about = about if count else true.mean(0)
        count += len(true)
        total = total + (true - about).sum(0)
        squares = squares + (true - about).square().sum(0)
    return about + total / count, (squares / count - (total / count).square()).clamp(min=0).sqrt()

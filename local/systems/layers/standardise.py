"""z = (x - mean) / deviation, with mean and deviation of a training set, which a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from local.encoders import length_mask


class Standardise(nn.Module):
    """Standardise each of the numbers of a row, `shape`, by its mean and standard deviation over all true rows.

    A number that hardly varies, by less than `least`, is divided by that.
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
        """Take mean and deviation from the training set: rows [B, T, *shape], and [B] true rows, on the CPU.

        Called from `System.measure`. In double precision, so that the order of the batches hardly matters.
        """
        count, about, total, squares = 0, 0.0, 0.0, 0.0
        for rows, n_rows in batches:
            true = rows[length_mask(n_rows, rows.shape[1], rows.device)].double()
            # About the first mean, or the squares of a large mean would hide a small deviation.
            about = about if count else true.mean(0)
            count += len(true)
            total = total + (true - about).sum(0)
            squares = squares + (true - about).square().sum(0)
        self.mean.copy_(about + total / count)
        self.deviation.copy_((squares / count - (total / count).square()).clamp(min=0).sqrt().clamp(min=self.least))

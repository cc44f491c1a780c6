"""Batch normalisation of one vector for each utterance, [B, d], also of a batch of one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class VectorNorm(nn.BatchNorm1d):
    """PyTorch's, but in training a single utterance, which has no deviation, is normalised as in evaluation mode.

    The last update of an epoch may have a single one, and PyTorch would raise an error.
    """

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, d] -> [B, d]."""
        if len(vectors) > 1:
            return super().forward(vectors)
        return F.batch_norm(vectors, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class StepNorm(nn.Module):
    """Batch normalisation with statistics of its own for each of `n_steps` time steps, and one scale and shift for all.

    As in recurrent batch normalisation (Cooijmans et al. 2017), the scale starts at 0.1.
    """

    def __init__(self, size: int, n_steps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), 0.1))
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(n_steps, size))
        self.register_buffer("running_var", torch.ones(n_steps, size))

    def forward(self, vectors: Tensor, step: int) -> Tensor:
        """[B, size] of a time step -> [B, size]; a single utterance as in `VectorNorm`."""
        own = self.running_mean[step], self.running_var[step]
        return F.batch_norm(vectors, *own, self.weight, self.bias, training=self.training and len(vectors) > 1)


def running_statistics(system: nn.Module) -> list[Tensor]:
    """The means and variances of batches that a training changes: all but those of a front end, which is fixed."""
    names = ("running_mean", "running_var")
    buffers = ((name.split("."), buffer) for name, buffer in system.named_buffers())
    return [buffer for (*path, last), buffer in buffers if last in names and path[:1] != ["front_end"]]

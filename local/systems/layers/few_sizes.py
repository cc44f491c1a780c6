"""Convolutions whose input has one of a few sizes, though that of each batch is another.

cuDNN plans a convolution, and each of the two of its gradient, when it meets the first input of a size: a millisecond
and more of the CPU for each, which for a small network whose batches differ in size is longer than all it computes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PLANNED = ("cuda",)  # devices on which a size that is new costs more than zeros that are computed in vain


def in_steps(layer: Callable[[Tensor], Tensor], maps: Tensor, dim: int, step: int) -> Tensor:
    """`layer(maps)`, computed with zeros behind dimension `dim`, up to a multiple of `step`.

    The layer keeps that dimension's size, and its output does not depend on zeros behind its input: the batch, or what
    a convolution with padding "same" passes over. What follows it, batch norm above all, sees none of them.
    """
    size = maps.shape[dim]
    if maps.device.type not in PLANNED or size % step == 0:
        return layer(maps)
    shape = [*maps.shape]
    shape[dim] = -size % step
    return layer(torch.cat([maps, maps.new_zeros(shape)], dim=dim)).narrow(dim, 0, size)


def laid_out(maps: Tensor) -> Tensor:
    """Maps, or the weight of a convolution; on a CPU those of a place beside each other in memory.

    There batch norm and pooling, which take as long as small convolutions, are computed faster then. A convolution
    keeps to the layout of its weight, unless that is for a single map.
    """
    if maps.device.type != "cpu":
        return maps
    return maps.contiguous(memory_format=torch.channels_last if maps.ndim == 4 else torch.channels_last_3d)

"""Masks of SpecAugment, one of each kind per utterance: bands of frequencies, and stretches of its true time.

Park et al., Interspeech 2019. A mask's width is uniform from 0 to `most`, and so is its place; by torch's generator of
the CPU. What is masked becomes 0, which the rows should have as their mean.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mask_time(rows: Tensor, n_rows: Tensor, most: int) -> Tensor:
    """Mask up to `most` neighbouring rows of each utterance, within its true ones: [B, T, c], [B] on the CPU."""
    inside = _spans(n_rows, most, rows.shape[1])
    return rows.masked_fill(inside.to(rows.device, non_blocking=True)[:, :, None], 0.0)


def mask_bands(rows: Tensor, most: int) -> Tensor:
    """Mask up to `most` neighbouring numbers in all rows of each utterance: [B, T, c]."""
    inside = _spans(torch.full((len(rows),), rows.shape[2]), most, rows.shape[2])
    return rows.masked_fill(inside.to(rows.device, non_blocking=True)[:, None], 0.0)


def _spans(sizes: Tensor, most: int, size: int) -> Tensor:
    """A random span of each of [B] sizes: [B, size] bool."""
    width, start = torch.rand(len(sizes), 2).unbind(1)
    widest = sizes.clamp(max=most)
    widths = (width * (widest + 1)).long().clamp(max=widest)
    starts = (start * (sizes - widths + 1)).long().clamp(max=sizes - widths)
    places = torch.arange(size)
    return (places >= starts[:, None]) & (places < (starts + widths)[:, None])

"""SpecAugment's warp of time and its masks, one of each kind per utterance, within the utterance's true time.

D. S. Park et al.: SpecAugment, Interspeech 2019. A mask's width is uniform from 0 to `most`, and so is its place. What
is masked becomes 0, which the rows should have as their mean. All is drawn by torch's generator of the CPU, or by the
`generator` that is given.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def mask_time(rows: Tensor, n_rows: Tensor, most: int, generator: Generator | None = None) -> Tensor:
    """Mask up to `most` neighbouring rows of each utterance, within its true ones: [B, T, c], [B] on the CPU."""
    inside = _spans(n_rows, most, rows.shape[1], generator)
    return rows.masked_fill(inside.to(rows.device, non_blocking=True)[:, :, None], 0.0)


def mask_bands(rows: Tensor, most: int, generator: Generator | None = None) -> Tensor:
    """Mask up to `most` neighbouring numbers in all rows of each utterance: [B, T, c]."""
    inside = _spans(torch.full((len(rows),), rows.shape[2]), most, rows.shape[2], generator)
    return rows.masked_fill(inside.to(rows.device, non_blocking=True)[:, None], 0.0)


def warp_time(rows: Tensor, n_rows: Tensor, most: int, generator: Generator | None = None) -> Tensor:
    """Move a random row of each utterance by up to `most` rows, and stretch what lies beside it: [B, T, c], [B].

    Of n true rows, a row w0 from [most, n - most) comes to w0 + w, w uniform from -most to most; the first and the last
    stay. In between time is piecewise linear, as in the authors' later paper (SpecAugment on large scale datasets,
    ICASSP 2020; the first one has splines), and rows are interpolated. An utterance of at most 2 `most` rows has no
    such row and stays as it is.
    """
    place, move = torch.rand(len(rows), 2, generator=generator).unbind(1)
    last = (n_rows - 1).float()
    origin = most + (place * (n_rows - 2 * most)).floor()
    goal = torch.minimum(origin + (2 * move - 1) * most, last - 1).clamp(min=1)
    times = torch.arange(rows.shape[1])[None]  # of the rows that are made; `sources` is where they come from
    first, second = origin / goal, (last - origin) / (last - goal)
    sources = torch.where(
        times < goal[:, None],
        times * first[:, None],
        origin[:, None] + (times - goal[:, None]) * second[:, None],
    )
    is_warped = (n_rows > 2 * most)[:, None] & (times <= last[:, None])
    sources = torch.where(is_warped, torch.minimum(sources.clamp(min=0), last[:, None]), times)
    before = sources.long()
    share = (sources - before).to(rows.device, rows.dtype, non_blocking=True)[:, :, None]
    batch = torch.arange(len(rows), device=rows.device)[:, None]
    after = (before + 1).clamp(max=rows.shape[1] - 1).to(rows.device, non_blocking=True)
    low, high = rows[batch, before.to(rows.device, non_blocking=True)], rows[batch, after]
    return torch.where(share > 0, low + share * (high - low), low)  # beyond the last true row there may be anything


def _spans(sizes: Tensor, most: int, size: int, generator: Generator | None) -> Tensor:
    """A random span of each of [B] sizes: [B, size] bool."""
    width, start = torch.rand(len(sizes), 2, generator=generator).unbind(1)
    widest = sizes.clamp(max=most)
    widths = (width * (widest + 1)).long().clamp(max=widest)
    starts = (start * (sizes - widths + 1)).long().clamp(max=sizes - widths)
    places = torch.arange(size)
    return (places >= starts[:, None]) & (places < (starts + widths)[:, None])

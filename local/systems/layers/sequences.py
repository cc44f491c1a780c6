"""Cutting, filling and masking what has a length: rows [B, T, ...] with [B] true rows, on the CPU, of each utterance.

All of it is said by indices and masks over the whole batch: nothing waits for a GPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from local.encoders import length_mask


def mask_rows(rows: Tensor, n_rows: Tensor, dim: int = 1) -> Tensor:
    """Set what is beyond each utterance's last true row to 0; the rows are dimension `dim`, the utterances the first.

    After a convolution with a bias or a normalisation the padding would otherwise reach the true rows with the next.
    """
    shape = [len(rows), *[1] * (rows.ndim - 1)]
    shape[dim] = rows.shape[dim]
    return rows.masked_fill(~length_mask(n_rows, rows.shape[dim], rows.device).view(shape), 0.0)


def fit(
    rows: Tensor, n_rows: Tensor, least: int = 1, most: int | None = None, multiple: int = 1
) -> tuple[Tensor, Tensor]:
    """Cut each utterance at `most` rows and to a multiple; fill one of fewer than `least` with zeros, which count.

    `least` and `most` are multiples of `multiple`; an utterance of fewer rows than that is filled too. Returns
    [B, T', ...], T' the most true rows of the batch, zero beyond each utterance's last, and [B].
    """
    wanted = n_rows if most is None else n_rows.clamp(max=most)
    wanted = (wanted // multiple * multiple).clamp(min=max(least, multiple))
    size = int(wanted.max())
    rows = F.pad(rows[:, :size], (*(0, 0) * (rows.ndim - 2), 0, max(0, size - rows.shape[1])))
    return mask_rows(rows, torch.minimum(n_rows, wanted)), wanted


def random_crop(rows: Tensor, n_rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cut a random stretch of `size` rows out of each longer utterance, drawn by torch's generator of the CPU."""
    spare = (n_rows - size).clamp(min=0)
    starts = (torch.rand(len(rows)) * (spare + 1)).long().clamp(max=spare)
    lengths = n_rows.clamp(max=size)
    return _take(rows, starts[:, None] + torch.arange(min(size, rows.shape[1]))), lengths


def repeat(rows: Tensor, n_rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Repeat each utterance of fewer than `size` rows from its beginning until it has so many."""
    lengths = n_rows.clamp(min=size)
    return _take(rows, torch.arange(int(lengths.max())) % n_rows[:, None]), lengths


def windows(rows: Tensor, n_rows: Tensor, size: int, shift: int) -> tuple[Tensor, Tensor]:
    """Cut each utterance into windows of `size` rows, `shift` apart, the last of them flush with its end.

    Each has at least `size` rows. Returns [B, K, size, ...], undefined beyond an utterance's last window, and [B] its
    number of windows, on the CPU.
    """
    counts = -(-(n_rows - size) // shift) + 1
    starts = torch.minimum(torch.arange(int(counts.max())) * shift, (n_rows - size)[:, None])  # [B, K]
    return _take(rows, starts[:, :, None] + torch.arange(size)), counts


def join(rows: Tensor, n_rows: Tensor, gap: int = 0) -> tuple[Tensor, Tensor]:
    """Put the true rows of all utterances one after another, each followed by `gap` rows of zeros.

    A convolution over time then has no padding to compute, and batch norm none to count. Returns [L, ...], L the sum of
    all `n_rows + gap`, and [B] the row with which each utterance begins, on the CPU; see `separate`.
    """
    sizes = n_rows + gap
    starts = sizes.cumsum(0) - sizes
    utterances = torch.repeat_interleave(torch.arange(len(rows)), sizes)
    places = (torch.arange(len(utterances)) - starts[utterances]).clamp(max=rows.shape[1] - 1)
    joined = rows[utterances.to(rows.device, non_blocking=True), places.to(rows.device, non_blocking=True)]
    if gap:
        true = joined_mask(starts, n_rows, len(joined), rows.device)
        joined = joined.masked_fill(~true.view(-1, *[1] * (joined.ndim - 1)), 0.0)
    return joined, starts


def joined_mask(starts: Tensor, n_rows: Tensor, size: int, device: torch.device | str) -> Tensor:
    """Mark the true rows of what was joined: [B] first rows, [B] true rows -> [size] bool on a device."""
    places = torch.arange(size)
    utterances = torch.searchsorted(starts, places, right=True) - 1
    return (places - starts[utterances] < n_rows[utterances]).to(device, non_blocking=True)


def separate(joined: Tensor, starts: Tensor, n_rows: Tensor) -> Tensor:
    """Undo `join`: [L, ...], [B] first rows, [B] true rows -> [B, T, ...], zero beyond each utterance's last."""
    places = (starts[:, None] + torch.arange(int(n_rows.max()))).clamp(max=len(joined) - 1)
    return mask_rows(joined[places.to(joined.device, non_blocking=True)], n_rows)


def _take(rows: Tensor, indices: Tensor) -> Tensor:
    """[B, T, ...] at [B, ...] indices of rows, which are cut at the last: [B, ..., ...]."""
    indices = indices.clamp(max=rows.shape[1] - 1).to(rows.device, non_blocking=True)
    batch = torch.arange(len(rows), device=rows.device).view(-1, *[1] * (indices.ndim - 1))
    return rows[batch, indices]

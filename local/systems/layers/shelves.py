"""Utterances of a batch side by side instead of padded: what convolutions compute of padding is computed for nothing.

Of 16 utterances drawn at random, as an update has them, half of the padded rows and more are padding. Here those that
are short share a shelf, as long as the longest utterance, with zeros between them. Convolutions give the same there as
of each utterance alone if they reach no further to one side than there are zeros, and these are zeros again before the
next one; and a batch normalisation measures hardly anything but true rows.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Shelves:
    """Where each utterance lies.

    Parameters
    ----------
    n_rows
        [B] rows of each utterance; on the CPU, as all that is kept here.
    gap
        Rows between two on a shelf. All of these are multiples of the strides of the layers to come, together.
    """

    def __init__(self, n_rows: Tensor, gap: int) -> None:
        self.n_rows = n_rows
        lengths, size = n_rows.tolist(), int(n_rows.max())
        ends: list[int] = []  # of what is on each shelf, with a gap
        places = [(0, 0)] * len(lengths)
        for utterance in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
            # The longest first, each on the first shelf with room.
            shelf = next((number for number, end in enumerate(ends) if end + lengths[utterance] <= size), len(ends))
            ends += [0] * (shelf == len(ends))
            places[utterance] = shelf, ends[shelf]
            ends[shelf] += lengths[utterance] + gap
        self.shelf, self.begins = torch.tensor(places).unbind(1)  # [B] each
        self.utterance = torch.full((len(ends), size), -1)  # [S, T] whose row it is, or -1
        self.row = torch.zeros(len(ends), size, dtype=torch.long)  # [S, T] which of its rows
        for utterance, (shelf, begin) in enumerate(places):
            place = shelf, slice(begin, begin + lengths[utterance])
            self.utterance[place], self.row[place] = utterance, torch.arange(lengths[utterance])

    def lay(self, rows: Tensor) -> Tensor:
        """[B, T, ...] padded rows -> [S, T, ...] shelves, zero between utterances."""
        utterance, row = (each.to(rows.device, non_blocking=True) for each in (self.utterance.clamp(min=0), self.row))
        return self.mask(rows[utterance, row])

    def mask(self, shelves: Tensor, dim: int = 1, stride: int = 1) -> Tensor:
        """Set what is between utterances to 0, in the output of layers of this stride; `dim` is that of the rows."""
        true = (self.utterance[:, ::stride] >= 0).to(shelves.device, non_blocking=True)
        shape = [1] * shelves.ndim
        shape[0], shape[dim] = true.shape
        return shelves.masked_fill(~true.view(shape), 0.0)

    def take(self, shelves: Tensor, stride: int = 1) -> tuple[Tensor, Tensor]:
        """The utterances in the output of such layers: [S, T', ...] -> [B, T', ...], and [B] rows of each.

        What is beyond an utterance's end is undefined.
        """
        n_rows = self.n_rows // stride
        rows = (self.begins // stride)[:, None] + torch.arange(int(n_rows.max()))
        rows = rows.clamp(max=shelves.shape[1] - 1).to(shelves.device, non_blocking=True)
        return shelves[self.shelf[:, None].to(shelves.device, non_blocking=True), rows], n_rows

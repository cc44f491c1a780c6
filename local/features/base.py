"""The base class of front ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence


class FrontEnd(nn.Module):
    """A fixed rule from the waveform of one utterance to rows of numbers, [N] -> [T, c].

    It learns nothing and draws no random numbers, and no other utterance has a part in its rows: they are computed once
    for a corpus, and all folds, seeds and systems share them (see `local.data.feature_store`). Statistics of a
    training set are no part of it; see `local.systems.layers.standardise`.

    A subclass implements `rows`, or `batch` where one operation serves the whole batch, and names in `settings` all
    that its rows depend on besides its class and its weights.

    Attributes
    ----------
    width
        c, the numbers of a row.
    seconds_per_row
        About, from one row to the next; 0 where each utterance has `rows_each` rows, whatever its length.
    version
        Of its rows: with another the rows are computed again.
    """

    width: int
    seconds_per_row: float = 0.0
    rows_each: int = 1
    version: int = 1

    def forward(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the rows of a batch, in single precision and without gradients.

        Parameters
        ----------
        wavs
            [B, N] float, 16 kHz, zero beyond each utterance's end; or [B, T, c] rows, which are returned as they are.
        lengths
            [B] int, true samples, or rows, per utterance, at least 1; on the CPU.

        Returns
        -------
        rows
            [B, T, c], undefined beyond an utterance's last true row.
        n_rows
            [B] int, true rows per utterance, at least 1; on the CPU.
        """
        if wavs.ndim == 3:
            return wavs.float(), lengths
        with torch.no_grad(), torch.autocast(wavs.device.type, enabled=False):
            return self.batch(wavs.float(), lengths)

    def batch(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Implement `forward` for waveforms; same shapes. By default each utterance is computed alone."""
        rows = [self.rows(wav[:length]) for wav, length in zip(wavs, lengths.tolist(), strict=True)]
        return pad_sequence(rows, batch_first=True), torch.tensor([len(each) for each in rows])

    def rows(self, wav: Tensor) -> Tensor:
        """The rows of an utterance: [N] -> [T, c] on the same device, T at least 1."""
        rows, n_rows = self.batch(wav[None], torch.tensor([len(wav)]))
        return rows[0, : int(n_rows)]

    def settings(self) -> dict[str, Any]:
        """What its rows depend on besides its class and its weights, as plain values."""
        return {}

    def weights(self) -> Iterable[Tensor]:
        """The weights that its rows depend on."""
        return self.state_dict().values()

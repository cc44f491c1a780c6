"""The base class of front ends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from local.encoders.row_source import RowSource


class FrontEnd(RowSource):
    """A fixed rule from the waveform of one utterance to rows of numbers, [N] -> [T, c].

    It learns nothing and draws no random numbers, and its rows depend on no other utterance: all folds, seeds and
    systems share them. Statistics of a training set are no part of it; see `local.systems.layers.standardise`.

    A subclass implements `rows`, or `batch` where one operation serves the whole batch, and names in `settings` all
    that its rows depend on besides its class and its weights. `version` is that of its rows: with another they are
    computed again.
    """

    version: int = 1

    def compute(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`batch` in single precision and without gradients."""
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

    def signature(self) -> str:
        """Its class with version and settings."""
        settings = json.dumps(self.settings(), sort_keys=True, default=str)
        return f"{type(self).__module__}.{type(self).__qualname__}\t{self.version}\t{settings}"

    def weights(self) -> Iterable[Tensor]:
        """The weights that its rows depend on."""
        return self.state_dict(keep_vars=True).values()

"""The log-mel energies that SpeechBrain's speaker networks read, less their mean over the utterance."""

from __future__ import annotations

from typing import Any

from speechbrain.lobes.features import Fbank
from torch import Tensor

from local.features.base import FrontEnd


class SpeakerFbank(FrontEnd):
    """[N] -> [T, bands] in dB, 25 ms every 10 ms, centred: SpeechBrain's `Fbank` and mean normalisation."""

    seconds_per_row = 0.01

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.width = bands
        self.fbank = Fbank(n_mels=bands)
        del self.fbank.compute_deltas  # not used, and its kernel would be among the weights

    def rows(self, wav: Tensor) -> Tensor:
        """[N] -> [1 + N // 160, bands]."""
        energies = self.fbank(wav[None])[0]
        return energies - energies.mean(0)

    def settings(self) -> dict[str, Any]:
        """The argument of the constructor."""
        return {"bands": self.width}

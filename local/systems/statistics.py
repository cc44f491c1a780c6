"""Means and deviations of an utterance's log-mel energies, and one linear layer: the smallest useful system.

s = (mean_t m, deviation_t m)           [B, 2M]     of M log-mel energies: `local.features.logmel_statistics`
emotion = W (s - mean) / deviation + b  [B, C]      mean and deviation of s in the training set
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from local.features.logmel_statistics import LogMelStatistics
from local.systems import Outputs, System
from local.systems.layers.standardise import moments

# Of a statistic over a training set, 0.4 dB: those of speech deviate by 1 dB and more. A band that holds nothing, as
# above 4 kHz in telephone audio, deviates by less, and would decide everything where it does hold something.
LEAST_DEVIATION = 0.1


class StatisticsSystem(System):
    """A linear classifier of `n_labels` emotions on the mean and standard deviation of `n_mels` log-mel energies."""

    def __init__(self, n_labels: int, n_mels: int = 40) -> None:
        super().__init__(front_end=LogMelStatistics(n_mels))
        # Not in a module of their own: run folders and models have these names.
        self.register_buffer("mean", torch.zeros(self.front_end.width))
        self.register_buffer("deviation", torch.ones(self.front_end.width))
        self.emotion_head = nn.Linear(self.front_end.width, n_labels)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, [B] samples; or [B, 1, 2M] rows -> logits of the emotions."""
        return Outputs(self.emotion_head(self.standardised(wavs, lengths)))

    def standardised(self, wavs: Tensor, lengths: Tensor) -> Tensor:
        """The statistics, each with mean 0 and deviation 1 over the training set: [B, 2M]."""
        rows, _ = self.front_end(wavs, lengths)
        return (rows[:, 0] - self.mean) / self.deviation

    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take mean and deviation of the statistics over the training set."""
        mean, deviation = moments(self.front_end(*batch) for batch in batches)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp(min=LEAST_DEVIATION))

    def settings(self) -> dict[str, Any]:
        """The argument of the constructor besides `n_labels`."""
        return self.front_end.settings()


SYSTEM = StatisticsSystem

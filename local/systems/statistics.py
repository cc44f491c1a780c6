"""Means and deviations of an utterance's log-mel energies, and one linear layer: the smallest useful system.

m_t = log(mel |STFT(x)|^2 + e)          [B, T, M]   25 ms every 10 ms
s   = (mean_t m, deviation_t m)         [B, 2M]     over the true frames
emotion = W (s - mean) / deviation + b  [B, C]      mean and deviation of s in the training set
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from local.core.errors import UserError
from local.encoders import length_mask
from local.systems import Outputs, System

RATE, WINDOW, HOP = 16_000, 400, 160  # Hz, and samples: 25 ms every 10 ms
MOST_MELS = 80  # of more, some would lie between the frequencies of such a window
LEAST = 1e-3  # added before the logarithm: below -70 dBFS nothing counts, nor does what rounding leaves there


class StatisticsSystem(System):
    """A linear classifier of `n_labels` emotions on the mean and standard deviation of `n_mels` log-mel energies."""

    def __init__(self, n_labels: int, n_mels: int = 40) -> None:
        super().__init__()
        if not 1 <= n_mels <= MOST_MELS:
            raise UserError(f"n_mels is {n_mels}", f"set n_mels to 1 to {MOST_MELS}")
        self.n_mels = n_mels
        with torch.device("cpu"):  # it looks at the values, which there are none of on the device `meta`
            filters = melscale_fbanks(WINDOW // 2 + 1, 0.0, RATE / 2, n_mels, RATE)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("mean", torch.zeros(2 * n_mels))
        self.register_buffer("deviation", torch.ones(2 * n_mels))
        self.emotion_head = nn.Linear(2 * n_mels, n_labels)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, [B] samples -> logits of the emotions."""
        return Outputs(self.emotion_head(self.standardised(wavs, lengths)))

    def standardised(self, wavs: Tensor, lengths: Tensor) -> Tensor:
        """The statistics, each with mean 0 and deviation 1 over the training set: [B, 2 * n_mels]."""
        return (self.statistics(wavs, lengths) - self.mean) / self.deviation

    def statistics(self, wavs: Tensor, lengths: Tensor) -> Tensor:
        """Mean and standard deviation of each log-mel energy over the true frames: [B, 2 * n_mels]."""
        lengths = lengths.clamp(min=WINDOW)  # a shorter utterance is one frame, filled with zeros
        with torch.autocast(wavs.device.type, enabled=False):
            wavs = F.pad(wavs.float(), (0, WINDOW))
            # Not centred: a true frame holds true samples only.
            power = torch.stft(wavs, WINDOW, HOP, window=self.window, center=False, return_complex=True).abs() ** 2
            energies = (power.transpose(1, 2) @ self.filters + LEAST).log()
            true = length_mask((lengths - WINDOW) // HOP + 1, energies.shape[1], wavs.device)[:, :, None]
            mean = energies.masked_fill(~true, 0.0).sum(1) / true.sum(1)
            squares = (energies - mean[:, None]).masked_fill(~true, 0.0).square().sum(1)
            return torch.cat([mean, (squares / true.sum(1)).sqrt()], dim=1)

    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take mean and standard deviation of the statistics over the training set."""
        rows = torch.cat([self.statistics(*batch) for batch in batches])
        self.mean.copy_(rows.mean(0))
        self.deviation.copy_(rows.std(0, correction=0).clamp(min=1e-3))

    def settings(self) -> dict[str, Any]:
        """The argument of the constructor besides `n_labels`."""
        return {"n_mels": self.n_mels}


SYSTEM = StatisticsSystem

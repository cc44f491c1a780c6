"""Mean and standard deviation over time of an utterance's log-mel energies: one row.

m_t = log(mel |STFT(x)|^2 + e)          [T, M]      25 ms every 10 ms, Hann windows, M bands from 0 to 8 kHz
s   = (mean_t m, deviation_t m)         [1, 2M]     over the true frames
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from local.core.errors import UserError
from local.encoders import length_mask
from local.features.base import FrontEnd
from local.features.logmel import LogMel

WINDOW = 400  # samples
MOST_MELS = 80  # of more, some would lie between the frequencies of such a window
LEAST = 1e-3  # added before the logarithm: below -70 dBFS nothing counts, nor does what rounding leaves there


class LogMelStatistics(FrontEnd):
    """[N] -> [1, 2 * n_mels]; an utterance of less than a window is filled with zeros to one."""

    def __init__(self, n_mels: int = 40) -> None:
        super().__init__()
        if not 1 <= n_mels <= MOST_MELS:
            raise UserError(f"n_mels is {n_mels}", f"set n_mels to 1 to {MOST_MELS}")
        self.n_mels, self.width = n_mels, 2 * n_mels
        self.energies = LogMel(n_mels, WINDOW, n_fft=WINDOW, low=0.0, least=LEAST)
        self.energies.taper = torch.hann_window(WINDOW)  # that of Hamming is LogMel's own

    def batch(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N], [B] samples -> [B, 1, 2 * n_mels], and [B], 1 of each."""
        energies, n_frames = self.energies.batch(F.pad(wavs, (0, WINDOW)), lengths)  # an exported graph: of any N
        beyond = ~length_mask(n_frames, energies.shape[1], wavs.device)[:, :, None]
        count = (~beyond).sum(1)
        mean = energies.masked_fill(beyond, 0.0).sum(1) / count
        squares = (energies - mean[:, None]).masked_fill(beyond, 0.0).square().sum(1)
        return torch.cat([mean, (squares / count).sqrt()], dim=1)[:, None], torch.ones_like(lengths)

    def settings(self) -> dict[str, Any]:
        """The argument of the constructor."""
        return {"n_mels": self.n_mels}

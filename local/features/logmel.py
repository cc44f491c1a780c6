"""Log-mel energies: log(mel |DFT(w x)|^2 + least), by torchaudio's triangular filters."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.features.base import FrontEnd


class LogMel(FrontEnd):
    """The log-mel energies of frames of `window` samples every `hop`: [N] -> [1 + (N - window) // hop, n_mels].

    Hamming windows, filled with zeros to `n_fft` samples; the power spectrum; triangular filters of height 1, evenly
    spaced from `low` to `high` Hz in mel(f) = 2595 log10(1 + f / 700). The frames are not centred: each holds true
    samples only, and what is left at the end is not used. An utterance of less than a window is filled with zeros to
    one. A `UserError` where a filter would lie between the frequencies of the DFT.
    """

    def __init__(
        self,
        n_mels: int = 80,
        window: int = 400,
        hop: int = 160,
        n_fft: int = 512,
        low: float = 20.0,
        high: float = SAMPLE_RATE / 2,
        least: float = 1e-6,
    ) -> None:
        super().__init__()
        if not 0 < window <= n_fft:
            raise UserError(f"n_fft is {n_fft}, and a window has {window} samples", "set n_fft to at least these")
        self.width, self.window, self.hop, self.n_fft = n_mels, window, hop, n_fft
        self.low, self.high, self.least = low, high, least
        self.seconds_per_row = hop / SAMPLE_RATE
        with torch.device("cpu"):  # their values are looked at, which there are none of on the device `meta`
            taper = torch.hamming_window(window)
            filters = melscale_fbanks(n_fft // 2 + 1, low, high, n_mels, SAMPLE_RATE) if n_mels > 0 else torch.zeros(1)
        if not (filters > 0).any(0).all():
            raise UserError(
                f"n_mels is {n_mels}: {n_fft} samples are too few for so many bands", "set n_mels to fewer, at least 1"
            )
        self.register_buffer("taper", taper, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def batch(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N], [B] samples -> [B, T, n_mels], [B] frames."""
        # torch.stft puts the window in the middle of the n_fft samples: frame t is to begin at sample t * hop.
        before = (self.n_fft - self.window) // 2
        after = self.n_fft - self.window - before + max(0, self.window - wavs.shape[1])
        spectra = torch.stft(
            F.pad(wavs, (before, after)),
            self.n_fft,
            self.hop,
            self.window,
            window=self.taper,
            center=False,
            return_complex=True,
        )
        energies = (spectra.real.square() + spectra.imag.square()).transpose(1, 2) @ self.filters
        return (energies + self.least).log(), (lengths.clamp(min=self.window) - self.window) // self.hop + 1

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        names = ("window", "hop", "n_fft", "low", "high", "least")
        return {"n_mels": self.width} | {name: getattr(self, name) for name in names}

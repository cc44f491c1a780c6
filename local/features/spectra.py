"""Spectra of short frames: power or magnitude, logarithmic or not.

Frame t has the `window` samples from t * `hop` on, under a periodic Hamming window, and is filled with zeros to `n_fft`
samples. It is not centred: a true frame holds true samples only. An utterance of n samples has 1 + (n - window) // hop
frames; one shorter than a window is filled with zeros to one frame.

    x_tf = |DFT(frame_t)_f|^power            f = 0 .. bins - 1, every 16,000 / n_fft Hz
    row  = log(x_tf + floor), or x_tf
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from local.core.errors import UserError
from local.features.base import FrontEnd

RATE = 16_000  # Hz


class Spectra(FrontEnd):
    """The spectra of frames of `window` samples, `hop` apart: [N] -> [T, bins].

    Parameters
    ----------
    window, hop, n_fft
        Samples of a frame, from one frame to the next, and of the Fourier transform.
    bins
        How many are kept, from 0 Hz on; None: all n_fft // 2 + 1.
    power
        2: the power |X|^2; 1: the magnitude |X|.
    log, floor
        Whether the logarithm is taken, and what is added before it.
    """

    def __init__(
        self,
        window: int,
        hop: int,
        n_fft: int,
        bins: int | None = None,
        power: int = 2,
        log: bool = True,
        floor: float = 1e-8,
    ) -> None:
        super().__init__()
        self.width = n_fft // 2 + 1 if bins is None else bins
        if not (1 <= window <= n_fft and hop >= 1 and 1 <= self.width <= n_fft // 2 + 1 and power in (1, 2)):
            raise UserError(
                f"spectra of window {window}, hop {hop}, n_fft {n_fft}, {self.width} bins and power {power}",
                "set window to 1 to n_fft, hop to at least 1, bins to 1 to n_fft // 2 + 1, power to 1 or 2",
            )
        self.window, self.hop, self.n_fft = window, hop, n_fft
        self.power, self.log, self.floor = power, log, floor
        self.seconds_per_row = hop / RATE
        self.register_buffer("taper", F.pad(torch.hamming_window(window), (0, n_fft - window)), persistent=False)

    def batch(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N], [B] -> [B, T, bins], [B]."""
        wavs = F.pad(wavs, (0, self.n_fft))
        spectra = torch.stft(wavs, self.n_fft, self.hop, window=self.taper, center=False, return_complex=True)
        spectra = spectra[:, : self.width].transpose(1, 2).abs()
        rows = spectra.square() if self.power == 2 else spectra
        n_rows = (lengths.clamp(min=self.window) - self.window) // self.hop + 1
        return (rows + self.floor).log() if self.log else rows, n_rows

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            **{"window": self.window, "hop": self.hop, "n_fft": self.n_fft, "bins": self.width},
            **{"power": self.power, "log": self.log, "floor": self.floor},
        }

"""The inputs of Wang et al. 2020 (`local.systems.wang_dual_lstm`): two mel spectrograms of a fixed size, and MFCC.

           DFT    hop   bands   frames
    A      512    256     128      230      fine in time
    B     1024    512     256      120      fine in frequency

As `librosa.feature.melspectrogram` computes them (0.7, with its defaults): samples at the scale of 16-bit integers,
periodic Hann window, frames centred by reflection, power spectrum, Slaney's bands and norm. Then 10 log10(x + 1e-10);
frames are repeated or left out, so that there are as many as above whatever the length. MFCC: `htk_mfcc`.

All three as one array: A as 736 rows of 40, B as 768, then a row for each frame of the MFCC, 39 numbers and a zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from local.features.base import FrontEnd
from local.features.mfcc import FULL_SCALE, HTK_NUMBERS, RATE, htk_mfcc


class Mel(NamedTuple):
    """A mel spectrogram; its windows overlap by half."""

    dft: int
    bands: int
    frames: int


A, B = Mel(512, 128, 230), Mel(1024, 256, 120)
LEAST = 1e-10  # power of a band: -100 dB
WIDTH = 40
ROWS_A, ROWS_B = (mel.bands * mel.frames // WIDTH for mel in (A, B))
ROWS_BEFORE = ROWS_A + ROWS_B  # the MFCC


class MelPairs(FrontEnd):
    """Two mel spectrograms and the MFCC of an utterance: [N] -> [1504 + T, 40].

    For the spectrograms an utterance of less than 1,024 samples, the longer window, is filled with zeros.
    """

    width = WIDTH
    rows_each = ROWS_BEFORE + 450  # of an utterance of 4.5 s

    def __init__(self) -> None:
        super().__init__()
        for name, mel in (("a", A), ("b", B)):
            self.register_buffer(f"filters_{name}", slaney_filters(mel), persistent=False)
            self.register_buffer(f"window_{name}", torch.hann_window(mel.dft, dtype=torch.double), persistent=False)

    def rows(self, wav: Tensor) -> Tensor:
        """[N] -> [1504 + T, 40], T = 1 + (N - 400) // 160."""
        mfcc = htk_mfcc(wav)
        wav = F.pad(wav.double() * FULL_SCALE, (0, max(0, B.dft - len(wav))))
        a = _at(decibels(wav, self.window_a, self.filters_a), A.frames)
        b = _at(decibels(wav, self.window_b, self.filters_b), B.frames)
        return pack(a.float(), b.float(), mfcc.float())


def decibels(wav: Tensor, window: Tensor, filters: Tensor) -> Tensor:
    """The mel spectrogram in dB: [N], [n] window, [n / 2 + 1, bands] filters -> [bands, 1 + 2 N // n]."""
    power = torch.stft(wav, len(window), len(window) // 2, window=window, return_complex=True).abs().square()
    return 10 * (filters.T @ power + LEAST).log10()


def slaney_filters(mel: Mel) -> Tensor:
    """Triangles of area 1 in Hz, evenly spaced in Slaney's mel from 0 to 8 kHz: [dft / 2 + 1, bands].

    That scale is linear up to 1 kHz, 15 mel, and above it 27 mel are a factor of 6.4. In double precision: torchaudio's
    are in single, where a band beside a loud tone is wrong by up to 2e-3 dB.
    """
    mels = np.linspace(0, 15 + 27 * np.log(RATE / 2000) / np.log(6.4), mel.bands + 2)
    corners = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    bins = np.linspace(0, RATE / 2, mel.dft // 2 + 1)[:, None]
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(min=0)
    return torch.from_numpy(triangles * 2 / (right - left))


def _at(spectrogram: Tensor, frames: int) -> Tensor:
    """[bands, T] -> [bands, frames]: at each place the nearest frame before it."""
    places = torch.arange(frames, device=spectrogram.device) * spectrogram.shape[1] // frames
    return spectrogram[:, places]


def pack(a: Tensor, b: Tensor, mfcc: Tensor) -> Tensor:
    """[128, 230], [256, 120] and [T, 39] as one array, [1504 + T, 40]."""
    return torch.cat([a.reshape(ROWS_A, WIDTH), b.reshape(ROWS_B, WIDTH), F.pad(mfcc, (0, WIDTH - HTK_NUMBERS))])


def unpack(rows: Tensor, n_rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a batch of `pack` was made of.

    `rows` are [B, 1504 + T, 40], `n_rows` [B], on the CPU. Returns [B, 1, 128, 230], [B, 1, 256, 120], [B, T, 39], and
    the frames of the latter, [B], on the CPU.
    """
    a, b, mfcc = rows[:, :ROWS_A], rows[:, ROWS_A:ROWS_BEFORE], rows[:, ROWS_BEFORE:, :HTK_NUMBERS]
    spectrograms = a.reshape(-1, 1, A.bands, A.frames), b.reshape(-1, 1, B.bands, B.frames)
    return *spectrograms, mfcc, n_rows - ROWS_BEFORE

"""Temporal modulation of auditory channels: what an ear's filters and the modulation filters behind them give out.

Waveform -> 32 gammachirp filters -> envelopes at 400 Hz -> 6 modulation filters -> 100 rows per second, [T, 6 * 32].

Gammachirp, 1,024 samples at 16 kHz: t^3 exp(-2 pi b ERB(f) t) cos(2 pi f t + c ln t), with b = 1.019 and
ERB(f) = 24.7 + f / 9.26449 Hz. Its gain is highest at f + c b ERB(f) / 4, as the chirp has a frequency of its own at
each moment (Irino and Patterson: A time-domain, level-dependent auditory filter. JASA 101, 1997). c = 0: the gammatone.
Modulation filters: a magnitude of 1 / sqrt(1 + (f / 2)^6) below, and 1 / (1 + j (f / m - m / f)) around m = 4 .. 64 Hz
(Jorgensen and Dau: Predicting speech intelligibility based on the envelope power SNR. JASA 130, 2011).

All of it is by FFTs over the whole utterance, with zeros behind it that keep its end from its beginning. Of a longer
one than 10 s the rest is not computed: the model that reads these rows never sees it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from scipy.signal import firwin
from torch import Tensor
from torchaudio.functional import compute_deltas, melscale_fbanks

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.features import FrontEnd

KINDS = ("gammachirp", "gammatone", "logmel")
CHANNELS, LOWEST, HIGHEST = 32, 80.0, 7000.0  # Hz
TAPS, ORDER, BANDWIDTH, CHIRP = 1024, 4, 1.019, -2.0
FINE = 2**17  # points of the transform in which a filter's highest gain is looked for: 0.12 Hz apart
SECONDS = 10  # of an utterance that are computed
DECIMATION = 40
ENVELOPE_RATE = SAMPLE_RATE // DECIMATION  # 400 Hz
MODULATIONS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # Hz; the first is a low-pass
SILENCE = 2 * ENVELOPE_RATE  # zeros behind an envelope: the slowest modulation filter has ended after them
WINDOW, HOP = ENVELOPE_RATE // 50, ENVELOPE_RATE // 100  # 20 ms every 10 ms
LEAST = 1e-4  # added before the logarithm of a modulation
N_FFT, LEAST_POWER = 512, 1e-3  # of the log-mel energies; below -70 dBFS nothing counts


class Auditory(FrontEnd):
    """Rows of 6 modulations x 32 auditory channels, the modulations the slower index; see `by_channel`.

    `kind` is gammachirp; gammatone; or logmel, for comparison: 32 log-mel energies over the same time, their deltas and
    the deltas of these, and three modulations that are zero.
    """

    width = len(MODULATIONS) * CHANNELS
    seconds_per_row = 0.01

    def __init__(self, kind: str = "gammachirp") -> None:
        super().__init__()
        if kind not in KINDS:
            raise UserError(f"front_end is '{kind}'", f"set front_end to one of: {' '.join(KINDS)}")
        self.kind = kind
        taps = filters(CHIRP if kind == "gammachirp" else 0.0)
        with torch.device("cpu"):  # their values are needed, which there are none of on the device `meta`
            self.register_buffer("taps", torch.from_numpy(taps).float(), persistent=False)
            self.register_buffer("decimation", _decimation(), persistent=False)
            self.register_buffer("window", torch.hann_window(2 * SAMPLE_RATE // 100), persistent=False)
            mels = melscale_fbanks(N_FFT // 2 + 1, LOWEST, HIGHEST, CHANNELS, SAMPLE_RATE)
            self.register_buffer("mels", mels, persistent=False)

    def rows(self, wav: Tensor) -> Tensor:
        """[N] samples -> [T, 192]; T is 299 for 3.00 s."""
        # Each utterance alone: the size of its FFT, and with it what is rounded, is then the same in any batch.
        wav = wav[: SECONDS * SAMPLE_RATE]
        planes = self._energies(wav) if self.kind == "logmel" else self._modulations(wav)
        return planes.flatten(0, 1).T

    def envelopes(self, wav: Tensor) -> Tensor:
        """The envelope of each channel at 400 Hz, the modulus of its analytic signal: [N] -> [32, ceil(N / 40)]."""
        size = next_fast_len(len(wav) + TAPS - 1, real=True)
        spectrum = torch.fft.rfft(self.taps, size).mul_(torch.fft.rfft(wav, size))
        spectrum[:, 1 : (size + 1) // 2] *= 2  # an analytic signal has no negative frequencies
        analytic = torch.fft.ifft(F.pad(spectrum, (0, size - spectrum.shape[1])))
        return self._decimated(analytic[:, : len(wav)].abs()).clamp(min=0)

    def _decimated(self, signals: Tensor) -> Tensor:
        """Every 40th sample behind a low-pass, as scipy.signal.resample_poly: [c, N] -> [c, ceil(N / 40)]."""
        reach, count = self.decimation.shape[1] // 2 * DECIMATION, -(-signals.shape[1] // DECIMATION)
        blocks = F.pad(signals, (reach, count * DECIMATION + reach - signals.shape[1])).unfold(
            1, DECIMATION, DECIMATION
        )
        parts = blocks @ self.decimation  # [c, blocks, 21]: what a block adds to each of the samples around it
        return sum(parts[:, k : k + count, k] for k in range(parts.shape[2]))

    def _modulations(self, wav: Tensor) -> Tensor:
        """Logarithm of the mean magnitude of each modulation: [N] -> [6, 32, T]."""
        envelopes = self.envelopes(wav)
        envelopes = F.pad(envelopes, (0, max(0, WINDOW - envelopes.shape[1])))
        size = next_fast_len(envelopes.shape[1] + SILENCE, real=True)
        spectrum = torch.fft.rfft(envelopes, size) * modulation_filters(size, wav.device)[:, None]
        modulated = torch.fft.irfft(spectrum, size)[..., : envelopes.shape[1]]
        return (F.avg_pool1d(modulated.abs(), WINDOW, HOP) + LEAST).log()

    def _energies(self, wav: Tensor) -> Tensor:
        """Log-mel energies, their deltas, the deltas of these, and zeros: [N] -> [6, 32, T]."""
        wav = F.pad(wav, (0, max(0, len(self.window) - len(wav))))
        frames = wav.unfold(0, len(self.window), len(self.window) // 2) * self.window
        energies = (torch.fft.rfft(frames, N_FFT).abs().square() @ self.mels + LEAST_POWER).log().T
        deltas = compute_deltas(energies)
        planes = [energies, deltas, compute_deltas(deltas)]
        return torch.stack(planes + [torch.zeros_like(energies)] * (len(MODULATIONS) - len(planes)))

    def settings(self) -> dict[str, Any]:
        """The kind."""
        return {"kind": self.kind}


def by_channel(rows: Tensor) -> Tensor:
    """[..., 192] -> [..., 6, 32], modulations x auditory channels."""
    return rows.unflatten(-1, (len(MODULATIONS), CHANNELS))


def centres() -> np.ndarray:
    """The frequencies of the highest gain, [32] Hz: evenly spaced in 21.4 log10(1 + 0.00437 f)."""
    steps = np.linspace(*(21.4 * math.log10(1 + 0.00437 * f) for f in (LOWEST, HIGHEST)), CHANNELS)
    return (10 ** (steps / 21.4) - 1) / 0.00437


def filters(chirp: float) -> np.ndarray:
    """Gammachirps, [32, 1024] taps, whose gain is highest at `centres`, and 1 there; `chirp` is c."""
    # The peak f + c b ERB(f) / 4 is linear in f.
    slope, offset = chirp * BANDWIDTH / ORDER / 9.26449, chirp * BANDWIDTH / ORDER * 24.7
    frequencies = ((centres() - offset) / (1 + slope))[:, None]
    times = np.arange(1, TAPS) / SAMPLE_RATE
    decay = np.exp(-2 * np.pi * BANDWIDTH * (24.7 + frequencies / 9.26449) * times)
    taps = times ** (ORDER - 1) * decay * np.cos(2 * np.pi * frequencies * times + chirp * np.log(times))
    taps = np.pad(taps, ((0, 0), (1, 0)))  # at t = 0, where the logarithm has no value, t^3 is 0
    gains = np.concatenate([np.abs(np.fft.rfft(row, FINE)).max(keepdims=True) for row in taps])
    return taps / gains[:, None]


def modulation_filters(size: int, device: torch.device | str = "cpu") -> Tensor:
    """The modulation filters at the frequencies of an FFT of `size` samples at 400 Hz: [6, size // 2 + 1] complex."""
    frequencies = torch.fft.rfftfreq(size, 1 / ENVELOPE_RATE, device=device)
    low = 1 / torch.sqrt(1 + (frequencies / MODULATIONS[0]) ** 6)  # Butterworth's of third order, without its phase
    middle = torch.tensor(MODULATIONS[1:], device=device)[:, None]
    band = 1 / torch.complex(torch.ones_like(frequencies), frequencies / middle - middle / frequencies)
    band[:, 0] = 0  # 1 / (1 - j infinity)
    return torch.cat([low[None].to(band.dtype), band])


def _decimation() -> Tensor:
    """Taps of resample_poly's low-pass for 1:40, 801, in blocks: [40, 21], the last block first."""
    taps = firwin(2 * 10 * DECIMATION + 1, 1 / DECIMATION, window=("kaiser", 5.0))
    return torch.from_numpy(np.pad(taps, (0, DECIMATION - 1))).float().view(-1, DECIMATION).T.contiguous()

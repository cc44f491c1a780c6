"""Noisy copies of an utterance, by a fixed rule: for front ends, whose rows are stored once."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

RATIOS = (10.0, 5.0, 0.0)  # dB, signal to noise
COPIES = 2 * len(RATIOS)


def noisy_copies(wav: Tensor) -> list[Tensor]:
    """[N] -> 6 x [N]: with white noise at 10, 5 and 0 dB, and with pink noise, whose power falls as 1/f.

    The noise is drawn from the samples' checksum: an utterance always has the same, another utterance another.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(wav.cpu().numpy().tobytes()))
    white = torch.randn(len(wav), generator=generator, dtype=torch.double).to(wav.device)
    spectrum = torch.fft.rfft(white)
    pink = torch.fft.irfft(spectrum / torch.arange(len(spectrum), device=wav.device).clamp(min=1).sqrt(), n=len(wav))
    return [_mixed(wav, noise, ratio) for noise in (white, pink) for ratio in RATIOS]


def _mixed(wav: Tensor, noise: Tensor, ratio: float) -> Tensor:
    """A waveform with a noise at a signal-to-noise ratio in dB, over the whole of it."""
    power = wav.double().square().mean() / noise.square().mean().clamp(min=1e-20)
    return (wav + noise * (power * 10 ** (-ratio / 10)).sqrt()).to(wav.dtype)

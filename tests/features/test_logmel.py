"""Log-mel energies: against numpy, alone and in a batch, and the shapes of three seconds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from system_checks import sounds

from local.core.errors import UserError
from local.features.logmel import LogMel


def energies_of_numpy(wav: np.ndarray, n_mels: int, n_fft: int, low: float, high: float, least: float) -> np.ndarray:
    """[T, n_mels] log-mel energies of frames of 400 samples every 160."""
    mels = np.linspace(*(2595 * math.log10(1 + edge / 700) for edge in (low, high)), n_mels + 2)
    corners, frequencies = 700 * (10 ** (mels / 2595) - 1), np.arange(n_fft // 2 + 1) * 16_000 / n_fft
    filters = [np.interp(frequencies, corners[band : band + 3], [0, 1, 0], 0, 0) for band in range(n_mels)]
    taper = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.lib.stride_tricks.sliding_window_view(wav.astype(np.float64), 400)[::160]
    return np.log(np.abs(np.fft.rfft(frames * taper, n_fft)) ** 2 @ np.stack(filters, 1) + least)


@pytest.mark.parametrize(
    ("n_mels", "n_fft", "low", "high"), [(80, 512, 20, 8000), (40, 400, 0, 4000), (23, 512, 20, 7600)]
)
def test_the_energies_are_those_of_numpy(n_mels, n_fft, low, high):
    (wav,) = sounds(1.2)
    rows = LogMel(n_mels, n_fft=n_fft, low=low, high=high).rows(wav)
    expected = energies_of_numpy(wav.numpy(), n_mels, n_fft, low, high, 1e-6)
    np.testing.assert_allclose(rows, expected, atol=2e-3)


def test_an_utterance_has_the_same_rows_alone_and_in_a_batch():
    front_end, lengths = LogMel(), torch.tensor([48_000, 1600, 400, 399, 160, 1])
    (wav,) = sounds(3)
    wavs = torch.zeros(len(lengths), 48_000)
    for row, length in enumerate(lengths):
        wavs[row, :length] = wav[:length]
    together, n_rows = front_end(wavs, lengths)
    assert n_rows.tolist() == [298, 8, 1, 1, 1, 1] and together.shape == (6, 298, 80)
    for row, (length, count) in enumerate(zip(lengths.tolist(), n_rows.tolist(), strict=True)):
        alone = front_end.rows(wav[:length])
        assert alone.shape == (count, 80)
        torch.testing.assert_close(alone, together[row, :count], rtol=0, atol=1e-4)


def test_settings_build_the_same_front_end():
    made = LogMel(30, window=320, hop=80, n_fft=320, low=50, high=5000, least=1e-4)
    again = LogMel(**made.settings())
    (wav,) = sounds(0.5)
    assert torch.equal(made.rows(wav), again.rows(wav)) and again.settings() == made.settings()


@pytest.mark.filterwarnings("ignore:At least one mel")
def test_bands_that_cannot_be_are_refused():
    for n_mels in (0, 200):
        with pytest.raises(UserError, match="n_mels"):
            LogMel(n_mels)
    with pytest.raises(UserError, match="n_fft"):
        LogMel(n_fft=256)
    with torch.device("meta"):
        LogMel()

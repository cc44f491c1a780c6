"""Statistics of log-mel energies, against numpy."""

from __future__ import annotations

import math

import numpy as np
import torch
from tiny_folders import noise

from local.features.logmel_statistics import LEAST, WINDOW, LogMelStatistics

HOP = 160


def mel_filters(count: int) -> np.ndarray:
    """[bins, count] triangles, evenly spaced in mel(f) = 2595 log10(1 + f / 700) from 0 to 8 kHz."""
    top = 2595 * math.log10(1 + 8000 / 700)
    corners = [700 * (10 ** (mel / 2595) - 1) for mel in np.linspace(0, top, count + 2)]
    frequencies = np.arange(WINDOW // 2 + 1) * 16_000 / WINDOW
    return np.stack(
        [np.interp(frequencies, corners[band : band + 3], [0, 1, 0], 0, 0) for band in range(count)], axis=1
    )


def test_the_statistics_are_those_of_numpy():
    wav = noise(1)
    frames = np.lib.stride_tricks.sliding_window_view(wav.astype(np.float64), WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    energies = np.log(np.abs(np.fft.rfft(frames * hann)) ** 2 @ mel_filters(40) + LEAST)
    expected = np.concatenate([energies.mean(0), energies.std(0)])
    np.testing.assert_allclose(LogMelStatistics(40).rows(torch.from_numpy(wav))[0], expected, atol=1e-3)


def test_each_utterance_has_one_row_whatever_its_length_and_its_batch():
    lengths = torch.tensor([1, 250, 400, 9000])
    wavs = torch.from_numpy(noise(1))[None, :9000].repeat(4, 1) * (torch.arange(9000) < lengths[:, None])
    front_end = LogMelStatistics(20)
    rows, n_rows = front_end(wavs, lengths)
    assert rows.shape == (4, 1, front_end.width) == (4, 1, 40) and n_rows.tolist() == [1] * 4
    for row, wav, length in zip(rows, wavs, lengths.tolist(), strict=True):
        torch.testing.assert_close(row, front_end.rows(wav[:length]), atol=1e-5, rtol=0)
    assert rows[:3, 0, 20:].abs().max() == 0  # of one frame
    assert not front_end.state_dict() and front_end.settings() == {"n_mels": 20}

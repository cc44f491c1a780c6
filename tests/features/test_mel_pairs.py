"""Mel spectrograms against NumPy, written from what librosa's documentation says; packing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from system_checks import sounds

from local.features.mel_pairs import MelPairs, decibels, pack, unpack
from local.features.mfcc import htk_mfcc


def slaney(frequency: np.ndarray) -> np.ndarray:
    """Slaney's mel: linear up to 1 kHz, then 27 steps from each frequency to 6.4 times it."""
    return np.where(
        frequency < 1000, 3 * frequency / 200, 15 + 27 * np.log(np.maximum(frequency, 1e-9) / 1000) / np.log(6.4)
    )


def librosa_decibels(wav: np.ndarray, size: int, bands: int) -> np.ndarray:
    """[N] -> [bands, 1 + 2 N // size], frame by frame and band by band."""
    wide = np.pad(32768 * wav.astype(float), size // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    starts = range(0, len(wide) - size + 1, size // 2)
    power = np.stack([np.abs(np.fft.rfft(hann * wide[start : start + size])) ** 2 for start in starts], axis=1)
    grid = np.linspace(0, 8000, 200_001)
    corners = np.interp(np.linspace(0, slaney(np.array(8000.0)), bands + 2), slaney(grid), grid)
    frequencies = np.arange(size // 2 + 1) * 16_000 / size
    rows = []
    for left, centre, right in zip(corners, corners[1:], corners[2:], strict=False):
        triangle = np.interp(frequencies, [left, centre, right], [0, 1, 0], 0, 0)
        rows.append(2 / (right - left) * triangle @ power)
    return 10 * np.log10(np.array(rows) + 1e-10)


@pytest.fixture(scope="module")
def front_end() -> MelPairs:
    return MelPairs()


@pytest.mark.parametrize(("name", "size", "bands", "frames"), [("a", 512, 128, 188), ("b", 1024, 256, 94)])
def test_a_spectrogram_is_librosas(front_end, name, size, bands, frames):
    (wav,) = sounds(3.0)
    window, filters = front_end.get_buffer(f"window_{name}"), front_end.get_buffer(f"filters_{name}")
    found = decibels(32768 * wav.double(), window, filters)
    assert found.shape == (bands, frames)
    np.testing.assert_allclose(found, librosa_decibels(wav.numpy(), size, bands), rtol=0, atol=1e-3)


@pytest.mark.parametrize("seconds", [0.7, 3.0, 6.1])
def test_the_rows_hold_both_at_their_sizes_and_the_mfcc(front_end, seconds):
    (wav,) = sounds(seconds)
    rows = front_end.rows(wav)
    a, b, mfcc, n_frames = unpack(rows[None], torch.tensor([len(rows)]))
    assert (a.shape, b.shape) == ((1, 1, 128, 230), (1, 1, 256, 120))
    for found, name, frames in ((a, "a", 230), (b, "b", 120)):
        scaled, window = 32768 * wav.double(), front_end.get_buffer(f"window_{name}")
        every = decibels(scaled, window, front_end.get_buffer(f"filters_{name}")).float()
        nearest = [every.shape[1] * place // frames for place in range(frames)]
        assert torch.equal(found[0, 0], every[:, nearest])
    assert n_frames.tolist() == [mfcc.shape[1]] and torch.equal(mfcc[0], htk_mfcc(wav).float())


def test_what_was_packed_is_unpacked():
    parts = torch.randn(128, 230), torch.randn(256, 120), torch.randn(7, 39)
    rows = pack(*parts)
    assert rows.shape == (736 + 768 + 7, 40)
    padded = torch.cat([rows, torch.full((5, 40), torch.nan)])[None]
    a, b, mfcc, n_frames = unpack(padded, torch.tensor([len(rows)]))
    assert n_frames.tolist() == [7]
    for found, part in zip((a[0, 0], b[0, 0], mfcc[0, :7]), parts, strict=True):
        assert torch.equal(found, part)


@pytest.mark.parametrize("samples", [1, 160, 512, 513, 1023])
def test_an_utterance_shorter_than_a_window_is_filled_with_zeros(front_end, samples):
    (wav,) = sounds(samples / 16_000)
    rows, filled = front_end.rows(wav), front_end.rows(torch.nn.functional.pad(wav, (0, 1024 - samples)))
    assert rows.isfinite().all() and torch.equal(rows[:1504], filled[:1504])


def test_digital_silence_is_100_db_below_one_unit(front_end):
    a, b, mfcc, _ = unpack(front_end.rows(torch.zeros(16_000))[None], torch.tensor([1504 + 98]))
    assert (a == -100).all() and (b == -100).all() and (mfcc == 0).all()

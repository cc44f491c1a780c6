"""MFCC in the manners of HTK and of Kaldi, against NumPy written from the HTK book and Kaldi's documentation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from system_checks import sounds

from local.core.errors import UserError
from local.features.mfcc import KaldiMfcc, htk_mfcc, kaldi_mfcc
from local.features.voice_activity import is_speech

RATE = 16_000


def frames_of(wav: np.ndarray, size: int, step: int) -> np.ndarray:
    """[T, size] frames of 16-bit samples, in double precision."""
    count = 1 + (len(wav) - size) // step
    return np.stack([32768.0 * wav[step * at : step * at + size] for at in range(count)])


def cepstra_of(frames: np.ndarray, window: np.ndarray, rate: int, bands: int, edges: tuple[float, float]) -> np.ndarray:
    """[T, size] -> [T, bands]: cepstra from 0 on, by the formulas, band by band."""
    emphasised = frames.copy()
    emphasised[:, 1:] -= 0.97 * frames[:, :-1]
    emphasised[:, 0] -= 0.97 * frames[:, 0]
    size = 2 ** math.ceil(math.log2(frames.shape[1]))
    power = np.abs(np.fft.rfft(emphasised * window, size)) ** 2
    mel = 2595 * np.log10(1 + np.arange(size // 2 + 1) * rate / size / 700)
    low, high = (2595 * math.log10(1 + edge / 700) for edge in edges)
    corners = np.linspace(low, high, bands + 2)
    logs = np.empty((len(frames), bands))
    for band, (left, centre, right) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
        logs[:, band] = np.log(np.maximum(power @ np.clip(np.minimum(rising, falling), 0, None), 1.0))
    cepstra = np.empty_like(logs)
    for number in range(bands):
        cosines = np.cos(math.pi * number * (np.arange(bands) + 0.5) / bands)
        scale = math.sqrt((2 if number else 1) / bands) * (1 + 11 * math.sin(math.pi * number / 22))
        cepstra[:, number] = scale * logs @ cosines
    return cepstra


def deltas_of(values: np.ndarray) -> np.ndarray:
    """Regression over two frames on each side; the first and the last are repeated."""
    wide = np.concatenate([values[:1], values[:1], values, values[-1:], values[-1:]])
    frames = len(values)
    return sum(step * (wide[2 + step :][:frames] - wide[2 - step :][:frames]) for step in (1, 2)) / 10


@pytest.fixture(scope="module")
def wav() -> torch.Tensor:
    (made,) = sounds(1.3)
    made[8000:9000] = 0.0  # digital silence
    return made


def test_htk(wav):
    frames = frames_of(wav.numpy().astype(float), 400, 160)
    hamming = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    cepstra = cepstra_of(frames, hamming, RATE, 26, (0, 8000))[:, 1:13]
    energies = np.log(np.maximum((frames**2).sum(1), 1.0))
    static = np.concatenate([cepstra, energies[:, None]], axis=1)
    deltas = deltas_of(static)
    expected = np.concatenate([static, deltas, deltas_of(deltas)], axis=1)
    found = htk_mfcc(wav)
    assert found.shape == (1 + (len(wav) - 400) // 160, 39)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("rate", "edges"), [(16_000, (20, 7600)), (8_000, (20, 3700))])
def test_kaldi(wav, rate, edges):
    size = rate // 40
    frames = frames_of(wav.numpy().astype(float), size, rate // 100)
    frames -= frames.mean(1, keepdims=True)
    povey = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / (size - 1))) ** 0.85
    cepstra, energies = kaldi_mfcc(wav, rate)
    np.testing.assert_allclose(cepstra, cepstra_of(frames, povey, rate, 23, edges), rtol=0, atol=1e-3)
    np.testing.assert_allclose(energies, np.log(np.maximum((frames**2).sum(1), 1.0)), rtol=0, atol=1e-6)


def test_three_seconds_are_298_frames():
    assert htk_mfcc(torch.zeros(48_000)).shape == (298, 39)
    for rate in (16_000, 8_000):
        assert KaldiMfcc(rate, voice_activity=False).rows(torch.zeros(48_000)).shape == (298, 23)


@pytest.mark.parametrize("samples", [1, 160, 399, 400])
def test_less_than_a_frame_is_filled(samples):
    (wav,) = sounds(samples / RATE)
    assert htk_mfcc(wav).shape == (1, 39)
    for rate in (16_000, 8_000):
        rows = KaldiMfcc(rate).rows(wav)
        assert rows.shape == (1, 23) and rows.isfinite().all()


def test_frames_without_speech_are_dropped_after_the_mean_was_taken(wav):
    quiet = torch.cat([wav, 1e-4 * wav])
    kept = is_speech(kaldi_mfcc(quiet)[1])
    found, every = KaldiMfcc().rows(quiet), KaldiMfcc(voice_activity=False).rows(quiet)
    assert 0 < len(found) < len(every) and torch.equal(found, every[kept])


def test_of_an_utterance_without_speech_every_frame_is_kept():
    assert len(KaldiMfcc().rows(torch.zeros(16_000))) == 98


def test_noisy_copies_stand_beside_the_recording(wav):
    rows, alone = KaldiMfcc(noise=True).rows(wav), KaldiMfcc().rows(wav)
    assert rows.shape == (len(alone), 161) == (len(alone), KaldiMfcc(noise=True).width)
    assert torch.equal(rows[:, :23], alone)
    copies = rows.view(len(rows), 7, 23).transpose(0, 1)
    assert all((one - other).abs().mean() > 0.1 for at, one in enumerate(copies) for other in copies[at + 1 :])


def test_another_sample_rate_is_refused():
    with pytest.raises(UserError, match="sample_rate is 44100"):
        KaldiMfcc(44_100)

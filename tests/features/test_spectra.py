"""Spectra of frames, against scipy's window and numpy's transform of each frame by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import get_window
from system_checks import sounds

from local.core.errors import UserError
from local.features.spectra import Spectra

WU, LIU = {"window": 640, "hop": 160, "n_fft": 800, "bins": 200}, {"window": 256, "hop": 128, "n_fft": 256}


def by_hand(wav: torch.Tensor, window: int, hop: int, n_fft: int, bins: int | None = None) -> np.ndarray:
    """[N] -> [T, bins] powers."""
    wav = np.pad(wav.double().numpy(), (0, max(0, window - len(wav))))
    frames = [wav[start : start + window] for start in range(0, len(wav) - window + 1, hop)]
    spectra = np.fft.rfft(np.stack(frames) * get_window("hamming", window), n_fft)
    return np.abs(spectra[:, :bins]) ** 2


@pytest.mark.parametrize(("settings", "shape"), [(WU, (297, 200)), (LIU, (374, 129))])
def test_log_power_of_three_seconds(settings, shape):
    (wav,) = sounds(3.0)
    front_end = Spectra(**settings)
    rows = front_end.rows(wav)
    assert rows.shape == shape and front_end.width == shape[1]
    np.testing.assert_allclose(rows, np.log(by_hand(wav, **settings) + 1e-8), atol=5e-3)


def test_magnitude_and_power_without_a_logarithm():
    (wav,) = sounds(0.3)
    power = by_hand(wav, **LIU)
    np.testing.assert_allclose(Spectra(**LIU, log=False).rows(wav), power, atol=1e-5)
    np.testing.assert_allclose(Spectra(**LIU, power=1, log=False).rows(wav), power**0.5, atol=1e-5)
    np.testing.assert_allclose(Spectra(**LIU, power=1, floor=0.1).rows(wav), np.log(power**0.5 + 0.1), atol=1e-5)


@pytest.mark.parametrize("settings", [WU, LIU])
def test_an_utterance_has_the_same_rows_alone_and_in_a_batch(settings):
    wavs, front_end = sounds(0.5, 0.1, 0.01), Spectra(**settings)
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    rows, n_rows = front_end(padded, torch.tensor([len(wav) for wav in wavs]))
    for wav, one, size in zip(wavs, rows, n_rows.tolist(), strict=True):
        assert size == 1 + max(0, len(wav) - settings["window"]) // settings["hop"]
        np.testing.assert_allclose(one[:size], np.log(by_hand(wav, **settings) + 1e-8), atol=5e-3)
    assert front_end.rows(torch.zeros(1)).shape == (1, front_end.width)


def test_settings_build_the_same_and_wrong_ones_are_refused():
    front_end = Spectra(**WU, power=1, floor=1e-3)
    assert Spectra(**front_end.settings()).settings() == front_end.settings()
    assert front_end.seconds_per_row == 0.01 and not front_end.state_dict()
    for wrong in ({"window": 801}, {"hop": 0}, {"bins": 402}, {"bins": 0}, {"power": 3}):
        with pytest.raises(UserError, match="spectra"):
            Spectra(**WU | wrong)

"""The auditory front end against scipy, step by step, and what it gives for sounds whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal
from tiny_folders import noise

from local.core.errors import UserError
from local.features.auditory import CHANNELS, KINDS, MODULATIONS, Auditory, by_channel, centres, filters
from local.features.auditory import modulation_filters as bank

RATE = 16_000
POINTS = 2**17


def gains(chirp: float) -> tuple[np.ndarray, np.ndarray]:
    """[bins] Hz, and [32, bins] magnitudes of the filters."""
    return np.fft.rfftfreq(POINTS, 1 / RATE), np.abs(np.fft.rfft(filters(chirp), POINTS))


def test_the_centres_are_evenly_spaced_on_the_scale_of_the_ear():
    numbers = 21.4 * np.log10(1 + 0.00437 * centres())
    np.testing.assert_allclose(np.diff(numbers), np.diff(numbers)[0])
    assert (centres()[0], centres()[-1], len(centres())) == (pytest.approx(80), pytest.approx(7000), 32)


def test_without_a_chirp_the_taps_are_those_of_scipys_gammatone():
    for frequency, taps in zip(centres(), filters(0.0), strict=True):
        expected, _ = signal.gammatone(frequency, "fir", order=4, numtaps=1024, fs=RATE)
        factor = taps @ expected / (expected @ expected)
        assert np.abs(taps - factor * expected).max() < 1e-15 * np.abs(taps).max() + 1e-18


def test_the_gain_is_one_and_highest_within_a_hundredth_of_the_centre():
    frequencies, gain = gains(-2.0)
    peaks = frequencies[gain.argmax(1)]
    off = np.abs(peaks / centres() - 1)
    assert off.max() < 0.01
    assert off[centres() > 190].max() < 0.001
    np.testing.assert_allclose(gain.max(1), 1, atol=1e-9)


def test_together_the_filters_are_flat():
    frequencies, gain = gains(-2.0)
    power = (gain**2).sum(0)[(frequencies >= 100) & (frequencies <= 6500)]
    assert 10 * np.log10(power.max() / power.min()) == pytest.approx(0.70, abs=0.01)


def test_the_envelopes_are_scipys():
    front_end, wav = Auditory(), noise(0.3)
    channels = signal.oaconvolve(np.pad(wav, (0, 10_000)).astype(float)[None], filters(-2.0), axes=1)
    moduli = np.abs(signal.hilbert(channels, axis=1))[:, : len(wav)]
    expected = signal.resample_poly(moduli, 1, 40, axis=1).clip(min=0)
    found = front_end.envelopes(torch.from_numpy(wav))
    assert found.shape == (32, 120)
    # An analytic signal depends a little on the zeros behind, of which there are fewer.
    assert np.abs(found.numpy() - expected).max() < 2e-3 * expected.max()


@pytest.mark.parametrize("samples", [160, 1600, 4801])
def test_the_moduli_are_decimated_as_by_resample_poly(samples):
    values = np.random.default_rng(samples).standard_normal((2, samples))
    found = Auditory()._decimated(torch.from_numpy(values).float())
    np.testing.assert_allclose(found, signal.resample_poly(values, 1, 40, axis=1), atol=1e-6)


def test_the_modulation_filters_are_those_of_the_formulas():
    found = bank(800).numpy()  # a bin each 0.5 Hz
    for channel, middle in enumerate(MODULATIONS[1:], start=1):
        for index in (1, 3, 8, 16, 33, 128, 400):
            f = index / 2
            assert found[channel, index] == pytest.approx(1 / (1 + 1j * (f / middle - middle / f)), abs=1e-6)
        assert abs(found[channel, int(2 * middle)]) == pytest.approx(1)
    assert not found[1:, 0].any()
    _, butterworth = signal.freqs(*signal.butter(3, 2.0, analog=True), worN=np.arange(401) / 2)
    np.testing.assert_allclose(found[0], np.abs(butterworth), atol=1e-6)


def test_the_rows_are_log_means_of_the_modulations_over_20_ms_every_10():
    front_end, wav = Auditory(), torch.from_numpy(noise(0.5))
    envelopes = front_end.envelopes(wav).numpy().astype(float)
    size = 1000  # 200 samples, and 2 s of zeros
    spectrum = np.fft.rfft(envelopes, size)
    for channel, response in enumerate(bank(size).numpy()):
        modulated = np.abs(np.fft.irfft(spectrum * response, size)[:, : envelopes.shape[1]])
        means = np.stack([modulated[:, at : at + 8].mean(1) for at in range(0, envelopes.shape[1] - 7, 4)])
        found = by_channel(front_end.rows(wav))[:, channel]
        np.testing.assert_allclose(found, np.log(1e-4 + means), atol=1e-4)


def test_a_tone_is_found_in_its_channel_and_its_modulation():
    times = torch.arange(2 * RATE) / RATE
    for tone, modulation in ((1000, 8), (300, 4), (3000, 32)):
        wav = 0.1 * (1 + torch.cos(2 * torch.pi * modulation * times)) * torch.sin(2 * torch.pi * tone * times)
        mean = by_channel(Auditory().rows(wav)).exp().mean(0)[1:]  # the low-pass has the level itself
        band, channel = divmod(int(mean.argmax()), CHANNELS)
        assert MODULATIONS[1:][band] == modulation
        assert channel == np.abs(centres() - tone).argmin()


@pytest.mark.parametrize("kind", KINDS)
def test_100_rows_a_second_at_least_one_and_of_10_s_at_most(kind):
    front_end = Auditory(kind)
    wav = torch.from_numpy(noise(11))
    counts = {1: 1, 160: 1, 320: 1, 440: 1, 480: 2, 1600: 9, 48_000: 299, 160_000: 999}
    for samples, count in counts.items():
        rows = front_end.rows(wav[:samples])
        assert rows.shape == (count, 192)
        assert rows.isfinite().all()
    assert torch.equal(front_end.rows(wav), front_end.rows(wav[: 10 * RATE]))


def test_log_mel_energies_have_deltas_and_three_planes_of_zeros():
    planes = by_channel(Auditory("logmel").rows(torch.from_numpy(noise(0.5)))).numpy()
    assert not planes[:, 3:].any()
    for plane in (0, 1):  # (x[t+1] - x[t-1] + 2 (x[t+2] - x[t-2])) / 10
        x = planes[:, plane]
        expected = (x[3:-1] - x[1:-3] + 2 * (x[4:] - x[:-4])) / 10
        np.testing.assert_allclose(planes[2:-2, plane + 1], expected, atol=1e-5)


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match="cochlea") as caught:
        Auditory("cochlea")
    assert caught.value.remedy == "set front_end to one of: gammachirp gammatone logmel"

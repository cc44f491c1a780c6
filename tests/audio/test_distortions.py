"""Each distortion against a formula that it does not use itself."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch

from local.audio import distortions
from local.audio.distortions import active_power, distort, impulse_response, seed_of, writes_mp3
from local.core.conditions import CLEAN, CONDITIONS, INAUDIBLE, Case

RATE = 16_000


def speech(seconds: float = 2.0, seed: int = 0) -> torch.Tensor:
    """Noise in bursts of 0.2 s with pauses between, which are 60 dB quieter."""
    chance = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE))
    loud = np.where(time // (RATE // 5) % 2, 1e-3, 1.0)
    return torch.from_numpy((0.1 * loud * chance.normal(size=len(time))).astype(np.float32))


def tone(hertz: float, seconds: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).float()


def level(wav: torch.Tensor, low: float, high: float) -> float:
    """The power between two frequencies in dB, by its spectrum."""
    spectrum = np.abs(np.fft.rfft(wav.double().numpy())) ** 2
    hertz = np.fft.rfftfreq(len(wav), 1 / RATE)
    return 10 * np.log10(spectrum[(hertz >= low) & (hertz < high)].sum() + 1e-30)


def frame_powers(wav: torch.Tensor) -> np.ndarray:
    frames = wav.double().numpy()[: len(wav) // 320 * 320].reshape(-1, 320)
    return (frames**2).mean(1)


@pytest.mark.parametrize("name", CONDITIONS)
def test_what_is_clean_stays_as_it_is(name):
    wav = speech(0.5)
    assert distort(wav, Case(name, CONDITIONS[name].clean), 1, [wav]) is wav
    assert distort(wav, CLEAN) is wav
    assert not distort(torch.zeros(100), Case(name, 0.9), 1, [wav]).any()


@pytest.mark.parametrize(
    ("case", "error"),
    [
        (Case("white", 100), 1e-5),
        (Case("pink", 100), 1e-5),
        (Case("babble", 100), 1e-5),
        (Case("gain", 1e-4), 1e-4),
        (Case("tilt", 1e-4), 1e-3),
        (Case("silence", 1e-5), 1e-9),
        (Case("clipping", 1e-4), 1e-3),
    ],
)
def test_what_is_nearly_clean_is_nearly_the_same(case, error):
    wav = speech(0.5)
    distorted = distort(wav, case, 3, [speech(0.3, 1)])
    assert len(distorted) == len(wav) and float((distorted - wav).abs().max()) <= error


@pytest.mark.parametrize("name", ["white", "pink", "babble"])
@pytest.mark.parametrize("snr", [20, 0])
def test_noise_has_the_ratio_to_what_is_active(name, snr):
    wav = speech()
    noise = distort(wav, Case(name, snr), 5, [speech(1.3, 1), speech(3.0, 2)]) - wav
    powers = frame_powers(wav)
    active = powers[powers > powers.max() / 1e4]
    assert len(active) == len(powers) / 2  # the pauses do not count
    assert 10 * np.log10(active.mean() / float(noise.double().square().mean())) == pytest.approx(snr, abs=0.01)


def test_a_last_frame_that_is_shorter_counts_by_its_samples():
    wav = torch.cat([torch.ones(320), torch.zeros(320), 3 * torch.ones(80)])
    assert float(active_power(wav)) == pytest.approx((320 * 1 + 80 * 9) / 400)
    assert float(active_power(torch.full((7,), 2.0))) == pytest.approx(4)


def test_frames_within_40_db_of_the_loudest_are_active():
    levels = torch.tensor([0.0, -39.0, -41.0]).repeat_interleave(320)  # dB
    assert float(active_power(10 ** (levels / 20))) == pytest.approx((1 + 10**-3.9) / 2, rel=1e-5)


def test_white_noise_is_flat_and_pink_falls_by_3_db_per_octave():
    wav = tone(440, 8.0)
    noises = [distort(wav, Case(name, 0), 7) - wav for name in ("white", "pink")]
    bands = [(250 * 2**octave, 500 * 2**octave) for octave in range(5)]
    white, pink = ([level(noise, *band) for band in bands] for noise in noises)
    assert np.diff(white) == pytest.approx([3.01] * 4, abs=0.5)  # a band has twice the width of the one before
    assert np.diff(pink) == pytest.approx([0.0] * 4, abs=0.5)


def test_babble_is_made_of_the_talkers():
    wav, talker = speech(1.0), speech(1.0, 4)
    noise = (distort(wav, Case("babble", 0), 11, [talker]) - wav).double().numpy()
    spectra = np.fft.rfft(noise), np.fft.rfft(talker.double().numpy())
    match = np.fft.irfft(spectra[0] * spectra[1].conj(), len(noise))  # at every shift
    assert match.max() / np.linalg.norm(noise) / np.linalg.norm(talker) == pytest.approx(1, abs=1e-4)


def test_a_silent_talker_adds_nothing_to_babble():
    wav, silent = speech(0.5), torch.zeros(700)
    heard = distort(wav, Case("babble", 5), 3, [silent, tone(500)])
    assert heard.isfinite().all() and not heard.equal(wav)
    assert distort(wav, Case("babble", 5), 3, [silent, silent]).equal(wav)


@pytest.mark.parametrize("rt60", [0.2, 0.8])
def test_a_room_decays_by_60_db_within_its_time(rt60):
    response = impulse_response(rt60, torch.Generator().manual_seed(2)).double().numpy()
    energy = response**2
    assert energy[1:].sum() == pytest.approx(energy[0], rel=1e-4)
    left = 10 * np.log10(np.cumsum(energy[:0:-1])[::-1] / energy[1:].sum())  # Schroeder 1965
    at = np.flatnonzero((left < -5) & (left > -25))
    slope = np.polyfit(at / RATE, left[at], 1)[0]
    assert -60 / slope == pytest.approx(rt60, rel=0.1)


def test_reverberation_keeps_length_level_and_onset():
    click = torch.zeros(RATE)
    click[4000] = 1.0
    heard = distort(click, Case("reverb", 0.4), 1)
    assert not heard[:4000].abs().gt(1e-5).any() and int(heard.abs().argmax()) == 4000
    wav = speech()
    heard = distort(wav, Case("reverb", 0.4), 1)
    assert len(heard) == len(wav) and float(active_power(heard)) == pytest.approx(float(active_power(wav)), rel=1e-4)


def test_the_telephone_has_its_band():
    def passed(hertz: float) -> float:
        wav = tone(hertz)
        line = distort(wav, Case("telephone", 8))
        assert len(line) == len(wav)
        return level(line[4000:], hertz - 20, hertz + 20) - level(wav[4000:], hertz - 20, hertz + 20)

    assert [passed(hertz) for hertz in (500, 1000, 3000)] == pytest.approx([0, 0, 0], abs=0.5)
    assert passed(100) < -40 and passed(5000) < -40
    wav = distort(torch.cat([tone(1000), tone(1000)[:-1]]), Case("telephone", 8))
    error = level(wav, 300, 900) - level(wav, 950, 1050)
    assert -60 < error < -30  # mu-law of 8 bits, not fewer


@pytest.mark.skipif(not writes_mp3(), reason="libsndfile writes no MP3")
def test_an_mp3_has_its_rate_and_is_in_time(monkeypatch):
    wav, sizes = speech(4.0), {}
    write = soundfile.write

    def measured(file: io.BytesIO, *words: object, **settings: object) -> None:
        write(file, *words, **settings)
        sizes[rate] = len(file.getvalue())

    monkeypatch.setattr(soundfile, "write", measured)
    errors = {}
    for rate in CONDITIONS["mp3"].strengths:
        heard = distort(wav, Case("mp3", rate))
        assert len(heard) == len(wav)
        spectra = (np.fft.rfft(each.double().numpy()) for each in (heard, wav))
        match = np.fft.irfft(next(spectra) * next(spectra).conj(), len(wav))
        assert np.abs(match).argmax() == 0, rate
        errors[rate] = float((heard - wav).norm() / wav.norm())
    for rate, size in sizes.items():
        assert size * 8 / 1000 / 4 == pytest.approx(rate, rel=0.1)
    assert [*errors.values()] == sorted(errors.values())


def test_without_mp3_it_is_said(monkeypatch):
    monkeypatch.setattr(distortions, "writes_mp3", lambda: False)
    with pytest.raises(Exception, match="libsndfile writes no MP3 here"):
        distort(speech(0.2), Case("mp3", 8))


@pytest.mark.parametrize("share", [1, 10, 25])
def test_so_many_samples_are_clipped(share):
    wav = speech()
    cut = distort(wav, Case("clipping", share))
    most = cut.abs().max()
    assert float((cut.abs() == most).float().mean()) == pytest.approx(share / 100, abs=1e-3)
    assert torch.equal(cut[cut.abs() < most], wav[cut.abs() < most])


def test_gain_tilt_and_level():
    wav = speech()
    assert 20 * np.log10(float(distort(wav, Case("gain", 20)).norm() / wav.norm())) == pytest.approx(20, abs=1e-3)
    tones = tone(500) + tone(1000) + tone(4000)
    tilted = distort(tones, Case("tilt", -6))
    levels = [level(tilted, each - 20, each + 20) for each in (500, 1000, 4000)]
    assert np.diff(levels) == pytest.approx([-6, -12], abs=0.1)
    assert float(active_power(tilted)) == pytest.approx(float(active_power(tones)), rel=1e-4)


@pytest.mark.parametrize("factor", CONDITIONS["speed"].strengths)
def test_speed_changes_duration_and_pitch(factor):
    heard = distort(tone(1000), Case("speed", factor))
    assert len(heard) == pytest.approx(RATE / factor, abs=1)
    loudest = np.abs(np.fft.rfft(heard.numpy())).argmax() * RATE / len(heard)
    assert loudest == pytest.approx(1000 * factor, abs=2)


def test_leading_silence():
    wav = speech(0.2)
    heard = distort(wav, Case("silence", 0.25))
    assert not heard[:4000].any() and torch.equal(heard[4000:], wav)


def test_inaudible_changes_are_small():
    wav = tone(1000)
    heard = distort(wav, Case("rate", 44.1))
    inner = slice(400, -400)
    assert len(heard) == len(wav) and float((heard - wav)[inner].norm() / wav[inner].norm()) < 2e-3
    assert {case.condition for case in INAUDIBLE} == {"gain", "white", "silence", "rate"}


@pytest.mark.parametrize("name", ["white", "pink", "babble", "reverb"])
def test_what_is_random_depends_on_the_seed_alone(name):
    wav, case = speech(0.5), Case(name, CONDITIONS[name].strengths[0])
    torch.manual_seed(1)
    first = distort(wav, case, seed_of("a", case), [speech(1.0, 1)])
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = distort(wav, case, seed_of("a", case), [speech(1.0, 1)])
    torch.manual_seed(1)
    assert torch.equal(first, again) and torch.equal(state, torch.get_rng_state())  # and draws nothing from torch's own
    seeds = {seed_of(*each) for each in (("a", case), ("b", case), ("a", Case(name, 1)), ("a", CLEAN))}
    assert len(seeds) == 4
    assert not torch.equal(first, distort(wav, case, seed_of("b", case), [speech(1.0, 1)]))

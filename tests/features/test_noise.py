"""Copies with noise and in a room: their ratio, their spectrum, their files, and that they are always the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from system_checks import RATE, sounds

from local.core.errors import UserError
from local.features.mfcc import KaldiMfcc
from local.features.noise import COPIES, RATIOS, SoundFiles, noisy_copies, reverberated


@pytest.fixture(scope="module")
def wav() -> torch.Tensor:
    return sounds(1.0)[0]


def test_the_ratio_of_signal_to_noise(wav):
    copies = noisy_copies(wav)
    assert len(copies) == COPIES == 6
    found = [10 * np.log10(float(wav.square().sum() / (copy - wav).square().sum())) for copy in copies]
    assert found == pytest.approx([*RATIOS, *RATIOS], abs=0.01)


def test_white_noise_is_even_over_octaves_of_frequency_and_pink_falls_by_3_db(wav):
    copies = noisy_copies(wav)
    for copy, expected in ((copies[0], 0.0), (copies[3], -3.0)):
        power = np.abs(np.fft.rfft((copy - wav).double().numpy())) ** 2
        levels = [10 * np.log10(power[2**octave : 2 ** (octave + 1)].mean()) for octave in range(8, 13)]
        assert np.diff(levels) == pytest.approx(np.full(4, expected), abs=0.8)


def test_an_utterance_always_has_the_same_and_another_has_another(wav):
    assert all(map(torch.equal, noisy_copies(wav), noisy_copies(wav.clone())))
    other = wav * 1.01
    assert not torch.allclose(noisy_copies(wav)[0] - wav, (noisy_copies(other)[0] - other), atol=1e-3)


@pytest.mark.parametrize("made", [torch.zeros(160), torch.ones(1)])
def test_silence_and_a_single_sample_have_copies(made):
    assert all(copy.shape == made.shape and copy.isfinite().all() for copy in noisy_copies(made))


# Files of a CSV


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> Path:
    """A CSV in the manner of SpeechBrain: a short noise of one value, and a long ramp."""
    folder = tmp_path_factory.mktemp("noises")
    soundfile.write(folder / "short.wav", np.full(100, 0.25), RATE, subtype="FLOAT")
    soundfile.write(folder / "long.wav", np.arange(64_000) / 64_000, RATE, subtype="FLOAT")
    (folder / "noises.csv").write_text("ID,duration,wav,wav_format,wav_opts\na,1,short.wav,wav,\nb,4,long.wav,wav,\n")
    return folder / "noises.csv"


def test_noises_of_files_are_a_stretch_of_each_of_two_at_the_same_ratios(wav, listed):
    files = SoundFiles(str(listed), "noise_csv")
    copies = noisy_copies(wav, files)
    noises = [(copy - wav).double() for copy in copies]
    found = [10 * np.log10(float(wav.square().sum() / noise.square().sum())) for noise in noises]
    assert found == pytest.approx([*RATIOS, *RATIOS], abs=0.01)
    steady, rising = sorted((noises[2], noises[5]), key=lambda noise: float(noise.std() / noise.mean()))
    assert float(steady.std() / steady.mean()) < 1e-3  # of 100 samples, repeated
    steps = rising.diff()
    assert steps.mean() > 0 and float(steps.std() / steps.mean()) < 0.05  # a stretch of it, not its end and beginning
    assert all(map(torch.equal, copies, noisy_copies(wav.clone(), SoundFiles(str(listed), "noise_csv"))))
    other = [(copy - 2 * wav).double() for copy in noisy_copies(2 * wav, files)]
    again = max((other[2], other[5]), key=lambda noise: float(noise.std() / noise.mean()))
    starts = [float(noise[0] / noise.diff().mean()) for noise in (rising, again)]  # in samples of the ramp
    assert abs(starts[0] - starts[1]) > 100


def test_a_room_moves_no_sound_and_leaves_it_as_loud(wav, tmp_path):
    response = np.zeros(4000)
    response[[500, 1300, 3600]] = -0.8, 0.4, 0.1  # the direct sound, and two echoes
    soundfile.write(tmp_path / "room.wav", response, RATE, subtype="FLOAT")
    (tmp_path / "rooms.csv").write_text("wav\nroom.wav\n")
    heard = reverberated(wav, SoundFiles(str(tmp_path / "rooms.csv"), "reverb_csv"))
    expected = np.convolve(wav.double().numpy(), response)[500:][: len(wav)]
    expected *= np.sqrt(np.square(wav.double().numpy()).mean() / np.square(expected).mean())
    np.testing.assert_allclose(heard.numpy(), expected, atol=1e-6)


def test_a_csv_that_cannot_be_used_is_refused_by_name(tmp_path, listed):
    (tmp_path / "none.csv").write_text("wav\n")
    (tmp_path / "other.csv").write_text("file\na.wav\n")
    (tmp_path / "lost.csv").write_text("wav\nlost.wav\n")
    for name, why in (("none", "lists no file"), ("other", "'wav'"), ("lost", "lost.wav"), ("absent", "absent.csv")):
        with pytest.raises(UserError, match=rf"noise_csv .*{name}\.csv.*{why}"):
            SoundFiles(str(tmp_path / f"{name}.csv"), "noise_csv")


def test_another_list_or_other_files_make_other_rows(listed, tmp_path):
    before = KaldiMfcc(noise_csv=str(listed))
    assert (before.copies, before.width) == (6, 161)
    assert KaldiMfcc(noise_csv=str(listed), reverb_csv=str(listed)).width == 184
    shutil.copytree(listed.parent, tmp_path / "n")
    same = KaldiMfcc(noise_csv=str(tmp_path / "n" / "noises.csv"))
    assert same.settings() == before.settings() and same.settings() != KaldiMfcc(noise=True).settings()
    soundfile.write(tmp_path / "n" / "short.wav", np.full(100, 0.5), RATE, subtype="FLOAT")  # of the same size
    assert KaldiMfcc(noise_csv=str(tmp_path / "n" / "noises.csv")).settings() != before.settings()
    assert KaldiMfcc().settings() == {"sample_rate": 16_000, "voice_activity": True, "noise": False}  # stores of before


def test_the_rows_of_a_copy_are_those_of_its_waveform(wav, listed):
    front_end = KaldiMfcc(voice_activity=False, noise_csv=str(listed), reverb_csv=str(listed))
    rows, plain = front_end.rows(wav), KaldiMfcc(voice_activity=False)
    files = SoundFiles(str(listed), "noise_csv")
    for place, copy in ((0, wav), (4, noisy_copies(wav, files)[3]), (7, reverberated(wav, files))):
        assert torch.equal(rows[:, 23 * place : 23 * (place + 1)], plain.rows(copy))

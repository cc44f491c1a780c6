"""Recordings of any kind as 16 kHz mono, whole and in blocks, and their flags."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
import scipy.signal
import soundfile
import torch
import torchaudio
from speechbrain.dataio import audio_io

from local.audio import recordings
from local.audio.header import BLOCK
from local.audio.recordings import Unreadable, blocks, load, of_array, read, window
from local.audio.survey import FLAGS, Survey
from local.core.errors import UserError

RATES = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]


def noise(rate: int, seconds: float = 3.3, channels: int = 1, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(rate + channels).standard_normal((round(rate * seconds), channels))


def written(path: Path, samples: np.ndarray, rate: int = 16_000, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def damaged(path: Path) -> Path:
    """A file with zeros in place of a stretch in its middle."""
    held = path.read_bytes()
    middle = len(held) // 2
    path.write_bytes(held[:middle] + bytes(3000) + held[middle + 3000 :])
    return path


def tone(rate: int, hertz: float = 440.0, seconds: float = 0.5, extra: int = 0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds) + extra) / rate)


def loudest(wav: np.ndarray) -> float:
    """The frequency in Hz at which a 16 kHz signal has its peak, to about 1 Hz."""
    spectrum = np.abs(np.fft.rfft(wav * np.hanning(len(wav)), n=16_000))
    return float(spectrum.argmax())


# ---------------------------------------------------------------- samples


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("extra", [0, 1, 37])
def test_a_sine_keeps_its_frequency_length_and_level(tmp_path, rate, extra):
    soundfile.write(tmp_path / "a.wav", tone(rate, extra=extra), rate)
    wav = load(tmp_path / "a.wav").wav
    assert wav.dtype == torch.float32 and wav.ndim == 1
    assert abs(len(wav) - (rate // 2 + extra) * 16_000 / rate) < 1
    assert abs(loudest(wav.numpy()) - 440) <= 1
    assert wav[800:-800].std() == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize(("rate", "up", "down"), [(8_000, 2, 1), (44_100, 160, 441), (48_000, 1, 3)])
def test_resampling_against_scipys(tmp_path, rate, up, down):
    chance = np.random.default_rng(1)
    low = scipy.signal.firwin(255, 3000, fs=rate)  # far below the edge of either band
    wanted = scipy.signal.lfilter(low, 1, chance.normal(size=rate))
    wanted *= 0.5 / np.abs(wanted).max()
    soundfile.write(tmp_path / "a.wav", wanted, rate, subtype="FLOAT")
    result = load(tmp_path / "a.wav").wav.numpy()
    expected = scipy.signal.resample_poly(wanted, up, down)
    assert len(result) == len(expected) == 16_000
    assert np.abs(result - expected)[200:-200].max() < 0.005


def test_frequencies_above_8_khz_are_filtered_out(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(48_000, hertz=15_000), 48_000)
    assert load(tmp_path / "a.wav").wav.abs()[200:-200].max() < 0.01  # and does not come back at 1 kHz


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 1 / 100),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "ULAW", 0.02),
        ("a.flac", "PCM_16", 1e-4),
        ("a.flac", "PCM_24", 1e-6),
        ("a.ogg", "VORBIS", 0.05),
        ("a.mp3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_every_format_gives_the_samples_that_were_written(tmp_path, name, subtype, tolerance):
    wanted = tone(16_000)
    soundfile.write(tmp_path / name, wanted, 16_000, subtype=subtype)
    result = load(tmp_path / name).wav.numpy()
    read, _ = soundfile.read(tmp_path / name)
    assert len(result) == len(read)
    assert np.abs(result - read).max() < 1e-6
    if len(result) == len(wanted):  # MP3 has frames of its own
        assert np.abs(result - wanted).max() < tolerance
    assert abs(loudest(result) - 440) <= 1


def test_integers_against_scipys_and_pythons_own_readers(tmp_path):
    chance = np.random.default_rng(2)
    samples = chance.integers(-(2**15), 2**15, size=999, dtype=np.int16)
    scipy.io.wavfile.write(tmp_path / "16.wav", 16_000, samples)
    assert (load(tmp_path / "16.wav").wav.double().numpy() == samples / 2**15).all()
    samples = chance.integers(-(2**23), 2**23, size=999)
    with wave.open(str(tmp_path / "24.wav"), "wb") as out:
        out.setparams((1, 3, 16_000, 999, "NONE", ""))
        out.writeframes(b"".join(int(sample).to_bytes(3, "little", signed=True) for sample in samples))
    assert (load(tmp_path / "24.wav").wav.double().numpy() == samples / 2**23).all()


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(tmp_path, channels):
    chance = np.random.default_rng(3)
    wanted = chance.uniform(-0.5, 0.5, size=(800, channels))
    soundfile.write(tmp_path / "a.wav", wanted, 16_000, subtype="FLOAT")
    result = load(tmp_path / "a.wav").wav
    assert result.shape == (800,)
    assert np.abs(result.numpy() - wanted.mean(1)).max() < 1e-7


# ---------------------------------------------------------------- files


def by_speechbrain(path: Path) -> torch.Tensor:
    """The samples as SpeechBrain and torchaudio read them."""
    wav, rate = audio_io.load(str(path), dtype=torch.float32)
    return torchaudio.functional.resample(wav.mean(0), rate, 16_000)


@pytest.mark.parametrize("rate", [*RATES, 1000, 12_000, 24_000, 32_000, 88_200, 192_000, 500_000])
@pytest.mark.parametrize(
    ("suffix", "subtype", "channels"),
    [
        ("wav", "PCM_16", 1),
        ("wav", "PCM_24", 2),
        ("wav", "PCM_U8", 3),
        ("wav", "ULAW", 1),
        ("wav", "FLOAT", 6),
        ("wav", "DOUBLE", 17),
        ("flac", "PCM_24", 6),
    ],
)
def test_the_samples_are_those_of_torchaudio(tmp_path, rate, suffix, subtype, channels):
    path = written(tmp_path / f"a.{suffix}", noise(rate, 0.7, channels), rate, subtype)
    recording = read(path)
    assert torch.equal(recording.wav, by_speechbrain(path))
    assert recording.wav.dtype == torch.float32
    assert recording.duration == pytest.approx(0.7, abs=1e-4)
    assert recording.flags == ()


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_the_samples_of_lossy_formats_are_those_of_torchaudio(tmp_path, rate, suffix):
    path = written(tmp_path / f"a.{suffix}", noise(rate, channels=2), rate)
    assert torch.equal(read(path).wav, by_speechbrain(path))


@pytest.mark.parametrize("rate", [22_254, 44_101, 191_999])
def test_an_odd_rate_keeps_the_pitch_and_the_length(tmp_path, rate):
    sine = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    recording = read(written(tmp_path / "a.wav", sine, rate))
    peak = np.abs(np.fft.rfft(recording.wav.numpy() * np.hanning(len(recording.wav)), n=160_000)).argmax() / 10
    assert peak == pytest.approx(440, rel=5e-4)
    assert recording.duration == pytest.approx(2, rel=5e-4)


def test_a_file_that_is_too_long_is_refused_before_it_is_decoded(tmp_path):
    path = written(tmp_path / "a.wav", noise(16_000))
    assert len(read(path, longest=3.3).wav) == 52_800
    with pytest.raises(UserError, match=r"lasts 3\.3 s, longer than the 3 s") as error:
        read(path, longest=3.29)
    assert str(path) in error.value.what


def absent(path: Path) -> Path:
    return path / "absent.wav"


def text(path: Path) -> Path:
    (path / "a.wav").write_text("not audio")
    return path / "a.wav"


def headerless(path: Path) -> Path:
    (path / "a.raw").write_bytes(bytes(1000))
    return path / "a.raw"


def empty(path: Path) -> Path:
    return written(path / "a.wav", np.zeros(0))


def cut_short(path: Path) -> Path:
    file = written(path / "a.flac", noise(16_000))
    file.write_bytes(file.read_bytes()[:20_000])
    return file


def slow(path: Path) -> Path:
    return written(path / "a.wav", np.zeros(1000), 100)


def a_folder(path: Path) -> Path:
    return path


def without_bytes(path: Path) -> Path:
    (path / "a.wav").touch()
    return path / "a.wav"


BROKEN = {
    absent: "No such file",
    a_folder: "Is a directory",
    without_bytes: "file is empty",
    text: "not audio",
    headerless: "no header",
    empty: "holds no samples",
    cut_short: "cut short",
    slow: "sample rate of 100 Hz",
}


@pytest.mark.parametrize("function", [read, blocks])
@pytest.mark.parametrize("make", BROKEN)
def test_an_unreadable_file_is_named_at_once(tmp_path, make, function):
    path = make(tmp_path)
    with pytest.raises(UserError) as error:
        function(path)
    assert error.value.what.startswith(f"{path}: ")
    assert BROKEN[make] in error.value.what and "\n" not in error.value.what
    with pytest.raises(OSError) as reason:
        load(path)
    assert error.value.what == f"{path}: {reason.value}"


def test_of_a_wrong_rate_the_rate_is_named_and_not_the_length_that_it_makes(tmp_path):
    path = written(tmp_path / "a.wav", np.zeros(32_000), 100)
    with pytest.raises(UserError, match="sample rate of 100 Hz"):
        read(path, longest=60)


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_damage_within_a_file_is_an_error(tmp_path, suffix):
    path = damaged(written(tmp_path / f"a.{suffix}", noise(48_000), 48_000))
    with pytest.raises(UserError) as error:
        read(path)
    assert error.value.what.startswith(f"{path}: ") and "cannot be decoded" in error.value.what
    with pytest.raises(OSError, match="cannot be decoded"):
        load(path)


def test_damage_within_a_file_is_an_error_when_its_block_is_read(tmp_path):
    path = damaged(written(tmp_path / "a.flac", noise(48_000, 9.0), 48_000))
    parts = iter(blocks(path, 1.0))
    assert len(next(parts)) > 15_000
    with pytest.raises(UserError) as error:
        list(parts)
    assert error.value.what.startswith(f"{path}: ")


# ---------------------------------------------------------------- flags


def flags(samples: np.ndarray, rate: int = 16_000) -> tuple[str, ...]:
    return of_array(samples, rate).flags


def sine(level: float, seconds: float = 1.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * 200 * np.arange(round(seconds * 16_000)) / 16_000)


def test_silence_lies_below_minus_60_db_whatever_the_offset():
    assert flags(sine(0.0)) == flags(sine(0.00099)) == flags(0.2 + sine(0.00099)) == ("silent",)
    assert flags(sine(0.00101)) == flags(0.2 + sine(0.00101)) == ()


def test_a_silent_channel_is_averaged_as_any_other():
    assert flags(np.stack([sine(0.5), sine(0.0)])) == ()


def test_clipping_is_a_flat_top_at_full_scale():
    assert flags(np.clip(sine(1.5), -1, 1)) == ("clipped",)
    assert flags((np.clip(sine(1.5), -1, 1) * 32767).astype(np.int16)) == ("clipped",)
    assert flags((np.clip(sine(1.5), -1, 1) * 127 + 128).astype(np.uint8)) == ("clipped",)
    assert flags(sine(1.0)) == () and flags(sine(3.0)) == ("over full scale",)  # it touches full scale; it is whole
    assert flags(np.clip(sine(0.9), -0.5, 0.5)) == ()


def test_two_equal_samples_at_full_scale_are_no_flat_top():
    assert flags(np.tile([1.0, 1.0, -1.0, -1.0], 4000)) == ()


def test_clipping_in_one_channel_of_six_counts():
    channels = np.stack([sine(0.2)] * 6)
    channels[3, :30] = 1.0
    assert flags(channels) == ("clipped",)


@pytest.mark.parametrize(("run", "expected"), [(17, ()), (18, ("clipped",))])
def test_a_thousandth_of_the_samples_must_repeat_the_two_before(run, expected):
    samples = sine(0.5)
    samples[:run] = -1.0
    assert flags(samples) == expected


@pytest.mark.parametrize(("length", "expected"), [(1599, ("short",)), (1600, ())])
def test_short_is_under_a_tenth_of_a_second(length, expected):
    assert flags(sine(0.5)[:length]) == expected
    assert flags(np.repeat(sine(0.5)[:length], 3), 48_000) == expected


def test_a_single_sample_is_a_recording():
    assert flags(np.full(1, 0.5)) == ("silent", "short")


def test_a_sample_that_is_not_finite_becomes_0_in_its_channel_only(tmp_path):
    samples = np.stack([sine(0.5), sine(0.5)], 1).astype(np.float32)
    samples[100, 0], samples[200], samples[300, 1] = np.nan, np.inf, -np.inf
    recording = read(written(tmp_path / "a.wav", samples, subtype="FLOAT"))
    expected = sine(0.5).astype(np.float32)
    expected[[100, 300]] /= 2
    expected[200] = 0
    assert recording.flags == ("not finite",)
    assert np.array_equal(recording.wav.numpy(), expected)
    assert torch.equal(torch.cat(list(blocks(tmp_path / "a.wav", 0.1))), recording.wav)


@pytest.mark.parametrize("channels", [1, 2])
def test_what_no_format_holds_are_no_samples(tmp_path, channels):
    """As of integers under a header of floating point, whose model's output would overflow."""
    samples = np.stack([sine(0.5)] * channels, 1).astype(np.float32)
    samples[100, -1] = -(2.0**31)  # 32-bit integers that were not scaled
    path = written(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert read(path).flags == blocks(path).flags == ("over full scale",)
    samples[100, -1] *= 1.001
    path = written(tmp_path / "b.wav", samples, subtype="FLOAT")
    for way in (read, blocks):
        with pytest.raises(Unreadable, match=r"b\.wav: its samples reach 2e\+09 times full scale"):
            way(path)
    with pytest.raises(UserError, match=r"array: its samples reach 2e\+09 times full scale"):
        of_array(samples, 16_000)
    assert "not finite" in of_array(np.full(100, 1e300), 16_000).flags  # in single precision


def test_flags_come_in_the_order_of_their_list():
    assert flags(np.full(10, np.nan)) == ("silent", "short", "not finite")
    assert list(FLAGS) == ["silent", "clipped", "short", "over full scale", "opposite phase", "not finite"]


def test_what_the_first_block_has_is_not_forgotten_at_the_last():
    for value, flag in ((-1.5, "over full scale"), (float("nan"), "not finite")):
        survey = Survey(1)
        survey.add(torch.cat([torch.full((BLOCK, 1), value), torch.full((2, 1), 0.5)]))
        assert survey.flags == (flag,)


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("level", "expected"), [(3.0, ("over full scale",)), (0.9, ()), (3e-6, ("silent",))])
def test_floating_point_is_taken_at_any_level(tmp_path, kind, level, expected):
    path = written(tmp_path / "a.wav", sine(level), subtype=kind)
    recording = read(path)
    assert recording.flags == expected and np.array_equal(recording.wav.numpy(), sine(level).astype(np.float32))
    assert blocks(path).flags == tuple(set(expected) - {"silent"})


# ---------------------------------------------------------------- channels in opposite phase


def swapped(noise_level: float, gain: float = 1.0, offset: float = 0.0) -> np.ndarray:
    """Speech-like noise in two channels of opposite sign, with noise of their own and offsets, [n, 2]."""
    chance = np.random.default_rng(5)
    speech, own = 0.1 * chance.standard_normal(100_000), noise_level * chance.standard_normal((100_000, 2))
    return (np.stack([speech, -gain * speech], 1) + own + [offset, offset]).astype(np.float32)


@pytest.mark.parametrize(("gain", "louder"), [(1.5, 1), (0.8, 0)])
@pytest.mark.parametrize("noise_level", [0.0, 0.001, 0.03])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_of_channels_that_cancel_each_other_the_loudest_is_taken(tmp_path, gain, louder, noise_level, offset):
    samples = swapped(noise_level, gain, offset)
    path = written(tmp_path / "a.wav", samples, subtype="FLOAT")
    recording = read(path)
    assert recording.flags == ("opposite phase",)
    assert np.array_equal(recording.wav.numpy(), samples[:, louder])
    assert torch.equal(of_array(samples, 16_000).wav, recording.wav)
    parts = blocks(path, 0.7)
    assert parts.flags == recording.flags and torch.equal(torch.cat(list(parts)), recording.wav)


def test_channels_cancel_if_three_quarters_of_their_energy_are_lost():
    # Two channels of energy s + n whose sum has the energy 2 n: the share is n / (s + n), a quarter at n = s / 3.
    assert flags(swapped(0.1 / np.sqrt(3.3))) == ("opposite phase",)
    assert flags(swapped(0.1 / np.sqrt(2.7))) == ()


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 17])
def test_other_channels_do_not_cancel_each_other(channels):
    chance = np.random.default_rng(channels)
    alone = 0.1 * chance.standard_normal((16_000, channels)).astype(np.float32)
    same = np.repeat(alone[:, :1], channels, axis=1)
    first = alone * (np.arange(channels) == 0)
    for samples in (alone, same, first, same + 0.01 * alone, np.full_like(alone, 0.3), np.zeros_like(alone)):
        recording = of_array(samples, 16_000)
        assert "opposite phase" not in recording.flags
        assert np.array_equal(recording.wav.numpy(), torch.from_numpy(samples).mean(1).numpy())


def test_a_window_has_the_flags_of_its_file():
    wav = torch.from_numpy(sine(0.0)[:100].astype(np.float32))
    assert window(wav, ("clipped", "opposite phase")).flags == ("silent", "short", "opposite phase")


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_array_and_a_file_of_the_same_samples_give_the_same(tmp_path, kind, channels):
    samples = noise(22_050, 0.5, channels)
    if kind == "uint8":
        samples = np.round(samples * 100 + 128)
    elif kind.startswith("int"):
        samples = np.round(samples * np.iinfo(kind).max)
    samples = samples.astype(kind)
    scipy.io.wavfile.write(tmp_path / "a.wav", 22_050, samples)
    expected = read(tmp_path / "a.wav").wav
    rate, loaded = scipy.io.wavfile.read(tmp_path / "a.wav")
    assert loaded.dtype == kind
    for array in (loaded, loaded.T, torch.from_numpy(loaded.copy()), loaded.astype(loaded.dtype.newbyteorder(">"))):
        assert torch.allclose(of_array(array, rate).wav, expected, atol=1e-7)


def test_axes_in_either_order_give_the_mean_of_the_channels():
    samples = np.stack([sine(0.5), sine(0.1), sine(0.3)])
    assert np.allclose(of_array(samples, 16_000).wav, sine(0.3), atol=1e-6)
    assert np.allclose(of_array(samples.T, 16_000).wav, sine(0.3), atol=1e-6)


def test_an_array_resampled_keeps_its_length_in_seconds():
    assert of_array(torch.rand(1, 44_100), 44_100.0).duration == 1.0
    assert of_array(torch.rand(8_000, 2, requires_grad=True), np.int64(8_000)).duration == 1.0


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_taken(kind):
    samples = torch.rand(4000).to(kind)
    assert torch.equal(of_array(samples, 16_000).wav, samples.float())


def test_the_samples_are_not_those_of_the_caller():
    samples = sine(0.5).astype(np.float32)
    recording = of_array(samples, 16_000)
    samples[:] = 0
    assert recording.wav.abs().max() > 0.4


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((2, 2)), r"shape \(2, 2\)"),
        (np.zeros((1, 2, 100)), r"shape \(1, 2, 100\)"),
        (np.array(1.0, np.float32), r"shape \(\)"),
        ([0.0] * 100, "not list"),
        (b"RIFF", "not bytes"),
        (None, "not NoneType"),
        (np.zeros(0), "no samples"),
        (np.zeros((0, 2)), "no samples"),
        (np.zeros(100, np.int64), "int64"),
        (torch.zeros(100, dtype=torch.bool), "bool"),
        (np.zeros(100, complex), "complex128"),
    ],
)
def test_an_array_that_is_no_recording_is_refused(array, word):
    with pytest.raises(UserError, match=word):
        of_array(array, 16_000)


@pytest.mark.parametrize("rate", [0, -16_000, 10, float("nan"), float("inf"), None, "fast"])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(UserError, match="sample rate"):
        of_array(np.zeros(100), rate)


# ---------------------------------------------------------------- blocks


@pytest.mark.parametrize("rate", [*RATES, 22_254])
@pytest.mark.parametrize("seconds", [0.001, 0.3, 1.0, 30.0])
def test_blocks_together_are_the_whole(tmp_path, rate, seconds):
    length = 0.6 if seconds < 0.01 else 3.3
    path = written(tmp_path / "a.wav", noise(rate, length, 2), rate, "FLOAT")
    parts, whole = list(blocks(path, seconds)), read(path).wav
    assert len(parts) > (length - 0.1) / max(seconds, 0.5)
    together = torch.cat(parts)
    assert len(together) == len(whole)
    assert (together - whole).abs().max() < 1e-5


@pytest.mark.parametrize("suffix", ["ogg", "mp3", "flac"])
def test_blocks_of_a_compressed_file_are_the_whole(tmp_path, suffix):
    path = written(tmp_path / f"a.{suffix}", noise(44_100), 44_100)
    together, whole = torch.cat(list(blocks(path, 0.4))), read(path).wav
    assert len(together) == len(whole)
    assert (together - whole).abs().max() < 1e-5


def test_long_blocks_are_the_whole_but_for_a_last_sample(tmp_path):
    path = written(tmp_path / "a.wav", noise(44_100, 61.01), 44_100, "FLOAT")
    together, whole = torch.cat(list(blocks(path, 7.0))), read(path).wav
    assert abs(len(together) - len(whole)) <= 1
    assert (together[: len(whole)] - whole[: len(together)]).abs().max() < 1e-5


def test_no_more_than_a_block_and_its_surroundings_is_in_hand(tmp_path, monkeypatch):
    path = written(tmp_path / "a.flac", noise(48_000, 20.0), 48_000)
    lengths, read_lengths = [], []
    resample, decoded = torchaudio.functional.resample, recordings._next_samples
    monkeypatch.setattr(
        torchaudio.functional, "resample", lambda wav, *ratio: lengths.append(len(wav)) or resample(wav, *ratio)
    )
    monkeypatch.setattr(
        recordings, "_next_samples", lambda file, count: read_lengths.append(count) or decoded(file, count)
    )
    sizes = []
    for number, block in enumerate(blocks(path, 1.0), start=1):
        assert len(read_lengths) == number  # nothing is read ahead
        sizes.append(len(block))
    assert sum(sizes) == 320_000
    assert max(sizes) <= 16_000 + 7
    assert max(read_lengths) == 48_000
    assert max(lengths) <= 48_000 + 2 * 7 * 3

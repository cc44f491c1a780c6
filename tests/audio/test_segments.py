"""Windows over long recordings: what is left out, where they are cut, and that blocks do not matter."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from local.audio.recordings import blocks, of_array, read
from local.audio.segments import segments
from local.core.errors import UserError
from local.corpora import espeak

RATE = 16_000


def scene(bursts: list[tuple[float, float]], seconds: float, level: float = 0.1, background: float = 0.0) -> Tensor:
    """White noise from start to end of each burst, and weaker noise everywhere."""
    generator = torch.Generator().manual_seed(1)
    wav = background * torch.randn(round(seconds * RATE), generator=generator)
    for start, end in bursts:
        part = wav[round(start * RATE) : round(end * RATE)]
        part += level * torch.randn(len(part), generator=generator)
    return wav


def bounds(wav: Tensor, longest: float = 12.0, **options: float) -> list[tuple[float, float]]:
    return [(segment.start, segment.end) for segment in segments([wav], longest, **options)]


def close(pairs: list[tuple[float, float]]) -> object:
    return [pytest.approx(pair, abs=0.021) for pair in pairs]  # a frame


# ---------------------------------------------------------------- what is speech


@pytest.mark.parametrize("background", [0.0, 1e-4, 3e-3])
def test_bursts_become_segments_with_a_margin(background):
    bursts = [(1.0, 4.0), (5.5, 7.0), (60.0, 66.0), (110.3, 112.0), (170.0, 180.0)]
    result = bounds(scene(bursts, 180.0, background=background))
    assert result == close([(0.8, 4.2), (5.3, 7.2), (59.8, 66.2), (110.1, 112.2), (169.8, 180.0)])


def test_a_segment_holds_the_samples_of_its_times():
    wav = scene([(1.0, 4.0), (5.5, 7.1235)], 7.1235)
    for segment in segments([wav], 12.0):
        start = round(segment.start * RATE)
        assert torch.equal(segment.wav, wav[start : start + len(segment.wav)])
        assert segment.end - segment.start == pytest.approx(len(segment.wav) / RATE)
    assert segment.end == 7.1235


def test_half_a_second_of_silence_is_the_most_that_a_segment_bridges():
    assert len(bounds(scene([(1.0, 3.0), (3.5, 5.0)], 9.0))) == 1
    assert len(bounds(scene([(1.0, 3.0), (3.56, 5.0)], 9.0))) == 2


@pytest.mark.parametrize("level", [0.0, 1 / 2**15 / 2])
def test_silence_has_no_segments(level):
    """Digital silence, and the dither of 16 bit."""
    assert bounds(scene([(0.0, 100.0)], 100.0, level)) == []
    assert list(segments([], 12.0)) == list(segments([torch.zeros(0)], 12.0)) == []


def test_the_level_of_a_recording_does_not_matter():
    bursts = [(1.0, 4.0), (5.5, 7.0), (10.0, 16.0)]
    wav = scene(bursts, 20.0, background=1e-3)
    expected = bounds(wav)
    assert expected == close([(0.8, 4.2), (5.3, 7.2), (9.8, 16.2)])
    assert bounds(wav * 0.05) == bounds(wav * 100) == expected
    assert bounds(scene(bursts, 20.0, level=2e-4)) == expected  # -74 dBFS


def test_an_offset_does_not_matter():
    wav = scene([(1.0, 4.0), (5.5, 7.0)], 9.01)  # the last frame is half a one
    assert bounds(wav + 0.3) == bounds(wav) == close([(0.8, 4.2), (5.3, 7.2)])


def hum(seconds: float) -> Tensor:
    return 0.1 * torch.sin(2 * torch.pi * 50 * torch.arange(round(seconds * RATE)) / RATE)


@pytest.mark.parametrize("wav", [hum(200.0), scene([(0.0, 200.0)], 200.0)], ids=["hum", "noise"])
def test_a_steady_sound_is_speech_throughout(wav):
    result = bounds(wav)
    assert result[0][0] == 0
    assert result[-1][1] == 200.0
    assert [end for _, end in result[:-1]] == [start for start, _ in result[1:]]
    assert all(4.0 <= end - start <= 12.0 for start, end in result)


def test_noise_is_background_after_something_louder():
    wav = scene([(200.0, 203.0), (600.0, 603.0)], 900.0, background=3e-3)
    result = [pair for pair in bounds(wav) if pair[0] > 150.0]
    assert result == close([(199.8, 203.2), (599.8, 603.2)])


def test_the_floor_follows_a_noise_that_sets_in():
    wav = scene([(5.0, 8.0), (400.0, 403.0)], 600.0, background=1e-4)
    wav[200 * RATE :] += scene([], 400.0, background=5e-3)  # 34 dB more
    assert [pair for pair in bounds(wav) if not 195.0 < pair[0] < 265.0] == close([(4.8, 8.2), (399.8, 403.2)])


def test_a_click_does_not_make_the_rest_silent():
    wav = scene([(0.0, 300.0)], 300.0, level=0.01)
    wav[100 * RATE : 100 * RATE + 100] = 1.0
    result = bounds(wav)
    assert sum(end - start for start, end in result) == pytest.approx(300.0)


def test_sentences_of_a_synthetic_voice_are_separated():
    speech, rate = espeak.speak("How odd, not one of them came back to say so.", "en-us", 175, 50, 50)
    voice = of_array(np.asarray(speech), rate).wav
    pause = torch.zeros(2 * RATE)
    wav = torch.cat([pause, voice, pause, voice, pause])
    wav = wav + scene([], len(wav) / RATE, background=1e-3)
    first, second = bounds(wav)
    length = len(voice) / RATE
    assert 1.7 < first[0] < 2.2 < length + 1.0 < first[1] < length + 2.3
    assert length + 3.7 < second[0] < length + 4.2 < 2 * length + 3.0 < second[1] < 2 * length + 4.3


# ---------------------------------------------------------------- where it is cut


def test_a_stretch_somewhat_too_long_is_cut_at_the_quietest_place_of_its_middle_third():
    wav = scene([(1.0, 17.0)], 20.0)
    for place, depth in ((4.0, 0.01), (7.6, 0.1), (9.0, 0.2), (14.0, 0.01)):
        wav[round(place * RATE) : round((place + 0.12) * RATE)] *= depth
    (first, second) = bounds(wav)
    assert first[1] == second[0] == pytest.approx(7.66, abs=0.06)


def test_a_stretch_far_too_long_is_cut_in_the_later_half_of_the_longest():
    wav = scene([(0.0, 60.0)], 60.0)
    for place, depth in ((3.0, 0.01), (8.0, 0.1), (10.0, 0.2), (13.0, 0.01)):
        wav[round(place * RATE) : round((place + 0.12) * RATE)] *= depth
    assert bounds(wav)[0] == (0.0, pytest.approx(8.06, abs=0.06))


def test_a_pause_is_quieter_than_the_closure_of_a_stop():
    wav = scene([(0.0, 16.0)], 16.0)
    wav[7 * RATE : 7 * RATE + RATE // 25] = 0.0  # 40 ms of nothing
    wav[9 * RATE : 9 * RATE + RATE // 5] *= 0.02
    assert bounds(wav)[0] == (0.0, pytest.approx(9.1, abs=0.1))


def test_a_hum_is_cut_as_late_or_as_evenly_as_can_be():
    assert bounds(hum(24.0)) == [(0.0, 12.0), (12.0, 24.0)]
    assert bounds(hum(15.0)) == [(0.0, 7.5), (7.5, 15.0)]
    assert bounds(hum(40.0)) == close([(0.0, 12.0), (12.0, 24.0), (24.0, 32.0), (32.0, 40.0)])


# ---------------------------------------------------------------- what joins


@pytest.mark.parametrize(
    ("bursts", "expected"),
    [
        ([(1.0, 4.0), (4.9, 5.2)], [(0.8, 5.4)]),  # short after long
        ([(1.0, 1.3), (2.2, 5.0)], [(0.8, 5.2)]),  # short before long
        ([(1.0, 1.3), (2.2, 2.5), (3.3, 3.5)], [(0.8, 3.7)]),  # short ones, one by one
        ([(1.0, 4.0), (4.9, 6.4)], [(0.8, 4.2), (4.7, 6.6)]),  # both long enough
        ([(1.0, 4.0), (5.0, 5.3)], [(0.8, 5.5)]),  # just near enough, where a second begins
        ([(1.0, 4.0), (5.2, 5.5)], [(0.8, 4.2), (5.0, 5.7)]),  # too far
        ([(1.0, 12.0), (12.9, 13.2)], [(0.8, 12.2), (12.7, 13.4)]),  # too long together
        ([(1.0, 1.3), (2.2, 13.0)], [(0.8, 1.5), (2.0, 13.2)]),
    ],
)
def test_short_stretches_join_their_neighbour_where_they_can(bursts, expected):
    assert bounds(scene(bursts, 20.0)) == close(expected)


def test_shortest_is_an_option():
    wav = scene([(1.0, 4.0), (4.9, 6.4)], 9.0)
    assert bounds(wav, shortest=2.0) == close([(0.8, 6.6)])
    wav = scene([(1.0, 4.0), (4.9, 5.2)], 9.0)
    assert len(bounds(wav, shortest=0.2)) == 2


@pytest.mark.parametrize("longest", [0.99, 0.0, -1.0, float("nan")])
def test_windows_too_short_for_pauses_are_refused(longest):
    with pytest.raises(UserError, match="too short"):
        segments([], longest)


# ---------------------------------------------------------------- properties


def random_scene(seed: int) -> tuple[Tensor, list[tuple[float, float]]]:
    """Bursts and pauses of random lengths and levels over a floor 40 dB below the weakest, up to some 3 minutes."""
    random = np.random.default_rng(seed)
    bursts, now = [], random.uniform(0, 3)
    while now < 180 and len(bursts) < 60:
        end = now + random.choice([random.uniform(0.1, 2), random.uniform(2, 40)], p=[0.7, 0.3])
        bursts.append((now, end))
        now = end + random.choice([random.uniform(0.05, 1.2), random.uniform(1, 15)])
    wav = scene([], now, background=1e-4)
    for burst in bursts:
        wav += scene([burst], now, level=random.uniform(0.03, 0.1))
    return wav, bursts


def cut(wav: Tensor, seed: int) -> Iterator[Tensor]:
    random = np.random.default_rng(seed)
    while len(wav):
        size = int(random.choice([random.integers(0, 3000), random.integers(1, 20) * RATE, random.integers(1, 10**6)]))
        yield wav[:size]
        wav = wav[size:]


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 12))])
def test_segments_are_in_order_not_too_long_and_cover_all_speech_however_the_input_is_cut(seed):
    wav, bursts = random_scene(seed)
    random = np.random.default_rng(seed)
    longest, shortest = random.uniform(1, 25), random.uniform(0.1, 2)
    result = list(segments([wav], longest, shortest))

    samples = [(round(segment.start * RATE), round(segment.start * RATE) + len(segment.wav)) for segment in result]
    covered = np.zeros(len(wav), int)
    for segment, (start, end) in zip(result, samples, strict=True):
        assert torch.equal(segment.wav, wav[start:end])
        assert 0 < end - start <= longest * RATE
        covered[start:end] += 1
    assert samples == sorted(samples)
    assert covered.max() == 1
    speech = np.zeros(len(wav), bool)
    for start, end in bursts:  # but for frames at the edges that the burst fills in part
        speech[round((start + 0.02) * RATE) : round((end - 0.02) * RATE)] = True
    assert covered[speech].all()
    # No silence is taken in but margins, and pauses within a segment.
    edges = np.flatnonzero(np.diff(np.r_[0, speech, 0]))
    for end, start in zip(edges[1::2], edges[2::2], strict=False):
        if start - end > 1.1 * RATE:
            assert covered[end:start].sum() <= 0.5 * RATE

    again = list(segments(cut(wav, seed), longest, shortest))
    assert [segment[:2] for segment in again] == [segment[:2] for segment in result]
    assert all(torch.equal(one.wav, other.wav) for one, other in zip(again, result, strict=True))


def test_a_file_in_blocks_has_the_segments_of_the_whole(tmp_path):
    wav, _ = random_scene(99)
    soundfile.write(tmp_path / "a.flac", np.stack([wav, wav], 1), 44_100)
    path = tmp_path / "a.flac"
    result = [segment[:2] for segment in segments(blocks(path, 7.0), 8.0)]
    assert len(result) > 3
    assert result == [segment[:2] for segment in segments([read(path).wav], 8.0)]


def three_hours() -> Iterator[Tensor]:
    """In minutes: half an hour of hum, one of silence, one and a half of noise with a burst a minute."""
    minute = 60 * RATE
    yield from (hum(60.0) for _ in range(30))
    yield from (torch.zeros(minute) for _ in range(60))
    noisy = scene([(20.0, 30.0)], 60.0, background=5e-5)
    yield from (noisy for _ in range(90))


@pytest.mark.slow
def test_three_hours_take_no_more_memory_than_minutes():
    consumed: list[int] = []

    def counted() -> Iterator[Tensor]:
        for minute in three_hours():
            consumed.append(len(minute))
            yield minute

    result: list[tuple[float, float]] = []
    before = None
    for segment in segments(counted(), 12.0):
        before = before or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert sum(consumed) / RATE - segment.end <= 60 + 60 + 2 * 12 + 3  # the block, the look-ahead, two windows
        result.append(segment[:2])
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 1024 < 100  # MiB; all samples are 660
    assert len(result) == 151 + 90  # the margin after the hum makes one more of 150
    assert result[-1][1] == pytest.approx(10_770.2, abs=0.03)

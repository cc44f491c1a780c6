"""Manners of speaking: what differs between emotions can be measured in the samples."""

import numpy as np
import pytest
from pitch import f0

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.corpora.manner import MANNERS, MARGIN, say

TEXT = "The letter is on the table by the door."


def of(label: str) -> np.ndarray:
    return say(TEXT, "en-us", MANNERS[label])


def high_share(samples: np.ndarray) -> float:
    """Share of the energy above 1 kHz."""
    power = np.abs(np.fft.rfft(samples / 32768)) ** 2
    return power[np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE) > 1000].sum() / power.sum()


def test_rate_pitch_loudness_and_brightness_follow_the_manner():
    sad, neutral, angry, happy = map(of, ("sad", "neu", "ang", "hap"))
    assert len(sad) > 1.1 * len(neutral) > 1.1 * 1.1 * len(angry)
    pitches = [np.median(f0(samples, SAMPLE_RATE)) for samples in (sad, neutral, happy)]
    assert pitches == sorted(pitches) and pitches[2] > 1.2 * pitches[0]
    assert high_share(sad) < high_share(neutral) < high_share(angry)
    for label, samples in (("sad", sad), ("ang", angry)):
        margin = round(MARGIN * SAMPLE_RATE)
        level = 10 * np.log10(np.mean((samples[margin:-margin] / 32768) ** 2))
        assert abs(level - MANNERS[label].level) < 0.1
    assert samples.dtype == np.int16 and np.array_equal(say(TEXT, "en-us", MANNERS["sad"]), sad)


@pytest.mark.parametrize("text", ["\u13e3\u13b3\u13a9", "'"])
def test_a_text_of_which_the_voice_says_nothing_is_named(text):
    with pytest.raises(UserError) as refusal:
        say(text, "en-us", MANNERS["sad"])
    assert refusal.value.what == f"the voice en-us says nothing of {text!r}" and "--voice" in refusal.value.remedy

"""Speech from libespeak-ng: the same samples each time, and voices that differ."""

import signal
import sys

import espeakng_loader
import numpy as np
import pytest
from pitch import f0

from local.core.errors import UserError
from local.corpora import espeak

HELLO = {"text": "Open the door now.", "voice": "en-us+f3", "rate": 175, "pitch": 50, "pitch_range": 50}


@pytest.mark.parametrize("voice", ["en-us+f1", "en-us+f5"])  # the one flutters, the other is breathy
def test_samples_depend_on_the_arguments_alone(voice):
    first, rate = espeak.speak(**{**HELLO, "voice": voice})
    assert rate == 22_050 and first.dtype == np.int16 and 0.5 < len(first) / rate < 2
    espeak.speak(**{**HELLO, "voice": "en-us+m1", "pitch": 90})
    assert np.array_equal(espeak.speak(**{**HELLO, "voice": voice})[0], first)


def test_the_parameters_change_the_speech():
    first, rate = espeak.speak(**HELLO)
    faster = espeak.speak(**{**HELLO, "rate": 300})[0]
    assert len(faster) < 0.8 * len(first)
    higher = espeak.speak(**{**HELLO, "pitch": 80})[0]
    assert np.median(f0(higher, rate)) > 1.2 * np.median(f0(first, rate))


def test_a_voice_that_is_missing_is_named():
    with pytest.raises(UserError, match="no voice xx-nowhere"):
        espeak.speak(**{**HELLO, "voice": "xx-nowhere"})


def test_voices_in_a_deep_folder_are_found_from_nearby_or_missed_by_name(monkeypatch, tmp_path):
    deep = tmp_path / ("d" * 80) / ("e" * 80)
    deep.mkdir(parents=True)
    (deep / "espeak-ng-data").symlink_to(espeakng_loader.get_data_path())
    expected = espeak.speak(**HELLO)[0]
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(deep / "espeak-ng-data"))
    with pytest.raises(UserError, match="cannot use its voices in"):
        espeak.speak(**HELLO)
    monkeypatch.chdir(deep)
    assert np.array_equal(espeak.speak(**HELLO)[0], expected)


def test_a_signal_that_comes_while_it_speaks_is_not_lost(monkeypatch):
    heard, collected = [], []
    string_at = espeak.ctypes.string_at

    def interrupted(*words):
        collected.append(signal.raise_signal(signal.SIGTERM))
        return string_at(*words)

    monkeypatch.setattr(espeak.ctypes, "string_at", interrupted)
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(heard.append(number)))
    try:
        with pytest.raises(SystemExit):  # and not within the callback, where Python would print and forget it
            espeak.speak(**HELLO)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM] and len(collected) > 1

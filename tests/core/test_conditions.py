"""The conditions of stage 7: what is asked for, and in which order."""

from __future__ import annotations

import math

import pytest

from local.audio.distortions import DISTORTIONS
from local.core.conditions import CLEAN, CONDITIONS, INAUDIBLE, WORDS, Case, cases, in_order


def test_every_condition_has_its_distortion():
    assert DISTORTIONS.keys() == CONDITIONS.keys()


def test_all_cases_are_there_once_and_clean_audio_is_first():
    every = cases()
    assert every[0] == CLEAN and len(set(every)) == len(every) == 49
    assert sum(not case.is_clean for case in every) == 48  # as results/STRESS.md says
    assert len({case.label for case in every}) == len(every)
    assert set(INAUDIBLE) <= set(every)


def test_some_are_chosen():
    assert [case.label for case in cases(["silence", "white"])] == [
        *("clean", "white_20", "white_15", "white_10", "white_5", "white_0"),
        *("silence_0.25", "silence_0.5", "silence_1", "silence_2"),
    ]
    assert cases(["inaudible"]) == [CLEAN, *INAUDIBLE]
    some = iter([Case("white", 0), Case("gain", -1), CLEAN])
    assert in_order(some) == [CLEAN, Case("white", 0), Case("gain", -1)]
    assert {case.condition for word in WORDS for case in cases([word])} == {"clean", *CONDITIONS}


@pytest.mark.parametrize("name", CONDITIONS)
def test_an_axis_has_every_strength_and_that_of_clean_audio(name):
    known = CONDITIONS[name]
    assert sorted(known.axis) == sorted([*known.strengths, known.clean])
    assert not any(Case(name, strength).is_clean for strength in known.strengths)
    if math.isinf(known.clean):  # a ratio, or a bit rate: less is worse
        assert known.axis == sorted(known.axis, reverse=True)


def test_how_long_audio_lasts():
    assert [Case(*case).lasting(3.0) for case in (("speed", 0.8), ("silence", 2), ("white", 0))] == [3.75, 5.0, 3.0]

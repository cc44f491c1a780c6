"""A test set under distortion: who babbles, and what is cut."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from local.audio.distortions import distort, seed_of
from local.core.conditions import Case
from local.data.distorted import TALKERS, Distorted, Talkers

AUDIO = {f"{speaker}{number}": torch.randn(3000) for speaker in "abcdefg" for number in range(3)}


def talkers(speakers: str, known: bool = True) -> Talkers:
    names = [name for name in AUDIO if name[0] in speakers]
    return Talkers(pd.DataFrame({"ID": names, "spk_id": [name[0] if known else "" for name in names]}), AUDIO)


def test_those_who_babble_are_others_and_each_another():
    some = talkers("abcdefg")
    for seed in range(30):
        drawn = some.drawn("c", seed)
        assert len({name[0] for name in drawn}) == TALKERS and "c" not in {name[0] for name in drawn}
        assert drawn == some.drawn("c", seed)
    assert len({tuple(some.drawn("c", seed)) for seed in range(30)}) > 20


def test_few_speakers_are_drawn_again_and_none_is_the_one_who_is_tested():
    drawn = talkers("ab").drawn("b", 1)
    assert len(drawn) == TALKERS and {name[0] for name in drawn} == {"a"}
    assert talkers("b").others("b") == []


def test_without_speakers_utterances_are_drawn():
    some = talkers("ab", known=False)
    assert len(set(some.drawn("", 1))) == TALKERS
    assert len(Talkers(pd.DataFrame({"ID": ["a0", "absent"], "spk_id": ["", ""]}), AUDIO).others("")) == 1


@pytest.mark.parametrize("case", [Case("white", 5), Case("babble", 5), Case("silence", 0.25)])
def test_an_utterance_is_the_same_whenever_it_is_read(case):
    speakers = {name: name[0] for name in AUDIO}
    made = Distorted(AUDIO, case, speakers, talkers("cdefg"))
    forth, back = ({name: made[name] for name in names} for names in (list(AUDIO), list(AUDIO)[::-1]))
    assert all(torch.equal(forth[name], back[name]) for name in AUDIO) and len(made) == len(AUDIO)
    seed = seed_of("a0", case)
    behind = [AUDIO[name] for name in talkers("cdefg").drawn("a", seed)]
    assert torch.equal(made["a0"], distort(AUDIO["a0"], case, seed, behind))


def test_no_more_is_read_than_the_system_can():
    made = Distorted(AUDIO, Case("silence", 1), {}, most=18_000)
    assert len(made["a0"]) == 18_000

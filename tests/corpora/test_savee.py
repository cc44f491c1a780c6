"""SAVEE: four men, in folders of their own or all in one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora.savee import read


def files(place: str = "AudioData/{}/", speakers: tuple[str, ...] = ("DC", "JE", "JK", "KL")) -> list[str]:
    letters = [f"{letter}{i:02}" for letter in ("a", "d", "f", "h", "sa", "su") for i in range(1, 16)]
    letters += [f"n{i:02}" for i in range(1, 31)]
    return [f"{place.format(speaker)}{name}.wav" for speaker in speakers for name in letters]


def test_a_whole_release(tmp_path):
    corpus = read(make_release(tmp_path / "savee", files(), rate=44_100))
    table = corpus.table.set_index("ID")
    assert (len(table), corpus.faults, corpus.rejected) == (480, [], 0)
    assert table["emo"].value_counts().to_dict() == {
        **{"ang": 60, "dis": 60, "fea": 60, "hap": 60, "neu": 120},
        **{"sad": 60, "sur": 60},
    }
    assert Counter(table["spk_id"]) == dict.fromkeys(("DC", "JE", "JK", "KL"), 120)
    assert table.loc["KL_sa15", ["spk_id", "gender", "emo", "wrd"]].tolist() == ["KL", "M", "sad", ""]
    assert table.loc["DC_su01", "emo"] == "sur"


def test_every_layout_has_the_same_utterances(tmp_path):
    """In folders of the speakers, all in one, and with the speaker in both; what is there twice is left out once."""
    layouts = ("AudioData/{}/", "ALL/{}_", "{0}/{0}")
    root = make_release(tmp_path / "savee", [file for place in layouts for file in files(place, ("JE",))])
    corpus = read(root, partial=True)
    assert sorted(corpus.table["ID"]) == sorted(f"JE_{Path(file).stem}" for file in files(speakers=("JE",)))
    assert corpus.notes[0].startswith("left out, with the name and the bytes of another: 240 audio files: ")


def test_a_sentence_or_speaker_that_the_release_lacks(tmp_path):
    wrong = ["AudioData/DC/a16.wav", "AudioData/XY/a01.wav", "ALL/n01.wav"]
    root = make_release(tmp_path / "savee", [*files(speakers=("DC",))[1:], *wrong])
    with pytest.raises(UserError) as error:
        read(root)
    for file in wrong:
        assert f"{file}: is not named like DC/a01.wav or DC_a01.wav" in error.value.what
    assert "DC_a01: no audio file of this name" in error.value.what

"""MSP-IMPROV: its layout, and what tells that a copy of it is not whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora import msp_improv
from local.corpora.msp_improv import COUNTS, KINDS, read

TURNS = {  # by name, without the beginning: consensus
    **{"S01A-F01-S-FM01": "A", "S01A-M01-S-FM02": "N", "S01A-F01-T-FM01": "A", "S02H-F03-P-MF11": "H"},
    **{"S02H-M03-R-MM01": "H", "S03S-F06-S-FM01": "S", "S03S-M06-S-MF01": "S", "S03N-F06-P-FM01": "N"},
    **{"S03N-F06-P-FM02": "X", "S03N-F06-P-FM03": "O", "S03N-F06-P-FM04": "X"},
}


def place(name: str) -> str:
    scenario, speaker, kind, _ = name.split("-")
    return f"session{speaker[-1]}/{scenario}/{kind}/MSP-IMPROV-{name}.wav"


def ratings(turns: dict[str, str]) -> str:
    words = {"A": "Angry", "N": "Neutral", "H": "Happy", "S": "Sad", "X": "Other-tired", "O": "Other"}
    return "\n\n".join(
        f"UTD-IMPROV-{name}.avi; {letter}; A:2.500000; V:3.000000; D:NaN ; N:4.000000;\n"
        f"ab-p; {words[letter]}; ; A:2.000000; V:3.000000; D:NaN; N:4.000000;\n"
        f"cd-p; Neutral; Neutral; A:3.000000; V:3.000000; D:NaN; N:4.000000;"
        for name, letter in turns.items()
    )


@pytest.fixture
def release(tmp_path, monkeypatch) -> Path:
    """A small one, with its own counts."""
    counts = {"ang": 2, "sad": 2, "hap": 2, "neu": 2}
    monkeypatch.setattr(msp_improv, "RELEASE", replace(msp_improv.RELEASE, expected={"emo": counts}))
    root = make_release(tmp_path / "MSP-IMPROV", map(place, TURNS))
    (root / "Evalution.txt").write_text(ratings(TURNS))
    (root / "All_human_transcriptions").mkdir()
    (root / "All_human_transcriptions" / "MSP-IMPROV-S01A-F01-S-FM01.txt").write_text("How can I not?\n")
    return root


def test_the_published_counts():
    assert sum(COUNTS.values()) == 7798 and COUNTS == {"ang": 792, "sad": 885, "hap": 2644, "neu": 3477}
    others = {"T": (1, 11), "R": (3, 39), "S": (70, 371), "P": (11, 134)}
    assert sum(turns for turns, *_ in KINDS.values()) == 8438
    assert all(turns == sum(labels) + sum(others[kind]) for kind, (turns, *labels) in KINDS.items())


def test_a_whole_release(release):
    corpus = read(release)
    table = corpus.table.set_index("ID")
    assert (corpus.name, corpus.faults, len(table)) == ("msp-improv", [], 8)
    first = table.loc["MSP-IMPROV-S01A-F01-S-FM01"]
    assert first[["spk_id", "gender", "session", "recording", "style", "emo", "wrd"]].tolist() == (
        ["F01", "F", "Ses01", "Ses01_S01A", "impro", "ang", "HOW CAN I NOT"]
    )
    assert first[["votes", "arousal", "valence", "dominance"]].tolist() == ["ang 1 neu 1", "2.5", "3", ""]
    assert table["style"].to_dict()["MSP-IMPROV-S02H-M03-R-MM01"] == "script"
    assert table["style"].to_dict()["MSP-IMPROV-S02H-F03-P-MF11"] == ""
    assert table["recording"].iloc[:3].nunique() == 1  # both actors of a scene
    assert [note.split(":")[0] for note in corpus.notes] == [
        "left out, without agreement of the raters (X)",
        "left out, labelled as none of the emotions asked for (O)",
        "7 of 8 utterances have no transcript",
    ]
    assert "2 audio files" in corpus.notes[0]


def test_what_is_missing_is_named(release):
    (release / place("S01A-F01-T-FM01")).unlink()
    make = release / "session1" / "S09A" / "S"
    make.mkdir(parents=True)
    (release / place("S03S-F06-S-FM01")).rename(make / "MSP-IMPROV-S09A-F01-S-FM01.wav")
    (release / place("S03S-M06-S-MF01")).rename(make / "MSP-IMPROV-S09A-F07-S-FM01.wav")
    with pytest.raises(UserError) as error:
        read(release)
    for line in (
        "MSP-IMPROV-S01A-F01-T-FM01: no audio file of this name",
        "session1/S09A/S/MSP-IMPROV-S09A-F01-S-FM01.wav: has no ratings in Evalution.txt",
        "session1/S09A/S/MSP-IMPROV-S09A-F07-S-FM01.wav: is not named like MSP-IMPROV-S01A-F01-P-FM01.wav",
    ):
        assert line in error.value.what
    assert set(read(release, partial=True).table["emo"]) == {"ang", "hap", "neu"}


def test_ratings_that_are_cut_are_counted(release):
    (release / "Evalution.txt").write_text(ratings({name: TURNS[name] for name in list(TURNS)[1:]}))
    with pytest.raises(UserError) as error:
        read(release)
    assert "emotion ang: 1 utterance, 2 expected" in error.value.what
    (release / "Evalution.txt").unlink()
    with pytest.raises(UserError, match=r"it has no file Evalution.txt"):
        read(release)

"""Releases in IEMOCAP's shape that are broken in one way or several: every fault named, the rest read."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_releases import BROKEN, EVALUATION, F000, F001, OF_DIALOGUE, TRANSCRIPTION, WAVS, edit, remove, write
from iemocap_tree import SMALL_FACTS, small_release, wav_bytes

from local.core.errors import UserError
from local.corpora.iemocap import read_release


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_release(tmp_path)


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_is_named_and_its_utterances_left_out(name: str, small: Path) -> None:
    whole = set(read_release(small, SMALL_FACTS, partial=False).table["ID"])
    breaker, expected, lost = BROKEN[name]
    breaker(small)
    corpus = read_release(small, SMALL_FACTS, partial=True)
    faults = [str(fault) for fault in corpus.faults]
    assert [fault for fault in faults if not fault.endswith(" expected")] == expected
    assert set(corpus.table["ID"]) == whole - lost
    assert corpus.rejected == len(lost)
    with pytest.raises(UserError) as error:
        read_release(small, SMALL_FACTS, partial=False)
    assert all(fault in error.value.what for fault in faults)
    assert "--partial true" in error.value.remedy


@pytest.mark.parametrize("content", [b"RIFF\x00\x00", b"This is no audio at all.", wav_bytes()[:30]])
def test_a_file_that_is_not_a_wav(content: bytes, small: Path) -> None:
    write(f"{WAVS}/{F000}.wav", content)(small)
    corpus = read_release(small, SMALL_FACTS, partial=True)
    assert len(corpus.faults) == 1
    assert str(corpus.faults[0]).startswith(f"{WAVS}/{F000}.wav: not audio that libsndfile reads (")
    assert F000 not in set(corpus.table["ID"])


def test_without_a_transcript_the_text_is_empty(small: Path) -> None:
    remove(TRANSCRIPTION)(small)
    texts = read_release(small, SMALL_FACTS, partial=True).table.set_index("ID")["wrd"]
    assert texts[sorted(OF_DIALOGUE)].tolist() == ["", "", ""]
    assert texts["Ses03M_impro05a_F000"] == "NO WAY"


def test_the_first_of_a_turn_listed_twice_is_used(small: Path) -> None:
    BROKEN["turn twice"][0](small)
    table = read_release(small, SMALL_FACTS, partial=True).table.set_index("ID")
    assert table["emo"][F001] == "neu"


def test_all_faults_are_named_at_once(small: Path) -> None:
    names = ("session", "wav of no turn", "wav of 0 bytes", "unknown label")
    remove("Session5")(small)
    for name in names[1:]:
        BROKEN[name][0](small)
    with pytest.raises(UserError) as error:
        read_release(small, SMALL_FACTS, partial=False)
    for name in names[1:]:
        assert BROKEN[name][1][0] in error.value.what
    assert "Session5: folder of the session is missing" in error.value.what
    assert "all labels: 10 turns, 20 expected" in error.value.what
    assert "emotion neu: 1 turns, 4 expected" in error.value.what
    assert "speaker 05M: 0 turns, 5 expected" in error.value.what
    assert str(small) in error.value.what.splitlines()[0]


def test_of_many_faults_of_a_kind_twenty_are_listed(small: Path) -> None:
    for i in range(25):
        write(f"{WAVS}/Ses03F_impro01_F1{i:02d}.wav", b"")(small)
    with pytest.raises(UserError) as error:
        read_release(small, SMALL_FACTS, partial=False)
    assert error.value.what.count("wav of a turn that is not in the evaluation file") == 20
    assert "5 more" in error.value.what
    assert len(read_release(small, SMALL_FACTS, partial=True).faults) == 25


def test_text_that_is_not_utf_8_is_read_as_latin_1_with_a_warning(small: Path) -> None:
    edit(TRANSCRIPTION, "Good morning.", "Don\x92t, caf\xe9 Ren\xe9.")(small)  # as Windows writes the apostrophe
    edit(EVALUATION, "[16.2901 - 16.3921]", "% \xe9\n[16.2901 - 16.3921]")(small)
    corpus = read_release(small, SMALL_FACTS, partial=False)
    assert corpus.table.set_index("ID")["wrd"][F000] == "DON'T CAF REN"
    assert corpus.warnings == [
        f"{EVALUATION}:8: text is not UTF-8; it is read as Latin-1",
        f"{TRANSCRIPTION}:1: text is not UTF-8; it is read as Latin-1",
        f"2 digits and letters other than A to Z, in 1 of the transcripts, are left out: '\u00c9\u00c9' in {F000}",
    ]


def test_one_line_in_latin_1_leaves_the_others_in_utf_8(small: Path) -> None:
    path = small / TRANSCRIPTION
    lines = path.read_bytes().replace(b"I'm sorry", "I\u2019m sorry".encode()).replace(b"Good", b"G\xf6d")
    path.write_bytes(lines)
    texts = read_release(small, SMALL_FACTS, partial=False).table.set_index("ID")["wrd"]
    assert (texts[F000], texts[F001]) == ("GD MORNING", "I'M SORRY TO HEAR THAT")


def test_digits_that_the_alphabet_lacks_are_counted(small: Path) -> None:
    edit(TRANSCRIPTION, "Good morning.", "Good morning, room 24.")(small)
    edit(TRANSCRIPTION, "You're not sorry", "You're not 1 bit sorry")(small)
    edit(TRANSCRIPTION, "Well-known tricks", "77 tricks")(small)  # of a turn that is not used
    corpus = read_release(small, SMALL_FACTS, partial=False)
    told = "3 digits and letters other than A to Z, in 2 of the transcripts, are left out: '24' in"
    assert corpus.warnings == [f"{told} {F000}, ..."]


def test_a_release_in_another_case_is_named(small: Path) -> None:
    for name in ("Session3", "Session5"):
        (small / name).rename(small / name.lower())
    (small / "session3").rename(small / "session1")
    with pytest.raises(UserError, match="no folder Session1 in it, but there is 'session1': only the case differs"):
        read_release(small, SMALL_FACTS, partial=False)
    (small / "session1").rename(small / "Session3")
    (small / "session5").rename(small / "Session5")
    (small / "Session5" / "dialog").rename(small / "Session5" / "Dialog")
    with pytest.raises(UserError) as refusal:
        read_release(small, SMALL_FACTS, partial=False)
    place = "Session5/{}/EmoEvaluation"
    assert f"'{place.format('Dialog')}': only the case differs" in refusal.value.what

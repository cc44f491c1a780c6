"""ESD: names, official split and transcripts in the encodings in which they come."""

from __future__ import annotations

from collections import Counter

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora import esd, esd_all

FIRST = {"Neutral": 1, "Angry": 351, "Happy": 701, "Sad": 1051, "Surprise": 1401}
CODES = {"Neutral": "neu", "Angry": "ang", "Happy": "hap", "Sad": "sad", "Surprise": "sur"}
FOLDERS = {"evaluation": (0, 19), "test": (20, 49), "train": (50, 349)}


def paths(speakers: list[str], places: list[int], folders: bool = False) -> list[str]:
    """The paths of some sentences, from 0, of each emotion of some speakers, with or without folders of the split."""
    files = []
    for speaker in speakers:
        for emotion, first in FIRST.items():
            for place in places:
                split = next(name for name, (low, high) in FOLDERS.items() if low <= place <= high)
                below = f"{split}/" if folders else ""
                files.append(f"{speaker}/{emotion}/{below}{speaker}_{first + place:06}.wav")
    return files


def write(root, speaker: str, lines: list[str], encoding: str) -> None:
    """Write the transcripts of a speaker."""
    (root / speaker).mkdir(exist_ok=True)
    (root / speaker / f"{speaker}.txt").write_bytes("\r\n".join(lines).encode(encoding))


@pytest.mark.parametrize("folders", [False, True])
def test_official_split(folders):
    for speakers in (["0011", "0015"], ["0003", "0004"]):
        rows = [esd._describe(path) for path in paths(speakers, list(range(350)), folders)]
        assert Counter(row["split"] for row in rows) == {"train": 3000, "valid": 200, "test": 300}
        assert Counter(row["emo"] for row in rows) == dict.fromkeys(CODES.values(), 700)
        assert Counter(row["spk_id"] for row in rows) == dict.fromkeys(speakers, 1750)
        assert Counter(row["gender"] for row in rows) == {"M": 1750, "F": 1750}


def test_ten_women_and_ten_men():
    assert Counter(speaker in esd.MEN for speaker in esd.ENGLISH) == {True: 5, False: 5}
    assert Counter(speaker in esd.MEN for speaker in esd.MANDARIN) == {True: 5, False: 5}


def test_folders_of_the_split_decide():
    assert esd._describe("0011/Angry/test/0011_000351.wav")["split"] == "test"  # its number is one of evaluation
    assert esd._describe("ESD/0011/angry/0011_000351.wav")["split"] == "valid"
    assert esd._describe("0011_000401.wav")["split"] == "train"


def test_names_that_are_none(tmp_path):
    files = ["0011/Angry/0011_000001.wav", "0011/Angry/0011_001751.wav", "0011/x.wav", "0000/0000_000001.wav"]
    with pytest.raises(UserError) as error:
        esd.read(make_release(tmp_path / "ESD", [*files, "0011/Angry/0011_000351.wav"]))
    what = error.value.what
    assert "0011/Angry/0011_000001.wav: its folder says Angry, but its number is one of Neutral" in what
    assert what.count("is not named like 0011_000351.wav: speaker, number from 1 to 1750") == 3
    assert "  0020_001731: no audio file" not in what and "... and 17479 more like these" in what


def test_transcripts_in_every_encoding(tmp_path):
    speakers = ["0003", "0001", "0011", "0012", "0016", "0017", "0018", "0019"]
    root = make_release(tmp_path / "ESD", paths(speakers, [0, 20]))
    english = [
        "0012_000001\tThe nine the eggs, I keep.\tNeutral",
        "0012_000021 It’s a café \tNeutral",  # a blank for the first tab
        "0012_000351 Now I am Angry angry",  # blanks for both
        "0012_000701\tIt is a sad day Happy",  # a blank for the second
        "0012_001051\tI am sad.\t Sad",
        "",
        "no line of it",
    ]
    mandarin = ["0003_000001\t打远一看，它们的确很是美丽，\t中立", "0003_000351 打远一看，它们的确很是美丽， 生气"]
    for speaker, encoding in {"0011": "utf-8", "0012": "utf-16", "0016": "cp1252", "0017": "gb18030"}.items():
        write(root, speaker, [line.replace("0012", speaker) for line in english], encoding)
    write(root, "0018", [line.replace("0012", "0018") for line in english], "utf-16-le")  # without a byte order mark
    write(root, "0019", [line.replace("0012", "0019") for line in english], "utf-8-sig")
    write(root, "0003", mandarin, "utf-16")
    write(root, "0001", [line.replace("0003_", "0001_") for line in mandarin], "gb2312")
    (root / "0011" / "._0011.txt").write_bytes(b"\0\1\2")
    corpus = esd_all.read(root, partial=True)
    words = corpus.table.set_index("ID")["wrd"]
    for speaker in ("0011", "0012", "0016", "0017", "0018", "0019"):
        assert words[f"{speaker}_000001"] == "THE NINE THE EGGS I KEEP"
        assert words[f"{speaker}_000021"] == "IT'S A CAFÉ"
        assert words[f"{speaker}_000351"] == "NOW I AM ANGRY"
        assert words[f"{speaker}_000701"] == "IT IS A SAD DAY"
        assert words[f"{speaker}_001051"] == "I AM SAD"
    for speaker in ("0003", "0001"):
        assert words[f"{speaker}_000001"] == words[f"{speaker}_000351"] == "打远一看 它们的确很是美丽"
    assert corpus.warnings == [
        "46 utterances without a transcript in the text file of their speaker: "
        "0001_000021, 0001_000371, 0001_000701, ..."
    ]
    assert corpus.rejected == 35_000 - 80


def test_english_part_leaves_mandarin_out_with_a_note(tmp_path):
    root = make_release(tmp_path / "ESD", paths(["0001", "0020"], [0], folders=True))
    write(root, "0001", ["打"], "gb2312")
    write(root, "0020", ["0020_000001\tÿ\tNeutral"], "utf-16-be")
    (root / "0020" / "0020.txt").write_bytes(b"0020_000001\tbad \x81\x20\x8d\tNeutral")
    corpus = esd.read(root, partial=True)
    assert sorted(corpus.table["ID"]) == [f"0020_{first:06}" for first in FIRST.values()]
    assert corpus.notes[0].startswith("left out, of another language: 5 audio files: 0001/Angry/evaluation/")
    assert str(corpus.faults[0]) == "0020/0020.txt: is text neither in UTF-8, UTF-16, GB 18030 nor Windows-1252"
    assert (corpus.name, corpus.rejected) == ("esd", 17_500 - 5)


@pytest.mark.slow
def test_a_whole_release(tmp_path):
    root = make_release(tmp_path / "ESD", paths([*esd.MANDARIN, *esd.ENGLISH], list(range(350)), folders=True))
    both, english = esd_all.read(root), esd.read(root)
    assert (len(both.table), both.faults, both.rejected, both.notes) == (35_000, [], 0, [])
    assert (len(english.table), english.faults, english.rejected) == (17_500, [], 0)
    assert english.table["split"].value_counts().to_dict() == {"train": 15_000, "test": 1_500, "valid": 1_000}

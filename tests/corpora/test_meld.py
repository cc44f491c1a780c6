"""MELD: its three tables, where its sound is looked for, and what is known to be broken in it."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest
import soundfile
from releases import make_release

from local.core.errors import UserError
from local.corpora import meld

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
TIMES = ("8", "21", "00:16:16,059", "00:16:21,731")
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}


def table(n: int) -> list[list[str]]:
    """n rows in dialogues of four, with the emotions in turns."""
    return [
        [str(i), f"You’re number {i}.", "Ross", EMOTIONS[i % 7], "neutral", str(i // 4), str(i % 4), *TIMES]
        for i in range(n)
    ]


def write(root, name: str, rows: list[list[str]], encoding: str = "utf-8") -> None:
    """Write the table of a list."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f"{name}_sent_emo.csv", "w", newline="", encoding=encoding) as file:
        file.write(HEADER + "\n")
        csv.writer(file, lineterminator="\n").writerows(rows)


@pytest.fixture
def release(tmp_path, monkeypatch):
    """A release with 14, 7 and 7 utterances: its folder, with tables and sound beside the videos."""
    monkeypatch.setattr(meld, "COUNTS", {"train": (2,) * 7, "dev": (1,) * 7, "test": (1,) * 7})
    monkeypatch.setattr(meld, "BROKEN", ("train_dia3_utt1", "dev_dia1_utt2"))
    files = [
        f"{FOLDERS[name]}/dia{i // 4}_utt{i % 4}.mp4.wav"
        for name, n in (("train", 13), ("dev", 6), ("test", 7))
        for i in range(n)
    ]
    root = make_release(tmp_path / "MELD.Raw", files)
    for name, n in (("train", 14), ("dev", 7), ("test", 7)):
        write(root / "train" if name == "train" else root, name, table(n))
    return root


def test_a_whole_release(release):
    corpus = meld.read(release)
    utterances = corpus.table.set_index("ID")
    assert (len(utterances), corpus.faults, corpus.rejected) == (26, [], 2)
    assert corpus.notes == ["left out, without sound in every copy of the release: train_dia3_utt1, dev_dia1_utt2"]
    assert utterances["split"].value_counts().to_dict() == {"train": 13, "test": 7, "valid": 6}
    assert utterances["recording"].nunique() == 4 + 2 + 2  # each list numbers its dialogues from 0
    first = utterances.loc["dev_dia0_utt1"]
    assert (first["emo"], first["spk_id"], first["recording"], first["split"]) == ("dis", "Ross", "dev_dia0", "valid")
    assert first["wrd"] == "YOU'RE NUMBER 1"
    assert first["wav"] == "$data_root/dev_splits_complete/dia0_utt1.mp4.wav"


def test_counts_are_those_of_the_page():
    assert [sum(counts) for counts in meld.COUNTS.values()] == [9989, 1109, 2610]
    total = dict(zip(meld.EMOTIONS.values(), map(sum, zip(*meld.COUNTS.values(), strict=True)), strict=True))
    words = meld.__doc__.replace(",", "")
    assert "anger 1607 disgust 361 fear 358 joy (`hap`) 2308 neutral 6436 sadness 1002" in words
    assert list(total.values()) == [1607, 361, 358, 2308, 6436, 1002, 1636]


@pytest.mark.parametrize("folder", ["wav/dev", "dev_splits_complete_wav", "audio/val", "MELD.Raw/dev/flac"])
def test_usual_names_of_folders(release, folder):
    os.renames(release / FOLDERS["dev"], release / folder)
    for file in (release / folder).iterdir():
        file.rename(file.with_name(file.name.replace(".mp4", "")))
    corpus = meld.read(release)
    assert f"$data_root/{folder}/dia0_utt1.wav" in set(corpus.table["wav"])


def test_second_cuts_apple_double_and_clips_without_a_row(release):
    folder = release / FOLDERS["test"]
    soundfile.write(folder / "final_videos_testdia0_utt0.mp4.wav", np.ones(1600) / 9, 16_000)
    (folder / "dia0_utt1.mp4.wav").rename(folder / "final_videos_testdia0_utt1.mp4.wav")
    (folder / "._dia0_utt0.mp4.wav").write_bytes(b"\0\5\26\7")
    soundfile.write(release / FOLDERS["dev"] / "dia66_utt9.mp4.wav", np.ones(1600) / 9, 16_000)
    corpus = meld.read(release)
    wavs = corpus.table.set_index("ID")["wav"]
    assert wavs["test_dia0_utt0"].endswith("/dia0_utt0.mp4.wav")
    assert wavs["test_dia0_utt1"].endswith("/final_videos_testdia0_utt1.mp4.wav")  # the first one was taken away
    second = "left out, a second cut (users report that it fits the text better; to use it, take the first one away): "
    assert corpus.notes[1:] == [
        "left out, of no row of the tables: 1 audio file: dev_splits_complete/dia66_utt9.mp4.wav",
        second + "1 audio file: output_repeated_splits_test/final_videos_testdia0_utt0.mp4.wav",
    ]


def test_videos_without_their_sound(release):
    for file in [*release.rglob("*.wav")]:
        file.rename(file.with_suffix(""))
    with pytest.raises(UserError, match="has the videos of MELD, but not their sound") as error:
        meld.read(release)
    assert meld.EXTRACT in error.value.remedy and f"\n    {meld.EXTRACT}\n" in meld.__doc__
    with pytest.raises(UserError, match="is not MELD: it has no table like train_sent_emo"):
        meld.read(release / FOLDERS["dev"])


def test_texts_in_windows_1252(release):
    rows = table(7)
    rows[0][1:3] = "It\x92s a caf\xe9: \x93Mona\x92s\x94", "Mona\x92s Date #2"  # read as Latin-1, written as UTF-8
    write(release, "test", rows)
    rows[1][1:3] = "It’s a café: “Mona’s”", "Mona’s Date #2"
    write(release, "dev", rows[1:2] + table(7)[:1] + table(7)[2:], "cp1252")
    corpus = meld.read(release)
    utterances = corpus.table.set_index("ID")
    for name in ("test_dia0_utt0", "dev_dia0_utt1"):
        assert utterances.loc[name, ["wrd", "spk_id"]].tolist() == ["IT'S A CAFÉ MONA'S", "Monas_Date_2"]


def test_clips_that_are_cut_wrongly(release):
    for name, seconds in (("dia0_utt0.mp4.wav", 31), ("dia0_utt1.mp4.wav", 300)):
        (release / FOLDERS["test"] / name).unlink()  # a link to the file of others
        soundfile.write(release / FOLDERS["test"] / name, np.ones(seconds * 1000) / 9, 1000)
    warnings = meld.read(release).warnings
    assert warnings[0] == (
        "2 clips longer than 30 s, probably cut wrongly: test_dia0_utt1 300.00 s, test_dia0_utt0 31.00 s"
    )
    assert warnings[1].startswith("24 clips shorter than 0.1 s, probably cut wrongly: ")  # those of the made release


def test_every_fault_is_named(release):
    rows = table(14)
    rows[0][3], rows[1][5], rows[3][3], rows[5][5:7] = "anger ", "zero", "delight", ["1", "0"]
    write(release / "train", "train", rows[:13])
    write(release / "copy", "test", table(6))
    (release / FOLDERS["dev"] / "dia0_utt0.mp4.wav").unlink()
    (release / FOLDERS["dev"] / "dia0_utt1.mp4.wav").rename(release / "dia0_utt1.mp4.wav")
    with pytest.raises(UserError) as error:
        meld.read(release)
    how = "no WAV or FLAC file of it; ./run.sh --corpus meld --help says how to make one"
    assert sorted(line.strip() for line in error.value.what.splitlines()[1:]) == sorted(
        [
            "train/train_sent_emo.csv:3: Dialogue_ID 'zero' is not a number",
            "train/train_sent_emo.csv:5: Emotion 'delight' is none of anger, disgust, fear, joy, neutral, sadness, "
            "surprise",
            "train/train_sent_emo.csv: emotion joy: 1 row, 2 expected",
            "train/train_sent_emo.csv: emotion surprise: 1 row, 2 expected",
            "train/train_sent_emo.csv:7: dialogue 1, utterance 0 is in an earlier row already",
            "copy/test_sent_emo.csv: differs from 'test_sent_emo.csv', which is read",
            f"dev_dia0_utt0: {how}",
            f"dev_dia0_utt1: {how}",
            "dia0_utt1.mp4.wav: is not named like dia0_utt0, or no folder above it has train, dev or test in its name",
        ]
    )
    corpus = meld.read(release, partial=True)
    assert corpus.rejected == 28 - len(corpus.table)


def test_a_list_without_its_table(release):
    (release / "dev_sent_emo.csv").unlink()
    with pytest.raises(UserError, match=r"dev_sent_emo\.csv: no table of this name"):
        meld.read(release)
    corpus = meld.read(release, partial=True)
    assert (len(corpus.table), corpus.rejected) == (20, 8)  # of 28, with the one that no copy has
    assert corpus.notes[1].startswith("left out, of no row of the tables: 6 audio files: dev_splits_complete/dia0_utt0")

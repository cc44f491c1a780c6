"""The IEMOCAP corpus: its figures on a release of full size, its traps, and the doctor on broken releases."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from broken_releases import BROKEN, F000, F001, OF_DIALOGUE, TRANSCRIPTION, WAVS, remove, write
from iemocap_tree import ROOT_NAME, SMALL, SMALL_FACTS, full_release, small_release, wav_bytes
from paths import REPOSITORY

from local.core.errors import UserError
from local.corpora import Corpus, iemocap, manifest
from local.corpora.iemocap import Facts, read, read_release, recording_fold

ACTORS = ["01F", "01M", "02F", "02M", "03F", "03M", "04F", "04M", "05F", "05M"]


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_release(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def table(full: Path) -> pd.DataFrame:
    corpus = read(full)
    assert corpus.faults == []
    return corpus.table


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_release(tmp_path)


def counts(column: pd.Series) -> list[int]:
    return column.value_counts().sort_index().tolist()


# ---------------------------------------------------------------- a release of full size


def test_the_four_classes(table: pd.DataFrame) -> None:
    assert table["emo"].value_counts().to_dict() == {"neu": 1708, "hap": 1636, "ang": 1103, "sad": 1084}
    assert len(table) == table["ID"].nunique() == 5531


def test_styles(table: pd.DataFrame) -> None:
    assert table["style"].value_counts().to_dict() == {"impro": 2943, "script": 2588}
    by_emotion = pd.crosstab(table["emo"], table["style"])
    assert by_emotion.loc[["neu", "hap", "ang", "sad"]].to_numpy().tolist() == [
        [1099, 609],
        [947, 689],
        [289, 814],
        [608, 476],
    ]


def test_test_parts_of_the_three_protocols(table: pd.DataFrame) -> None:
    assert counts(table["session"]) == [1085, 1023, 1151, 1031, 1241]
    assert sorted(table["spk_id"].unique()) == ACTORS
    assert counts(table["spk_id"]) == [528, 557, 481, 542, 522, 629, 528, 503, 590, 651]
    folds = table["recording"].map(recording_fold)
    assert sorted(folds.unique()) == ACTORS
    assert counts(folds) == [507, 578, 505, 518, 536, 615, 553, 478, 644, 597]


def test_who_wears_the_markers_is_not_who_speaks(table: pd.DataFrame) -> None:
    worn = table["recording"].map(recording_fold)
    assert (worn != table["spk_id"]).sum() == 2750
    assert table["spk_id"][worn == "01F"].value_counts().to_dict() == {"01M": 270, "01F": 237}


def test_dialogues_with_a_suffix(table: pd.DataFrame) -> None:
    assert table["recording"].nunique() == 151
    by_recording = table.groupby("recording")["spk_id"].unique()
    assert set(by_recording["Ses03M_impro05a"]) == {"03F", "03M"}
    assert set(by_recording["Ses05M_script01_1b"]) == {"05F", "05M"}


def test_table_is_a_manifest(table: pd.DataFrame, full: Path, tmp_path: Path) -> None:
    assert tuple(table.columns) == manifest.COLUMNS
    manifest.write(tmp_path / "all.csv", table)
    read_back = manifest.read(tmp_path / "all.csv")
    pd.testing.assert_frame_equal(read_back, table.sort_values("ID").reset_index(drop=True), check_dtype=False)
    assert all(os.path.isfile(path) for path in manifest.resolve(table["wav"], full))


def test_one_relabelled_turn_shows_in_every_count(full: Path, tmp_path: Path) -> None:
    root = tmp_path / ROOT_NAME
    shutil.copytree(full, root, copy_function=os.link)  # the session's tree stays as it is
    path = root / "Session1/dialog/EmoEvaluation/Ses01F_script01_1.txt"
    line = next(line for line in path.read_text().splitlines() if "\tang\t" in line)
    broken = path.read_text().replace(line, line.replace("\tang\t", "\tfru\t"))
    path.unlink()
    path.write_text(broken)
    speaker, size = ("01F", 528) if line.split("\t")[1].split("_")[-1].startswith("F") else ("01M", 557)
    assert [str(fault) for fault in read(root, partial=True).faults] == [
        "angry: 1102 turns, the release has 1103",
        "session Ses01: 1084 turns, the release has 1085",
        f"speaker {speaker}: {size - 1} turns, the release has {size}",
        "recordings of 01F: 506 turns, the release has 507",
        "scripted: 2587 turns, the release has 2588",
        "angry scripted: 813 turns, the release has 814",
    ]


# ---------------------------------------------------------------- a small release, worked by hand


def test_utterances_worked_by_hand(small: Path) -> None:
    corpus = read_release(small, SMALL_FACTS, partial=False)
    assert (corpus.name, corpus.root, corpus.source, corpus.faults) == ("small", small, "a small release", [])
    columns = ["ID", "duration", "spk_id", "gender", "session", "recording", "style", "emo", "wrd"]
    rows = corpus.table.set_index("ID", drop=False)[columns]
    assert rows.loc["Ses03F_impro01_M001"].tolist() == [
        *("Ses03F_impro01_M001", 0.103, "03M", "M", "Ses03", "Ses03F_impro01", "impro", "ang"),
        "YOU'RE NOT SORRY ARE YOU",
    ]
    assert rows.loc["Ses05M_script01_1b_F000"].tolist() == [
        *("Ses05M_script01_1b_F000", 0.4, "05F", "F", "Ses05", "Ses05M_script01_1b", "script", "ang"),
        "WHO MOVED THE CHAIR",
    ]
    assert rows.loc["Ses03M_impro05a_M000", "emo"] == "hap"  # labelled exc
    wav = corpus.table.set_index("ID")["wav"]["Ses03M_impro05a_F000"]
    assert wav == "$data_root/Session3/sentences/wav/Ses03M_impro05a/Ses03M_impro05a_F000.wav"


def test_only_turns_of_the_four_classes(small: Path) -> None:
    labelled = {f"{name}_{turn.place}": turn.label for name, turns in SMALL.items() for turn in turns}
    wanted = {name for name, label in labelled.items() if label in ("ang", "hap", "exc", "neu", "sad")}
    assert len(labelled) == 20
    assert len(wanted) == 14
    assert set(read_release(small, SMALL_FACTS, partial=False).table["ID"]) == wanted


def test_traps_are_there_and_passed_over(small: Path) -> None:
    assert (small / "Session3/dialog/EmoEvaluation/._Ses03F_impro01.txt").is_file()
    assert (small / "Session3/dialog/transcriptions/._Ses03F_impro01.txt").is_file()
    assert (small / "Session3/sentences/wav/Ses03F_impro01/._Ses03F_impro01_F000.wav").is_file()
    assert (small / "Session3/dialog/EmoEvaluation/Categorical/Ses03F_impro01_e2_cat.txt").is_file()
    spoken = (small / "Session3/dialog/transcriptions/Ses03F_impro01.txt").read_text()
    assert "Ses03F_impro01_FXX0 [" in spoken
    assert "Ses03F_impro01_MXX1 [" in spoken
    assert "M: It is not written when." in spoken
    (small / "Session3/dialog/EmoEvaluation/.DS_Store").write_bytes(b"\0\1")
    (small / "Session3/sentences/wav/._Ses03F_impro01").write_bytes(b"\0\1")
    (small / "README.txt").write_text("IEMOCAP")
    assert len(read_release(small, SMALL_FACTS, partial=False).table) == 14


def test_texts(small: Path) -> None:
    texts = read_release(small, SMALL_FACTS, partial=False).table.set_index("ID")["wrd"]
    assert texts["Ses03M_impro05a_M001"] == ""  # an empty transcript
    assert texts["Ses05F_script02_1_F001"] == ""  # nothing but a breath
    assert texts["Ses05M_script01_1b_M002"] == "SIT DOWN ALL OF YOU"  # times within the text do not begin it


def test_windows_line_ends_and_a_byte_order_mark(small: Path) -> None:
    before = read_release(small, SMALL_FACTS, partial=False).table
    for path in small.glob("Session*/dialog/*/Ses*.txt"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(read_release(small, SMALL_FACTS, partial=False).table, before)


def test_a_chunk_before_the_samples_is_sound(small: Path) -> None:
    path = small / "Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_F000.wav"
    wav = path.read_bytes()
    chunk = b"LIST" + struct.pack("<I", 5) + b"INFO!\0"  # of odd length, hence padded
    path.write_bytes(b"RIFF" + struct.pack("<I", len(wav) - 8 + len(chunk)) + wav[8:36] + chunk + wav[36:])
    table = read_release(small, SMALL_FACTS, partial=False).table.set_index("ID")
    assert table["duration"]["Ses03F_impro01_F000"] == 0.1
    path.write_bytes(path.read_bytes()[:-1])
    fault = "is cut short: its header promises 3258 bytes, it has 3257"
    assert read_release(small, SMALL_FACTS, partial=True).faults[0].reason == fault


def test_fold_of_a_recording() -> None:
    assert recording_fold("Ses03M_impro05a") == "03M"
    assert recording_fold("Ses05F_script01_1") == "05F"


# ---------------------------------------------------------------- broken releases


def utterances(corpus: Corpus) -> set[str]:
    return set(corpus.table["ID"])


@pytest.mark.parametrize("name", BROKEN)
def test_doctor(name: str, small: Path) -> None:
    whole = utterances(read_release(small, SMALL_FACTS, partial=False))
    breaker, expected, lost = BROKEN[name]
    breaker(small)
    corpus = read_release(small, SMALL_FACTS, partial=True)
    faults = [str(fault) for fault in corpus.faults]
    assert [fault for fault in faults if "turns, the release has" not in fault] == expected
    assert utterances(corpus) == whole - lost
    assert corpus.rejected == len(lost)
    with pytest.raises(UserError) as error:
        read_release(small, SMALL_FACTS, partial=False)
    assert all(fault in error.value.what for fault in faults)
    assert "--partial true" in error.value.remedy


@pytest.mark.parametrize("content", [b"RIFF\x00\x00", b"This is no audio at all.", wav_bytes()[:30]])
def test_doctor_on_what_is_no_wav(content: bytes, small: Path) -> None:
    write(f"{WAVS}/{F000}.wav", content)(small)
    corpus = read_release(small, SMALL_FACTS, partial=True)
    assert len(corpus.faults) == 1
    assert str(corpus.faults[0]).startswith(f"{WAVS}/{F000}.wav: not audio that libsndfile reads (")
    assert F000 not in utterances(corpus)


def test_without_a_transcript_the_text_is_empty(small: Path) -> None:
    remove(TRANSCRIPTION)(small)
    texts = read_release(small, SMALL_FACTS, partial=True).table.set_index("ID")["wrd"]
    assert texts[sorted(OF_DIALOGUE)].tolist() == ["", "", ""]
    assert texts["Ses03M_impro05a_F000"] == "NO WAY"


def test_of_a_turn_twice_the_first_counts(small: Path) -> None:
    BROKEN["turn twice"][0](small)
    table = read_release(small, SMALL_FACTS, partial=True).table.set_index("ID")
    assert table["emo"][F001] == "neu"


def test_all_faults_are_told_at_once(small: Path) -> None:
    names = ("session", "wav of no turn", "wav of 0 bytes", "unknown label")
    remove("Session5")(small)
    for name in names[1:]:
        BROKEN[name][0](small)
    with pytest.raises(UserError) as error:
        read_release(small, SMALL_FACTS, partial=False)
    for name in names[1:]:
        assert BROKEN[name][1][0] in error.value.what
    assert "Session5: folder of the session missing" in error.value.what
    assert "all labels: 10 turns, the release has 20" in error.value.what
    assert "neutral: 1 turns, the release has 4" in error.value.what
    assert "speaker 05M: 0 turns, the release has 5" in error.value.what
    assert str(small) in error.value.what.splitlines()[0]


def test_of_many_faults_of_a_kind_twenty_are_listed(small: Path) -> None:
    for i in range(25):
        write(f"{WAVS}/Ses03F_impro01_F1{i:02d}.wav", b"")(small)
    with pytest.raises(UserError) as error:
        read_release(small, SMALL_FACTS, partial=False)
    assert error.value.what.count("wav of no turn in the evaluation") == 20
    assert "5 more" in error.value.what
    assert len(read_release(small, SMALL_FACTS, partial=True).faults) == 25


def test_counts_of_no_interest_are_not_compared(small: Path) -> None:
    remove("Session5")(small)
    corpus = read_release(small, Facts("any", "some release"), partial=False)
    assert len(corpus.table) == 6


def test_a_session_more_than_expected(small: Path) -> None:
    facts = replace(SMALL_FACTS, n_turns=None, emotions={}, speakers={}, styles={}, folds={}, merged={})
    corpus = read_release(small, replace(facts, sessions={"Ses03": 6}), partial=True)
    assert [str(fault) for fault in corpus.faults] == ["session Ses05: 8 turns, the release has 0"]


# ---------------------------------------------------------------- where the release is


def test_nobody_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IEMOCAP", raising=False)
    with pytest.raises(UserError) as error:
        read(None)
    assert "--data" in error.value.remedy
    assert "IEMOCAP=" in error.value.remedy


def test_environment_says_where(full: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IEMOCAP", str(full))
    assert read(None).root == full
    assert read(small, partial=True).root == small  # --data comes before it


def test_root_is_absolute(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.parent)
    assert read_release(Path(ROOT_NAME), SMALL_FACTS, partial=False).root == small


@pytest.mark.parametrize("place", ["..", "Session3", "Session3/dialog/EmoEvaluation"])
@pytest.mark.parametrize("partial", [False, True])
def test_beside_the_release(place: str, partial: bool, small: Path) -> None:
    with pytest.raises(UserError) as error:
        read(small / place, partial)
    assert f"--data {small}" in error.value.remedy


def test_no_release(tmp_path: Path) -> None:
    (tmp_path / "IEMOCAP_full_release.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "photos").mkdir()
    for place, word in (("photos", "Session1"), ("IEMOCAP_full_release.tar.gz", "a file"), ("nowhere", "No such file")):
        with pytest.raises(UserError, match=word) as error:
            read(tmp_path / place, partial=True)
        assert place in error.value.what
        assert "--data" in error.value.remedy


def test_release_with_nothing_to_use(tmp_path: Path) -> None:
    (tmp_path / "Session1").mkdir()
    with pytest.raises(UserError, match="no utterance") as error:
        read(tmp_path, partial=True)
    assert "Session2: folder of the session missing" in error.value.what


def test_torch_is_not_needed() -> None:
    code = f"import sys, {iemocap.__name__}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)

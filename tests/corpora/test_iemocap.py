"""The IEMOCAP corpus: its figures on a release of full size, its traps, its counts, and where it is found."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from broken_releases import remove
from iemocap_tree import ROOT_NAME, SMALL, SMALL_FACTS, small_release
from paths import REPOSITORY

from local import corpora
from local.core.errors import UserError
from local.corpora import Corpus, iemocap, manifest
from local.corpora.iemocap import Facts, read, read_release, recording_fold

ACTORS = ["01F", "01M", "02F", "02M", "03F", "03M", "04F", "04M", "05F", "05M"]


@pytest.fixture(scope="session")
def table(iemocap_corpus: Corpus) -> pd.DataFrame:
    assert iemocap_corpus.faults == []
    return iemocap_corpus.table


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


def test_test_sets_of_the_three_protocols(table: pd.DataFrame) -> None:
    assert counts(table["session"]) == [1085, 1023, 1151, 1031, 1241]
    assert sorted(table["spk_id"].unique()) == ACTORS
    assert counts(table["spk_id"]) == [528, 557, 481, 542, 522, 629, 528, 503, 590, 651]
    folds = table["recording"].map(recording_fold)
    assert sorted(folds.unique()) == ACTORS
    assert counts(folds) == [507, 578, 505, 518, 536, 615, 553, 478, 644, 597]


@pytest.mark.parametrize(
    ("name", "emotions", "styles"),
    [
        pytest.param(
            "iemocap-improvised",
            {"ang": 289, "hap": 947, "neu": 1099, "sad": 608},
            {"impro": 2943},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "iemocap-unmerged",
            {"ang": 1103, "hap": 595, "neu": 1708, "sad": 1084},
            {"impro": 2280, "script": 2210},
            marks=pytest.mark.slow,
        ),
        ("iemocap-improvised-unmerged", {"ang": 289, "hap": 284, "neu": 1099, "sad": 608}, {"impro": 2280}),
    ],
)
def test_a_part_is_a_corpus_of_its_own(iemocap_corpus: Corpus, table: pd.DataFrame, name, emotions, styles) -> None:
    part = corpora.read(name, iemocap_corpus.root, partial=False)
    assert (part.name, part.faults, part.rejected, part.root) == (name, [], 0, iemocap_corpus.root)
    assert part.table["emo"].value_counts().to_dict() == emotions
    assert part.table["style"].value_counts().to_dict() == styles
    assert f": {sum(emotions.values()):,} of 10,039" in part.source and part.source == corpora.about(name).source
    known = table.set_index("ID").loc[part.table["ID"]]
    pd.testing.assert_frame_equal(part.table.set_index("ID"), known)
    module = corpora.module(name)
    assert module.FACTS is iemocap.FACTS and module.recording_fold("Ses03M_impro05a") == "03M"
    assert sorted(part.table["spk_id"].unique()) == ACTORS


def test_who_wears_the_markers_is_not_who_speaks(table: pd.DataFrame) -> None:
    worn = table["recording"].map(recording_fold)
    assert (worn != table["spk_id"]).sum() == 2750
    assert table["spk_id"][worn == "01F"].value_counts().to_dict() == {"01M": 270, "01F": 237}


def test_dialogues_with_a_suffix(table: pd.DataFrame) -> None:
    assert table["recording"].nunique() == 151
    by_recording = table.groupby("recording")["spk_id"].unique()
    assert set(by_recording["Ses03M_impro05a"]) == {"03F", "03M"}
    assert set(by_recording["Ses05M_script01_1b"]) == {"05F", "05M"}


def test_table_is_a_manifest(table: pd.DataFrame, iemocap_corpus: Corpus, tmp_path: Path) -> None:
    assert tuple(table.columns) == (*manifest.COLUMNS, *manifest.RATED)
    manifest.write(tmp_path / "all.csv", table)
    read_back = manifest.read(tmp_path / "all.csv")
    pd.testing.assert_frame_equal(read_back, table.sort_values("ID").reset_index(drop=True), check_dtype=False)
    assert all(os.path.isfile(path) for path in manifest.resolve(table["wav"], iemocap_corpus.root))


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


def test_traps_are_there_and_skipped(small: Path) -> None:
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


def test_what_raters_say_is_in_the_table(small: Path) -> None:
    path = small / "Session3/dialog/EmoEvaluation/Ses03M_impro05a.txt"
    begins = path.read_text().index("Ses03M_impro05a_M000\t")
    block = "C-E1:\tExcited;\t()\nC-E2:\tHappiness; Excited;\t()\nA-E1:\tval 9; act 4; dom  ;\t()\n"
    before, after = path.read_text()[:begins], path.read_text()[begins:]
    head, _, rest = after.partition("\n")
    path.write_text(f"{before}{head}\n{block}{rest[rest.index(chr(10) * 2) + 1 :]}")
    rated = ["votes", "valence", "arousal", "dominance", "ratings"]
    corpus = read_release(small, SMALL_FACTS, partial=False)
    table = corpus.table.set_index("ID")[rated]
    assert table.loc["Ses03M_impro05a_M000"].tolist() == ["hap 2", "", "4", "", "E1.arousal 4"]
    assert table.loc["Ses03M_impro05a_M001"].tolist() == [
        *("neu 1", "3", "2", "2"), "E3.valence 3 E3.arousal 2 E3.dominance 2"
    ]  # fmt: skip
    assert corpus.warnings == [
        "1 values of raters are not from 1 to 5, as 9 in Ses03M_impro05a_M000: they are left out"
    ]
    unmerged = iemocap.Part("unmerged", {}, merged=False)
    extra = read_release(small, SMALL_FACTS, partial=False, part=unmerged).extra.set_index("ID")
    assert extra.loc["Ses03M_impro05a_M000", ["emo", "label", "votes"]].tolist() == ["", "exc", "exc 2 hap 1"]
    for each in small.glob("Session*/dialog/EmoEvaluation/Ses*.txt"):  # a copy without any rating
        lines = [line.partition("\t[")[0] + "\t[]" for line in each.read_text().splitlines() if line[:1] in ("%", "[")]
        each.write_text("\n".join(lines))
    assert tuple(read_release(small, SMALL_FACTS, partial=False).table.columns) == manifest.COLUMNS


def test_the_other_turns_are_apart(small: Path) -> None:
    corpus = read_release(small, SMALL_FACTS, partial=False)
    labelled = {f"{name}_{turn.place}": turn.label for name, turns in SMALL.items() for turn in turns}
    others = corpus.extra.set_index("ID")
    assert others["label"].to_dict() == {
        name: label for name, label in labelled.items() if name not in [*corpus.table["ID"]]
    }
    assert (others["emo"] == "").all() and others.loc["Ses03F_impro01_M002", "wrd"] == "WELLKNOWN TRICKS"
    part = iemocap.Part("small-part", {"ang": 1, "hap": 1, "neu": 2, "sad": 1}, improvised=True, merged=False)
    assert len(read_release(small, SMALL_FACTS, partial=False, part=part).extra) == 15


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


def test_a_chunk_before_the_samples_is_read_over(small: Path) -> None:
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


def test_one_relabelled_turn_shows_in_every_count(small: Path) -> None:
    path = small / "Session5/dialog/EmoEvaluation/Ses05M_script01_1b.txt"
    line = next(line for line in path.read_text().splitlines() if "_F000\tang\t" in line)
    path.write_text(path.read_text().replace(line, line.replace("\tang\t", "\tfru\t")))
    assert [str(fault) for fault in read_release(small, SMALL_FACTS, partial=True).faults] == [
        "emotion ang: 2 turns, 3 expected",
        "session Ses05: 7 turns, 8 expected",
        "speaker 05F: 2 turns, 3 expected",
        "recordings of 05M: 3 turns, 4 expected",
        "style script: 7 turns, 8 expected",
        "emotion and style ang script: 1 turns, 2 expected",
    ]


def test_of_a_part_the_whole_release_is_examined(small: Path) -> None:
    part = iemocap.Part("small-part", {"ang": 1, "hap": 1, "neu": 2, "sad": 1}, improvised=True, merged=False)
    corpus = read_release(small, SMALL_FACTS, partial=False, part=part)
    assert corpus.table["ID"].tolist() == [
        *("Ses03F_impro01_F000", "Ses03F_impro01_F001", "Ses03F_impro01_M001"),
        *("Ses03M_impro05a_F000", "Ses03M_impro05a_M001"),
    ]
    wav = "Session5/sentences/wav/Ses05F_script02_1/Ses05F_script02_1_F000.wav"
    (small / wav).unlink()
    corpus = read_release(small, SMALL_FACTS, partial=True, part=replace(part, emotions={**part.emotions, "hap": 2}))
    assert [str(fault) for fault in corpus.faults] == [
        f"{wav}: wav of the turn is missing",
        "emotion hap: 1 turns, 2 expected",
    ]
    assert (corpus.name, len(corpus.table), corpus.rejected) == ("small-part", 5, 1)


def test_counts_of_no_interest_are_not_compared(small: Path) -> None:
    remove("Session5")(small)
    corpus = read_release(small, Facts("any", "some release"), partial=False)
    assert len(corpus.table) == 6


def test_a_session_more_than_expected(small: Path) -> None:
    facts = replace(
        SMALL_FACTS, n_turns=None, emotions={}, speakers={}, styles={}, folds={}, merged={}, emotion_styles={}
    )
    corpus = read_release(small, replace(facts, sessions={"Ses03": 6}), partial=True)
    assert [str(fault) for fault in corpus.faults] == ["session Ses05: 8 turns, 0 expected"]


# ---------------------------------------------------------------- where the release is


def test_without_a_folder_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IEMOCAP", raising=False)
    with pytest.raises(UserError) as error:
        read(None)
    assert "--data" in error.value.remedy
    assert "IEMOCAP=" in error.value.remedy


def test_environment_says_where(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iemocap, "FACTS", SMALL_FACTS)
    other = small_release(tmp_path / "other")
    monkeypatch.setenv("IEMOCAP", str(other))
    assert read(None).root == other
    assert read(small).root == small  # --data comes before it


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
    assert "Session2: folder of the session is missing" in error.value.what


def test_torch_is_not_needed() -> None:
    code = f"import sys, {iemocap.__name__}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)

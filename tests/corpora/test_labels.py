"""Labels of a table: which are one, which are asked about, and that none is lost without a line that says so."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from iemocap_tree import SMALL_FACTS, small_release

from local.core.errors import UserError
from local.corpora import Corpus, csv_table, iemocap, iemocap_release, labels, nemo, unsound
from local.corpora.faults import rejected_rows

# Labels of public corpora, as their files and tables have them; all of a line are different emotions.
PUBLIC = {
    "EMO-DB": "W L E A F T N Ärger Langeweile Ekel Angst Freude Trauer neutral",
    "RAVDESS": "01 02 03 04 05 06 07 08 neutral calm happy sad angry fearful disgust surprised",
    "CREMA-D": "ANG DIS FEA HAP NEU SAD",
    "SAVEE": "a d f h n sa su",
    "TESS": "angry disgust fear happy neutral ps sad",
    "MSP-Podcast": "A S H U F D C N O X",
    "MELD": "anger disgust fear joy neutral sadness surprise",
    "GoEmotions": "admiration amusement anger annoyance approval caring confusion curiosity desire disappointment "
    "disapproval disgust embarrassment excitement fear gratitude grief joy love nervousness optimism pride "
    "realization relief remorse sadness surprise neutral",
    "ShEMO": "A F H N S W",
    "valence": "-2 -1 0 1 2",
    "quadrants": "1_1 1_0 0_1 11 10 -1",
}


@pytest.fixture
def table(tmp_path: Path):
    """Write own.csv with so many utterances of each label, in their order; its rows by label."""

    def write(**counts: int) -> Path:
        rows = [label.replace("0", " ") for label, count in counts.items() for _ in range(count)]
        for number in range(len(rows)):
            soundfile.write(tmp_path / f"{number}.wav", np.full(160, 0.1), 16_000)
        text = "".join(f"{number}.wav,{label}\n" for number, label in enumerate(rows))
        (tmp_path / "own.csv").write_text("wav,emo\n" + text)
        return tmp_path / "own.csv"

    return write


@pytest.mark.parametrize(
    "different", [*map(str.split, PUBLIC.values()), iemocap_release.LABELS, nemo.EMOTIONS, csv_table.ABOUT.labels]
)
def test_no_two_labels_of_a_known_corpus_are_one(different):
    assert len({labels.fold(label) for label in different}) == len(different)
    for one, other in itertools.permutations(different, 2):
        assert not labels.intended(one, Counter({one: 2, other: 500})), (one, other)


def test_the_spelling_of_most_rows_is_taken_and_all_are_counted(table):
    corpus = csv_table.read(table(Anger=1, anger=12, very0calm=2, Very_Calm=1))
    assert corpus.faults == [] and corpus.rejected == 0
    assert Counter(corpus.table["emo"]) == {"anger": 13, "very_calm": 3}
    assert corpus.notes == [
        "emo 'anger' (12 rows) and 'Anger' (1 row) are one label: 'anger' is taken",
        "emo 'very calm' (2 rows) and 'Very_Calm' (1 row) are one label: 'very_calm' is taken",
    ]
    assert Counter(csv_table.read(table(Anger=12, anger=1, sad=2)).table["emo"]) == {"Anger": 13, "sad": 2}


@pytest.mark.parametrize(
    ("spellings", "taken"),
    [
        (["Anger", "ANGER", "anger"], "anger"),
        (["ANGER", "Anger"], "Anger"),
        (["verycalm", "very_calm", "very calm", "verycalm"], "very_calm"),
        (["verycalm", "very_calm"], "very_calm"),
        (["1", "01"], "01"),
        (["\uff10\uff11", "\u0661", "1"], "1"),
    ],
)
def test_of_equal_counts_the_order_of_rows_does_not_matter(spellings, taken):
    for order in itertools.permutations(spellings):
        chosen, lines = labels.one_spelling(order)
        assert {*chosen.values()} == {taken} and len(lines) == 1
        assert lines[0].endswith(
            "taken, of equal counts the one with fewer capitals, or the earlier one in the alphabet"
        )


def test_a_label_by_itself_stays_and_one_with_blanks_is_written_with_underscores():
    assert labels.one_spelling(["a", "b", "", "a"]) == ({"a": "a", "b": "b"}, [])
    chosen, lines = labels.one_spelling(["not  sure", "not  sure", "a/b"])
    assert chosen == {"not  sure": "not_sure", "a/b": "a/b"}
    assert lines == ["emo 'not  sure' (2 rows) is written 'not_sure'"]


def test_two_rows_of_almost_the_name_of_another_are_asked_about(table):
    path = table(angry=20, sad=3, angre=2)
    with pytest.raises(UserError) as refusal:
        csv_table.read(path)
    assert refusal.value.what.splitlines() == [
        "corpus own: 2 faults",
        "  own.csv:25: emo 'angre' (2 rows): did you mean 'angry' (20 rows)?",
        "  own.csv:26: emo 'angre' (2 rows): did you mean 'angry' (20 rows)?",
    ]
    assert "put it on a line of own.labels" in refusal.value.remedy
    assert refusal.value.remedy.endswith("without the emotion 'angre': --partial true")
    partial = csv_table.read(path, partial=True)
    assert Counter(partial.table["emo"]) == {"angry": 20, "sad": 3} and partial.rejected == 2
    assert str(partial.faults[0]) == (
        "own.csv: the emotion 'angre' is left out as a whole: none of its 2 rows can be used"
    )
    path.with_suffix(".labels").write_text("\ufeffangre\r\n\nbored\n", encoding="utf-8")
    meant = csv_table.read(path)
    assert Counter(meant.table["emo"]) == {"angry": 20, "sad": 3, "angre": 2}
    assert meant.warnings == ["own.labels lists 'bored', which no row has"]


@pytest.mark.parametrize(
    ("rare", "other", "asked"),
    [
        ((1, "angre"), (10, "angry"), True),
        ((5, "netural"), (25, "neutral"), True),  # letters in another order
        ((2, "anger"), (126, "Angry"), True),
        ((6, "angre"), (600, "angry"), False),  # not few
        ((5, "angre"), (24, "angry"), False),  # not rare
        ((2, "mad"), (100, "sad"), False),  # short names are soon alike
        ((2, "happy1"), (100, "happy2"), False),
        ((2, "fear"), (100, "anger"), False),
        ((2, "unhappy"), (100, "happy"), False),
        ((2, "hhappy"), (100, "happy"), True),
        ((2, "calk"), (100, "calm"), True),  # three of four letters
    ],
)
def test_what_is_asked_about(rare, other, asked):
    counts = Counter({rare[1]: rare[0], other[1]: other[0]})
    assert labels.intended(rare[1], counts) == (other[1] if asked else "")
    assert labels.intended(other[1], counts) == ""
    if asked:  # and not another one, more frequent and later in the alphabet
        assert labels.intended(rare[1], counts | Counter(zzz=1000)) == other[1]


def test_labels_that_are_listed_are_neither_respelled_nor_one(table):
    path = table(A=2, a=3, sad=3, Sad=2)
    path.with_suffix(".labels").write_text("A\na\nSad\n")
    corpus = csv_table.read(path)
    assert Counter(corpus.table["emo"]) == {"A": 2, "a": 3, "Sad": 5}
    assert corpus.notes == ["emo 'sad' (3 rows) and 'Sad' (2 rows) are one label: 'Sad' is taken"]
    path.with_suffix(".labels").write_bytes(b"A\xe9\n")
    with pytest.raises(UserError, match=r"own\.labels cannot be read"):
        csv_table.read(path)


def test_a_label_whose_rows_all_have_other_faults_is_named(table):
    """Audio that is missing, a field too many, and a row inside quotation marks: no row of `sad` and `fear` is left."""
    path = table(hap=2, ang=2, sad=2, fear=3)
    (path.parent / "4.wav").unlink()
    text = path.read_text().replace("5.wav,sad", "5.wav,sad,x").replace("6.wav,fear", '"6.wav,fear')
    path.write_text(text.replace("8.wav,fear", "gone.wav,fear"))
    corpus = csv_table.read(path, partial=True)
    assert [str(fault) for fault in corpus.faults if not fault.line] == [
        "own.csv: the emotion 'fear' is left out as a whole: none of its 3 rows can be used",
        "own.csv: the emotion 'sad' is left out as a whole: none of its 2 rows can be used",
    ]
    assert rejected_rows(corpus.faults) == corpus.rejected == 5
    with pytest.raises(UserError) as refusal:
        csv_table.read(path)
    assert "and without the emotions 'fear', 'sad': --partial true" in refusal.value.remedy


def test_a_label_of_unsound_audio_is_named(tmp_path):
    rows = pd.DataFrame(
        {"ID": list("abc"), "wav": [f"$data_root/{name}.wav" for name in "abc"], "emo": ["h", "h", "s"]}
    )
    (tmp_path / "c.wav").write_bytes(b"silence")
    unsound.save(tmp_path, rows, tmp_path, {"c": ("c.wav", "all samples are zero")})
    left = unsound.leave_out(Corpus("own", tmp_path, rows, ""), tmp_path, partial=True)
    assert [str(fault) for fault in left.faults] == [
        "the emotion 's' is left out as a whole: none of its 1 row can be used",
        "c.wav: all samples are zero",
    ]
    assert left.rejected == 1


def test_an_emotion_of_iemocap_without_audio_is_named(tmp_path):
    root = small_release(tmp_path)
    whole = iemocap.read_release(root, SMALL_FACTS, partial=False)
    sad = whole.table["wav"][whole.table["emo"] == "sad"]
    for wav in sad:
        Path(wav.replace("$data_root", str(root))).unlink()
    first = iemocap.read_release(root, SMALL_FACTS, partial=True).faults[0]
    assert str(first) == f"the emotion 'sad' is left out as a whole: none of its {len(sad)} rows can be used"

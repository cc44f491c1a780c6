"""MSP-Podcast: its releases, told by their counts, with official lists, votes and dimensions."""

from __future__ import annotations

from pathlib import Path

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora import msp_podcast
from local.corpora.msp_podcast import RELEASES, read

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
ROWS = [  # podcast and turn, label, speaker, gender, list
    *(("0001_0008", "N", "30", "Male", "Test1"), ("0001_0009", "A", "30", "Male", "Test1")),
    *(("0002_0001", "N", "Unknown", "Unknown", "Train"), ("0002_0002", "A", "7", "Female", "Train")),
    *(("0002_0003", "U", "7", "Female", "Train"), ("0003_0001", "U", "9", "Female", "Development")),
    *(("0003_0002", "X", "9", "Female", "Development"), ("0003_0003", "X", "9", "Female", "Development")),
    *(("0004_0001", "O", "11", "Male", "Test2"), ("0004_0002", "N", "11", "Male", "Test2")),
]
COUNTS = {"test1": 2, "train": 3, "valid": 3, "test2": 2}


def line(name: str, letter: str, speaker: str, gender: str, part: str) -> str:
    return f"MSP-PODCAST_{name}.wav,{letter},2.4,4.0,3.777778,{speaker},{gender},{part}\n"


@pytest.fixture
def release(tmp_path, monkeypatch) -> Path:
    """A small release, as release 1.11 is laid out, whose counts are known."""
    monkeypatch.setitem(RELEASES, "0.1", COUNTS)
    files = [f"Audios/MSP-PODCAST_{name}.wav" for name, *_ in ROWS] + ["Audios/MSP-PODCAST_test3_0001.wav"]
    root = make_release(tmp_path / "MSP-PODCAST-Publish", files)
    (root / "Labels").mkdir()
    (root / "Labels" / "labels_consensus.csv").write_text(HEADER + "".join(line(*row) for row in ROWS))
    detailed = [("0001_0008", word) for word in ("Neutral", "Other-confused", "Neutral", "Happy")]
    text = "".join(f'MSP-PODCAST_{name}.wav,W{i},{word},"Sad,Happy",1,2,3\n' for i, (name, word) in enumerate(detailed))
    header = "FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n"
    (root / "Labels" / "labels_detailed.csv").write_text(header + text)
    (root / "Transcripts").mkdir()
    (root / "Transcripts" / "MSP-PODCAST_0001_0008.txt").write_text("Well, it's fine.\n")
    return root


def test_the_published_counts():
    assert sum(RELEASES["1.10"].values()) == 104_267
    assert sum(RELEASES["1.11"].values()) + 2_347 == 151_654  # with Test3
    assert sum(RELEASES["of the Odyssey 2024 challenge"].values()) + 3_200 == 119_421
    assert RELEASES["1.12"]["all"] + 3_200 == 207_136
    assert sum(RELEASES["2.0"].values()) + 3_200 == 267_905


def test_a_whole_release(release):
    corpus = read(release)
    table = corpus.table.set_index("ID")
    assert (corpus.name, corpus.faults, corpus.warnings) == ("msp-podcast", [], [])
    assert corpus.source.endswith("release 0.1")
    assert table["split"].tolist() == ["test1", "test1", "train", "train", "train", "valid", "test2"]
    assert table["emo"].tolist() == ["neu", "ang", "neu", "ang", "sur", "sur", "neu"]
    first = table.iloc[0]
    assert first[["spk_id", "gender", "recording", "wrd"]].tolist() == ["30", "M", "0001", "WELL IT'S FINE"]
    assert first[["votes", "arousal", "valence", "dominance"]].tolist() == ["neu 2 hap 1 oth 1", "2.4", "4", "3.77778"]
    assert table.iloc[2][["spk_id", "gender"]].tolist() == ["", ""]
    assert corpus.notes == [
        "left out, without agreement of the raters (X): 2 turns: MSP-PODCAST_0003_0002.wav, MSP-PODCAST_0003_0003.wav",
        "left out, labelled as none of the emotions asked for (O): 1 turn: MSP-PODCAST_0004_0001.wav",
        "left out, not in the table: the labels of Test3 are not published: 1 turn: MSP-PODCAST_test3_0001.wav",
        "6 of 7 utterances have no transcript",
        "6 of 7 utterances have no votes",
        "1 of 7 utterances have no known speaker",
    ]


def test_an_early_release(release):
    labels = release / "Labels"
    text = (labels / "labels_consensus.csv").read_text().replace("Development", "Validation")
    (labels / "labels_concensus.csv").write_text(text)
    (labels / "labels_consensus.csv").unlink()
    (labels / "labels_detailed.csv").unlink()
    turn = "MSP-PODCAST_0001_0008.wav; N; A:2.400000; V:4.000000; D:2.800000;"
    (labels / "labels.txt").write_text(f"{turn}\nW1; Neutral; Neutral; A:1.0; V:4.0; D:2.0;\n")
    corpus = read(release)
    assert corpus.table["votes"].tolist()[:2] == ["neu 1", ""] and corpus.source.endswith("release 0.1")
    (labels / "labels.txt").write_text(f"Ratings of early 2020\n\n{turn}\nW1; Neutral; Neutral; A:1.0; V:4.0; D:2.0;\n")
    partial = read(release, partial=True)
    assert [str(fault) for fault in partial.faults] == [
        "labels.txt:1: is no turn with its consensus: 'Ratings of early 2020'"
    ]
    assert (len(partial.table), partial.rejected) == (7, 0)  # it costs no utterance


def test_a_release_that_is_not_known_is_said_to_be_none(release):
    path = release / "Labels" / "labels_consensus.csv"
    path.write_text(HEADER + "".join(line(*row) for row in ROWS[:8]))
    corpus = read(release)
    assert corpus.source.endswith("no release that is known")
    assert corpus.warnings == [
        "the counts (test1 2, train 3, valid 3) are those of no release of MSP-Podcast that is known here"
    ]


def test_faults(release):
    path = release / "Labels" / "labels_consensus.csv"
    more = [
        *(("0001_0008", "N", "30", "Male", "Test1"), ("0009_0001", "N", "1", "Male", "Test1")),
        *(("1", "N", "1", "Male", "Test1"), ("0002_0001", "Q", "1", "Robot", "Tests")),
    ]
    path.write_text(path.read_text() + "".join(line(*row) for row in more))
    with pytest.raises(UserError) as refusal:
        read(release)
    for fault in (
        "12: ID 'MSP-PODCAST_0001_0008' is in line 2 already",
        "13: 'Audios/MSP-PODCAST_0009_0001.wav': No such file or directory",
        "14: FileName 'MSP-PODCAST_1.wav' is not like MSP-PODCAST_0001_0008.wav",
        "15: EmoClass 'Q' is none of A, S, H, U, F, D, C, N, O, X",
        "15: Split_Set 'Tests' is none of Train, Development, Test1, Test2",
        "15: Gender 'Robot' is none of Female, Male, Unknown",
    ):
        assert f"labels_consensus.csv:{fault}" in refusal.value.what, fault
    assert len(read(release, partial=True).table) == 7
    for data in (None, release / "Audios"):
        with pytest.raises(UserError) as refusal:
            msp_podcast.read(data)
        assert "--data" in refusal.value.remedy

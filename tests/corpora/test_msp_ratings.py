"""Ratings of the MSP corpora, in the form of their text files."""

from __future__ import annotations

import pytest

from local.core.errors import UserError
from local.corpora.msp_ratings import Turn, blocks, detailed

# A block in the form of MSP-Podcast, and one in that of MSP-IMPROV, with a rater twice and dominance open.
TEXT = """\
MSP-PODCAST_0007_0021.wav; N; A:2.400000; V:4.000000; D:2.800000;
WORKER00000001; Other-proud; Happy,Excited; A:3.000000; V:3.000000; D:4.000000;
WORKER00000002; Neutral; Neutral; A:1.000000; V:4.000000; D:2.000000;
WORKER00000003; Neutral; Neutral; A:3.000000; V:4.000000; D:2.000000;
WORKER00000004; Neutral; Sad; A:2.000000; V:4.000000; D:3.000000;
WORKER00000005; Surprise; Surprise,Neutral; A:3.000000; V:5.000000; D:3.000000;

UTD-IMPROV-S01A-F01-P-FM01.avi; H; A:2.333333; V:3.500000; D:NaN ; N:4.000000;
rater-a; Happy; Happy, Excited (a; little); A:2.000000; V:4.000000; D:NaN; N:4.000000;
rater-a; Happy; Happy, Excited (a; little); A:2.000000; V:4.000000; D:NaN; N:4.000000;
rater-b; Sad; Sad; A:3.000000; V:3.000000; D:NaN; N:4.000000;
"""


def test_blocks(tmp_path):
    (tmp_path / "labels.txt").write_text(TEXT)
    faults = []
    assert blocks(tmp_path / "labels.txt", faults) == {
        "MSP-PODCAST_0007_0021": Turn("N", {"arousal": "2.4", "valence": "4", "dominance": "2.8"}, "neu 3 oth 1 sur 1"),
        "UTD-IMPROV-S01A-F01-P-FM01": Turn(
            "H", {"arousal": "2.33333", "valence": "3.5", "dominance": ""}, "hap 1 sad 1"
        ),
    }
    assert faults == []


@pytest.mark.parametrize("change", [lambda text: text.replace("\n\n", "\n"), lambda text: text.replace("\n", "\r\n")])
def test_forms_of_the_same(tmp_path, change):
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + change(TEXT).encode())
    assert blocks(tmp_path / "a.txt", []) == blocks(tmp_path / "b.txt", [])


def test_lines_that_cannot_be_read_are_named(tmp_path):
    text = "Some words about this file\n\n" + TEXT + "\n" + TEXT.replace("; N;", "; X;")
    (tmp_path / "labels.txt").write_text(text)
    faults = []
    assert len(blocks(tmp_path / "labels.txt", faults)) == 2
    assert [str(fault) for fault in faults] == [
        "labels.txt:1: is no turn with its consensus: 'Some words about this file'",
        "labels.txt:15: turn 'MSP-PODCAST_0007_0021' has other ratings above",
    ]


def test_a_row_for_each_rater(tmp_path):
    path = tmp_path / "labels_detailed.csv"
    path.write_text(
        "FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct\n"
        'a.wav,W1,Angry,"Angry,Sad",1\na.wav,W2,Angry,,1\nb.wav,W1,"Other-no, really",,2\na.wav,W3,Contempt,,1\n'
    )
    assert detailed(path) == {"a": "ang 2 con 1", "b": "oth 1"}
    path.write_text("FileName,EmoClass\na.wav,A\n")
    with pytest.raises(UserError, match="lacks EmoClass_Major"):
        detailed(path)

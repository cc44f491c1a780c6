"""A folder for each emotion: what is read of it, and what is no such tree."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from releases import make_release

from local.core.errors import UserError
from local.corpora import about, own_name
from local.corpora.emotion_folders import read
from local.splits import protocols

TREE = ["angry/1.wav", "angry/2.wav", "Very happy/set 2/1.wav", "Very happy/set 2/2.wav", "sad/1.wav", "sad/2.wav"]


def test_a_tree(tmp_path):
    root = make_release(tmp_path / "Speech Set".replace(" ", "-"), [*TREE, "sad/.hidden.wav", "__MACOSX/sad/1.wav"])
    (root / "README.txt").write_text("Some words.")
    soundfile.write(root / "sad" / "3.FLAC", np.zeros((800, 2)), 48_000, format="FLAC")
    corpus = read(root)
    table = corpus.table.set_index("ID")
    assert (corpus.name, corpus.root, corpus.faults) == ("Speech-Set", root.resolve(), [])
    assert table["emo"].to_dict() == {
        **{"angry-1": "angry", "angry-2": "angry", "sad-1": "sad", "sad-2": "sad", "sad-3": "sad"},
        **{"Very happy-set 2-1": "Very_happy", "Very happy-set 2-2": "Very_happy"},
    }
    assert table.loc["sad-3", "wav"] == "$data_root/sad/3.FLAC" and "split" not in table
    assert corpus.notes[0] == "left out, no audio that is read: 1 file (.txt 1)"
    assert protocols.default_protocol(corpus.table) == "random" and about("Speech-Set").licence == "of-the-data-owner"
    assert own_name(root) == "Speech-Set"


def test_emotions_behind_a_speaker_are_told(tmp_path):
    files = [f"{who}_{what}/{i}.wav" for who in ("OAF", "YAF") for what in ("angry", "pleasant_surprise") for i in "12"]
    (told,) = read(make_release(tmp_path / "set", files)).warnings
    assert told.startswith("OAF_angry and YAF_angry are 2 labels, though their emotion is one")
    assert "--labels FILE" in told and told.endswith("of TESS take --corpus tess")
    assert read(make_release(tmp_path / "own", TREE)).warnings == []
    one = [file.replace("OAF", "A") for file in files[:4]]  # as `very_angry` may be
    assert read(make_release(tmp_path / "one", one)).warnings == []


def test_splits_above_the_emotions(tmp_path):
    files = [f"{split}/{file}" for split in ("Train", "val", "test") for file in TREE]
    table = read(make_release(tmp_path / "own", files)).table
    assert table["split"].value_counts().to_dict() == {"train": 6, "valid": 6, "test": 6}
    assert set(table["emo"]) == {"angry", "sad", "Very_happy"}
    # A set without folders of emotions in it is none.
    mixed = read(make_release(tmp_path / "mixed", [*TREE, "test/1.wav", "test/2.wav"])).table
    assert "split" not in mixed and "test" in set(mixed["emo"])


@pytest.mark.parametrize(
    ("files", "what", "remedy"),
    [
        ([*TREE, "a.wav", "b.mp3"], "2 audio files are in it itself (a.wav, b.mp3)", "--corpus csv --data table.csv"),
        (["angry/1.wav", "angry/2.wav"], "only one folder with audio, 'angry'", "ROOT/<emotion>"),
        ([f"data/{file}" for file in TREE], "only one folder with audio, 'data'", "did you mean --data"),
        (["x.txt"], "has no audio file", "ROOT/<emotion>"),
    ],
)
def test_what_is_no_tree(tmp_path, files, what, remedy):
    root = make_release(tmp_path / "own", files)
    with pytest.raises(UserError) as refusal:
        read(root)
    assert what in refusal.value.what and remedy in refusal.value.remedy


def test_faults_are_named_by_file(tmp_path):
    files = [f"angry/{n}.wav" for n in range(30)] + [f"angri/{n}.wav" for n in range(2)] + TREE[4:]
    root = make_release(tmp_path / "own", files)
    (root / "fear").mkdir()
    (root / "sad" / "3.m4a").write_bytes(b"no audio")
    soundfile.write(root / "sad" / "1.flac", np.zeros(800), 16_000)
    with pytest.raises(UserError) as refusal:
        read(root)
    lines = {line.strip() for line in refusal.value.what.splitlines()}
    assert "fear: the folder has no audio file" in lines
    assert "angri/0.wav: emo 'angri' (2 rows): did you mean 'angry' (30 rows)?" in lines
    assert "sad/1.wav: ID 'sad-1' is in 'sad/1.flac' already" in lines
    assert "sad/3.m4a: 'sad/3.m4a': not audio that libsndfile reads (Format not recognised.)" in lines
    assert "own.labels beside the data" in refusal.value.remedy
    partial = read(root, partial=True)
    assert (
        len(partial.table) == 32
        and partial.rejected == 4
        and {"angri"}
        == {fault.reason.split("'")[1] for fault in partial.faults if "left out as a whole" in fault.reason}
    )


def test_names_and_places(tmp_path):
    for data in (None, tmp_path / "absent", tmp_path):
        with pytest.raises(UserError) as refusal:
            read(data)
        assert "--" in refusal.value.remedy
    with pytest.raises(UserError, match="cannot be the name"):
        read(make_release(tmp_path / "ravdess set", TREE))

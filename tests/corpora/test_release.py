"""Releases of a file for each utterance: found whatever lies between them, and compared with what a whole one has."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
import soundfile
from releases import make_release

from local.core.errors import UserError
from local.corpora import About, csv_table, emotion_folders
from local.corpora.release import Release, audio_files

ABOUT = About("A corpus, for tests", "en", "none", "", "", {})


def describe(path: str) -> dict[str, str] | str:
    name = os.path.splitext(os.path.basename(path))[0]
    if name.startswith("song"):
        return "a song"
    speaker, emotion, _ = name.split("_")
    return {"spk_id": speaker, "emo": emotion}


FILES = [f"{speaker}/{speaker}_{emotion}_{i}.wav" for speaker in "ab" for emotion in ("ang", "sad") for i in "12"]
COUNTS = {"emo": {"ang": 4, "sad": 4}, "spk_id": {"a": 4, "b": 4}}
RELEASE = Release("made", ABOUT, describe, "a/a_ang_1.wav", COUNTS)


def reasons(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()[1:]]


def test_a_whole_release(tmp_path):
    corpus = RELEASE.read(make_release(tmp_path / "it", FILES))
    assert (corpus.faults, corpus.rejected, corpus.warnings, corpus.notes) == ([], 0, [], [])
    table = corpus.table.set_index("ID")
    assert sorted(table["wav"]) == sorted(f"$data_root/{file}" for file in FILES)
    assert set(table["duration"]) == {0.05, 0.075}
    assert table.loc["b_sad_2", ["spk_id", "emo", "session", "wrd", "split"]].tolist() == ["b", "sad", "", "", ""]


def test_what_lies_between_the_files(tmp_path):
    root = make_release(tmp_path / "it", [*FILES, "a/._a_ang_1.wav", "__MACOSX/a/a_ang_1.wav", "songs/song_1.wav"])
    (root / "a" / "a_ang_1.wav").rename(root / "a" / "a_ang_1.WAV")
    shutil.copytree(root / "b", root / "again" / "b")  # an archive that was unpacked twice
    (root / "b" / "loop").symlink_to(root)
    (root / "notes.txt").write_text("no audio")
    corpus = RELEASE.read(root)
    assert sorted(corpus.table["ID"]) == sorted(os.path.splitext(os.path.basename(file))[0] for file in FILES)
    copies, songs = corpus.notes
    assert copies.startswith("left out, with the name and the bytes of another: 4 audio files: b/b_ang_1.wav, b/b_ang")
    assert copies.endswith("b/b_sad_1.wav, ...")
    assert songs == "left out, a song: 1 audio file: songs/song_1.wav"
    assert len(list(audio_files(root, (".txt",)))) == 1


def close(monkeypatch, folder) -> None:
    """Make a folder one that cannot be listed, by root either."""
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path) == str(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


@pytest.mark.parametrize("read", [RELEASE.read, emotion_folders.read, csv_table.read])
@pytest.mark.parametrize("name", ["b", "b/more", ""])
def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch, read, name):
    root = make_release(tmp_path / "it", [*FILES, "b/more/b_ang_3.wav"])
    close(monkeypatch, root / name)
    for partial in (False, True):  # nobody knows what would be left out
        with pytest.raises(UserError) as refusal:
            read(root, partial)
        assert refusal.value.what == f"{root / name} cannot be read: Permission denied"


def test_the_lost_files_of_a_disk_are_none_of_the_release(tmp_path, monkeypatch):
    root = make_release(tmp_path / "it", [*FILES, "lost+found/c_ang_1.wav"])
    close(monkeypatch, root / "lost+found")
    assert len(RELEASE.read(root).table) == len(emotion_folders.read(root).table) == len(FILES)


def test_every_fault_is_named(tmp_path):
    root = make_release(tmp_path / "it", [*FILES[1:], "b/nonsense.wav"])
    (root / "b" / "b_ang_1.wav").unlink()
    (root / "b" / "b_ang_1.wav").write_bytes(b"RIFF")
    (root / "again").mkdir()
    soundfile.write(root / "again" / "b_sad_1.wav", [0.5] * 100, 16_000)
    with pytest.raises(UserError) as error:
        RELEASE.read(root)
    text = error.value.what
    assert "b/nonsense.wav: not enough values to unpack" in text  # the ValueError of the corpus's own words
    assert "b/b_ang_1.wav: not audio" in text
    assert "b/b_sad_1.wav: ID 'b_sad_1' is that of 'again/b_sad_1.wav' already" in text
    assert "emotion ang: 3 utterances, 4 expected" in text
    assert "speaker a: 3 utterances, 4 expected" in text and "sad: " not in text and "speaker b" not in text
    corpus = RELEASE.read(root, partial=True)
    assert (len(corpus.table), corpus.rejected, len(corpus.faults)) == (6, 2, 5)


def test_missing_files_are_named_where_names_are_known(tmp_path):
    names = [os.path.splitext(os.path.basename(file))[0] for file in FILES]
    root = make_release(tmp_path / "it", FILES[2:])
    with pytest.raises(UserError) as error:
        Release("made", ABOUT, describe, FILES[0], COUNTS, names).read(root)
    assert reasons(error.value.what) == ["a_ang_1: no audio file of this name", "a_ang_2: no audio file of this name"]
    assert Release("made", ABOUT, describe, FILES[0], COUNTS, names).read(root, partial=True).rejected == 2


def test_an_emotion_that_is_lost_as_a_whole_is_named(tmp_path):
    root = make_release(tmp_path / "it", FILES)
    for file in root.rglob("*sad*"):
        file.unlink()
        file.write_bytes(b"")
    corpus = RELEASE.read(root, partial=True)
    assert str(corpus.faults[0]) == "the emotion 'sad' is left out as a whole: none of its 4 rows can be used"
    with pytest.raises(UserError, match="no utterance"):
        for file in root.rglob("*.wav"):
            file.unlink()
            file.write_bytes(b"")
        RELEASE.read(root, partial=True)


def test_files_of_one_length_are_a_changed_copy(tmp_path):
    files = [f"a/a_ang_{i}.wav" for i in range(42)]
    root = make_release(tmp_path / "it", files[::2])
    for file in files[1::2]:
        shutil.copy(root / files[0], root / file)
    for file in root.rglob("*.wav"):
        if file.stat().st_size != (root / files[0]).stat().st_size:
            file.unlink()
            shutil.copy(root / files[0], file)
    release = Release("made", ABOUT, describe, files[0])
    assert release.read(root).warnings == [
        "all 42 files have 0.05 seconds: this copy was cut or padded; take the release itself"
    ]


def test_what_is_no_release_is_refused(tmp_path):
    for data, words in ((None, "needs its folder"), (tmp_path / "none", "is not a folder"), (tmp_path, "has no file")):
        with pytest.raises(UserError, match=words) as error:
            RELEASE.read(data)
        assert "./run.sh --corpus made --help" in error.value.remedy
    other = make_release(tmp_path / "other", ["x/1001.wav", "x/1002.wav"])
    with pytest.raises(
        UserError, match=r"is not A corpus: it has no file like a/a_ang_1.wav, but 2 others; x/1001.wav: not en"
    ):
        RELEASE.read(other)

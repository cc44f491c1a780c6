"""RAVDESS: 1,440 names of seven numbers, and what else has such names: songs, the sound of videos, second copies."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora.ravdess import NAMES, read


def files(actors: range = range(1, 25)) -> list[str]:
    """The paths of the release, from its description: neutral has no strong intensity."""
    numbers = [
        (emotion, level, text, take)
        for emotion in range(1, 9)
        for level in (1, 2)
        for text in (1, 2)
        for take in (1, 2)
    ]
    return [
        f"Actor_{actor:02}/03-01-{emotion:02}-{level:02}-{text:02}-{take:02}-{actor:02}.wav"
        for actor in actors
        for emotion, level, text, take in numbers
        if not (emotion == 1 and level == 2)
    ]


def test_a_whole_release_of_48_khz_and_two_channels(tmp_path):
    corpus = read(make_release(tmp_path / "ravdess", files(), rate=48_000, channels=2))
    table = corpus.table.set_index("ID")
    assert (len(table), corpus.faults, corpus.rejected, corpus.notes) == (1440, [], 0, [])
    emotions = dict.fromkeys(("ang", "cal", "dis", "fea", "hap", "sad", "sur"), 192) | {"neu": 96}
    assert table["emo"].value_counts().to_dict() == emotions
    assert set(Counter(table["spk_id"]).values()) == {60} and table["spk_id"].nunique() == 24
    assert set(table["gender"][table["spk_id"].isin(["01", "23"])]) == {"M"}
    assert set(table["gender"][table["spk_id"].isin(["02", "24"])]) == {"F"}
    row = table.loc["03-01-06-01-02-01-12"]  # the example of the release's own page
    assert row[["emo", "gender", "wrd"]].tolist() == ["fea", "F", "DOGS ARE SITTING BY THE DOOR"]
    assert row["duration"] in (0.016667, 0.025)


def test_songs_videos_and_the_second_copy_of_kaggle_are_left_out(tmp_path):
    root = make_release(tmp_path / "ravdess", files(range(1, 2)))
    shutil.copytree(root / "Actor_01", root / "audio_speech_actors_01-24" / "Actor_01")
    songs = [f"Actor_01/03-02-0{emotion}-01-01-01-01.wav" for emotion in range(1, 7)]
    videos = ["Actor_01/01-01-03-01-01-01-01.wav"]
    make_release(tmp_path / "more", [*songs, *videos])
    shutil.copytree(tmp_path / "more", root, dirs_exist_ok=True)
    corpus = read(root, partial=True)
    assert len(corpus.table) == 60
    notes = {note.partition(" audio file")[0] for note in corpus.notes}
    assert notes == {
        "left out, songs (channel 02): 6",
        "left out, the sound of videos (modality 01): 1",
        "left out, with the name and the bytes of another: 60",
    }


def test_what_is_missing_or_named_in_another_way_is_named(tmp_path):
    strong_neutral = "Actor_01/03-01-01-02-01-01-01.wav"
    root = make_release(tmp_path / "ravdess", [*files(range(1, 2))[1:], strong_neutral])
    with pytest.raises(UserError) as error:
        read(root)
    assert f"{strong_neutral}: is not named like 03-01-06-01-02-01-12.wav" in error.value.what
    assert "03-01-01-01-01-01-01: no audio file of this name" in error.value.what
    assert "--partial true" in error.value.remedy
    corpus = read(root, partial=True)
    assert (len(corpus.table), corpus.rejected, len(corpus.faults)) == (59, 1440 - 59, 1440 - 59 + 1)


def test_the_names_are_those_of_the_release():
    assert {f"Actor_{name[-2:]}/{name}.wav" for name in NAMES} == set(files())

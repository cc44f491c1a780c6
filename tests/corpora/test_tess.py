"""TESS: two women, 200 words; folders of every spelling, a misnamed file, a laboratory's sample rate."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
import soundfile
from releases import make_release

from local.core.errors import UserError
from local.corpora.tess import NAMES, WORDS, read
from local.splits import protocols

# Folders as in the copy at Kaggle; the last part of a file's name.
FOLDERS = {
    **{"OAF_angry": "angry", "OAF_disgust": "disgust", "OAF_Fear": "fear", "OAF_happy": "happy"},
    **{"OAF_neutral": "neutral", "OAF_Pleasant_surprise": "ps", "OAF_Sad": "sad"},
    **{"YAF_angry": "angry", "YAF_disgust": "disgust", "YAF_fear": "fear", "YAF_happy": "happy"},
    **{"YAF_neutral": "neutral", "YAF_pleasant_surprised": "ps", "YAF_sad": "sad"},
}


def files(words: list[str]) -> list[str]:
    paths = [f"{folder}/{folder[:3]}_{word}_{name}.wav" for folder, name in FOLDERS.items() for word in words]
    return [path.replace("OAF_bite_neutral", "OA_bite_neutral") for path in paths]


def test_the_published_counts():
    assert len(WORDS) == len(set(WORDS)) == 200 and len(NAMES) == 2800
    assert Counter(name.rpartition("_")[2] for name in NAMES) == dict.fromkeys(set(FOLDERS.values()), 400)


def test_words_of_a_release_at_24414_hz_with_one_misnamed_file(tmp_path):
    words = ["back", "bite", "youth"]
    corpus = read(make_release(tmp_path / "tess", files(words), rate=24_414), partial=True)
    table = corpus.table.set_index("ID")
    assert len(table) == 42 and corpus.rejected == 2800 - 42
    assert {fault.reason for fault in corpus.faults} == {"no audio file of this name"}
    assert set(table["duration"]) == {round(800 / 24_414, 6), round(1200 / 24_414, 6)}
    assert table.loc["OAF_bite_neutral", "wav"] == "$data_root/OAF_neutral/OA_bite_neutral.wav"
    assert table.loc["OAF_bite_neutral", ["spk_id", "gender", "emo"]].tolist() == ["OAF", "F", "neu"]
    assert table.loc["YAF_youth_ps", ["spk_id", "emo", "wrd"]].tolist() == ["YAF", "sur", "SAY THE WORD YOUTH"]


def test_a_second_copy_and_a_word_that_the_release_lacks(tmp_path):
    root = make_release(tmp_path / "tess", [*files(["gap"]), "OAF_happy/OAF_gnat_happy.wav"])
    shutil.copytree(root / "YAF_sad", root / "TESS Toronto emotional speech set data" / "YAF_sad")
    corpus = read(root, partial=True)
    assert len(corpus.table) == 14
    assert "with the name and the bytes of another: 1 audio file" in corpus.notes[0]
    assert str(corpus.faults[0]).startswith("OAF_happy/OAF_gnat_happy.wav: is not named like OAF_back_angry.wav")


def test_an_aiff_that_is_named_wav_is_read(tmp_path):
    root = make_release(tmp_path / "tess", files(["germ"]))
    path = root / "YAF_angry" / "YAF_germ_angry.wav"
    path.unlink()
    soundfile.write(path, [0.5] * 24_414, 24_414, format="AIFF", subtype="PCM_16")
    assert read(root, partial=True).table.set_index("ID").loc["YAF_germ_angry", "duration"] == 1


def test_two_speakers_leave_nobody_for_validation(tmp_path):
    table = read(make_release(tmp_path / "tess", files(["gap", "hate"])), partial=True).table
    with pytest.raises(UserError, match="two speakers") as error:
        protocols.split_all(table, "speaker", "partner")
    assert "--valid none" in error.value.remedy  # as `./run.sh --corpus tess --help` says
    assert set(protocols.split_all(table, "speaker", "none")) == {"OAF", "YAF"}


@pytest.mark.slow
def test_a_whole_release(tmp_path):
    corpus = read(make_release(tmp_path / "tess", files(WORDS), rate=24_414))
    assert (len(corpus.table), corpus.faults, corpus.rejected) == (2800, [], 0)
    assert set(corpus.table["emo"].value_counts()) == {400}

"""AESDD: names with blanks, brackets and takes; one file that is broken in the release."""

from __future__ import annotations

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora.aesdd import read

WORDS = {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"}


def files() -> list[str]:
    """600 names, of 20 utterances by 6 actors, and a second take of one."""
    names = [
        f"{folder}/{letter}{utterance:02} ({speaker}).wav"
        for letter, folder in WORDS.items()
        for utterance in range(1, 21)
        for speaker in range(1, 7)
    ]
    return [*names, "fear/f18 (5)b.wav"]


def test_a_release_with_its_broken_file(tmp_path):
    root = make_release(tmp_path / "Acted Emotional Speech Dynamic Database", files(), rate=44_100)
    broken = root / "sadness" / "s05 (3).wav"
    broken.unlink()
    broken.write_bytes(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88\x58\x01\0\x02\0\x10\0")
    corpus = read(root)
    table = corpus.table.set_index("ID")
    assert (len(table), corpus.faults, corpus.rejected) == (600, [], 0)
    assert corpus.notes == ["left out, broken in the release itself: 1 audio file: sadness/s05 (3).wav"]
    assert table["emo"].value_counts().to_dict() == {"ang": 120, "dis": 120, "fea": 121, "hap": 120, "sad": 119}
    assert table.loc["5_f18b", ["spk_id", "emo", "wav"]].tolist() == ["5", "fea", "$data_root/fear/f18 (5)b.wav"]
    assert set(table["gender"]) == set(table["wrd"]) == {""}


def test_a_name_of_another_form(tmp_path):
    root = make_release(tmp_path / "aesdd", ["anger/a01 (1).wav", "anger/a02_(1).wav", "anger/n03 (1).wav"])
    with pytest.raises(UserError, match=r"anger/n03 \(1\).wav: is not named like 'a03 \(4\).wav'"):
        read(root)
    assert sorted(read(root, partial=True).table["ID"]) == ["1_a01", "1_a02"]

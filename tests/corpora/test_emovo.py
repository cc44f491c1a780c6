"""EMOVO: six actors, 14 sentences, seven Italian words for emotions."""

from __future__ import annotations

from collections import Counter

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora.emovo import read

ITALIAN = {
    **{"dis": "dis", "gio": "hap", "neu": "neu", "pau": "fea"},
    **{"rab": "ang", "sor": "sur", "tri": "sad"},
}
SENTENCES = [f"{kind}{i}" for kind, count in (("b", 3), ("l", 4), ("n", 5), ("d", 2)) for i in range(1, count + 1)]


def files() -> list[str]:
    actors = ("f1", "f2", "f3", "m1", "m2", "m3")
    return [f"{actor}/{word}-{actor}-{text}.wav" for actor in actors for word in ITALIAN for text in SENTENCES]


def test_a_whole_release_of_48_khz_and_two_channels(tmp_path):
    root = make_release(tmp_path / "emovo", [f"EMOVO/{file}" for file in files()], rate=48_000, channels=2)
    corpus = read(root)
    table = corpus.table.set_index("ID")
    assert (len(table), corpus.faults, corpus.rejected) == (588, [], 0)
    assert Counter(table["emo"]) == dict.fromkeys(ITALIAN.values(), 84)
    assert set(Counter(table["spk_id"]).values()) == {98}
    assert Counter(table["gender"]) == {"F": 294, "M": 294}
    assert (table["emo"] == [ITALIAN[name[:3]] for name in table.index]).all()
    assert table["wrd"].nunique() == 14
    assert table.loc["tri-m3-l3", "wrd"] == "UN ATTIMO DOPO S'È INCAMMINATO ED È INCIAMPATO"
    assert table.loc["gio-f1-n5", "wrd"] == "UNO QUARANTATRÉ DIECI MILLE CINQUANTASETTE VENTI"


def test_what_is_missing_or_named_in_another_way(tmp_path):
    root = make_release(tmp_path / "emovo", [*files()[1:14], "m3/tri-m3-n6.wav"])
    with pytest.raises(UserError) as error:
        read(root)
    assert "m3/tri-m3-n6.wav: is not named like dis-f1-b1.wav: emotion, speaker, sentence" in error.value.what
    assert "dis-f1-b1: no audio file of this name" in error.value.what

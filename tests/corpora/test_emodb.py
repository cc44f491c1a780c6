"""EMO-DB: its layout, and what tells that a copy of it is not whole."""

from __future__ import annotations

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora.emodb import COUNTS, EMOTIONS, SENTENCES, SPEAKERS, read
from local.text.normalise import normalise

LETTERS = {label: letter for letter, label in EMOTIONS.items()}


def whole_names() -> list[str]:
    """535 names with the counts of the release, by speaker and by emotion."""
    speakers = [speaker for speaker, n in SPEAKERS.items() for _ in range(n)]
    emotions = [LETTERS[label] for label, n in COUNTS.items() for _ in range(n)]
    names, used = [], {}
    for i, (speaker, emotion) in enumerate(zip(speakers, emotions, strict=True)):
        sentence = list(SENTENCES)[i % len(SENTENCES)]
        version = "abcdefghij"[used.setdefault((speaker, sentence, emotion), 0)]
        used[speaker, sentence, emotion] += 1
        names.append(f"wav/{speaker}{sentence}{emotion}{version}.wav")
    return names


def test_the_published_counts():
    assert sum(COUNTS.values()) == sum(SPEAKERS.values()) == 535
    assert len(SENTENCES) == len(SPEAKERS) == 10


def test_a_whole_release(tmp_path):
    corpus = read(make_release(tmp_path / "emodb", whole_names(), rate=22_050))
    table = corpus.table.set_index("ID")
    assert (len(table), corpus.faults, corpus.name) == (535, [], "emodb")
    assert table["emo"].value_counts().to_dict() == COUNTS
    assert table.groupby("spk_id")["gender"].first().to_dict() == {
        **dict.fromkeys(("08", "09", "13", "14", "16"), "F"),
        **dict.fromkeys(("03", "10", "11", "12", "15"), "M"),
    }
    assert table["wrd"].nunique() == 10


def test_letters_are_those_of_german_words(tmp_path):
    root = make_release(tmp_path / "emodb", ["wav/03a01Fa.wav", "wav/16b03Ea.wav", "wav/08a04Ab.wav"])
    table = read(root, partial=True).table.set_index("ID")
    assert table["emo"].to_dict() == {"03a01Fa": "hap", "16b03Ea": "dis", "08a04Ab": "fea"}
    assert table.loc["08a04Ab", "wrd"] == normalise("Heute abend könnte ich es ihm sagen.")


def test_what_is_missing_or_named_in_another_way(tmp_path):
    names = whole_names()
    root = make_release(tmp_path / "emodb", [*names[1:], "wav/3a01Fa.wav"])
    with pytest.raises(UserError) as error:
        read(root)
    assert "wav/3a01Fa.wav: is not named like 03a01Fa.wav: speaker, sentence, emotion, version" in error.value.what
    assert "emotion ang: 126 utterances, 127 expected" in error.value.what
    assert "speaker 03: 48 utterances, 49 expected" in error.value.what

"""Columns with other names: each mistake of the option is named, and what is proposed can be copied."""

from __future__ import annotations

import shlex

import pytest

from local.core.errors import UserError
from local.corpora.columns import option, parse, proposal, refuse_absent, rename, taken
from local.corpora.own_columns import NAMED, OPTIONAL, REQUIRED

KNOWN = (*REQUIRED, *OPTIONAL)


def test_pairs():
    assert parse("wav=path emo=emotion", KNOWN) == {"wav": "path", "emo": "emotion"}
    assert parse("wrd='Spoken text'  emo=a=b", KNOWN) == {"wrd": "Spoken text", "emo": "a=b"}
    assert parse("", KNOWN) == {}


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("path", "'path' is no pair of names", 'wav=path emo=emotion"'),
        ("wav=", "'wav=' is no pair of names", ""),
        ("=path", "'=path' is no pair of names", ""),
        ("emotion=emo", "'emotion' is no column here", 'did you mean --columns "emo=emotion"?'),
        ("speaker_id=who", "'speaker_id' is no column here", "take one of: wav emo ID"),
        ("spk=who", "'spk' is no column here", 'did you mean --columns "spk_id=who"?'),
        ("emo=a emo=b", "emo is named twice, as 'a' and 'b'", ""),
        ("wav=a ID=a", "column 'a' is named twice, for wav and for ID", ""),
        ("wrd='a", "a quotation mark is not closed", ""),
    ],
)
def test_mistakes(text, what, remedy):
    with pytest.raises(UserError) as refusal:
        parse(text, KNOWN)
    assert what in refusal.value.what and "--columns" in refusal.value.what + refusal.value.remedy
    assert remedy in refusal.value.remedy


@pytest.mark.parametrize("theirs", ["path", "Spoken text", "it's", 'a "b"', "$HOME", "a`b`", "back\\slash"])
def test_what_is_proposed_can_be_copied(theirs):
    given = {"wav": "path 1", "wrd": theirs}
    words = shlex.split(f"./run.sh {option(given)} --jobs 1")
    assert words[1] == "--columns" and words[3:] == ["--jobs", "1"] and parse(words[2], KNOWN) == given


def test_a_column_that_is_absent_is_named_with_the_nearest():
    with pytest.raises(UserError) as refusal:
        refuse_absent("own.csv:1", ["path", "Emotion", "x"], {"wav": "path", "emo": "emotions"})
    assert refusal.value.what == (
        "own.csv:1: --columns says emo=emotions, and there is no column 'emotions' (path, Emotion, x)"
    )
    assert refusal.value.remedy == '--columns "wav=path emo=Emotion"'
    refuse_absent("own.csv:1", ["PATH", "Emotion"], {"wav": "path", "emo": "emotion"})
    with pytest.raises(UserError):  # two that differ in case alone
        refuse_absent("own.csv:1", ["PATH", "Path"], {"wav": "path"})


def test_ours_gives_way_to_the_one_that_is_named():
    assert rename(["ID", "utt", "emo"], {"ID": "utt"}) == ["", "ID", "emo"]


def test_a_proposal_keeps_what_was_given():
    columns = rename(["file", "mood", "Speaker ID"], {"emo": "mood"})
    assert proposal(columns, NAMED, {"emo": "mood"}) == {"emo": "mood", "wav": "file", "spk_id": "Speaker ID"}


def test_known_names_are_taken_where_they_are_clear():
    found = taken("x", ["audio_filepath", "text", "label", "Speaker", "n"], REQUIRED, NAMED, {})
    assert found == {"wav": "audio_filepath", "wrd": "text", "emo": "label", "spk_id": "Speaker"}
    found = taken("x", ["wav", "path", "EMO", "text", "sentence"], REQUIRED, NAMED, {})
    assert found == {"wav": "wav", "emo": "EMO"}  # two may be the transcript: neither is taken
    with pytest.raises(UserError) as refusal:
        taken("x", ["audio", "label", "emotion"], REQUIRED, NAMED, {})
    assert "there is no emo among the columns (audio, label, emotion); 'label' and 'emotion' may be" in (
        refusal.value.what
    )
    assert refusal.value.remedy == 'say which columns they are: --columns "emo=label"'
    assert taken("x", ["audio", "label", "emotion"], REQUIRED, NAMED, {"emo": "emotion"})["emo"] == "emotion"

"""Folds and validation of single utterances: properties over tables of many shapes, and what a user sees of them."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest

from local.core.errors import UserError
from local.splits import checks, naming, protocols, utterances


def table(**counts: int) -> pd.DataFrame:
    """So many utterances of each emotion, of which nothing else is known."""
    emotions = [emotion for emotion, count in counts.items() for _ in range(count)]
    frame = pd.DataFrame({"ID": [f"u{number:04d}" for number in range(len(emotions))], "emo": emotions})
    frame[["spk_id", "session", "recording", "wrd"]] = ""
    return frame


def copies(frame: pd.DataFrame, *groups: str) -> pd.Series:
    """Keys of the audio: utterances whose numbers are in one of the groups have the same bytes."""
    of = {f"u{int(number):04d}": f"digest {rank}" for rank, group in enumerate(groups) for number in group.split()}
    return frame["ID"].map(of).fillna("")


COUNTS = [
    dict(ang=126, hap=126, neu=200, sad=31),
    dict(a=5, b=5),
    dict(a=7, b=3, c=2),
    dict(a=2, b=2),
    dict(a=1000, b=2, c=13),
]


@pytest.mark.parametrize("counts", COUNTS)
def test_every_utterance_is_tested_once_and_folds_are_alike(counts):
    frame = table(**counts)
    folds = protocols.test_folds(frame, "random")
    assert folds.index.equals(frame.index) and not folds.isna().any()
    expected = [f"fold{number}" for number in range(1, 1 + min(5, max(counts.values())))]
    assert sorted(folds.unique()) == protocols.fold_names(frame, "random") == expected
    for of_emotion in (folds, *(folds[frame["emo"] == emotion] for emotion in counts)):
        sizes = of_emotion.value_counts().reindex(expected, fill_value=0)
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("counts", COUNTS)
def test_the_default_validation_holds_a_tenth_of_each_emotion_out_if_it_can(counts):
    frame = table(**counts)
    valid = protocols.default_valid("random", frame)
    assert valid == ("none" if max(counts.values()) < 5 or sorted(counts.values())[-2] < 4 else "utterances")
    splits = protocols.split_all(frame, "random", valid)
    checks.refuse_bad_folds(frame, splits)
    for sets in splits.values():
        for emotion in counts:
            sizes = sets[frame["emo"] == emotion].value_counts()
            trained, held = sizes.get("train", 0), sizes.get("valid", 0)
            rest = trained + held
            assert trained > 0
            assert held == (max(1, round(rest / 10)) if valid == "utterances" and rest >= 3 else 0)


def test_the_order_of_the_table_does_not_matter_and_what_is_drawn_is_random():
    frame = table(ang=50, sad=40)
    shuffled = frame.sample(frac=1, random_state=3)
    splits, others = (protocols.split_all(each, "random", "utterances") for each in (frame, shuffled))
    for fold, sets in splits.items():
        again = others[fold]
        assert dict(zip(frame["ID"], sets, strict=True)) == dict(zip(shuffled["ID"], again, strict=True))
    folds = protocols.test_folds(frame, "random")
    neighbours = (folds[:49].to_numpy() == folds[1:50].to_numpy()).mean()
    assert 0.05 < neighbours < 0.4  # neither blocks of one fold nor dealt in turn
    held = [frozenset(frame["ID"][sets == "valid"]) for sets in splits.values()]
    assert len(set(held)) == len(held) == 5


def test_copies_of_a_file_are_in_one_set_of_every_fold():
    frame = table(ang=40, hap=40, sad=40)
    same = copies(frame, "0 1 2 3", "5 50", "90 91", "100 20 60", " ".join(map(str, range(110, 120))))
    splits = protocols.split_all(frame, "random", "utterances", same_audio=same)
    for sets in splits.values():
        assert set(sets) == {"train", "valid", "test"}
        assert all(sets[same == key].nunique() == 1 for key in same.unique() if key)
    tested = Counter(name for sets in splits.values() for name in frame["ID"][sets == "test"])
    assert set(tested.values()) == {1} and len(tested) == 120
    assert max((sets == "test").sum() for sets in splits.values()) <= 24 + 4


def test_a_table_that_is_copies_of_few_files():
    frame = table(a=6, b=6)
    with pytest.raises(UserError, match="5 folds, and only 2 have audio files of different contents"):
        utterances.deal(frame, copies(frame, "0 1 2 3 4 5", "6 7 8 9 10 11"))
    with pytest.raises(UserError, match="fewer than two emotions") as refusal:
        utterances.held_out(frame, copies(frame, "0 1 2 3 4 5", "6 7 8 9 10 11"), "s")
    assert "--valid none" in refusal.value.remedy


def test_single_utterances_of_a_fold_of_speakers_may_validate():
    frame = table(a=30, b=30).assign(spk_id=list("AB") * 30)
    sets = protocols.split(frame, frame["spk_id"], "A", "utterances")
    assert sets[frame["spk_id"] == "A"].eq("test").all()
    assert Counter(frame["emo"][sets == "valid"]) == {"a": 2, "b": 2}


def test_random_is_taken_by_itself_only_where_nothing_is_known():
    frame = table(a=5, b=5)
    assert protocols.default_protocol(frame) == "random"
    for column in ("spk_id", "session", "recording"):
        known = frame.copy()
        known.loc[3, column] = "x"
        assert protocols.default_protocol(known) == "speaker"


def test_the_name_says_that_it_is_optimistic():
    assert naming.path_name("random", False) == "random-OPTIMISTIC"
    for name in ("random-OPTIMISTIC", "random-OPTIMISTIC-hold_text"):
        words = naming.describe(name, "0/4")
        assert words.startswith("each fold tests a random share") and "; OPTIMISTIC: " in words
        assert ("a third of the transcripts" in words) == name.endswith("hold_text")


def test_an_emotion_with_one_utterance_makes_no_folds():
    for ask in (protocols.test_folds, protocols.fold_names):
        with pytest.raises(UserError, match="no emotion has two utterances"):
            ask(table(a=1, b=1), "random")

"""Whole speakers held out for validation, of one corpus and of each of several; and protocol `corpus`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from local.core.errors import UserError
from local.splits import audit, checks, held_out, protocols


def corpora(**sizes: list[int]) -> pd.DataFrame:
    """Utterances of corpora; each has speakers who say so many, of three emotions in turn."""
    rows = [
        (f"{corpus}-{number}-{i}", corpus, f"{corpus}{number}", "ahs"[i % 3])
        for corpus, counts in sizes.items()
        for number, count in enumerate(counts)
        for i in range(count)
    ]
    return pd.DataFrame(rows, columns=["ID", "corpus", "spk_id", "emo"]).assign(session="", recording="", wrd="")


def speakers_of(frame: pd.DataFrame, drawn: list[int]) -> dict[str, int]:
    """Whose utterances were drawn, and how many; all of each."""
    held = frame.loc[drawn].groupby("spk_id").size().to_dict()
    assert held == {name: int((frame["spk_id"] == name).sum()) for name in held}
    return held


def test_one_of_ten_like_speakers_is_a_tenth():
    frame = corpora(a=[12] * 10)
    drawn = {seed: speakers_of(frame, held_out.speakers(frame, seed)) for seed in "abcdefghijklmnop"}
    assert all(list(held.values()) == [12] for held in drawn.values())
    assert len({name for held in drawn.values() for name in held}) > 3  # the seed counts
    shuffled = frame.sample(frac=1, random_state=3)
    assert speakers_of(shuffled, held_out.speakers(shuffled, "a")) == drawn["a"]  # and the order does not


@pytest.mark.parametrize("seed", ["1", "2", "3", "4"])
def test_it_is_near_a_tenth_and_at_least_one(seed):
    sizes = np.random.default_rng(int(seed)).integers(3, 60, 30).tolist()
    frame = corpora(a=sizes)
    assert 0.05 < len(held_out.speakers(frame, seed)) / len(frame) < 0.15
    few = corpora(a=[90, 12, 30])  # a tenth is 13: the one of 12 is the nearest
    assert speakers_of(few, held_out.speakers(few, seed)) == {"a1": 12}
    large = corpora(a=[90, 60, 80])  # each is more than twice a tenth: the least of them
    assert speakers_of(large, held_out.speakers(large, seed)) == {"a1": 60}


def test_of_each_corpus_one_speaker_at_least_is_held_out_and_one_trains():
    frame = corpora(big=[30] * 20, small=[6, 6], mid=[9] * 4)
    held = speakers_of(frame, held_out.speakers(frame, "s"))
    assert {name.rstrip("0123456789") for name in held} == {"big", "small", "mid"}
    assert [sum(name.startswith(corpus) for name in held) for corpus in ("big", "small", "mid")] == [2, 1, 1]
    one = frame.drop(columns="corpus")  # as one corpus, a tenth of all
    assert 0.05 < len(held_out.speakers(one, "s")) / len(one) < 0.15


def test_nobody_who_alone_has_an_emotion_is_held_out():
    frame = corpora(a=[6] * 5)
    frame.loc[frame["spk_id"] == "a3", "emo"] = ["x"] * 6
    for seed in "abcdefgh":
        assert "a3" not in speakers_of(frame, held_out.speakers(frame, seed))
    own = corpora(a=[6, 6])
    own["emo"] = own["emo"] + own["spk_id"]
    with pytest.raises(UserError, match="no speaker of corpus a can be held out") as refusal:
        held_out.speakers(own, "s")
    assert refusal.value.remedy == "take --valid utterances, or --valid none"


def test_what_one_leaves_the_next_may_not_take():
    """Two speakers alone have an emotion: whoever is drawn first, the other must train."""
    frame = corpora(a=[1] * 12 + [88])  # a tenth are most of the twelve
    frame.loc[frame["spk_id"].isin(["a3", "a7"]), "emo"] = "x"
    large = corpora(a=[9, 9], b=[9, 9])  # each more than twice a tenth, so that one of each corpus is taken
    large.loc[large["spk_id"].isin(["a0", "b0"]), "emo"] = "x"
    large.loc[large["spk_id"].isin(["a1", "b1"]), "emo"] = "y"
    both = 0
    for seed in range(60):
        held = speakers_of(frame, held_out.speakers(frame, f"{seed}"))
        assert not {"a3", "a7"} <= {*held}
        both += bool({"a3", "a7"} & {*held})
        assert {*large.drop(held_out.speakers(large, f"{seed}"))["emo"]} == {"x", "y"}
    assert both > 30


def recordings(**sizes: int) -> pd.Series:
    return pd.Series([name for name, size in sizes.items() for _ in range(size)])


def test_a_recording_that_is_too_large_is_passed_over_and_of_two_ways_equally_near_the_larger_is_taken():
    some = recordings(large=60, **{name: 6 for name in "abcdefghij"})  # a tenth is 12
    for seed in range(60):
        drawn = held_out.recordings(some, f"{seed}")
        assert 1 <= len(drawn) <= 2 and "large" not in drawn
    equal = recordings(**{name: 6 for name in "abcde"})  # a tenth is 3: one of them and none are as near
    assert len(held_out.recordings(equal, "s")) == 1
    with pytest.raises(UserError, match="of 3 recordings"):
        held_out.recordings(recordings(a=10, b=10, c=10), "s")  # 10 is further from 3 than 0 is


def test_where_speakers_cannot_be_held_out():
    with pytest.raises(UserError, match="no speaker of corpus b can be held out"):
        held_out.speakers(corpora(a=[6, 6], b=[6]), "s")
    with pytest.raises(UserError, match="needs a speaker for every training utterance"):
        held_out.speakers(corpora(a=[6, 6]).replace("a1", ""), "s")
    assert held_out.has_speakers(corpora(a=[6, 6], b=[6, 3]))
    assert not held_out.has_speakers(corpora(a=[6, 6], b=[6]))
    assert not held_out.has_speakers(corpora(a=[6, 6]).replace("a1", ""))


def test_each_fold_tests_a_corpus_and_speakers_of_each_other_validate():
    frame = corpora(a=[9] * 4, b=[6] * 12, c=[12] * 3)
    assert protocols.served(frame) == ["speaker", "corpus", "random"]
    assert protocols.fold_names(frame, "corpus") == ["a", "b", "c"]
    assert protocols.default_valid("corpus", frame) == "speakers"
    splits = protocols.split_all(frame, "corpus", "speakers")
    for fold, sets in splits.items():
        assert (sets == "test").equals(frame["corpus"] == fold)
        for other in {"a", "b", "c"} - {fold}:
            of_other = sets[frame["corpus"] == other]
            assert set(of_other) == {"train", "valid"}
            assert not set(frame["spk_id"][sets == "valid"]) & set(frame["spk_id"][sets == "train"])
        assert 0.05 < (sets == "valid").sum() / (sets != "test").sum() < 0.4
    checks.refuse_bad_folds(frame, splits)
    keys = frame[["spk_id"]].rename(columns={"spk_id": "speaker"}).astype("category")
    audit.refuse("corpus", audit.find_leaks(splits, keys))


def test_an_emotion_that_one_corpus_has_alone_is_named():
    frame = corpora(a=[9] * 4, b=[6] * 4)
    frame.loc[frame["corpus"].eq("b") & frame["emo"].eq("s"), "emo"] = "calm"
    splits = protocols.split_all(frame, "corpus", "none")
    with pytest.raises(UserError) as refusal:
        checks.refuse_bad_folds(frame, splits, "none")
    assert refusal.value.what.splitlines() == [
        "fold a: no s in the training set",
        "  fold b: no calm in the training set",
    ]


def test_a_speaker_of_two_corpora_is_a_leak():
    frame = corpora(a=[9] * 4, b=[6] * 4).replace("b2", "a1")
    splits = protocols.split_all(frame, "corpus", "none")
    keys = frame[["spk_id"]].rename(columns={"spk_id": "speaker"}).astype("category")
    with pytest.raises(UserError, match="speaker across train-test: a1"):
        audit.refuse("corpus", audit.find_leaks(splits, keys))


@pytest.mark.parametrize(
    ("frame", "reason", "valid"),
    [
        (corpora(a=[9] * 4), "there is only one", "speakers"),
        (corpora(a=[9] * 4).drop(columns="corpus"), "it is one corpus", "speakers"),
        (
            corpora(a=[9] * 4, b=[3]).replace("b", ""),
            "3 of its 39 utterances have no corpus: b-0-0, b-0-1, b-0-2",
            "none",
        ),
    ],
)
def test_tables_that_are_one_corpus(frame, reason, valid):
    with pytest.raises(UserError) as refusal:
        protocols.fold_names(frame, "corpus")
    assert refusal.value.what == f"this corpus cannot serve protocol 'corpus' (column corpus): {reason}"
    assert "corpus for corpus" not in refusal.value.remedy  # no table of the user's own has that column
    assert protocols.default_valid("corpus", frame) == valid


def test_speakers_may_validate_other_protocols_too():
    frame = corpora(a=[6] * 10)
    for protocol in ("speaker", "random"):
        for fold, sets in protocols.split_all(frame, protocol, "speakers").items():
            validating = set(frame["spk_id"][sets == "valid"])
            assert len(validating) >= 1 and not validating & set(frame["spk_id"][sets == "train"]), fold

"""Extra training: which turns without an emotion train in a fold, found by names on a corpus of IEMOCAP's full size."""

from __future__ import annotations

import pandas as pd
import pytest

from local.corpora import iemocap, manifest
from local.splits import audit, extra, protocols
from local.splits.checks import LEFT_OUT

KEYS = {"utterance": "ID", "speaker": "spk_id", "recording": "recording", "session": "session", "transcript": "wrd"}


def keys_of(whole: pd.DataFrame) -> pd.DataFrame:
    """As of `audit.keys`, without reading files: every one is another."""
    columns = {kind: whole[column] for kind, column in KEYS.items()} | {"audio": pd.Series("", whole.index)}
    return pd.DataFrame({kind: pd.Categorical(column) for kind, column in columns.items()}, whole.index)


@pytest.fixture(scope="module")
def whole(iemocap_corpus, iemocap_table) -> pd.DataFrame:
    return extra.join(iemocap_table, iemocap_corpus.extra[[*iemocap_table.columns]])


def joined(table, whole, protocol, valid, text_held=False):
    how = protocol, valid, text_held, iemocap.recording_fold
    of_table = protocols.split_all(table, *how)
    return of_table, extra.split_all(whole, of_table, keys_of(whole), *how)


def who(name: str) -> str:
    return name[3:5] + name.rpartition("_")[2][0]


def test_the_corpus_has_all_other_turns(iemocap_corpus, whole):
    assert len(whole) == 10_039 and whole["ID"].is_monotonic_increasing and whole["ID"].is_unique
    others = iemocap_corpus.extra
    assert (others["emo"] == "").all() and others["label"].value_counts()["xxx"] == 2507
    assert (whole["votes"] == "neu 1").all() and set(whole["valence"]) == {"3"} and set(whole["dominance"]) == {"2"}


@pytest.mark.parametrize(
    ("protocol", "fold", "valid", "trains"),
    [
        ("speaker", "01F", "partner", lambda name: name[3:5] != "01"),
        ("speaker", "03M", "none", lambda name: who(name) != "03M"),
        ("recording", "01F", "none", lambda name: not name.startswith("Ses01F")),
        ("session", "Ses05", "none", lambda name: not name.startswith("Ses05")),
        ("random", "fold2", "none", lambda name: True),
        ("speaker", "02F", "oracle", lambda name: who(name) != "02F"),
    ],
)
def test_who_trains(iemocap_table, whole, protocol, fold, valid, trains):
    of_table, splits = joined(iemocap_table, whole, protocol, valid)
    sets = splits[fold]
    pd.testing.assert_series_equal(sets[iemocap_table.index], of_table[fold], check_names=False)
    others = whole[~whole.index.isin(iemocap_table.index)]
    assert set(sets[others.index]) <= {"train", LEFT_OUT}
    expected = {name for name in others["ID"] if trains(name)}
    assert set(others["ID"][sets[others.index] == "train"]) == expected
    assert extra.count(splits, iemocap_table)[fold] == len(expected) > 2000


def test_recordings_that_validate_are_not_trained_on(iemocap_table, whole):
    _, splits = joined(iemocap_table, whole, "session", "recordings")
    for sets in splits.values():
        of = {name: set(whole["recording"][sets == name]) for name in ("train", "valid", "test")}
        assert of["valid"] and not of["train"] & (of["valid"] | of["test"])


def test_held_text_is_not_trained_on_even_where_no_one_tests_it(iemocap_table, whole):
    of_table, splits = joined(iemocap_table, whole, "session", "none", text_held=True)
    for rank, fold in enumerate(of_table):
        held = protocols.held_sentences(iemocap_table, rank)
        sets = splits[fold]
        assert not held & set(whole["wrd"][sets == "train"])
        lost = (sets == LEFT_OUT) & ~whole.index.isin(iemocap_table.index)
        assert set(whole["wrd"][lost & (whole["session"] != fold)]) <= held


@pytest.mark.parametrize(("other", "pair"), [("01F", "train-test"), ("01M", "train-valid")])
def test_a_copy_of_a_tested_or_a_validating_file_does_not_train(iemocap_table, whole, other, pair):
    keys = keys_of(whole)
    copy = whole.index[~whole.index.isin(iemocap_table.index) & (whole["spk_id"] == "05M")][0]
    held = whole.index[whole.index.isin(iemocap_table.index) & (whole["spk_id"] == other)][0]
    keys["audio"] = pd.Categorical(pd.Series("", whole.index).where(~whole.index.isin([copy, held]), "same"))
    of_table = protocols.split_all(iemocap_table, "speaker", "partner")
    splits = extra.split_all(whole, of_table, keys, "speaker", "partner")
    assert splits["01F"][copy] == LEFT_OUT and splits["03F"][copy] == "train"
    audit.refuse("speaker", audit.find_leaks({"01F": splits["01F"]}, keys))  # nothing to refuse
    splits["01F"][copy] = "train"
    with pytest.raises(Exception, match=f"audio across {pair}: {whole['ID'][copy]} = {whole['ID'][held]}"):
        audit.refuse("speaker", audit.find_leaks({"01F": splits["01F"]}, keys))


def test_a_recording_without_an_utterance_of_the_table_is_tested_where_its_fold_is(iemocap_table, whole):
    """IEMOCAP's folds of protocol recording are of several recordings each, by their names."""
    bare = iemocap_table[iemocap_table["recording"] != (name := iemocap_table["recording"].iloc[0])]
    how = "recording", "none", False, iemocap.recording_fold
    of_table = protocols.split_all(bare, *how)
    rest = whole.drop(iemocap_table.index.difference(bare.index))
    for fold, sets in extra.split_all(rest, of_table, keys_of(rest), *how).items():
        trains = (sets[rest["recording"] == name] == "train").any()
        assert trains == (fold != iemocap.recording_fold(name))


def test_who_is_unknown_does_not_train_where_speakers_are_known():
    columns = dict.fromkeys(manifest.COLUMNS, "")
    table = pd.DataFrame(
        [columns | {"ID": f"u{i}", "spk_id": "ABC"[i % 3], "emo": "ab"[i // 3 % 2]} for i in range(12)]
    )
    others = pd.DataFrame([columns | {"ID": name, "spk_id": who} for name, who in (("x", "B"), ("y", ""), ("z", "D"))])
    whole = extra.join(table, others)
    splits = extra.split_all(whole, protocols.split_all(table, "speaker", "none"), keys_of(whole), "speaker", "none")
    assert extra.count(splits, table) == {"A": 1, "B": 0, "C": 1}
    assert extra.strangers(whole, table) == 2 and extra.strangers(whole, table.assign(spk_id="")) == 0
    partly = table.assign(spk_id=["", *table["spk_id"][1:]])  # whose unnamed utterance is none of the others
    assert extra.strangers(extra.join(partly, others), partly) == 2


def test_of_a_corpus_s_own_lists_that_of_training_alone_gives_more():
    columns = dict.fromkeys(manifest.COLUMNS, "")
    rows = [
        ("train", "a"),
        ("train", "b"),
        ("train", "a"),
        ("test", "a"),
        ("test", "b"),
        ("test2", "a"),
        ("test2", "b"),
    ]
    table = pd.DataFrame([columns | {"ID": f"u{i}", "split": name, "emo": emo} for i, (name, emo) in enumerate(rows)])
    others = pd.DataFrame([columns | {"ID": f"x{name}", "split": name} for name in ("train", "valid", "test", "")])
    whole = extra.join(table, others)
    splits = extra.split_all(whole, protocols.split_all(table, "official", "none"), keys_of(whole), "official", "none")
    for sets in splits.values():
        assert [*whole["ID"][(sets == "train") & ~whole.index.isin(table.index)]] == ["xtrain"]

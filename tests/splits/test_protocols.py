"""Protocols on a corpus of IEMOCAP's full size and on small tables."""

from __future__ import annotations

import csv
from itertools import combinations, product

import pandas as pd
import pytest
import soundfile
from small_tables import ACTORS, TEST_SIZES, spoken, toy

from local.core.errors import UserError
from local.corpora import iemocap, nemo
from local.splits import checks, naming, protocols

EVERY_FOLD = [(protocol, fold) for protocol, sizes in TEST_SIZES.items() for fold in sizes]


def fold_sets(table: pd.DataFrame, protocol: str, fold: str, valid: str) -> dict[str, pd.DataFrame]:
    """The three sets of a fold as tables."""
    folds = protocols.test_folds(table, protocol, iemocap.recording_fold)
    sets = protocols.split(table, folds, fold, valid)
    return {name: table[sets == name] for name in ("train", "valid", "test")}


def speakers(table: pd.DataFrame) -> set[str]:
    """Who speaks, read from the names of the turns: session, and the letter after the last underscore."""
    return {name[3:5] + name.rpartition("_")[2][0] for name in table["ID"]}


# ---------------------------------------------------------------- IEMOCAP in full size


@pytest.mark.parametrize("protocol", TEST_SIZES)
def test_sizes_of_the_test_fold_sets(iemocap_table, protocol):
    folds = protocols.test_folds(iemocap_table, protocol, iemocap.recording_fold)
    assert folds.value_counts().sort_index().to_dict() == TEST_SIZES[protocol]
    assert len(folds) == sum(TEST_SIZES[protocol].values()) == 5531


@pytest.mark.parametrize("protocol", TEST_SIZES)
def test_every_utterance_is_tested_once(iemocap_table, protocol):
    tested = [set(fold_sets(iemocap_table, protocol, fold, "none")["test"]["ID"]) for fold in TEST_SIZES[protocol]]
    assert not any(one & other for one, other in combinations(tested, 2))
    assert set().union(*tested) == set(iemocap_table["ID"])


@pytest.mark.parametrize(("protocol", "fold"), EVERY_FOLD)
def test_who_is_in_the_test_set_and_who_is_also_in_training(iemocap_table, protocol, fold):
    sets = fold_sets(iemocap_table, protocol, fold, "none")
    begins = {"recording": f"Ses{fold}_", "speaker": f"Ses{fold[:2]}", "session": fold}[protocol]
    ends = f"_{fold[2]}" if protocol == "speaker" else "_"
    wanted = {name for name in iemocap_table["ID"] if name.startswith(begins) and ends in name[-5:]}
    assert set(sets["test"]["ID"]) == wanted
    assert set(sets["train"]["ID"]) == set(iemocap_table["ID"]) - wanted  # the paper: all the rest trains
    assert sets["valid"].empty
    shared = speakers(sets["test"]) & speakers(sets["train"])
    assert shared == ({fold[:2] + "F", fold[:2] + "M"} if protocol == "recording" else set())
    assert not set(sets["test"]["recording"]) & set(sets["train"]["recording"]) or protocol == "speaker"


@pytest.mark.parametrize("fold", ACTORS)
def test_the_partner_validates_and_eight_train(iemocap_table, fold):
    assert protocols.default_valid("speaker", iemocap_table) == "partner"
    sets = fold_sets(iemocap_table, "speaker", fold, "partner")
    partner = fold[:2] + {"F": "M", "M": "F"}[fold[2]]
    assert speakers(sets["test"]) == {fold} and speakers(sets["valid"]) == {partner}
    assert speakers(sets["train"]) == set(ACTORS) - {fold, partner}
    sizes = [len(sets[name]) for name in ("train", "valid", "test")]
    session, own = TEST_SIZES["session"][f"Ses{fold[:2]}"], TEST_SIZES["speaker"][fold]
    assert sizes == [5531 - session, session - own, own]


@pytest.mark.parametrize(("protocol", "fold"), EVERY_FOLD)
def test_whole_recordings_are_held_out(iemocap_table, protocol, fold):
    sets = fold_sets(iemocap_table, protocol, fold, "recordings")
    plain = fold_sets(iemocap_table, protocol, fold, "none")
    assert set(sets["test"]["ID"]) == set(plain["test"]["ID"])
    held_out = set(sets["valid"]["recording"])
    assert not held_out & set(sets["train"]["recording"])
    assert set(sets["valid"]["ID"]) == set(plain["train"]["ID"][plain["train"]["recording"].isin(held_out)])
    assert 0.09 < len(sets["valid"]) / len(plain["train"]) < 0.11
    assert speakers(sets["valid"]) & speakers(sets["test"]) == set() or protocol == "recording"


@pytest.mark.parametrize("protocol", ["recording", "session"])
def test_the_same_recordings_are_drawn_again(iemocap_table, protocol):
    assert protocols.default_valid(protocol, iemocap_table) == "recordings"
    drawn = []
    for fold in TEST_SIZES[protocol]:
        sets = fold_sets(iemocap_table, protocol, fold, "recordings")
        shuffled = fold_sets(iemocap_table.sample(frac=1, random_state=7), protocol, fold, "recordings")
        assert set(sets["valid"]["ID"]) == set(shuffled["valid"]["ID"])
        drawn.append(frozenset(sets["valid"]["recording"]))
    assert len(set(drawn)) == len(drawn)  # not the same ones in every fold


def test_a_partner_needs_folds_of_one_speaker(iemocap_table):
    for protocol, fold in (("recording", "01F"), ("session", "Ses01")):
        with pytest.raises(UserError, match="one speaker each"):
            fold_sets(iemocap_table, protocol, fold, "partner")


# ---------------------------------------------------------------- other corpora


def test_without_sessions_the_next_speaker_validates_and_the_last_ones_is_the_first():
    table = toy(spk_id="CABBAC")
    found = {fold: set(fold_sets(table, "speaker", fold, "partner")["valid"]["spk_id"]) for fold in "ABC"}
    assert found == {"A": {"B"}, "B": {"C"}, "C": {"A"}}


def test_with_three_in_a_session_they_validate_in_turn():
    table = toy(spk_id="ABCDE", session="11122")
    found = {fold: set(fold_sets(table, "speaker", fold, "partner")["valid"]["spk_id"]) for fold in "ABCDE"}
    assert found == {"A": {"B"}, "B": {"C"}, "C": {"A"}, "D": {"E"}, "E": {"D"}}


def test_an_utterance_without_a_recording_is_named_where_recordings_validate():
    table = toy(spk_id="AABB", session="1122", recording="rs-t")
    with pytest.raises(UserError, match=rf"; 1 of 2 have none: {table['ID'][2]}$") as error:
        fold_sets(table, "session", "1", "recordings")
    assert "--valid utterances or none" in error.value.remedy


def test_a_speaker_alone_in_a_session_has_no_partner():
    with pytest.raises(UserError, match="speaker B has no partner in session 2"):
        fold_sets(toy(spk_id="AB", session="12"), "speaker", "B", "partner")


def test_somebody_unknown_is_no_partner():
    """He may be the tested speaker."""
    table = toy(spk_id="AA--", recording="rrst")
    with pytest.raises(UserError, match=r"speaker A has no partner$"):
        protocols.split(table, table["recording"], "r", "partner")


def test_of_two_speakers_one_tests_and_one_trains_without_validation():
    table = toy(spk_id="AABB", session="1111")
    with pytest.raises(UserError, match="two speakers leave nobody to train on") as refusal:
        fold_sets(table, "speaker", "B", "partner")
    assert "take --valid none" in refusal.value.remedy
    sets = fold_sets(table, "speaker", "B", "none")
    assert set(sets["test"]["spk_id"]) == {"B"} and set(sets["train"]["spk_id"]) == {"A"}


@pytest.mark.parametrize(("n_recordings", "names"), [(10, "abcdefghij"), (11, None), (25, None)])
def test_many_recordings_are_dealt_to_ten_folds(n_recordings, names):
    letters = "abcdefghijklmnopqrstuvwxyz"[:n_recordings]
    table = toy(recording=letters * 3)
    folds = protocols.test_folds(table, "recording")
    if names:
        assert folds.tolist() == list(letters * 3)
    per_fold = table["recording"].groupby(folds).agg(set)
    sizes = sorted(len(recordings) for recordings in per_fold)
    assert len(per_fold) == 10 and sizes[-1] - sizes[0] <= 1
    assert sum(sizes) == n_recordings  # no recording in two folds


def test_held_out_recordings_are_nearest_to_a_tenth():
    # 20 recordings of two in the training set, of 40 utterances: two of them are a tenth.
    table = toy(recording="tt" + "abcdefghijklmnopqrsu" * 2)
    sets = sets_of_recording(table, "t")
    assert (len(sets["valid"]), sets["valid"]["recording"].nunique()) == (4, 2)


def sets_of_recording(table: pd.DataFrame, fold: str) -> dict[str, pd.DataFrame]:
    sets = protocols.split(table, table["recording"], fold, "recordings")
    return {name: table[sets == name] for name in ("train", "valid", "test")}


@pytest.mark.parametrize(("recordings", "message"), [("tttaaabbb", "of 2 recordings"), ("ttab-", "needs a recording")])
def test_recordings_that_cannot_be_held_out(recordings, message):
    with pytest.raises(UserError, match=message):
        sets_of_recording(toy(recording=recordings), "t")


@pytest.mark.parametrize(
    ("table", "protocol", "reason", "remedy"),
    [
        (toy(spk_id="AABB"), "session", "4 of its 4 utterances have no session", "take one of: speaker random (ran"),
        (toy(spk_id="AABB", session="12-2"), "session", "1 of its 4 utterances has no session: u2", "speaker"),
        (toy(spk_id="AAAA", recording="abca"), "speaker", "there is only one", "take one of: recording"),
        (toy(recording="----"), "recording", "4 of its 4 utterances have no recording", "take one of: random"),
    ],
)
def test_a_protocol_that_a_corpus_cannot_serve(table, protocol, reason, remedy):
    with pytest.raises(UserError) as refusal:
        protocols.test_folds(table.assign(emo=list("abab")), protocol)
    assert f"protocol '{protocol}'" in refusal.value.what and reason in refusal.value.what
    assert remedy in refusal.value.remedy
    assert refusal.value.remedy.endswith(
        "fill a column: spk_id for speaker, session for session, recording for recording, split for official"
    )


def test_nemo_has_speakers_only(tmp_path):
    (tmp_path / "samples").mkdir()
    with open(tmp_path / "data.tsv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter="\t")
        rows.writerow(["file_id", "emotion", "raw_text", "normalized_text", "speaker_id", "gender", "age"])
        for speaker, emotion in product(("EB0", "KD0"), ("anger", "sadness")):
            name = f"{speaker}_{emotion}_1.wav"
            rows.writerow([name, emotion, "Tak.", "tak", speaker, "female", "30"])
            soundfile.write(tmp_path / "samples" / name, [0.0] * 2400, 24_000)
    table = nemo.read(tmp_path).table
    assert protocols.test_folds(table, "speaker").value_counts().to_dict() == {"EB0": 2, "KD0": 2}
    for protocol in ("session", "recording"):
        with pytest.raises(UserError, match=rf"protocol '{protocol}' \(column {protocol}\): 4 of its 4") as refusal:
            protocols.test_folds(table, protocol)
        assert refusal.value.remedy.startswith("take one of: speaker random (random is optimistic")
    assert protocols.default_valid("speaker", table) == "partner"


def test_oracle_trains_on_all_the_rest_and_is_no_default():
    table = toy(spk_id="AABBCC", session="112233", recording="rstuvw").assign(emo=["ang", "sad"] * 3)
    for protocol in ("speaker", "session", "random"):
        folds = protocols.test_folds(table, protocol)
        for fold in folds.unique():
            none, oracle = (protocols.split(table, folds, fold, valid) for valid in ("none", "oracle"))
            pd.testing.assert_series_equal(none, oracle)
            inside = {name: checks.members(oracle, name, "oracle").tolist() for name in checks.SETS}
            assert inside["valid"] == inside["test"] == [each == fold for each in folds]
    for emptied in (list(names) for count in range(4) for names in combinations(protocols.COLUMN.values(), count)):
        partly = table.assign(**dict.fromkeys(emptied, ""))
        assert "oracle" not in {protocols.default_valid(protocol, partly) for protocol in naming.WORDS}


def test_one_emotion_in_the_test_set_does_not_choose_an_epoch():
    table = toy(spk_id="AABB").assign(emo=["sad", "sad", "sad", "ang"])
    splits = {"A": pd.Series(["test", "test", "train", "train"])}
    checks.refuse_bad_folds(table, splits, "none")
    with pytest.raises(UserError, match="fold A: only sad in the validation set"):
        checks.refuse_bad_folds(table, splits, "oracle")


def test_unknown_names_are_refused_with_the_known_ones_named():
    with pytest.raises(UserError, match="'fold'") as refusal:
        protocols.test_folds(toy(spk_id="AB"), "fold")
    assert refusal.value.remedy == "take one of: recording speaker session official corpus random"
    with pytest.raises(UserError, match="'dev'") as refusal:
        fold_sets(toy(spk_id="AB"), "speaker", "A", "dev")
    assert refusal.value.remedy == "take one of: partner recordings speakers utterances list none oracle"


# ---------------------------------------------------------------- splits that are not complete


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["train", "train", "valid"], "the test set is empty"),
        (["test", "test", "valid"], "the training set is empty"),
        (["train", "dev", "test"], "is in no set"),
    ],
)
def test_sets_that_do_not_cover_the_corpus(sets, message):
    with pytest.raises(UserError, match=message):
        checks.assert_sets("A", pd.Series(sets))


def test_folds_that_do_not_cover_the_corpus():
    table = toy(spk_id="ABC")
    checks.assert_partition(table, table["spk_id"])
    for folds in (pd.Series(["A", "", "C"]), pd.Series(["A", None, "C"])):
        with pytest.raises(UserError, match="tested in no fold"):
            checks.assert_partition(table, folds)
    with pytest.raises(UserError, match="u1 is twice"):
        checks.assert_partition(table.assign(ID=["u1", "u0", "u1"]), table["spk_id"])


# ---------------------------------------------------------------- text held out


def test_every_third_sentence_is_held_out_worked_by_hand():
    table = spoken("EDCBA-")  # in order: A B C D E; the fold of rank 1 holds B and E
    sets = protocols.hold_text(table, protocols.split(table, table["spk_id"], "B", "none"), rank=1)
    assert sets.tolist() == [
        *("left out", "train", "train", "left out", "train", "train"),
        *("test", "left out", "left out", "test", "left out", "test"),
    ]


def test_held_text_is_in_no_other_set_and_three_folds_test_all(iemocap_table):
    tested = set()
    for rank, fold in enumerate(ACTORS):
        whole = protocols.split(iemocap_table, iemocap_table["spk_id"], fold, "partner")
        sets = protocols.hold_text(iemocap_table, whole, rank)
        checks.assert_sets(fold, sets)
        texts = {name: set(iemocap_table["wrd"][sets == name]) - {""} for name in ("train", "valid", "test")}
        assert texts["test"] and not texts["test"] & (texts["train"] | texts["valid"])
        assert ((sets == whole) | (sets == "left out")).all()
        tested |= texts["test"] if rank < 3 else set()
        if rank < 3:
            held = sorted(set(iemocap_table["wrd"]) - {""})[rank::3]
            spoken_texts = set(iemocap_table["wrd"][whole == "test"])
            assert texts["test"] == spoken_texts & set(held)
    assert len(tested) > len(set(iemocap_table["wrd"])) / 30


def test_too_few_sentences_to_hold_out():
    table = spoken("AB-")
    with pytest.raises(UserError, match="2 different transcripts"):
        protocols.hold_text(table, protocols.split(table, table["spk_id"], "A", "none"), 0)


def test_two_thousand_speakers_are_too_many_for_two_million_utterances_and_ten_sessions_are_not():
    number = pd.Series(range(2_000_000))
    with pytest.raises(UserError, match="2,000 folds"):
        checks.refuse_too_many("speaker", number // 1000)
    checks.refuse_too_many("session", number // 200_000)

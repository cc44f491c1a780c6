"""The leak audit: leaks made by hand, and files of the same bytes against digests of their whole contents."""

from __future__ import annotations

import hashlib
import math
import os
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_tables import TEST_SIZES, spoken, toy

from local.core.errors import UserError
from local.corpora import iemocap
from local.splits import audit, checks, protocols

SIZE = 3 * audit.MIDDLE


def audio_keys(folder: Path, contents: dict[str, bytes]) -> dict[str, str]:
    """Write files; return the audit's key of each."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    table = pd.DataFrame({"ID": list(contents), "wav": [f"$data_root/{name}" for name in contents]})
    table[["spk_id", "recording", "session", "wrd"]] = ""
    return dict(zip(contents, audit.keys(table, folder)["audio"], strict=True))


def with_byte(content: bytes, place: int) -> bytes:
    """The same but for one byte."""
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("size", [1, 44, audit.MIDDLE - 1, audit.MIDDLE, audit.MIDDLE + 1, SIZE])
def test_one_byte_makes_another_file_at_any_place(tmp_path, size):
    content = np.random.default_rng(1).bytes(size)
    others = {f"at {place}": with_byte(content, place) for place in {0, size // 2, size - 1}}
    found = audio_keys(tmp_path, {"one": content, "same": content, **others})
    assert found.pop("one") == found.pop("same") == hashlib.blake2b(content, digest_size=16).hexdigest()
    assert set(found.values()) == {""}


def test_files_of_equal_middle_differ_by_the_rest(tmp_path):
    silence = bytes(SIZE)
    begins, ends = with_byte(silence, 0), with_byte(silence, SIZE - 1)
    found = audio_keys(
        tmp_path, {"begins": begins, "ends": ends, "silent": silence, "ends too": ends, "longer": silence + b"0"}
    )
    assert (
        found["ends"] == found["ends too"] != ""
        and [found[name] for name in ("begins", "silent", "longer")] == [""] * 3
    )


def test_all_that_is_equal_is_found_among_many(tmp_path):
    """Against a digest of every file, whole: files of few sizes, a few of them copies, links or nearly copies."""
    chance = np.random.default_rng(2)
    contents: dict[str, bytes] = {}
    for number in range(600):
        content = chance.bytes(int(chance.choice([100, audit.MIDDLE, SIZE])))
        if contents and chance.random() < 0.3:
            content = contents[f"f{chance.integers(number)}"]
        if chance.random() < 0.3:
            content = with_byte(content, int(chance.integers(len(content))))
        contents[f"f{number}"] = content
    found = pd.Series(audio_keys(tmp_path, contents))
    digests = pd.Series(
        {name: hashlib.blake2b(content, digest_size=16).hexdigest() for name, content in contents.items()}
    )
    alike = digests.duplicated(keep=False)
    assert 50 < alike.sum() < 550 and found.tolist() == digests.where(alike, "").tolist()


def test_files_of_unique_size_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "_digest_middle", lambda path: pytest.fail(f"{path} was opened"))
    assert set(audio_keys(tmp_path, {f"f{size}": bytes(size) for size in range(1, 9)}).values()) == {""}


def test_a_file_that_is_missing_or_closed_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent.wav: No such file.*"):
        audit._equal_files(pd.Series([str(tmp_path / "absent.wav")]))
    if os.geteuid():  # the superuser opens everything
        for name in "ab":
            (tmp_path / name).write_bytes(b"same")
        (tmp_path / "b").chmod(0)
        with pytest.raises(UserError, match="b: Permission denied"):
            audit._equal_files(pd.Series([str(tmp_path / name) for name in "ab"]))


# ---------------------------------------------------------------- leaks


def audio_less(table: pd.DataFrame) -> pd.DataFrame:
    """The keys of the audit, each utterance with audio of its own."""
    columns = {"utterance": "ID", "audio": "wav", "speaker": "spk_id", "recording": "recording", "session": "session"}
    return pd.DataFrame({kind: table[column] for kind, column in {**columns, "transcript": "wrd"}.items()}).astype(
        "category"
    )


@pytest.mark.parametrize(
    ("protocol", "valid"), [("speaker", "partner"), *product(TEST_SIZES, ["recordings", "none", "oracle"])]
)
def test_the_audit_passes_all_folds(iemocap_table, protocol, valid):
    folds = protocols.test_folds(iemocap_table, protocol, iemocap.recording_fold)
    checks.assert_partition(iemocap_table, folds)
    keys = audio_less(iemocap_table)
    for fold in TEST_SIZES[protocol]:
        sets = protocols.split(iemocap_table, folds, fold, valid)
        checks.assert_sets(fold, sets)
        found = audit.leaks(fold, keys, sets, valid)
        audit.refuse(protocol, found, valid=valid)
        if valid == "oracle":  # as is meant, and is written down
            same = found[(found["kind"] == "utterance") & (found["parts"] == "valid-test")]
            assert (same["count"].tolist(), same["share"].tolist()) == ([TEST_SIZES[protocol][fold]], [1.0])
        speakers = found[(found["kind"] == "speaker") & (found["parts"] == "train-test")]
        if protocol == "recording":  # both actors of every tested recording also train
            assert speakers["share"].tolist() == [1.0] and speakers["count"].tolist() == [TEST_SIZES[protocol][fold]]
        else:
            assert speakers.empty


@pytest.mark.parametrize("leaks_to", ["train", "valid"])
@pytest.mark.parametrize(
    ("protocol", "kind", "column", "fold"),
    [
        ("speaker", "speaker", "spk_id", "03F"),
        ("session", "session", "session", "Ses03"),
        ("recording", "recording", "recording", "03F"),
    ],
)
def test_one_leaked_utterance_is_found(iemocap_table, protocol, kind, column, fold, leaks_to):
    folds = protocols.test_folds(iemocap_table, protocol, iemocap.recording_fold)
    sets = protocols.split(iemocap_table, folds, fold, "none")
    leak = sets.index[sets == "test"][100]
    sets[leak] = leaks_to
    found = audit.leaks(fold, audio_less(iemocap_table), sets)
    with pytest.raises(UserError) as refusal:
        audit.refuse(protocol, found)
    named = iemocap_table[column][leak]
    shared = int((iemocap_table[column][sets == "test"] == named).sum())
    message = f"fold {fold}: {shared} utterances share their {kind} across {leaks_to}-test: {named}"
    assert message in refusal.value.what and f"protocol {protocol}" in refusal.value.what


@pytest.mark.parametrize(("kind", "held"), [("audio", False), ("speaker", False), ("transcript", True)])
def test_with_oracle_training_is_held_against_the_test_set_as_ever(kind, held):
    table = toy(spk_id="ABB", session="122").assign(recording=list("rst"), wrd=["YES", "NO", "OH"], wav=list("uvw"))
    sets = pd.Series(["test", "train", "train"])
    audit.refuse("speaker", audit.leaks("A", audio_less(table), sets, "oracle"), held, "oracle")
    column = {"audio": "wav", "speaker": "spk_id", "transcript": "wrd"}[kind]
    table.loc[2, column] = table[column][0]
    found = audit.leaks("A", audio_less(table), sets, "oracle")
    with pytest.raises(UserError) as refusal:
        audit.refuse("speaker", found, held, "oracle")
    (line,) = refusal.value.what.splitlines()[1:]
    named = "u2 = u0" if kind == "audio" else table[column][0]
    assert line == f"  fold A: 1 utterance shares its {kind} across train-test: {named}"


def test_leaks_worked_by_hand():
    table = toy(spk_id="AABBC", session="11122").assign(
        recording=list("rsrtu"), wrd=["YES", "NO", "YES", "", ""], wav=list("vwvxy")
    )
    sets = pd.Series(["test", "test", "train", "train", "valid"])
    found = audit.leaks("A", audio_less(table), sets)
    assert list(found.itertuples(index=False, name=None)) == [
        ("A", "train-test", "audio", 1, 0.5, "u2 = u0"),
        ("A", "train-test", "recording", 1, 0.5, "r"),
        ("A", "train-test", "session", 2, 1.0, "1"),
        ("A", "train-valid", "session", 1, 1.0, "2"),
        ("A", "train-test", "transcript", 1, 0.5, "YES"),
    ]
    with pytest.raises(UserError, match="1 utterance shares its audio across train-test: u2 = u0"):
        audit.refuse("speaker", found)
    assert audit.describe(found, ["A", "B"], table) == [
        "in 1 of 2 folds, 50 % of the tested utterances share their recording with the training set",
        "in 1 of 2 folds, 100 % of the tested utterances share their session with the training set",
        "in 1 of 2 folds, at least 50 % of the tested utterances share their transcript with the training set "
        "(the transcript is known for 3 of 5 utterances)",
    ]
    assert audit.describe(found, ["A", "B"], table, validation=True)[3:] == [
        "no tested utterance shares its speaker with the training set"
    ]
    more = found.assign(fold="B", share=found["share"].replace(0.5, 0.75))
    shared = audit.describe(pd.concat([found, more]), ["A", "B"], table)
    assert shared[0].startswith("in every fold, 50 to 75 % of the tested utterances share their recording")
    assert shared[2].startswith("in every fold, at least 50 % of the tested utterances share their transcript")
    few = audit.describe(pd.concat([found.assign(share=0.0034), more]), ["A", "B"], table)
    assert few[0].startswith("in every fold, 0.3 to 75 % of the tested utterances share their recording")
    assert audit.describe(found, ["B"], table) == [
        "no tested utterance is known to share its transcript with the training set "
        "(the transcript is known for 3 of 5 utterances)",
        "no tested utterance shares its speaker, recording or session with the training set",
    ]
    nobody = table.assign(spk_id="", session="", wrd="WELL")
    assert audit.describe(found, ["B"], nobody) == [
        "no tested utterance shares its recording or transcript with the training set",
        "whether the training set shares a speaker or session with the test set is unknown",
    ]
    tested = table.assign(wrd="WELL")
    assert audit.describe(found, ["A"], tested, trained=nobody) == [
        "in every fold, 50 % of the tested utterances share their recording's name with the training set",
        "in every fold, 50 % of the tested utterances share their transcript with the training set",
        "whether the training set shares a speaker or session with the test set is unknown",
    ]
    assert audit.speaker_overlap(found, {"A": 2}, table["spk_id"]) == 0
    assert math.isnan(audit.speaker_overlap(found, {"A": 2}, nobody["spk_id"]))


def test_the_speaker_overlap_weighs_folds_by_their_size():
    table = toy(spk_id="AABABB").assign(wav=list("uvwxyz"), wrd="", recording="r", session="s")
    sets = {"1": ["test", "test", "test", "train", "valid", "train"], "2": ["train"] * 5 + ["test"]}
    found = audit.find_leaks({fold: pd.Series(names) for fold, names in sets.items()}, audio_less(table))
    sizes = {"1": 3, "2": 1}
    assert audit.speaker_overlap(found, sizes, table["spk_id"]) == 1
    alone = found[found["fold"] == "2"]
    assert audit.speaker_overlap(alone, sizes, table["spk_id"]) == 1 / 4
    assert math.isnan(audit.speaker_overlap(alone, sizes, table["spk_id"].replace("A", "")))


def test_the_same_audio_under_two_names_is_found_by_its_bytes(tmp_path):
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        (tmp_path / name).write_bytes(content)
    table = toy(spk_id="ABC").assign(wav=["$data_root/a", "$data_root/b", "$data_root/c"], wrd="")
    keys = audit.keys(table, tmp_path)
    assert keys["audio"][0] == keys["audio"][2] != keys["audio"][1]
    found = audit.leaks("A", keys, pd.Series(["test", "train", "valid"]))
    with pytest.raises(UserError, match="audio across valid-test"):
        audit.refuse("speaker", found)
    (tmp_path / "b").unlink()
    with pytest.raises(UserError, match="No such file"):
        audit.keys(table, tmp_path)


def test_an_actor_of_two_sessions_is_a_leak():
    table = toy(spk_id="ABBC", session="1122").assign(wav=list("wxyz"), wrd="")
    sets = protocols.split(table, table["session"], "1", "none")
    with pytest.raises(UserError, match="speaker across train-test: B"):
        audit.refuse("session", audit.leaks("1", audio_less(table), sets))


def test_shared_text_stops_a_protocol_that_holds_it_out():
    table = spoken("ABCDEF")
    sets = protocols.hold_text(table, protocols.split(table, table["spk_id"], "A", "none"), 0)
    sets.iloc[6] = "train"  # B says A's first sentence
    keys = pd.DataFrame({"speaker": table["spk_id"], "transcript": table["wrd"]}).astype("category")
    found = audit.leaks("A", keys, sets)
    audit.refuse("speaker", found)
    with pytest.raises(UserError, match=r"fold A: 1 utterance shares its transcript across train-test: A"):
        audit.refuse("speaker", found, text_held=True)

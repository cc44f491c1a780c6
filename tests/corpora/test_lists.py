"""The words of a column `split`: the list that each means, and what is asked about."""

from __future__ import annotations

import pytest

from local.core.errors import UserError
from local.corpora import lists


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train", "train TRAIN Training trn"),
        ("valid", "valid Valid dev DEV Development development validation Validation val"),
        ("test", "test Test TESTING eval Evaluation"),
        ("test1", "test1 Test1 TEST_1 test-01 eval1"),
        ("test12", "test12 Test.12"),
        ("", "trian fold1 train1 dev2 test0 test100 test_clean 1 - nan test1a"),
    ],
)
def test_the_list_that_a_word_means(name, words):
    assert {word: lists.find(word) for word in words.split()} == dict.fromkeys(words.split(), name)
    assert lists.find("Test 3") == "test3" and lists.find("") == ""


def test_names_of_lists_and_of_folds():
    assert [name for name in ("train", "valid", "test", "test7", "Test", "dev", "") if lists.is_list(name)] == [
        *("train", "valid", "test", "test7")
    ]
    assert not lists.is_test("train") and not lists.is_test("testing") and lists.is_test("test10")


def test_what_is_read_in_another_spelling_is_noted():
    words = ["train"] * 4 + ["Dev"] + ["Test2"] * 2 + ["", "other"]
    assert lists.read(words) == (
        {"train": "train", "Dev": "valid", "Test2": "test2"},
        ["split 'Dev' (1 row) is read as valid", "split 'Test2' (2 rows) is read as test2"],
    )
    assert lists.read(["", ""]) == ({}, [])


@pytest.mark.parametrize("other", ["test", "Test1", "TESTING"])
def test_eval_beside_test_is_asked_about(other):
    with pytest.raises(UserError, match=rf"'EVAL' \(2 rows\) beside '{other}'") as refusal:
        lists.read(["train", "EVAL", "EVAL", other])
    assert refusal.value.remedy == "write valid for 'EVAL', or test1 and test2 for the two"
    assert lists.read(["train", "dev", "eval"])[0] == {"train": "train", "dev": "valid", "eval": "test"}

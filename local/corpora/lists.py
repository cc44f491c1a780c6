"""Official lists: the sets into which the owners of a corpus have divided it, the column `split` of its table.

They are `train`, `valid`, and one or several of `test`, `test1`, `test2`, ... (up to 99); an utterance is in one of
them, or in none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches

from local.core.counted import counted
from local.core.errors import UserError

COLUMN = "split"
TRAIN, VALID, TEST = "train", "valid", "test"
KNOWN = "train, valid, test, test1, test2, ..."
EVALUATION = ("eval", "evaluation")  # a test list, but where the table has one of that name: then nobody knows
# What the lists are called elsewhere, in any case; a test list may have a number.
CALLED = {
    TRAIN: ("train", "training", "trn"),
    VALID: ("valid", "validation", "val", "dev", "devel", "development"),
    TEST: ("test", "testing", "tst", *EVALUATION),
}
NAMED = {word: name for name, words in CALLED.items() for word in words}
IS_TEST = re.compile(r"test([1-9][0-9]?)?")
WORD = re.compile(r"([a-z]+)(0*[1-9][0-9]?)?")


def is_test(name: str) -> bool:
    """Whether it is the name of a test list, and of a fold of protocol `official`."""
    return IS_TEST.fullmatch(name) is not None


def is_list(name: str) -> bool:
    """Whether it is the name of a list."""
    return name in (TRAIN, VALID) or is_test(name)


def find(word: str) -> str:
    """The list that a word means; empty where it means none.

    >>> find("Development"), find("Test 2"), find("EVAL"), find("test_03"), find("dev1"), find("fold1")
    ('valid', 'test2', 'test', 'test3', '', '')
    """
    found = WORD.fullmatch(_folded(word))
    name = NAMED.get(found[1], "") if found else ""
    number = found[2] if found else None
    if number is None:
        return name
    return f"{name}{int(number)}" if name == TEST else ""


def suggestion(word: str) -> str:
    """What to say behind an unknown word: the known one that is almost the same, or nothing.

    >>> suggestion("trian"), suggestion("fold1")
    (" (did you mean 'train'?)", '')
    """
    close = get_close_matches(_folded(word), NAMED, n=1, cutoff=0.75)
    return f" (did you mean {close[0]!r}?)" if close else ""


def read(words: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The list that each word of a column means, and a line for each word that is spelled in another way.

    Unknown words are not in the result. A `UserError` for a table that has a list of evaluation beside one of test.
    """
    counts = Counter(filter(None, words))
    meant = {word: name for word in sorted(counts) if (name := find(word))}
    evaluated, tested = [], []
    for word in meant:
        kind = _kind(word)
        if NAMED[kind] == TEST:
            (evaluated if kind in EVALUATION else tested).append(word)
    if evaluated and tested:
        raise UserError(
            f"column {COLUMN} has {evaluated[0]!r} ({counted(counts[evaluated[0]], 'row')}) beside {tested[0]!r}: "
            "it may be a validation list, or another test list",
            f"write {VALID} for {evaluated[0]!r}, or {TEST}1 and {TEST}2 for the two",
        )
    return meant, [
        f"{COLUMN} {word!r} ({counted(counts[word], 'row')}) is read as {name}"
        for word, name in meant.items()
        if word != name
    ]


def _folded(word: str) -> str:
    return re.sub(r"[\s_.-]+", "", word.casefold())


def _kind(word: str) -> str:
    return WORD.fullmatch(_folded(word))[1]

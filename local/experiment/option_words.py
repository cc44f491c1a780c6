"""How the word of an option of run.sh becomes a typed value, or is refused.

A reader takes the option and its word, empty where it is not given; a `UserError` says what is wrong with the word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.core import conditions
from local.core.errors import UserError
from local.corpora import columns


def text(option: str, word: str) -> str:
    """The word itself."""
    return word


def path(option: str, word: str) -> Path | None:
    """A path, whose `~` is the user's home; None where the word is empty."""
    return Path(os.path.expanduser(word)) if word else None


def one_of(*known: str) -> Callable[[str, str], str]:
    """Return a reader of one of the known words, or of none."""

    def read_choice(option: str, word: str) -> str:
        if word and word not in known:
            raise UserError(f"{option} '{word}' is not known", f"take one of: {' '.join(known)}")
        return word

    return read_choice


def label_file(option: str, word: str) -> Path | None:
    """The file of a map of labels, which may lie where the user called run.sh."""
    if not word:
        return None
    from local.corpora import label_map  # which loads the reader of audio

    return label_map.locate(word, Path(os.environ.get("SER_MTL_CALLER", ".")))


def flag(option: str, word: str) -> bool:
    """Whether the word is true, and not false."""
    return one_of("true", "false")(option, word.lower()) == "true"


def several(option: str, word: str) -> tuple[str, ...]:
    """Words between which there are spaces or commas."""
    return tuple(word.replace(",", " ").split())


def some_conditions(option: str, word: str) -> tuple[str, ...]:
    """Conditions of the stress stage."""
    return tuple(one_of(*conditions.WORDS)(option, each) for each in several(option, word))


def whole(least: int) -> Callable[[str, str], int]:
    """Return a reader of a whole number of at least `least`."""

    def read_number(option: str, word: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", word) or int(word) < least:
            raise UserError(f"{option} '{word}' is not a whole number of at least {least}", f"for example {option} 1")
        return int(word)

    return read_number


def seed_list(option: str, word: str) -> tuple[int, ...]:
    """Seeds, each once; 1 where none is given."""
    return tuple(dict.fromkeys(whole(0)(option, each) for each in several(option, word))) or (1,)


def job_count(option: str, word: str) -> int | None:
    """A number of jobs; None for `auto`."""
    return None if word == "auto" else whole(1)(option, word)


def column_names(option: str, word: str) -> dict[str, str]:
    """The columns of a table of the user's own, by ours."""
    if not word:
        return {}
    from local.corpora.own_columns import OPTIONAL, REQUIRED  # which loads the reader of audio

    return columns.parse(word, (*REQUIRED, *OPTIONAL))


def option(read: Callable[[str, str], Any], default: str = "") -> dict[str, Any]:
    """What makes a field an option: a function that reads its word, or refuses it, and the default word."""
    return {"read": read, "default": default}

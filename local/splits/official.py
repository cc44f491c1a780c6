"""Protocol `official`: the corpus's own lists, the column `split` (`local.corpora.lists`), are the sets.

Each test list is a fold. Its test set is that list, its training set the list `train`, whatever the fold; the other
test lists, and utterances in no list, are left out. So some utterances are tested in no fold. The model is trained once
for all of them (`local.experiment.shared`), unless the test list itself validates (oracle).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.core.errors import UserError
from local.corpora import lists, manifest
from local.splits import held_out
from local.splits.checks import LEFT_OUT

if TYPE_CHECKING:
    import pandas as pd

VALID_LIST = "list"  # the validation with which the corpus's own list validates


def column(table: pd.DataFrame) -> pd.Series:
    """The list of each utterance; empty where it is in none."""
    return manifest.column(table, lists.COLUMN)


def folds(table: pd.DataFrame) -> pd.Series:
    """The fold that tests each utterance, named as its list; empty where none does."""
    return column(table).where(column(table).isin(tests(table)), "")


def tests(table: pd.DataFrame) -> list[str]:
    """The names of the test lists, in order."""
    return sorted(filter(lists.is_test, column(table).unique()))


def has(table: pd.DataFrame, name: str) -> bool:
    """Whether an utterance is in the list of that name."""
    return bool((column(table) == name).any())


def fault(table: pd.DataFrame) -> str:
    """Why the lists of a corpus cannot be the sets of folds; empty if they can."""
    found = column(table)
    names = sorted({*found.unique()} - {""})
    if not names:
        return "no utterance is in a list"
    if strange := [name for name in names if not lists.is_list(name)]:
        first = table["ID"][found == strange[0]].iloc[0]
        return f"utterance {first} is in the list {strange[0]!r}, which is none of {lists.KNOWN}"
    if not has(table, lists.TRAIN):
        return f"no utterance is in list {lists.TRAIN}, but in {', '.join(names)}"
    if not tests(table):
        return f"no utterance is in a test list, but in {', '.join(names)}"
    for name in (lists.TRAIN, *tests(table)):
        emotions = table["emo"][found == name].unique()
        if len(emotions) == 1:
            return f"list {name} has only one emotion, {emotions[0]}"
    return ""


def sizes(table: pd.DataFrame) -> str:
    """How many utterances are in each list, and in none, in words; empty for a corpus without lists."""
    counts = {name: count for name, count in sorted(column(table).value_counts().items()) if name}
    if not counts:
        return ""
    nowhere = len(table) - sum(counts.values())
    return ", ".join(f"{name} {count}" for name, count in counts.items()) + (f", none {nowhere}" if nowhere else "")


def sets(table: pd.DataFrame, fold: str, valid: str, same_audio: pd.Series | None = None) -> pd.Series:
    """The set (of `SETS`, or `LEFT_OUT`) of each utterance in a fold; see `local.splits.protocols.split`.

    All folds have the same training set, and hold the same out of it. List `valid` is a set with validation `list`
    alone: with any other it neither trains nor validates.
    """
    if valid == "partner":
        raise UserError(
            "validation 'partner' is of protocol speaker, not of official", "take --valid speakers, utterances or none"
        )
    if valid == VALID_LIST and not has(table, lists.VALID):
        raise UserError(
            f"validation '{VALID_LIST}' needs utterances in list {lists.VALID}, and none is",
            "take --valid speakers, utterances or none",
        )
    found = column(table)
    kept = [lists.TRAIN, *([lists.VALID] if valid == VALID_LIST else [])]  # of the same names as the sets
    named = found.where(found.isin(kept), LEFT_OUT).mask(found == fold, "test")
    return held_out.draw(table, named, valid, same_audio, f"list {lists.TRAIN}")


def left_out(table: pd.DataFrame, valid: str) -> list[str]:
    """Say which utterances are in no set, or not in that of every fold, a line each; `valid` is the validation."""
    found, lines = column(table), []
    if nowhere := int((found == "").sum()):
        lines.append(f"{nowhere} of {len(table)} utterances are in no list, and in no set")
    if valid != VALID_LIST and (unused := int((found == lists.VALID).sum())):
        lines.append(f"the {unused} utterances of list {lists.VALID}, as the validation is {valid}")
    if len(names := tests(table)) > 1:
        sizes = ", ".join(f"{name} {(found == name).sum()}" for name in names)
        lines.append(
            f"in each fold the test lists of the others ({sizes}); all have the same training set, and published "
            "figures are of one list each"
        )
    return lines

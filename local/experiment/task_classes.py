"""The classes of the further heads of a fold, from its training set: of `head_classes` of the YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.core import tasks
from local.core.errors import UserError
from local.core.tasks import NUMBER, SHARES, TASKS
from local.corpora import manifest

if TYPE_CHECKING:
    import pandas as pd

HEADS, KEY = "heads", "head_classes"  # keys of the YAML: the weights, and what is found here


def of_training(values: Mapping[str, Any], fold: Path) -> dict[str, dict[str, list[str]]]:
    """The value of `head_classes` for a fold, by that key; nothing where the YAML has no further heads.

    Of gender and speaker it is the labels of the training set, of votes the labels that its raters chose, sorted; a
    number has no classes. `values` are the YAML's, `fold` is the folder of manifests.

    A `UserError` where the training set has no labels of a head, or the same of all utterances: nothing is to be learnt
    of them.
    """
    if not values.get(HEADS):
        return {}
    path = fold / "train.csv"
    table, found = manifest.read(path), {}
    for name in tasks.weights(values[HEADS]):
        column = manifest.column(table, TASKS[name].column)
        classes = _labels(column[column != ""], name, path)
        if len(classes) < 2:
            has = f"all that have a label have the same, {classes[0]}" if classes else "no utterance has a label"
            raise UserError(f"heads: {name}: {path}: {has}", f"leave {name} out of heads, or take another corpus")
        if TASKS[name].kind != NUMBER:
            found[name] = classes
    return {KEY: found}


def _labels(cells: pd.Series, name: str, path: Path) -> list[str]:
    """The different labels of a head, sorted; of a number their texts."""
    try:
        if TASKS[name].kind == SHARES:
            return sorted({label for cell in cells.unique() for label in tasks.votes(cell)})
        if TASKS[name].kind == NUMBER:
            return [f"{value:g}" for value in sorted({*map(float, cells)})]
    except ValueError as error:
        raise UserError(f"{path}: column {TASKS[name].column}: {error}", "correct the table of the corpus") from None
    return sorted(cells.unique())

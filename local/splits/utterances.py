"""Single utterances, drawn emotion by emotion: the folds of protocol `random`, and validation `utterances`.

Utterances whose files have the same bytes are drawn together, so that no two sets share a recording under two names.
What is drawn depends on the IDs, the emotions and these files alone, not on the order of the table.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from local.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("fold1", "fold2", "fold3", "fold4", "fold5")
HELD_OUT = 0.1  # share of each emotion's training utterances that validates
LEAST_TO_HOLD = 3  # training utterances of an emotion, of which one validates at least
LEAST_FOR_VALID = 4  # utterances of an emotion in the corpus, so that a fold leaves so many for training


def fold_names(table: pd.DataFrame) -> list[str]:
    """The folds of a table of utterances: five, or as many as the most frequent emotion has utterances."""
    return list(NAMES[: table["emo"].value_counts().max()])


def deal(table: pd.DataFrame, same: pd.Series | None) -> pd.Series:
    """Name the fold that tests each utterance: of each emotion, folds test equally many, to one.

    `same` has a key for utterances whose files have the same bytes, and an empty one for all others; see
    `local.splits.audit.keys`. A `UserError` where these are too many to fill the folds.
    """
    names, sizes, folds = fold_names(table), Counter(), {}
    for groups in _draw(table, same, "folds of protocol random"):
        of_emotion: Counter[str] = Counter()
        for group in sorted(groups, key=len, reverse=True):  # stable: groups of one stay in the order in which drawn
            fold = min(names, key=lambda name: (of_emotion[name], sizes[name], name))
            of_emotion[fold] += len(group)
            sizes[fold] += len(group)
            folds |= dict.fromkeys(group, fold)
    if len(sizes) < len(names):
        what = f"protocol random has {len(names)} folds, and only {len(sizes)} have audio files of different contents"
        raise UserError(what, "remove the utterances whose audio files are copies of others")
    import pandas as pd  # takes half a second to load

    return pd.Series(folds).reindex(table.index)


def held_out(table: pd.DataFrame, same: pd.Series | None, seed: str) -> list[int]:
    """The index of the utterances of a training set, `table`, that validate: about `HELD_OUT` of each emotion.

    No emotion leaves the training set, nor two utterances of the same bytes one another. A `UserError` where fewer
    than two emotions have enough utterances.
    """
    drawn = []
    for groups in _draw(table, same, seed):
        count = sum(map(len, groups))
        wanted = max(round(HELD_OUT * count), 1) if count >= LEAST_TO_HOLD else 0
        for group in groups:
            if len(group) <= wanted:
                drawn += group
                wanted -= len(group)
    if table["emo"][drawn].nunique() < 2:
        raise UserError(
            f"no validation set can be held out of {len(table)} utterances: it would have fewer than two emotions",
            "take --valid none: the last epoch is taken",
        )
    return drawn


def can_validate(table: pd.DataFrame) -> bool:
    """Whether utterances can be held out of the training set of each fold of `random`, without copies of files."""
    return int((table["emo"].value_counts() >= LEAST_FOR_VALID).sum()) > 1


def _draw(table: pd.DataFrame, same: pd.Series | None, seed: str) -> Iterator[list[list[int]]]:
    """For each emotion the index of its utterances in random order, those with one key together in a list."""
    ordered = table.sort_values("ID")
    keys = ordered["ID"] if same is None else same[ordered.index].where(same != "", "ID " + ordered["ID"])
    groups: dict[str, list[int]] = {}
    for place, key in keys.items():
        groups.setdefault(key, []).append(place)
    by_emotion: dict[str, list[list[int]]] = {}
    for group in groups.values():
        by_emotion.setdefault(ordered["emo"][group[0]], []).append(group)
    for emotion, of_emotion in sorted(by_emotion.items()):
        random.Random(f"{seed}, {emotion}").shuffle(of_emotion)
        yield of_emotion

"""What the folds of a protocol must fulfil before any of them is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from local.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SETS = ("train", "valid", "test")
LEFT_OUT = "left out"  # in place of a set, where text is held out, or by the corpus's own lists
ORACLE = "oracle"  # the validation with which the test set is the validation set too; never a default
MOST_MANIFEST_LINES = 100_000_000  # of all folds: some 15 GB
MOST_LINES = 20  # of a message
FIX = "correct the corpus or its columns, or take another --protocol"


def members(sets: pd.Series, name: str, valid: str) -> pd.Series:
    """Which utterances of a fold are in a set of that name; `sets` and `valid` are as of `local.splits.protocols`."""
    return sets == ("test" if name == "valid" and valid == ORACLE else name)


def assert_partition(table: pd.DataFrame, folds: pd.Series, untested: bool = False) -> None:
    """Refuse a corpus with an ID twice, or with an utterance that no fold tests; a `UserError` names the first.

    With `untested`, utterances without a fold (an empty one) are as they should be.
    """
    repeated = table["ID"].duplicated()
    if repeated.any():
        raise UserError(f"utterance {table['ID'][repeated].iloc[0]} is twice in the corpus", FIX)
    lacking = folds.isna() | ((folds == "") & (not untested))
    if lacking.any():
        raise UserError(f"utterance {table['ID'][lacking].iloc[0]} is tested in no fold", FIX)


def refuse_too_many(protocol: str, folds: pd.Series) -> None:
    """Refuse folds whose manifests, a line in each fold for every utterance, would fill a disk.

    A `UserError` if there would be more than `MOST_MANIFEST_LINES`.
    """
    count = folds[folds != ""].nunique()
    if count * len(folds) > MOST_MANIFEST_LINES:
        raise UserError(
            f"protocol {protocol} has {count:,} folds of {len(folds):,} utterances here: "
            f"their manifests would have {count * len(folds):,} lines, more than {MOST_MANIFEST_LINES:,}",
            "put the speakers into ten groups by a column session, and take --protocol session",
        )


def assert_sets(fold: str, sets: pd.Series) -> None:
    """Refuse an empty training or test set, or an utterance in a set of another name, with a `UserError`."""
    if not sets.isin((*SETS, LEFT_OUT)).all():
        raise UserError(f"fold {fold}: an utterance is in no set", FIX)
    for name, words in (("train", "training"), ("test", "test")):
        if not (sets == name).any():
            raise UserError(f"fold {fold}: the {words} set is empty", FIX)


def refuse_bad_folds(
    table: pd.DataFrame, splits: Mapping[str, pd.Series], valid: str = "", labels: Sequence[str] = ()
) -> None:
    """Refuse folds that cannot teach every emotion, or cannot choose an epoch: all of them, by name.

    A test set may lack emotions, or be one utterance: its UA is over the emotions that it has.
    `splits` are as from `split_all` with the validation `valid`, `labels` those of the model, by default all. A
    `UserError` if a training set lacks one of them, or a validation set has only one, for which a model that always
    says it has a UA of 1.
    """
    labels, faults = labels or sorted(table["emo"].unique()), []
    for fold, sets in splits.items():
        trained = set(table["emo"][sets == "train"])
        faults += [f"fold {fold}: no {label} in the training set" for label in labels if label not in trained]
        validated = table["emo"][members(sets, "valid", valid)].unique()
        faults += [f"fold {fold}: only {validated[0]} in the validation set"] if len(validated) == 1 else []
    if faults:
        more = [f"... and {len(faults) - MOST_LINES} more"] if len(faults) > MOST_LINES else []
        raise UserError(
            "\n  ".join([*faults[:MOST_LINES], *more]),
            "take another --protocol or --valid, a map of --labels, or more data",
        )

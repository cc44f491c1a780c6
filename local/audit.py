"""Audit of the folds: what a part shares with another that it must not share."""

from __future__ import annotations

import pandas as pd

from local.errors import UserError

PARTS = ("train", "valid", "test")
REMEDY = "mend the corpus's columns, or take another --protocol; such folds are never run"


def assert_partition(table: pd.DataFrame, folds: pd.Series) -> None:
    """Every utterance is tested in exactly one fold."""
    if table["ID"].duplicated().any():
        raise UserError(f"utterance {table['ID'][table['ID'].duplicated()].iloc[0]} stands twice in the corpus", REMEDY)
    if len(folds) != len(table) or folds.isna().any() or (folds == "").any():
        raise UserError("an utterance has no test fold", REMEDY)


def assert_disjoint(protocol: str, fold: str, table: pd.DataFrame, part: pd.Series) -> None:
    """A fold's parts cover the corpus without overlap, and keep the protocol's promise.

    `speaker` and `session` promise that a tested speaker is heard in no other part; `recording`,
    that a tested recording is in no other part.
    """
    if not part.isin(PARTS).all() or len(part) != len(table):
        raise UserError(f"fold {fold}: an utterance is in no part", REMEDY)
    for name in ("train", "test"):
        if not (part == name).any():
            raise UserError(f"fold {fold}: part {name} is empty", REMEDY)
    promised = {"speaker": ["spk_id"], "session": ["session", "spk_id"], "recording": ["recording"]}[protocol]
    for column in promised:
        tested = table[column][part == "test"]
        crossing = set(tested) & set(table[column][part != "test"]) - {""}
        if crossing:
            raise UserError(
                f"fold {fold}, protocol {protocol}: {column} {sorted(crossing)[0]} is tested and trained on", REMEDY
            )

"""Predictions: what a model says of each utterance, in memory and as predictions.csv.

Columns `ID,emo,emo_hyp,p_<label>...,wrd,wrd_hyp`: labels in alphabetical order, posteriors with
8 digits, transcripts normalised; sorted by ID.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from local.errors import UserError
from local.files import atomic

POSTERIOR = "p_"


def columns(labels: list[str]) -> list[str]:
    """The columns of predictions over these labels."""
    return ["ID", "emo", "emo_hyp", *(POSTERIOR + label for label in labels), "wrd", "wrd_hyp"]


def frame(rows: list[tuple], labels: list[str]) -> pd.DataFrame:
    """Gather predictions: rows in the order of `columns`, but without `emo_hyp`, which follows from the posteriors."""
    names = [name for name in columns(labels) if name != "emo_hyp"]
    predictions = pd.DataFrame(rows, columns=names).sort_values("ID", ignore_index=True)
    posteriors = predictions[[POSTERIOR + label for label in labels]].to_numpy()
    predictions.insert(2, "emo_hyp", [labels[best] for best in posteriors.argmax(1)])
    return predictions


def write(path: Path, predictions: pd.DataFrame) -> None:
    """Write predictions.csv, whole or not at all."""
    with atomic(path) as file:
        predictions.to_csv(file, index=False, float_format="%.8f", lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """Read predictions.csv.

    Raises
    ------
    UserError
        It is absent, or its columns are not those of predictions.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False)
    except FileNotFoundError:
        raise UserError(f"there are no predictions {path}", "run stage 3 for this fold and seed") from None
    posteriors = [name for name in table.columns if name.startswith(POSTERIOR)]
    if list(table.columns) != columns([name.removeprefix(POSTERIOR) for name in posteriors]):
        raise UserError(
            f"{path}: the columns {','.join(table.columns)} are not those of predictions", "run stage 3 again"
        )
    return table.astype(dict.fromkeys(posteriors, float))


def labels(predictions: pd.DataFrame) -> list[str]:
    """The labels that predictions are over."""
    return [name.removeprefix(POSTERIOR) for name in predictions.columns if name.startswith(POSTERIOR)]

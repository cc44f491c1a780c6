"""Predictions of a model, in memory and as predictions.csv.

Columns `ID,emo,emo_hyp,p_<label>...,wrd,wrd_hyp`: labels in alphabetical order, posteriors with
8 digits, transcripts normalised; sorted by ID. A system that writes no text has no `wrd_hyp`. pandas, which takes half
a second to load, is loaded with the first table.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from local.core.errors import UserError
from local.core.files import atomic

if TYPE_CHECKING:
    import pandas as pd

POSTERIOR = "p_"


def columns(labels: list[str], text: bool = True) -> list[str]:
    """The columns of predictions over these labels, of a system that writes text or not."""
    return ["ID", "emo", "emo_hyp", *(POSTERIOR + label for label in labels), "wrd", *(["wrd_hyp"] if text else [])]


def writes_text(predictions: pd.DataFrame) -> bool:
    """Whether the system of these predictions writes text."""
    return "wrd_hyp" in predictions


def frame(rows: list[tuple], labels: list[str], text: bool = True) -> pd.DataFrame:
    """Make a table of rows in the order of `columns` without `emo_hyp`, which follows from the posteriors."""
    from local.core import typed_csv

    names = [name for name in columns(labels, text) if name != "emo_hyp"]
    predictions = typed_csv.frame(rows, names).sort_values("ID", ignore_index=True)
    posteriors = predictions[[POSTERIOR + label for label in labels]].to_numpy()
    predictions.insert(2, "emo_hyp", [labels[best] for best in posteriors.argmax(1)])
    return predictions


def write(path: Path, predictions: pd.DataFrame) -> None:
    """Write predictions.csv, whole or not at all."""
    with atomic(path) as file:
        predictions.to_csv(file, index=False, float_format="%.8f", lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """Read predictions.csv; a `UserError` if it is missing, or not a table of predictions."""
    import pandas as pd

    from local.core.typed_csv import read_csv

    try:
        table = read_csv(path)
    except FileNotFoundError:
        raise UserError(f"there are no predictions {path}", "run stage 3 for this fold and seed") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise _broken(path, error) from None
    names = labels(table)
    if not names or list(table.columns) not in (columns(names), columns(names, text=False)):
        raise _broken(path, f"the columns {','.join(table.columns)} are not those of predictions")
    posteriors = [POSTERIOR + name for name in names]
    try:
        table = table.astype(dict.fromkeys(posteriors, float))
    except ValueError as error:
        raise _broken(path, error) from None
    if not ((table[posteriors] >= 0) & (table[posteriors] <= 1)).all(axis=None):
        raise _broken(path, "a posterior is not between 0 and 1")
    if strange := sorted({*table["emo"], *table["emo_hyp"]} - set(names)):
        raise _broken(path, f"there is no posterior of {strange[0]!r}")
    return table


def _broken(path: Path, reason: Exception | str) -> UserError:
    return UserError(f"{path}: {' '.join(str(reason).split())}", "run stage 3 again")  # pandas ends with a newline


def labels(predictions: pd.DataFrame) -> list[str]:
    """The labels that predictions are over."""
    return [name.removeprefix(POSTERIOR) for name in predictions.columns if name.startswith(POSTERIOR)]

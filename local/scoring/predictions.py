"""Predictions of a model, in memory and as predictions.csv.

Columns `ID,emo,emo_hyp,p_<label>...,wrd,wrd_hyp`: labels in alphabetical order, posteriors with
8 digits, transcripts normalised; sorted by ID. A system that writes no text has no `wrd_hyp`. Behind them, for each
further head of the multi-task system (`local.core.tasks`), its label and what it predicts: `ref_gender,hyp_gender`, a
class; `ref_valence,hyp_valence`, a number on the corpus's scale; `ref_votes,hyp_votes`, shares as `ang 0.75 neu 0.25`.
A label is empty where an utterance has none. pandas, which takes half a second to load, is loaded with the first table.

Predictions of a model that was not trained here may lack posteriors (the cells are empty), and have hypotheses in
parentheses, which are no class of the corpus: `MISSING` of an utterance without a prediction, and classes that the
corpus lacks, such as `(cal)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from local.core.errors import UserError
from local.core.files import write_text
from local.core.tasks import NUMBER, TASKS

if TYPE_CHECKING:
    import pandas as pd

POSTERIOR = "p_"
REFERENCE, HYPOTHESIS = "ref_", "hyp_"  # begin the columns of further heads
MISSING = "(no prediction)"


def columns(labels: list[str], text: bool = True) -> list[str]:
    """The columns of predictions over these labels, of a system that writes text or not."""
    return ["ID", "emo", "emo_hyp", *(POSTERIOR + label for label in labels), "wrd", *(["wrd_hyp"] if text else [])]


def task_columns(tasks: Iterable[str]) -> list[str]:
    """The columns of further heads."""
    return [kind + name for name in tasks for kind in (REFERENCE, HYPOTHESIS)]


def task_names(predictions: pd.DataFrame) -> list[str]:
    """The further heads that predictions are of."""
    return [name for name in TASKS if REFERENCE + name in predictions]


def is_class(label: str) -> bool:
    """Whether a label is one of the corpus, and not in parentheses."""
    return not label.startswith("(")


def writes_text(predictions: pd.DataFrame) -> bool:
    """Whether the system of these predictions writes text."""
    return "wrd_hyp" in predictions


def frame(rows: list[tuple], labels: list[str], text: bool = True, tasks: Iterable[str] = ()) -> pd.DataFrame:
    """Make a table of rows in the order of `columns` without `emo_hyp`, which follows from the posteriors.

    `tasks` are the further heads, whose columns follow.
    """
    from local.core import typed_csv

    names = [name for name in columns(labels, text) if name != "emo_hyp"] + task_columns(tasks)
    predictions = typed_csv.frame(rows, names).sort_values("ID", ignore_index=True)
    posteriors = predictions[[POSTERIOR + label for label in labels]].to_numpy()
    predictions.insert(2, "emo_hyp", [labels[best] for best in posteriors.argmax(1)])
    return predictions


def write(path: Path, predictions: pd.DataFrame) -> None:
    """Write predictions.csv, whole or not at all."""
    write_text(path, predictions.to_csv(index=False, float_format="%.8f", lineterminator="\n"))


def read(path: Path, may_lack: bool = False) -> pd.DataFrame:
    """Read predictions.csv; a `UserError` if it is missing, or not a table of predictions.

    With `may_lack`, rows may lack posteriors: these are nan.
    """
    import pandas as pd

    from local.core.typed_csv import read_csv

    try:
        table = read_csv(path)
    except FileNotFoundError:
        raise UserError(f"there are no predictions {path}", "run stage 3 for this fold and seed") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise _broken(path, error) from None
    names = labels(table)
    further = task_columns(task_names(table))
    if not names or list(table.columns) not in ([*columns(names, text), *further] for text in (True, False)):
        raise _broken(path, f"the columns {','.join(table.columns)} are not those of predictions")
    posteriors = [POSTERIOR + name for name in names]
    numbers = task_columns(name for name in task_names(table) if TASKS[name].kind == NUMBER)
    try:
        table = table.assign(**{name: table[name].replace("", "nan").astype(float) for name in numbers})
        if may_lack:
            table[posteriors] = table[posteriors].replace("", "nan")
        table = table.astype(dict.fromkeys(posteriors, float))
    except ValueError as error:
        raise _broken(path, error) from None
    known = with_posteriors(table) if may_lack else table
    if not ((known[posteriors] >= 0) & (known[posteriors] <= 1)).all(axis=None):
        raise _broken(path, "a posterior is not between 0 and 1")
    if strange := sorted({*table["emo"], *table["emo_hyp"]} - set(names)):
        raise _broken(path, f"there is no posterior of {strange[0]!r}")
    return table


def _broken(path: Path, reason: Exception | str) -> UserError:
    return UserError(f"{path}: {' '.join(str(reason).split())}", "run stage 3 again")  # pandas ends with a newline


def with_posteriors(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows that have posteriors."""
    posteriors = predictions[[POSTERIOR + name for name in labels(predictions)]]
    return predictions[posteriors.notna().any(axis=1)]


def labels(predictions: pd.DataFrame) -> list[str]:
    """The labels that predictions are over."""
    return [name.removeprefix(POSTERIOR) for name in predictions.columns if name.startswith(POSTERIOR)]

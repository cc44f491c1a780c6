"""The scores of the last epoch on the test set, where stage 3 has decoded it: `--last-epoch` of run.sh.

They are reported beside those of the chosen epoch. Nothing is chosen by them, and no test compares them.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from local.core import markers
from local.core.errors import UserError
from local.core.files import digest
from local.scoring import metrics, predictions

SCORES = ("wa", "ua", "wf1")
PREFIX = "last_"
COLUMNS = (f"{PREFIX}epoch", *(f"{PREFIX}{score}" for score in SCORES))
PREDICTIONS, MARKER = "predictions_last.csv", "decode_last.json"


def of_runs(runs: list[Path], chosen: dict[Path, pd.DataFrame]) -> tuple[pd.DataFrame | None, dict[str, float | None]]:
    """Score the last epoch of every run, and of all runs together.

    Parameters
    ----------
    runs
        Decoded run folders.
    chosen
        Their predictions, which are those of the last epoch where that was chosen.

    Returns
    -------
    `COLUMNS`, a row per run, and the pooled scores by their columns. A run is empty there where its last epoch is not
    decoded, or a last step in closed form is the end of its training, as it is then of all runs; pooled is empty where
    a run is. None and nothing where no run has been asked for its last epoch.

    Raises
    ------
    UserError
        Predictions are of an earlier training or test set, or were changed.
    """
    if not any((run / MARKER).exists() for run in runs):
        return None, {}
    rows, tables = [], []
    for run in runs:
        epoch, table = _of_run(run, chosen[run])
        rows.append((epoch, *_scores(table)))
        tables.append(table)
    pooled = None if any(table is None for table in tables) else pd.concat(tables, ignore_index=True)
    scores = dict(zip(COLUMNS[1:], _scores(pooled), strict=True))
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object), scores


def in_words(folds: pd.DataFrame | None, pooled: dict[str, float | None]) -> list[str]:
    """Say the pooled scores, or of how many runs there are any; nothing where no run was asked for."""
    if folds is None:
        return []
    epochs = folds[COLUMNS[0]].dropna()
    if epochs.empty:
        return ["Last epoch: none, as the training is, or ends in, a closed form"]
    if len(epochs) < len(folds):
        few = f"{len(epochs)} of {len(folds)} runs only, and so not pooled"
        return [f"Last epoch: decoded in {few}; for the others run stage 3 with --last-epoch true"]
    named = zip(("WA", "UA", "weighted F1"), pooled.values(), strict=True)
    figures = ", ".join(f"{name} {100 * value:.2f}" for name, value in named)
    which = ", ".join(map(str, sorted({*epochs})))
    return [f"Last epoch ({which}), reported and nothing else: pooled {figures}"]


def _of_run(run: Path, chosen: pd.DataFrame) -> tuple[int | None, pd.DataFrame | None]:
    """The last epoch of a run, and its predictions; None where there are none."""
    if not (run / MARKER).exists():
        return None, None
    marker, decoding = markers.read(run / MARKER), markers.read(run / "decode.json")
    outputs = marker["outputs"].items()
    changed = [name for name, made in outputs if not (run / name).exists() or digest(run / name) != made]
    if marker["inputs"] != decoding["inputs"] or changed:
        what = f"{changed[0]} is not what was written" if changed else "it was trained, or its test set made, again"
        raise UserError(f"{run}: the last epoch has other predictions: {what}", "run stage 3 with --last-epoch true")
    epoch = marker["facts"]["epoch"]
    if epoch is None or epoch == decoding["facts"]["epoch"]:
        return epoch, None if epoch is None else chosen
    return epoch, predictions.read(run / PREDICTIONS)


def _scores(table: pd.DataFrame | None) -> list[float | None]:
    if table is None:
        return [None] * len(SCORES)
    scores = metrics.emotion_scores(table["emo"], table["emo_hyp"])
    return [scores[name] for name in SCORES]

"""The coefficients of the task vectors of a merged encoder, learned by each run: see `local.encoders.task_vectors`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from local.core import markers
from local.scoring.layer_shares import spread

FACT = "coefficients"  # of a run's decode.json: by task and part of the encoder
COLUMNS = ["seed", "fold", "task", "part", "coefficient"]


def of_runs(runs: Iterable[Path]) -> pd.DataFrame:
    """`seed,fold,task,part,coefficient` of all runs that are merged, parts from the lowest on."""
    rows = []
    for run in runs:
        decoded = run / "decode.json"
        found = markers.read(decoded)["facts"].get(FACT, {}) if decoded.exists() else {}
        place = run.parent.name.removeprefix("seed"), run.name
        rows += [(*place, task, part, share) for task, parts in found.items() for part, share in parts.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def by_part(of_task: pd.DataFrame) -> pd.DataFrame:
    """`mean,sd,low,high` over the runs of one task's coefficients, by part."""
    return spread(of_task.groupby("part", sort=False)["coefficient"])


def in_words(table: pd.DataFrame) -> list[str]:
    """A sentence on the coefficients; none where there are none."""
    if table.empty:
        return []
    n = table.groupby(["seed", "fold"]).ngroups
    over = f" (means over {n} runs, folds and seeds; in brackets the standard deviation)" if n > 1 else ""
    said = []
    for task, of_task in table.groupby("task", sort=False):
        parts = by_part(of_task)
        each = [
            f"{part} {row['mean']:.2f}" + (f" ({row['sd']:.2f})" if n > 1 else "") for part, row in parts.iterrows()
        ]
        said.append(f"of {task} {', '.join(each)}")
    return [
        f"Merged: shares of what the training of each task alone has changed, by layer of the encoder, 1 the lowest"
        f"{over}: {'; '.join(said)}"
    ]

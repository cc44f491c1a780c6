"""How much each hidden state of an encoder has in what the emotion head reads, learned by each run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from pandas.api.typing import SeriesGroupBy

from local.core import markers

FACT = "layer_shares"  # of a run's decode.json: the shares, from state 0, which is the input of block 1
COLUMNS = ["seed", "fold", "state", "share"]


def of_runs(runs: Iterable[Path]) -> pd.DataFrame:
    """`seed,fold,state,share` of all runs; no row where there is a single run without such weights."""
    rows = []
    for run in runs:
        decoded = run / "decode.json"
        shares = markers.read(decoded)["facts"].get(FACT) if decoded.exists() else None
        if not shares:
            return pd.DataFrame(columns=COLUMNS)
        rows += [(run.parent.name.removeprefix("seed"), run.name, *each) for each in enumerate(shares)]
    return pd.DataFrame(rows, columns=COLUMNS)


def by_state(shares: pd.DataFrame) -> pd.DataFrame:
    """`mean,sd,low,high` over the runs, by state; the deviation of a single run is nan."""
    return spread(shares.groupby("state")["share"])


def spread(groups: SeriesGroupBy) -> pd.DataFrame:
    """`mean,sd,low,high` of each group."""
    return pd.DataFrame({"mean": groups.mean(), "sd": groups.std(), "low": groups.min(), "high": groups.max()})


def in_words(shares: pd.DataFrame) -> list[str]:
    """A sentence on the weights; none where there are no weights."""
    if shares.empty:
        return []
    states = by_state(shares)
    n = shares.groupby(["seed", "fold"]).ngroups
    over = f" (over {n} runs, folds and seeds; in brackets the standard deviation)" if n > 1 else ""
    each = ", ".join(
        f"{state} {row.mean:.3f}" + (f" ({row.sd:.3f})" if n > 1 else "")
        for state, row in zip(states.index, states.itertuples(index=False), strict=True)
    )
    top = states["mean"].idxmax()
    return [
        f"Layers: the emotion head reads the weighted sum of all hidden states, 0 the input of block 1; equal weights "
        f"would be {1 / len(states):.3f}, the largest is that of state {top}. Means{over}: {each}"
    ]

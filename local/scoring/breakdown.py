"""Scores of groups of utterances: by style, gender, session, speaker and duration.

Actors share their scripts, so scripted turns have their text in the training set; improvised turns do not.
"""

from __future__ import annotations

from itertools import pairwise

import pandas as pd

from local.scoring.stats import RATES, Tallies

COLUMNS = {"style": "style", "gender": "gender", "session": "session", "speaker": "spk_id"}
QUARTERS = 4
MOST_GROUPS = 100  # of a kind, on a page


def breakdown(predictions: pd.DataFrame) -> pd.DataFrame:
    """Score every group of utterances in predictions of `local.scoring.scored.pooled_predictions`.

    Returns `by,group,n,wa,ua,f1,wer,cer`: a row per group of every kind with at least two groups; the name of the group
    is empty for utterances that the corpus does not assign. Durations are cut at their quartiles.
    """
    kinds = {by: predictions[column] for by, column in COLUMNS.items()}
    kinds["duration"] = duration_quarters(predictions)
    rows = []
    for by, group in kinds.items():
        if group.nunique() > 1:
            tallies = Tallies.of(predictions, group)
            of_groups = zip(tallies.names, tallies.sizes, tallies.rates(tallies.sums)[: len(RATES)].T, strict=True)
            rows += [(by, str(name), n, *rates) for name, n, rates in of_groups]
    return pd.DataFrame(rows, columns=["by", "group", "n", *RATES]).astype(dict.fromkeys(RATES, float))


def shown_groups(groups: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows of `breakdown` to show on a page, and a sentence on each kind with too many groups."""
    sizes = groups["by"].value_counts()
    many = sizes[sizes > MOST_GROUPS]
    notes = [f"By {by} there are {n:,} groups: see breakdown.csv." for by, n in many.items()]
    return groups[~groups["by"].isin(many.index)], notes


def duration_quarters(predictions: pd.DataFrame) -> pd.Series:
    """The quarter of durations (s) that each utterance falls in; seeds do not count an utterance twice."""
    durations = predictions.drop_duplicates("ID")["duration"]
    edges = durations.quantile([part / QUARTERS for part in range(QUARTERS + 1)]).drop_duplicates().tolist()
    if len(edges) < 3:
        return pd.Series("all", index=predictions.index)
    names = [f"{place}: {low:.2f} to {high:.2f} s" for place, (low, high) in enumerate(pairwise(edges), start=1)]
    return pd.cut(predictions["duration"], edges, labels=names, include_lowest=True)

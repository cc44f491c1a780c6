"""Scores of parts of what was tested: by style, gender, session, speaker, and duration.

Scripts repeat across actors, so that the WER of scripted turns is one on text heard in training;
that of improvised turns is not.
"""

from __future__ import annotations

from itertools import pairwise

import pandas as pd

from local import metrics

COLUMNS = {"style": "style", "gender": "gender", "session": "session", "speaker": "spk_id"}
SCORES = ("wa", "ua", "f1", "wer", "cer")
QUARTERS = 4


def breakdown(predictions: pd.DataFrame) -> pd.DataFrame:
    """Score every group of utterances.

    Parameters
    ----------
    predictions
        With the columns that `local.experiment.pooled_predictions` adds.

    Returns
    -------
    `by,group,n,wa,ua,f1,wer,cer`: a row per group of every kind that has at least two; utterances
    of which the corpus does not say the kind are the group `unknown`. Durations are cut at their
    quartiles over the utterances tested.
    """
    kinds = {by: predictions[column].replace("", "unknown") for by, column in COLUMNS.items()}
    kinds["duration"] = duration_quarters(predictions)
    rows = []
    for by, group in kinds.items():
        if group.nunique() < 2:
            continue
        for name, some in predictions.groupby(group, observed=True):
            scores = metrics.scores(some)
            rows.append((by, str(name), scores["n"], *(scores[score] for score in SCORES)))
    table = pd.DataFrame(rows, columns=["by", "group", "n", *SCORES])
    return table.astype(dict.fromkeys(SCORES, float))


def duration_quarters(predictions: pd.DataFrame) -> pd.Series:
    """The quarter of durations (s) that each utterance falls in; seeds do not count an utterance twice."""
    durations = predictions.drop_duplicates("ID")["duration"]
    edges = durations.quantile([part / QUARTERS for part in range(QUARTERS + 1)]).drop_duplicates().tolist()
    if len(edges) < 3:
        return pd.Series("all", index=predictions.index)
    names = [f"{place}: {low:.2f} to {high:.2f} s" for place, (low, high) in enumerate(pairwise(edges), start=1)]
    return pd.cut(predictions["duration"], edges, labels=names, include_lowest=True)

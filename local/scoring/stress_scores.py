"""Scores of every case of stage 7 beside those of clean audio, and the share of answers that change.

Intervals and tests are those of all tables (`local.scoring.stats`): whole speakers are drawn, the same for the case and
for clean audio. p values are after Holm, for each score over all cases.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from local.core.conditions import CLEAN, INAUDIBLE, Case
from local.scoring import metrics, stats
from local.scoring.predictions import POSTERIOR

SCORES = ("wa", "ua", "wer")
ANY = "any of these"


def stress_scores(cases: Mapping[Case, pd.DataFrame]) -> pd.DataFrame:
    """A row for each case.

    Parameters
    ----------
    cases
        Predictions of the same utterances in each, see `local.scoring.stressed.pooled_cases`; `CLEAN` is one.

    Returns
    -------
    `condition,strength,n`; for each of `SCORES` `<score>`, `_low`, `_high`, and the difference from clean audio
    `<score>_diff`, `_diff_low`, `_diff_high`, `p_<score>`, `p_<score>_holm`; and `changed`, `changed_low`,
    `changed_high`, the share of answers that are others than of clean audio. What does not exist is nan: the WER
    without text, intervals of too few utterances, the differences of clean audio from itself.
    """
    rows = [_row(case, table, cases[CLEAN]) for case, table in cases.items()]
    table = pd.DataFrame(rows)
    return table.assign(**{f"p_{score}_holm": stats.holm(table[f"p_{score}"]) for score in SCORES})


def _row(case: Case, table: pd.DataFrame, clean: pd.DataFrame) -> dict:
    row = {"condition": case.condition, "strength": case.strength, "n": len(table)}
    scores = metrics.emotion_scores(table["emo"], table["emo_hyp"]) | metrics.error_rates(table)
    ends = stats.intervals(table)
    differences = {} if case == CLEAN else stats.differences(clean, table)
    for score in SCORES:
        value = np.nan if scores[score] is None else scores[score]
        row |= {score: value, f"{score}_low": ends[score][0], f"{score}_high": ends[score][1]}
        found = differences.get(score, stats.Difference(np.nan, np.nan, np.nan, np.nan))
        row |= {f"{score}_diff": found.estimate, f"{score}_diff_low": found.low, f"{score}_diff_high": found.high}
        row[f"p_{score}"] = found.p
    return row | _changed(table, changes(table, clean))


def changes(table: pd.DataFrame, clean: pd.DataFrame) -> np.ndarray:
    """[n] whether the emotion is another than of clean audio; the rows of both are of the same utterances."""
    return table["emo_hyp"].to_numpy() != clean["emo_hyp"].to_numpy()


def _changed(table: pd.DataFrame, flags: np.ndarray) -> dict[str, float]:
    low, high = share_interval(table, flags)
    return {"changed": float(flags.mean()), "changed_low": low, "changed_high": high}


def share_interval(table: pd.DataFrame, flags: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a share of utterances: that of an accuracy, if those flagged were the right ones."""
    words = {True: "yes", False: "no"}
    as_answers = table[["ID", "spk_id", "recording"]].assign(emo="yes", emo_hyp=[words[bool(flag)] for flag in flags])
    return stats.intervals(as_answers.assign(**{POSTERIOR + word: 0.0 for word in words.values()}))["wa"]


def inaudible_changes(cases: Mapping[Case, pd.DataFrame]) -> pd.DataFrame:
    """The share of answers that change under each of `INAUDIBLE`, and under any of them.

    Returns `change,n,changed,changed_low,changed_high`; no rows where none of these cases is there.
    """
    clean = cases[CLEAN]
    flags = {case.title: changes(cases[case], clean) for case in INAUDIBLE if case in cases}
    if len(flags) > 1:
        flags[ANY] = np.any([*flags.values()], axis=0)
    rows = [{"change": name, "n": len(clean)} | _changed(clean, each) for name, each in flags.items()]
    return pd.DataFrame(rows, columns=["change", "n", "changed", "changed_low", "changed_high"])

"""The tables of stage 7, for STRESS.md and stress.html."""

from __future__ import annotations

import pandas as pd

from local.core.conditions import CLEAN, CONDITIONS, INAUDIBLE, Case
from local.pages.markdown import HEADS, difference, p_value, percent, signed, span
from local.pages.tables import Table, columns, interval, known_scores
from local.scoring.gaps import LONG_LESS_SHORT, SPREAD, WOMEN_LESS_MEN
from local.scoring.stress_scores import SCORES

KINDS = {
    WOMEN_LESS_MEN: "women less men",
    LONG_LESS_SHORT: "longest third less shortest",
    SPREAD: "spread of speakers",
}


def case_of(row: pd.Series | dict) -> Case:
    """The case of a row."""
    return Case(row["condition"], row["strength"])


def strength_of(case: Case) -> str:
    """Its strength with the unit; empty of clean audio."""
    return "" if case == CLEAN else f"{case.strength:g} {CONDITIONS[case.condition].unit}"


def condition_of(case: Case) -> str:
    """The title of its condition."""
    return CLEAN.title if case == CLEAN else CONDITIONS[case.condition].title


def curve_table(scores: pd.DataFrame) -> Table:
    """Scores of every case of the curves, how far they are from those of clean audio, and the answers that change."""
    shown, rows = known_scores(SCORES, scores), []
    for row in scores.to_dict("records"):
        case = case_of(row)
        if case in INAUDIBLE:
            continue
        cells = [condition_of(case), strength_of(case)]
        for score in shown:
            cells += [percent(row[score]), interval(row, score)]
        cells += [difference(row, "wa"), p_value(row["p_wa_holm"])]
        rows.append([*cells, *([percent(row["changed"]), interval(row, "changed")] if case != CLEAN else ["–", "–"])])
    heads = [head for score in shown for head in (HEADS[score], f"95 % of {HEADS[score]}")]
    heads += ["WA less clean", "p", "changed", "95 % of changed"]
    caption = "Scores in every case, in per cent; changed: emotions that are others than those of clean audio."
    return Table(caption, columns(["condition", "strength"], heads), rows)


def inaudible_table(changed: pd.DataFrame) -> Table:
    """Answers that change where nobody hears a difference; see `stress_scores.inaudible_changes`."""
    rows = [
        [row["change"], row["n"], percent(row["changed"]), interval(row, "changed")]
        for row in changed.to_dict("records")
    ]
    caption = "Emotions that change where nobody hears a difference, in per cent of the answers."
    return Table(caption, columns(["change"], ["answers", "changed", "95 % interval"]), rows)


def clean_gap_table(gaps: pd.DataFrame) -> Table:
    """The gaps on clean audio, of every score."""
    rows = [
        [KINDS[row["by"]], HEADS[row["score"]], signed(row["gap"]), _span(row, "gap"), p_value(row["p_holm"])]
        for row in gaps[gaps["condition"] == CLEAN.condition].to_dict("records")
    ]
    caption = "Gaps on clean audio, in points of per cent."
    return Table(caption, columns(["gap", "score"], ["points", "95 % interval", "p"]), rows)


def gap_table(gaps: pd.DataFrame) -> Table:
    """How far each gap in accuracy is from that of clean audio, case by case."""
    of_accuracy = gaps[(gaps["score"] == "wa") & (gaps["condition"] != CLEAN.condition)]
    known = [by for by in KINDS if (of_accuracy["by"] == by).any()]
    rows: dict[Case, list[object]] = {}
    for row in of_accuracy.to_dict("records"):
        case = case_of(row)
        if case not in INAUDIBLE:
            cells = rows.setdefault(case, [condition_of(case), strength_of(case)])
            cells += [signed(row["gap"]), signed(row["change"]), _span(row, "change"), p_value(row["p_change_holm"])]
    heads = [head for by in known for head in (KINDS[by], "change", "95 % of change", "p")]
    caption = "Gaps in WA under distortion and how they change from clean audio, in points of per cent."
    return Table(caption, columns(["condition", "strength"], heads), [*rows.values()])


def _span(row: dict, what: str) -> str:
    return span(row[f"{what}_low"], row[f"{what}_high"], signed)

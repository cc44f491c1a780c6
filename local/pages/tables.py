"""The tables of the report, as text: per cent with two digits, a dash for what there is not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from local.pages.markdown import HEADS, SCORES, p_value, percent, show, signed
from local.scoring import metrics
from local.scoring.breakdown import shown_groups
from local.scoring.scored import Experiment

Interval = tuple[float, float]
GROUP_SCORES = ("wa", "ua", "f1", "wer", "cer")
COMPARED = ("wa", "ua", "wer")
SECOND_TEST = {"wa": "p_mcnemar", "wer": "p_matched_pairs"}
TRANSCRIPT = ("wer", "cer")
NO_BREAK = "\u00a0"


@dataclass(frozen=True)
class Table:
    """A table that a click sorts.

    Attributes
    ----------
    caption
        What it is.
    heads
        The names of its columns, and whether a column holds numbers.
    rows
        Its cells.
    totals
        Rows that stay below whatever it is sorted by.
    """

    caption: str
    heads: list[tuple[str, bool]]
    rows: list[list[str]]
    totals: list[list[str]] = field(default_factory=list)


def scores_present(scores: tuple[str, ...], predictions: pd.DataFrame) -> list[str]:
    """Those of the scores that there are: none of transcripts where no utterance has one."""
    return [score for score in scores if score not in TRANSCRIPT or (predictions["wrd"] != "").any()]


def heads(words: list[str], numbers: list[str]) -> list[tuple[str, bool]]:
    """Columns of text, then columns of numbers."""
    return [(head, False) for head in words] + [(head, True) for head in numbers]


def span(interval: Interval) -> str:
    """Show an interval of fractions in per cent."""
    return "–" if pd.isna(interval[0]) else f"{percent(interval[0])}{NO_BREAK}to {percent(interval[1])}"


def results(own: Experiment, intervals: dict[str, Interval]) -> Table:
    """A row per fold and seed; below them all folds pooled, with intervals, and means."""
    shown = scores_present(SCORES, own.predictions)
    runs = own.predictions.groupby(["seed", "fold"])
    rows = []
    for row in own.folds.itertuples():
        scores = metrics.scores(runs.get_group((row.seed, row.fold)))
        figures = [show(score, scores[score]) for score in shown]
        rows.append([str(row.seed), row.fold, str(row.n), *figures, str(row.epoch)])
    all_ = own.summary
    totals = [
        ["", f"pooled, {all_['folds']} folds", str(all_["n"]), *(show(score, all_[score]) for score in shown), ""],
        ["", "95 % interval", "", *(span(intervals[score]) if score in intervals else "" for score in shown), ""],
    ]
    for suffix, what in (("", "folds"), ("_seeds", "seeds")):
        if what == "folds" or all_["seeds"] > 1:
            means = (
                f"{show(s, all_[f'{s}{suffix}_mean'])}{NO_BREAK}± {show(s, all_[f'{s}{suffix}_sd'])}" for s in shown
            )
            totals.append(["", f"mean ± sd over {what}", "", *means, ""])
    numbers = ["n", *(HEADS[score] for score in shown), "epoch"]
    return Table("Scores per fold and seed, in per cent; the Brier score is a number from 0 to 2.",
                 [("seed", True), ("fold", False), *heads([], numbers)], rows, totals)  # fmt: skip


def classes(predictions: pd.DataFrame) -> Table:
    """Recall, precision and F1 of every class."""
    rows = [
        [row.label, str(row.n), str(row.predicted), percent(row.recall), percent(row.precision), percent(row.f1)]
        for row in metrics.classes(predictions).itertuples()
    ]
    return Table("Every class, in per cent.", heads(["class"], ["n", "predicted", "recall", "precision", "F1"]), rows)


def breakdown(groups: pd.DataFrame, predictions: pd.DataFrame) -> Table:
    """Scores of parts of what was tested; see `local.scoring.breakdown`."""
    shown, (few, told) = scores_present(GROUP_SCORES, predictions), shown_groups(groups)
    rows = [
        [row["by"], row["group"], str(row["n"]), *(percent(row[score]) for score in shown)] for _, row in few.iterrows()
    ]
    return Table(" ".join(["Parts of what was tested, in per cent.", *told]).replace("`", ""),
                 heads(["by", "group"], ["n", *(HEADS[score] for score in shown)]), rows)  # fmt: skip


def comparison(pairs: pd.DataFrame, predictions: pd.DataFrame) -> Table:
    """A row per other experiment and score; `pairs` as from `local.pages.siblings.comparison`."""
    rows = [
        [row["b"], row["valid_b"], HEADS[score], *_difference(row, score)]
        for row in pairs.to_dict("records")
        for score in scores_present(COMPARED, predictions)
    ]
    numbers = ["utterances", "here", "there", "difference", "95 % interval", "p", "second p"]
    caption = "This experiment (here) and others (there), in per cent; difference: there less here."
    return Table(caption, heads(["there", "validation", "score"], numbers), rows)


def _difference(row: dict, score: str) -> list[str]:
    """The figures of one score of a pair."""
    low, high = row[f"{score}_diff_low"], row[f"{score}_diff_high"]
    interval = "–" if pd.isna(low) else f"{signed(low)} to {signed(high)}"
    second = p_value(row[f"{SECOND_TEST[score]}_holm"]) if score in SECOND_TEST else "–"
    cells = [str(row["n"]), percent(row[f"{score}_a"]), percent(row[f"{score}_b"]), signed(row[f"{score}_diff"])]
    return [*cells, interval, p_value(row[f"p_{score}_holm"]), second]

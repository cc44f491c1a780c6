"""The tables of RESULTS.md, report.html, the model card and `local.compare`, for Markdown and for HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from local.core.tasks import UNTRAINED, UNTRAINED_TEXT, emotions_trained
from local.pages import markdown
from local.pages.markdown import HEADS, p_value, percent, prose, show, signed, span
from local.scoring import comparison
from local.scoring.breakdown import shown_groups
from local.scoring.metrics import SCORES
from local.scoring.scored import NOT_TRAINED_HERE
from local.scoring.stats import RATES

UNKNOWN_TRAINING = f"{NOT_TRAINED_HERE}: what it was trained on is not known"
RATERS = (
    "Raters: the CCC of one rater with the mean of the others, over the same utterances. A head is held against the "
    "mean of all raters, which varies less: it may exceed this."
)
SECOND_TEST = {"wa": "p_mcnemar", "wer": "p_matched_pairs"}
RESAMPLED = {
    "speaker": "speakers",
    "recording": "recordings, because speakers are too few or not all known: it does not cover how speakers differ",
    "utterance": "utterances, because speakers and recordings are too few or not all known: it does not cover how they "
    "differ",
}


@dataclass(frozen=True)
class Table:
    """A table: `markdown` renders it as Markdown, `page.html.j2` as HTML that a click sorts."""

    caption: str  # what it shows
    columns: list[tuple[str, bool]]  # head of each, and whether it holds numbers (aligned to the right, not escaped)
    rows: list[list[object]]  # cells as text, numbers formatted; of words only `Markup` is not escaped
    totals: list[list[object]] = field(default_factory=list)  # rows that stay at the bottom however it is sorted
    notes: list[str] = field(default_factory=list)  # sentences on what it leaves out

    def led_by(self, head: str) -> Table:
        """The same with this column first: on a phone it stays in sight while the others are scrolled."""
        at = [name for name, _ in self.columns].index(head)

        def moved(row: list) -> list:
            return [row[at], *row[:at], *row[at + 1 :]]

        return replace(
            self, columns=moved(self.columns), rows=[*map(moved, self.rows)], totals=[*map(moved, self.totals)]
        )

    def noted(self, notes: Iterable[str]) -> Table:
        """The same with these notes first."""
        return replace(self, notes=[*notes, *self.notes])

    def markdown(self) -> list[str]:
        """Its lines in Markdown: the words of totals are bold, the notes below."""
        numbers = [number for _, number in self.columns]

        def cells(row: list[object], form: str = "{}") -> list[str]:
            pairs = zip(row, numbers, strict=True)
            return [str(cell) if number or cell == "" else form.format(_words(cell)) for cell, number in pairs]

        rows = [*map(cells, self.rows), *(cells(row, "**{}**") for row in self.totals)]
        lines = markdown.table([prose(head) for head, _ in self.columns], rows, numbers)
        return lines + ([""] if self.notes else []) + [prose(note) for note in self.notes]


def _words(cell: object) -> str:
    # What was made here is escaped but for the bar, which ends a cell even within code.
    return cell.replace("|", r"\|") if isinstance(cell, Markup) else prose(cell)


def columns(words: Iterable[str], numbers: Iterable[str]) -> list[tuple[str, bool]]:
    """Columns of words, then columns of numbers."""
    return [(head, False) for head in words] + [(head, True) for head in numbers]


def known_scores(scores: Iterable[str], values: pd.Series | pd.DataFrame) -> list[str]:
    """The scores that have a value: no error rates where no utterance has a transcript."""
    return [score for score in scores if np.any(pd.notna(values[score]))]


def interval(row: pd.Series | dict, score: str) -> str:
    """Show the interval of a score, `71.9–88.5`; a dash where there is none, or an older version wrote none."""
    low, high = row.get(f"{score}_low"), row.get(f"{score}_high")
    return "–" if pd.isna(low) else f"{100 * low:.1f}–{100 * high:.1f}"


def marks(summary: pd.Series | dict, values: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
    """The sentences on every table of emotions that mean less than they seem to; none of most models.

    Those are of a model that was not trained here, by its row of summary.csv, or whose emotion head was not trained, by
    the values of its YAML.
    """
    if not emotions_trained(values):
        return [f"{UNTRAINED}."]
    if summary["valid"] != NOT_TRAINED_HERE:
        return []
    outside = f" ({summary['outside_classes']})" if summary["outside"] else ""
    return [
        f"{UNKNOWN_TRAINING[0].upper()}{UNKNOWN_TRAINING[1:]}.",
        f"Counted as errors: {summary['missing']} of {summary['n']} utterances without a prediction, "
        f"{summary['outside']} predictions of a class that the corpus lacks{outside}.",
    ]


def interval_source(row: pd.Series | dict) -> str:
    """Say what the bootstrap of the intervals resamples."""
    return f"resampling {row['clusters']} {RESAMPLED[row['cluster']]}"


def name_solved(folds: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """The scores of runs, with `solved` for the epoch where the model is that of a last step in closed form.

    `folds` has `seed,fold,epoch`, a row per run; `epochs` the same of all epochs, and `solved`, 1 of such steps, where
    the system has one. The number of a last step is one that no epoch has.
    """
    if "solved" not in epochs:
        return folds
    steps = epochs.loc[epochs["solved"] == 1, ["seed", "fold", "epoch"]]
    solved = {*steps.itertuples(index=False, name=None)}
    taken = folds[["seed", "fold", "epoch"]].itertuples(index=False, name=None)
    return folds.assign(epoch=["solved" if run in solved else run[2] for run in taken])


def score_table(
    folds: pd.DataFrame, summary: pd.Series, scores: Iterable[str] = SCORES, weights: list[str] | None = None
) -> Table:
    """Scores of every fold and seed; below them pooled with intervals, and means.

    `folds` has `seed,fold,n,epoch` and the scores, a row per run; `summary` is the row of summary.csv. Of `scores`,
    those are shown that have a value; `weights` holds a remark on each row, for a column more. A model that was not
    trained here has neither seed nor epoch, and one that lacks classes has a line of the others alone.
    """
    shown, here = known_scores(scores, summary), summary.get("valid") != NOT_TRAINED_HERE
    rows = [
        [row["seed"], row["fold"], row["n"], *(show(score, row[score]) for score in shown), row["epoch"]]
        for row in (folds if here else folds.assign(seed="–", epoch="–")).to_dict("records")
    ]
    totals = [
        ["", f"pooled, {summary['folds']} folds", summary["n"], *(show(score, summary[score]) for score in shown), ""],
        ["", "95 % interval", "", *(interval(summary, score) if score in RATES else "" for score in shown), ""],
    ]
    if not here and summary.get("fair_classes"):
        fair = {name.removeprefix("fair_"): value for name, value in summary.items() if name.startswith("fair_")}
        of_fair = (show(score, fair[score]) for score in shown)
        totals.append(["", f"pooled, only its classes: {fair['classes']}", fair["n"], *of_fair, ""])
        totals.append(["", totals[1][1], "", *(interval(fair, score) if score in RATES else "" for score in shown), ""])
    for suffix, what in (("", "folds"), ("_seeds", "seeds")):
        if what == "folds" or (summary["seeds"] > 1 and any(pd.notna(summary[f"{s}_seeds_mean"]) for s in shown)):
            means = (" ± ".join(show(s, summary[f"{s}{suffix}_{of}"]) for of in ("mean", "sd")) for s in shown)
            totals.append(["", f"mean ± sd over {what}", "", *means, ""])
    heads = [("seed", True), *columns(["fold"], ["n", *(HEADS.get(score, score) for score in shown), "epoch"])]
    if weights is not None:
        heads.append(("weights", False))
        rows = [[*row, remark] for row, remark in zip(rows, weights, strict=True)]
        totals = [[*row, ""] for row in totals]
    caption = "Scores of every fold and seed, in per cent; the Brier score is a number from 0 to 2."
    return Table(caption, heads, rows, totals)


def class_table(classes: pd.DataFrame, confusion: pd.DataFrame | None = None) -> Table:
    """Recall, precision and F1 of every class; with a confusion matrix also what each was taken for."""
    rows = [
        [row.label, row.n, row.predicted, percent(row.recall), percent(row.precision), percent(row.f1)]
        + ([] if confusion is None else confusion.loc[row.label].tolist())
        for row in classes.itertuples()
    ]
    taken_for = [] if confusion is None else [f"taken for {label}" for label in confusion]
    numbers = ["n", "predicted", "recall", "precision", "F1", *taken_for]
    return Table("Scores of every class, in per cent.", columns(["class"], numbers), rows)


def breakdown_table(groups: pd.DataFrame) -> Table:
    """Scores of groups of utterances; see `local.scoring.breakdown`."""
    shown, (few, notes) = known_scores(RATES, groups), shown_groups(groups)
    rows = [
        [row["by"], row["group"] or "unknown", row["n"], *(percent(row[score]) for score in shown)]
        for _, row in few.iterrows()
    ]
    heads = columns(["by", "group"], ["n", *(HEADS[score] for score in shown)])
    return Table("Scores of groups of utterances, in per cent.", heads, rows, notes=notes)


def task_table(heads: pd.DataFrame) -> Table:
    """Figures of further heads; see `local.scoring.task_scores.table`."""
    rows, notes = [], {}
    numbers, rated = "CCC" in {*heads["figure"]}, bool(heads["raters"].notna().any())
    for row in heads.itertuples():
        form = percent if row.figure in ("accuracy", "UA") else _number
        of_folds = "–" if pd.isna(row.mean) else f"{form(row.mean)} ± {form(row.sd)}"
        cells = [row.head, row.figure, row.n, form(row.value), span(row.low, row.high, form), of_folds]
        rows.append(cells + [_number(row.raters)] * numbers)
        if row.left_out:
            missing = "no speaker of the training set" if row.head == "speaker" else "no label"
            notes[row.head] = f"{row.head}: {row.left_out} of {row.n + row.left_out} predictions left out: {missing}."
    key = "Accuracy and UA in per cent; CCC: concordance correlation; RMSE on the corpus's scale; KL and cross-entropy "
    key += "of the raters' votes in nats."
    heads_of = ["n", "pooled", "95 % interval", "mean ± sd over folds", *["raters"] * numbers]
    said = [key, *notes.values()] + [RATERS] * rated
    return Table("Further heads.", columns(["head", "figure"], heads_of), rows, notes=said)


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"


def comparison_table(pairs: pd.DataFrame, own: bool = False) -> Table:
    """A row per pair (see `local.scoring.comparison.compare_pairs`) and score; p values after Holm.

    Behind a name is what is known of its system, see `known_of`. With `own`, A is the experiment whose report shows
    the table.
    """
    names, values = (["there", "validation"], ["here", "there"]) if own else (["A", "B"], ["of A", "of B"])
    records = pairs.to_dict("records")
    foreign = {
        row[side]: f"{row[side]}: {UNKNOWN_TRAINING}; {row[f'missing_{side}']:.0f} of {row['n']} utterances, of which "
        "it has no prediction, count as its errors."
        for row in records
        for side in "ab"
        if row[f"valid_{side}"] == NOT_TRAINED_HERE
    }
    untrained = {
        (row[side], what): f"{row[side]}: {why}."
        for what, why in (("untrained", UNTRAINED), ("untrained_text", UNTRAINED_TEXT))
        for row in records
        for side in "ab"
        if row.get(f"{what}_{side}") == 1
    }

    def first(row: dict) -> tuple[str, str]:
        return (_named(row, "b"), row["valid_b"]) if own else (_named(row, "a"), _named(row, "b"))

    rows = [
        [*first(row), HEADS[score], *_difference(row, score)]
        for row in records
        for score in comparison.SCORES
        if pd.notna(row[f"{score}_a"])  # of both or of neither
    ]
    heads = columns([*names, "score"], ["utterances", *values, "difference", "95 % interval", "p", "second p"])
    caption = "This experiment (here) and others (there), in per cent; difference: there less here."
    caption = caption if own else "Pairs of experiments, in per cent; difference: B less A."
    audio = dict.fromkeys(said for row in records if isinstance(said := row.get("other_audio"), str))
    return Table(caption, heads, rows, notes=[*foreign.values(), *untrained.values(), *audio])


def _named(row: dict, side: str) -> str:
    """The name of one experiment of a pair, with what is known of its system."""
    return row[side] + known_of({key: row.get(f"{key}_{side}") for key in ("certainty", "weights")})


def known_of(about: Mapping[str, object]) -> str:
    """How much of a system is known from its authors, and what it was pretrained on or lacks, to stand behind its name.

    Empty where there is nothing to say; `about` is that of `Experiment.about`.

    >>> known_of({"certainty": "own choice", "weights": "no ImageNet"}), known_of({"certainty": "", "weights": np.nan})
    (' (spec: own choice; weights: no ImageNet)', '')
    """
    words = {"spec": about["certainty"], "weights": about["weights"]}
    said = "; ".join(f"{name}: {word}" for name, word in words.items() if word and isinstance(word, str))
    return f" ({said})" if said else ""


def _difference(row: dict, score: str) -> list[object]:
    """The figures of one score of a pair."""
    ends = span(row[f"{score}_diff_low"], row[f"{score}_diff_high"], signed)
    cells = [row["n"], percent(row[f"{score}_a"]), percent(row[f"{score}_b"]), signed(row[f"{score}_diff"])]
    second = p_value(row[f"{SECOND_TEST[score]}_holm"]) if score in SECOND_TEST else "–"
    return [*cells, ends, p_value(row[f"p_{score}_holm"]), second]

"""RESULTS.md: the command, the protocol in words, what the parts share, what is odd, and the tables."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from local.experiment.options import Options
from local.pages.markdown import BY_WORDS, HEADS, SCORES, percent, prose, show, table
from local.scoring.breakdown import shown_groups
from local.scoring.predictions import labels
from local.splits import protocols

MOST_FAULTS = 5
KEY = """\
In per cent, the Brier score apart. WA: correct / n. UA: mean recall of the classes. F1: macro, and weighted by the
classes' frequency. WER, CER: all edits / all words, characters. ECE: expected calibration error of the likeliest class,
15 bins. Brier: squared distance of the posteriors from the truth, 0 to 2."""


@dataclass(frozen=True)
class Results:
    """All that stage 4 finds: the tables, and what is to be said of them in words.

    Attributes
    ----------
    folds, summary, classes, breakdown
        The tables that it writes under these names.
    per_run
        All scores of the runs in `folds`, in the same order.
    confusion
        Counts, reference by hypothesis.
    overlap, warnings, untested
        See `local.splits.audit.describe`, `local.scoring.diagnosis.warnings`, `untested_label_notes`.
    """

    folds: pd.DataFrame
    summary: pd.Series
    classes: pd.DataFrame
    breakdown: pd.DataFrame
    confusion: pd.DataFrame
    per_run: pd.DataFrame
    overlap: list[str]
    warnings: list[str]
    untested: list[str]


def render_results(options: Options, command: str, corpus: dict, values: dict, results: Results) -> str:
    """Write the page."""
    sections = [
        [f"# {options.name} on {options.corpus}, protocol {options.protocol_name}", "", f"    {command}"],
        _facts(options, corpus, values, results),
        _scores(results),
        [*KEY.splitlines(), _interval_words(results.summary)],
        ["## Classes", "", *_classes(results)],
        ["## Parts of what was tested", "", *_breakdown(results.breakdown)] if len(results.breakdown) else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _facts(options: Options, corpus: dict, values: dict, results: Results) -> list[str]:
    """What a reader must know before the figures, a bullet each."""
    row, valid = results.summary, results.summary["valid"]
    protocol = protocols.describe(options.protocol_name)
    lines = [
        f"- Corpus: {prose(corpus['source'])}.",
        *partial_note(corpus["faults"], results.summary["rejected"]),
        f"- Protocol `{options.protocol_name}`: {protocol}.",
        *(f"- Overlap: {line}." for line in results.overlap),
        f"- Validation `{valid}`: {protocols.VALID_WORDS[valid]}; the test part has no say.",
        f"- Folds present: {row['folds']}; seeds: {row['seeds']}.",
    ]
    present, of = row["folds"].split("/")
    if present != of:
        lines.append(f"- **Means and pooled figures are over {row['folds']} folds only.**")
    if values.get("alpha") == 0:
        lines.append("- alpha is 0: the CTC head is not trained, and its WER and CER say nothing.")
    return lines + [f"- **Warning:** {warning}." for warning in (*results.untested, *results.warnings)]


def untested_label_notes(pooled: pd.DataFrame) -> list[str]:
    """Say which emotions some folds do not test, for these folds' UA leaves them out.

    `pooled` holds the predictions, with `fold`.
    """
    folds = pooled.groupby("emo")["fold"].nunique().reindex(labels(pooled), fill_value=0)
    of = pooled["fold"].nunique()
    return [
        f"`{label}` is tested in {n} of {of} folds; the UA of a fold is over the emotions that it tests"
        for label, n in folds.items()
        if n < of
    ]


def partial_note(faults: list[str], rejected: int) -> list[str]:
    """Say that the corpus was not whole, if so, how many utterances it lacks, and what is amiss with it."""
    if not faults:
        return []
    some = "; ".join(map(prose, faults[:MOST_FAULTS])) + (" ..." if len(faults) > MOST_FAULTS else "")
    return [f"- **The corpus was partial:** {rejected} utterances rejected, see its `rejected.csv`. Faults: {some}"]


def _scores(results: Results) -> list[str]:
    row = results.summary
    lines = [
        [fold["seed"], fold["fold"], fold["n"], *(show(score, run[score]) for score in SCORES), fold["epoch"]]
        for fold, run in zip(results.folds.to_dict("records"), results.per_run.to_dict("records"), strict=True)
    ]
    pooled = (show(score, row[score]) for score in SCORES)
    lines.append(["", f"**pooled, {row['folds']} folds**", row["n"], *pooled, ""])
    bounds = [f"{percent(row[f'{s}_low'])} to {percent(row[f'{s}_high'])}" if f"{s}_low" in row else "" for s in SCORES]
    lines.append(["", "95 % interval", "", *("–" if bound == "– to –" else bound for bound in bounds), ""])
    for suffix, what in (("", "folds"), ("_seeds", "seeds")):
        if what == "folds" or row["seeds"] > 1:
            spans = (f"{show(s, row[f'{s}{suffix}_mean'])} ± {show(s, row[f'{s}{suffix}_sd'])}" for s in SCORES)
            lines.append(["", f"mean ± sd over {what}", "", *spans, ""])
    return table(["seed", "fold", "n", *(HEADS[score] for score in SCORES), "epoch"], lines)


def _interval_words(row: pd.Series) -> str:
    if pd.isna(row["wa_low"]):
        return "There is no interval: too little was tested to draw one from."
    return f"Interval: bootstrap of the pooled figures that draws from {row['clusters']} {BY_WORDS[row['cluster']]}."


def _classes(results: Results) -> list[str]:
    names = list(results.confusion.index)
    lines = []
    for row in results.classes.itertuples():
        counts = [results.confusion.loc[row.label, name] for name in names]
        lines.append([row.label, row.n, percent(row.recall), percent(row.precision), percent(row.f1), *counts])
    return table(["class", "n", "recall", "precision", "F1", *(f"taken for {name}" for name in names)], lines)


def _breakdown(groups: pd.DataFrame) -> list[str]:
    scores, (few, told) = ("wa", "ua", "f1", "wer", "cer"), shown_groups(groups)
    lines = [
        [row["by"], row["group"], row["n"], *(percent(row[score]) for score in scores)] for _, row in few.iterrows()
    ]
    return [*table(["by", "group", "n", *(HEADS[score] for score in scores)], lines), *([""] if told else []), *told]

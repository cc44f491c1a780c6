"""report.html: all results of stage 4 on one page that needs no other file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import jinja2
import pandas as pd
from markupsafe import Markup

from local.core import markers
from local.core.files import write_text
from local.corpora import MAPPED
from local.experiment.borrowed import refuse_retrained
from local.pages import confidence, layer_plots, number_plot, plots, tables, transfer
from local.pages.confusion import matrix
from local.pages.markdown import HEADS, inline, percent
from local.pages.mistakes import MOST, most_confident
from local.pages.results import Notes
from local.pages.siblings import AlphaCurves, alpha_curves, comparison, siblings
from local.pages.templates import load_template
from local.scoring import calibration, metrics, stats, stressed, task_scores
from local.scoring.breakdown import breakdown
from local.scoring.predictions import HYPOTHESIS, REFERENCE, writes_text
from local.scoring.scored import MANIFESTS, Experiment, load
from local.splits import naming, protocols

CARDS = ("wa", "ua", "f1", "wer")
SECTIONS = {
    "results": "Results",
    "folds": "Folds",
    "breakdown": "Breakdown",
    "confusion": "Confusion",
    "heads": "Further heads",
    "classes": "Classes",
    "calibration": "Calibration",
    "learning": "Learning",
    "layers": "Layers",
    "merged": "Merged encoder",
    "alphas": "Weight of the CTC task",
    "transfer": "Other corpora",
    "comparison": "Other experiments",
    "mistakes": "Mistakes",
}


def render_report(own: Experiment, notes: Notes, data_root: Path) -> str:
    """Write the page; the same experiment and siblings give the same bytes."""
    others, unreadable = siblings(own)
    marks, ranked = tables.marks(own.summary, own.values), pd.notna(own.summary["ece"])  # by posteriors, if any
    trained = own.emotions_trained
    pairs, mismatched = comparison(own, others)
    alphas, not_compared = alpha_curves(own, others), unreadable | mismatched
    groups = tables.breakdown_table(breakdown(own.predictions))
    sure = confidence.of_runs(own.runs, own.predictions, own.valid) if own.trained_here and trained else None
    mistakes, of_heads = most_confident(own.predictions, data_root), task_scores.table(own.predictions)
    heads = tables.task_table(of_heads)
    elsewhere = matrix_of_corpora(own)
    empty = {
        "heads": not heads.rows,
        "breakdown": not (groups.rows or groups.notes),
        "calibration": not (ranked and trained),
        "learning": not own.trained_here,
        "layers": own.layer_shares.empty,
        "merged": own.coefficients.empty,
        "alphas": len(alphas.accuracy) < 2 and not alphas.left_out,
        "transfer": elsewhere is None,
        "comparison": not (len(pairs) or not_compared),
        "mistakes": not mistakes,
    }
    return template().render(
        notes=notes,
        sections={name: head for name, head in SECTIONS.items() if not empty.get(name)},
        cards=cards(own),
        tables={
            "results": tables.score_table(tables.name_solved(own.scored_folds, own.epochs), own.summary)
            .noted(marks)
            .led_by("fold"),
            "classes": tables.class_table(metrics.classes(own.predictions)).noted(marks),
            "breakdown": groups.noted(marks).led_by("group"),
            "heads": heads,
            "comparison": tables.comparison_table(pairs, own=True) if len(pairs) else None,
            "confidence": sure and sure.figures,
            "thresholds": sure and sure.thresholds,
        },
        confidence=sure and {"said": sure.said, "key": confidence.KEY},
        elsewhere=elsewhere,
        matrix=matrix(metrics.confusion(own.predictions)),
        pictures=pictures(own, alphas) | confidence_pictures(sure),
        learning=learning_pictures(own),
        numbers=number_pictures(own, of_heads),
        trained=trained,
        summary=own.summary,
        alphas=alphas,
        not_compared=not_compared,
        oracle=own.valid == naming.valid_name(protocols.ORACLE),
        stressed=is_stressed(own),
        mistakes=mistakes,
        most=MOST,
        marks=marks,
        order="most confident" if ranked else "first",
        wrong=int((own.predictions["emo"] != own.predictions["emo_hyp"]).sum()),
        least_clusters=stats.LEAST_CLUSTERS,
        spoken=writes_text(own.predictions) and bool(tables.known_scores(("wer",), own.summary)),
    )


def is_stressed(own: Experiment) -> bool:
    """Whether the page of stage 7 is there, and no run was trained since."""
    page, tested = own.folder / "stress.html", [run for run in own.runs if (run / "stress.json").exists()]
    if not page.exists() or not tested or tested != stressed.stressed_runs(tested):
        return False
    return all((run / "train.json").stat().st_mtime <= page.stat().st_mtime for run in own.runs)


def template() -> jinja2.Template:
    """The page's template: all that comes from data is escaped."""
    filters = {"percent": percent, "inline": inline}
    return load_template(Path(__file__).with_name("page.html.j2"), filters, autoescape=True)


class Card(NamedTuple):
    """A main score, as text."""

    name: str
    value: str
    interval: str
    beside: str  # what to hold it against


def cards(own: Experiment) -> list[Card]:
    """The main scores with their intervals, beside chance: the likeliest emotion for every utterance.

    None of a head that was not trained.
    """
    emotions, summary = own.predictions["emo"], own.summary
    chance = metrics.emotion_scores(emotions, pd.Series(emotions.mode()[0], emotions.index))
    beside = {score: f"chance {percent(chance[score])}" for score in CARDS if score in chance}
    beside["wer"] = f"CER {percent(summary['cer'])}"
    meant = [score for score in CARDS if (own.transcripts_trained if score == "wer" else own.emotions_trained)]
    return [
        Card(HEADS[score], percent(summary[score]), tables.interval(summary, score), beside[score])
        for score in tables.known_scores(meant, summary)
    ]


class Elsewhere(NamedTuple):
    """The matrix of the corpora that are trained and tested on, in which an experiment is a cell."""

    tables: list[tables.Table]
    picture: Markup
    links: list[tuple[str, str]]  # words and address: its own page and the reports of other cells, where there are any


def matrix_of_corpora(own: Experiment) -> Elsewhere | None:
    """The matrix that an experiment is in; None where nothing of it is tested elsewhere. See `local.pages.transfer`."""
    if not (own.trained_here and own.emotions_trained and (others := transfer.related(own))):
        return None
    rows = transfer.transfer(others)
    about = transfer.ABOUT.format(", ".join(rows["protocol"].unique()))
    _, _, mapped = own.corpus.partition(MAPPED)
    # Where recipes/cross_corpus.sh writes it.
    links = [("the matrix as a page", own.folder.parents[2] / f"{own.name}@{mapped}.md")]
    links += [
        (f"trained on {row['trained']}, tested on {row['tested']}", each.folder / "report.html")
        for row, each in zip(rows.to_dict("records"), others, strict=True)
        if each.folder != own.folder
    ]
    bold = Markup("<strong>{}</strong>")
    found = [transfer.transfer_table(rows, score, bold) for score in transfer.SCORES]
    return Elsewhere(
        [found[0].noted([about]), *found[1:]],
        Markup(transfer.transfer_picture(rows)),
        [(words, quote(os.path.relpath(path, own.folder))) for words, path in links if path.exists()],
    )


def pictures(own: Experiment, alphas: AlphaCurves) -> dict[str, Markup]:
    """The pictures that do not belong to a fold, by name."""
    drawn = {"folds": plots.fold_bars("folds", per_fold(own.predictions))}
    if pd.notna(own.summary["ece"]):
        bins = metrics.reliability(own.predictions)
        drawn["reliability"] = plots.reliability("reliability", bins, own.summary["ece"], own.summary["brier"])
    if not own.layer_shares.empty:
        drawn["layers"] = layer_plots.layer_shares("layers", own.layer_shares)
    if not own.coefficients.empty:
        drawn["merged"] = layer_plots.coefficients("merged", own.coefficients)
    if len(alphas.accuracy) > 1:
        validation = own.valid if own.valid == naming.valid_name(protocols.ORACLE) else "validation"
        accuracy = "training" if own.valid == "none" else validation
        drawn["alpha_accuracy"] = plots.lines("alpha_accuracy", alphas.accuracy, f"WA, {accuracy}")
        if alphas.wer:
            drawn["alpha_wer"] = plots.lines("alpha_wer", alphas.wer, f"{validation} WER")
    return {name: Markup(svg) for name, svg in drawn.items()}


def confidence_pictures(sure: confidence.Confidence | None) -> dict[str, Markup]:
    """The curve of errors against coverage, of the posteriors as trained and with temperature."""
    if sure is None:
        return {}
    of = calibration.confidence, calibration.correct
    curves = {name: calibration.risk_coverage(*(each(table) for each in of)) for name, table in sure.tables.items()}
    return {"risk": Markup(plots.risk_coverage("risk", curves))}


def number_pictures(own: Experiment, of_heads: pd.DataFrame) -> dict[str, Markup]:
    """The predictions of each head of numbers that was trained and tested; `of_heads` are the figures of all heads."""
    drawn, weights = {}, own.values.get("heads") or {}
    for row in of_heads[of_heads["figure"] == "CCC"].itertuples():
        if row.n and weights.get(row.head, 1):
            pairs = task_scores.labelled(own.predictions, row.head)
            values = [pairs[column + row.head].to_numpy(float) for column in (REFERENCE, HYPOTHESIS)]
            ccc = "no CCC" if pd.isna(row.value) else f"CCC {row.value:.3f}"
            ccc += "" if pd.isna(row.low) else f" ({row.low:.3f} to {row.high:.3f})"
            drawn[row.head] = Markup(number_plot.predicted_against_true(f"head_{row.head}", row.head, *values, ccc))
    return drawn


def per_fold(predictions: pd.DataFrame) -> pd.DataFrame:
    """`fold,wa,wa_low,wa_high,ua,ua_low,ua_high` of every fold, all its seeds together, and of all folds pooled."""
    test_sets = list(predictions.groupby("fold"))
    if len(test_sets) > 1:
        test_sets.append(("pooled", predictions))
    rows = []
    for fold, tested in test_sets:
        scores, intervals = metrics.emotion_scores(tested["emo"], tested["emo_hyp"]), stats.intervals(tested)
        row = {"fold": fold}
        for score in ("wa", "ua"):
            low, high = intervals[score]
            row |= {score: scores[score], f"{score}_low": low, f"{score}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def learning_pictures(own: Experiment) -> dict[str, Markup]:
    """The learning curves of every fold."""
    drawn = {}
    for number, (fold, epochs) in enumerate(own.epochs.groupby("fold")):
        of_fold = own.folds[own.folds["fold"] == fold]
        chosen = dict(zip(of_fold["seed"], of_fold["epoch"], strict=True))
        drawn[fold] = Markup(plots.learning(f"learning_{number}", fold, epochs, chosen))
    return drawn


def write_report(experiment: Path) -> Path:
    """Write report.html into the folder of an experiment that has been scored; returns its path.

    A `UserError` as of `refuse_retrained`.
    """
    own = load(experiment)
    refuse_retrained(own.runs)
    data_root = Path(markers.read(MANIFESTS / own.corpus / "all.json")["facts"]["root"])
    path = own.folder / "report.html"
    write_text(path, render_report(own, Notes.read(own.folder), data_root))
    return path

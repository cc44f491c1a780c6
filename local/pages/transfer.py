"""Trained on one corpus, tested on another: experiments as a matrix, a table and a picture.

A cell is an experiment: trained and tested on one corpus under a protocol (`results/<corpus>/<protocol>/<name>`), or
trained on one and tested on the whole of another (`results/<tested>/from_<trained>@<protocol>/<name>`, which
`./run.sh --test-corpus` makes). Corpora differ in how often a class occurs, and a model learns that too: the class
shares of each corpus are below the table, and UA, which does not depend on those of the test set, comes first.
"""

from __future__ import annotations

import contextlib
import glob
import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from local.core import markers
from local.core.errors import UserError
from local.core.files import write_text
from local.corpora import manifest
from local.experiment.borrowed import refuse_retrained
from local.pages.markdown import percent, prose
from local.pages.svg import LINE, MARGIN, SERIES, dot_rows, picture, standalone
from local.pages.tables import Table, columns, interval, interval_source
from local.scoring import metrics, prior_shift, stats
from local.scoring.comparison import other_audio
from local.scoring.predictions import labels
from local.scoring.scored import MANIFESTS, Experiment, differing_values, load, refuse_untrained, seed_of
from local.splits import naming

SCORES = ("ua", "wa")
FIGURES = [f"{score}{end}" for score in SCORES for end in ("", "_low", "_high")]
MARKS = {"ua": (SERIES[0], "o"), "wa": (SERIES[1], "s")}
NONE = "–"
ABOUT = (
    "Trained and tested on one corpus (bold): protocol {}. On another: every model of that experiment, of each fold "
    "and seed, is tested on the whole of the other corpus, so that each of its utterances counts once for each model."
)
EQUAL_SHARES = (
    "Logit adjustment: posteriors are for equal shares of the classes, in place of those of each model's "
    "training set, as its class weights counted them (Saerens et al. 2002; Menon et al. 2021). Nothing of the test set "
    "is used for it."
)


def transfer(experiments: Iterable[Experiment], equal_shares: bool = False) -> pd.DataFrame:
    """A row for each experiment: `trained`, `tested`, `protocol`, `name`, `folds`, `seeds`, `n`, scores, intervals.

    `mark` is empty but for OPTIMISTIC ones.

    With `equal_shares` the scores are those of posteriors for equal shares of the classes (`local.scoring.prior_shift`)
    in place of the shares of each model's training set. A `UserError` where two are of one cell, or the models'
    classes differ.
    """
    experiments = list(experiments)
    refuse_untrained(experiments)
    rows: dict[tuple[str, str], dict] = {}
    classes: dict[tuple[str, ...], Path] = {}
    for each in experiments:
        trained, protocol = naming.trained_on(each.protocol) or (each.corpus, each.protocol)
        classes.setdefault(tuple(labels(each.predictions)), each.folder)
        if (cell := (trained, each.corpus)) in rows:
            raise UserError(f"{each.folder}: trained on {trained}, tested on {each.corpus}, as another is", "give one")
        row = {"trained": trained, "tested": each.corpus, "protocol": protocol, "name": each.name}
        row["mark"] = " OPTIMISTIC" if naming.is_optimistic(protocol) else ""
        summary, of_models = each.summary, each.folds["ua"]
        row |= {name: summary[name] for name in ("folds", "seeds", "n", "cluster", "clusters")}
        row |= {"lowest_ua": of_models.min(), "highest_ua": of_models.max()}
        row |= _adjusted(each, trained) if equal_shares else {key: summary[key] for key in FIGURES}
        rows[cell] = row
    if len(classes) > 1:
        found = "; ".join(f"{folder}: {' '.join(names)}" for names, folder in classes.items())
        raise UserError(f"the classes of the models differ: {found}", "train and test with one map: --labels")
    return pd.DataFrame(rows.values())


def _adjusted(experiment: Experiment, trained: str) -> dict[str, float]:
    """The `FIGURES` of an experiment's predictions for equal shares of the classes."""
    if gamma := experiment.values.get("focal_gamma"):
        what = f"{experiment.folder} was trained with focal_gamma {gamma}: its posteriors follow no shares of classes"
        raise UserError(what, "leave out --equal-shares")
    how = experiment.values.get("class_weights")
    of_runs = experiment.predictions.groupby(["seed", "fold"])
    predictions = pd.concat(
        prior_shift.with_equal_shares(
            of_runs.get_group((seed_of(run), run.name)), prior_shift.as_weighted(_training_counts(run, trained), how)
        )
        for run in experiment.runs
    )
    scores, ends = metrics.scores(predictions), stats.intervals(predictions)
    figures = {score: scores[score] for score in SCORES}
    for score in SCORES:
        figures[f"{score}_low"], figures[f"{score}_high"] = ends.get(score, (math.nan, math.nan))
    return figures


def _training_counts(run: Path, trained: str) -> dict[str, int]:
    """How often each class is in the training set of a run; a `UserError` where stage 1 has made another since."""
    known = markers.read(run / "train.json")["inputs"]["train.csv"]
    for path in (MANIFESTS / trained).glob(f"*/{run.name}/train.csv"):
        if manifest.is_same(path, known):
            counts = manifest.read(path)["emo"].value_counts().to_dict()
            return {label: n for label, n in counts.items() if label}  # of extra training none is known
    raise UserError(
        f"{run}: the class shares of its training set are not known, as {MANIFESTS / trained} has no such fold",
        "run stages 0 and 1 as for its training",
    )


def related(own: Experiment) -> list[Experiment]:
    """The experiments of the matrix that an experiment is in: those of its name, trained under its protocol.

    Of the corpora that tests elsewhere connect with its own; none where no models are tested elsewhere, and without
    those that are not scored, whose emotions were not trained, or that have other classes.
    """
    trained, protocol = naming.trained_on(own.protocol) or (own.corpus, own.protocol)
    cells: dict[tuple[str, str], Path] = {}
    for tested in (glob.escape(protocol), f"{naming.TESTED}*@{glob.escape(protocol)}"):
        for folder in sorted(own.folder.parents[2].glob(f"*/{tested}/{glob.escape(own.name)}")):
            corpus = folder.parents[1].name
            source = naming.trained_on(folder.parent.name) or (corpus, protocol)
            if source[1] == protocol and (folder / "folds.csv").exists():
                cells[source[0], corpus] = folder
    corpora: set[str] = set()
    while corpora < (wider := corpora.union({trained, own.corpus}, *(each for each in cells if corpora & {*each}))):
        corpora = wider
    if not any(source != corpus for source, corpus in cells if source in corpora):
        return []
    found = []
    for (source, corpus), folder in cells.items():
        with contextlib.suppress(UserError, OSError):
            each = own if (source, corpus) == (trained, own.corpus) else load(folder)
            refuse_untrained([each])
            refuse_retrained(each.runs)
            if source in corpora and labels(each.predictions) == labels(own.predictions):
                found.append(each)
    return found if len(found) > 1 else []


def transfer_table(rows: pd.DataFrame, score: str, bold: str = "**{}**") -> Table:
    """The matrix of a score: a row for each corpus that was trained on, a column for each that was tested.

    What was trained and tested on one corpus has the form of `bold`.
    """
    tested = sorted(rows["tested"].unique())
    cells = []
    for trained, of_row in rows.groupby("trained", sort=True):
        by_corpus = {row["tested"]: row for row in of_row.to_dict("records")}
        own = [f"{percent(row[score])} ({interval(row, score)}){row['mark']}" for row in by_corpus.values()]
        of = dict(zip(by_corpus, own, strict=True))
        of |= {trained: bold.format(of[trained])} if trained in of else {}
        cells.append([trained, *(of.get(name, NONE) for name in tested)])
    return Table(f"{score.upper()}, trained on (rows), tested on (columns).", columns(["trained on"], tested), cells)


def shares_table(names: Iterable[str]) -> Table:
    """The share of each class in corpora, by name."""
    counts = {name: manifest.read(MANIFESTS / name / "all.csv")["emo"].value_counts() for name in names}
    every = sorted({label for count in counts.values() for label in count.index})
    cells = [
        [name, int(count.sum()), *(percent(count.get(label, 0) / count.sum()) for label in every)]
        for name, count in counts.items()
    ]
    return Table("Class shares of the corpora, per cent.", columns(["corpus"], ["n", *every]), cells)


def render_transfer(
    rows: pd.DataFrame, experiments: list[Experiment], command: str, image: str, equal_shares: bool
) -> str:
    """The page in Markdown: `rows` are those of `transfer`, `image` is the file of the picture, if there is one."""
    names = sorted({*rows["trained"], *rows["tested"]})
    made = [name for name in names if (MANIFESTS / name / "all.csv").exists()]
    protocols_ = ", ".join(f"`{name}`" for name in rows["protocol"].unique())
    differing = differing_values([each for each in experiments if each.trained_here])
    notes = [
        ABOUT.format(protocols_),
        "In per cent, with 95 % intervals.",
        "UA is the mean recall of the classes, WA the share that is right. Intervals do not cover how models differ"
        f"{' (UA of single models is without the adjustment)' if equal_shares else ''}.",
        *([EQUAL_SHARES] if equal_shares else []),
        *other_audio(experiments),
        *([f"Not all of the same values: their {', '.join(differing)} differ."] if differing else []),
        *(
            f"{row['trained']} on {row['tested']}: experiment {row['name']}, folds {row['folds']}, seeds "
            f"{row['seeds']}, n {row['n']}; {interval_source(row)}; UA of single models {percent(row['lowest_ua'])} to "
            f"{percent(row['highest_ua'])}."
            for row in rows.to_dict("records")
        ),
    ]
    matrices, shares = [transfer_table(rows, score) for score in SCORES], shares_table(made)
    sections = [[f"    {command}"], *([each.caption, "", *each.markdown()] for each in matrices)]
    sections += [[f"![UA and WA of each corpus, by what was trained on]({image})"]] if image else []
    sections += [[shares.caption, "", *shares.markdown()], [f"- {prose(note)}" for note in notes]]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def transfer_picture(rows: pd.DataFrame) -> str:
    """The SVG of a page: UA and WA with intervals, for each corpus that is tested a row for each trained on."""
    alt = " ".join(
        f"Trained on {row['trained']}, tested on {row['tested']}:{row['mark']} UA {percent(row['ua'])}, "
        f"WA {percent(row['wa'])}."
        for row in rows.to_dict("records")
    )
    lines: list[tuple[str, dict | None]] = []  # a heading for each corpus that is tested, and the rows below it
    for tested, of_corpus in rows.groupby("tested", sort=True):
        of_rows = of_corpus.to_dict("records")
        lines += [(f"tested on {tested}", None), *((row["trained"] + row["mark"], row) for row in of_rows)]
    with picture("transfer", alt, height=MARGIN + LINE * len(lines)) as drawn:
        dot_rows(drawn.axes, lines, MARKS, lambda row, score: [100 * row[score + end] for end in ("_low", "", "_high")])
        drawn.axes.set(xlim=(0, 100), xlabel="per cent, with 95 % intervals")
    return drawn.svg


def write_transfer(
    experiments: list[Experiment], out: Path | None, command: str, equal_shares: bool = False
) -> tuple[pd.DataFrame, str]:
    """The rows of `transfer` and their Markdown; with `out` the latter is written, and the picture beside it."""
    image, rows = out.with_suffix(".svg") if out else None, transfer(experiments, equal_shares)
    text = render_transfer(rows, experiments, command, image.name if image else "", equal_shares)
    if out:
        write_text(image, standalone(transfer_picture(rows)))
        write_text(out, text)
    return rows, text

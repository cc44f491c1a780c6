"""What a protocol is worth: one system under several protocols and validations, each held against the first of them.

Where all folds are there, every protocol but `official` tests all utterances, each once. The difference of two then has
an interval: the paired bootstrap of `local.scoring.stats`, which draws the same speakers for both. `official` tests the
corpus's own test lists: points between it and another protocol are those on the utterances of these lists.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from local.core.errors import UserError
from local.core.files import write_text
from local.corpora import manifest
from local.pages.markdown import difference, percent, prose
from local.pages.svg import INK, LINE, MARGIN, SERIES, dot_rows, picture, standalone
from local.pages.tables import Table, columns, interval, interval_source, known_of
from local.scoring import metrics, stats
from local.scoring.comparison import other_audio
from local.scoring.scored import MANIFESTS, Experiment, differing_values, refuse_untrained
from local.splits import naming, protocols

SCORES = ("wa", "ua")
MARKS = {"wa": (SERIES[0], "o"), "ua": (SERIES[1], "s")}
REFERENCE = "reference"


def price(experiments: list[Experiment]) -> pd.DataFrame:
    """A row for each experiment; the first, which is the reference, is to be honest.

    Returns `protocol`, `valid`, `base` (the protocol that tests the same without oracle), `folds`, `seeds`, `n`; for
    each of `SCORES` its value, `_low` and `_high`, the `_diff` to the reference, and its interval, `_diff_low` and
    `_diff_high`, which is missing where the two did not test the same utterances; if only one is `official`, all
    `_diff` are of those it tested. A `UserError` for experiments of several corpora or systems, or an optimistic
    reference.
    """
    first = experiments[0]
    refuse_untrained(experiments)
    if naming.is_optimistic(first.protocol):
        raise UserError(
            f"{first.folder} is OPTIMISTIC, and the others would be held against it",
            "give an honest one first, such as protocol speaker with its own validation",
        )
    for other in experiments[1:]:
        _refuse_unlike(first, other)
    return pd.DataFrame([_row(first, each) for each in experiments])


def _refuse_unlike(first: Experiment, other: Experiment) -> None:
    if other.corpus != first.corpus:
        raise UserError(f"{other.folder} is of corpus {other.corpus}, {first.folder} of {first.corpus}", "give one")
    if differing := differing_values([first, other]):
        key, (value, of_other) = next(iter(differing.items()))
        raise UserError(
            f"{first.folder} has {key} {value}, {other.folder} {of_other}",
            "give experiments that differ in protocol and validation only",
        )


def _row(first: Experiment, other: Experiment) -> dict:
    summary = other.summary
    row = {"protocol": other.protocol, "valid": other.valid, "base": naming.without_oracle(other.protocol)}
    row |= {name: summary[name] for name in ("folds", "seeds", "n", "cluster", "clusters")}
    of_first, of_other = _comparable(first, other)
    same = len(of_first) > 0 and {*of_first["ID"]} == {*of_other["ID"]}
    points = [metrics.emotion_scores(each["emo"], each["emo_hyp"]) for each in (of_first, of_other) if len(each)]
    differences = stats.differences(of_first, of_other) if same and other is not first else {}
    for score in SCORES:
        row |= {f"{score}{end}": summary[f"{score}{end}"] for end in ("", "_low", "_high")}
        known = differences.get(score)
        row[f"{score}_diff"] = points[1][score] - points[0][score] if len(points) > 1 else math.nan
        row |= {f"{score}_diff_{end}": getattr(known, end) if known else math.nan for end in ("low", "high")}
    return row


def _comparable(first: Experiment, other: Experiment) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The predictions of two; of the utterances that both tested where only one is of the corpus's own lists."""
    both = first.predictions, other.predictions
    if naming.is_official(first.protocol) == naming.is_official(other.protocol):
        return both
    of_first, of_other = (each["ID"] for each in both)
    return both[0][of_first.isin(of_other)], both[1][of_other.isin(of_first)]


def price_table(rows: pd.DataFrame, unserved: Iterable[str]) -> Table:
    """The table of `price`; the protocols in `unserved`, which the corpus does not serve, have a row that says so."""
    cells = [
        [row["protocol"], row["valid"], row["folds"], row["n"]]
        + [f"{percent(row[score])} ({interval(row, score)})" for score in SCORES]
        + [REFERENCE if at == 0 else difference(row, score) for score in SCORES]
        for at, row in enumerate(rows.to_dict("records"))
    ]
    cells += [[name, "not served", *["–"] * 6] for name in unserved]
    heads = ["n", *(f"{score.upper()} (95 %)" for score in SCORES), *(f"{score.upper()}, points" for score in SCORES)]
    return Table("What a protocol is worth.", columns(["protocol", "validation", "folds"], heads), cells)


def render_price(
    rows: pd.DataFrame,
    experiments: list[Experiment],
    utterances: pd.DataFrame,
    command: str,
    image: str,
    remarks: Iterable[str] = (),
) -> str:
    """The page in Markdown: `rows` are the `price` of the experiments.

    `utterances` is the corpus's table, `image` the file of the picture, if there is one, and `remarks` are sentences of
    the caller's, as on experiments that failed.
    """
    first = experiments[0]
    config = ", ".join(first.folds["config"].unique())
    unserved = [name for name in naming.WORDS if name not in protocols.served(utterances)]
    notes = [
        f"Corpus {first.corpus}; system of {config}{known_of(first.about)}; {_seeds(rows)}.",
        f"Points: less the {REFERENCE}, protocol `{first.protocol}` with validation `{first.valid}`; "
        "their intervals are of the paired bootstrap.",
        *_interval_sources(rows),
        *(f"`{each.protocol}`: {_describe(each)}." for each in _each_once(experiments, "protocol")),
        *(f"Validation `{each.valid}`: {naming.describe_valid(each.valid)}." for each in _each_once(experiments)),
        "A validation set other than the corpus's own list is taken from the training set, so `none` and `oracle` "
        "train on more utterances. What the choice on the test set itself is worth is oracle less none, which train on "
        "the same.",
        *(f"Not served: {_reason(utterances, name)}." for name in unserved),
    ]
    if len({naming.is_official(each.protocol) for each in experiments}) > 1:
        notes.append("Points between `official` and another protocol are those on the utterances that both tested.")
    if rows.iloc[1:]["wa_diff_low"].isna().any():
        notes.append("Points without an interval: not of the same utterances as the reference.")
    notes += other_audio(experiments)
    notes += remarks
    lines = price_table(rows, unserved).markdown()
    shown = ["", f"![Points against the {REFERENCE}, of each protocol and validation]({image})"] if image else []
    return "\n".join([f"    {command}", "", *lines, *shown, "", *(f"- {prose(note)}" for note in notes)]) + "\n"


def _interval_sources(rows: pd.DataFrame) -> list[str]:
    """What the intervals resample, a sentence; where it is not the same in all rows, one for each."""
    protocols_of: dict[str, list[str]] = {}
    for row in rows.to_dict("records"):
        protocols_of.setdefault(interval_source(row), []).append(f"`{row['protocol']}`")
    if len(protocols_of) == 1:
        return [f"Intervals: {source}." for source in protocols_of]
    return [f"Intervals of {', '.join(dict.fromkeys(names))}: {source}." for source, names in protocols_of.items()]


def _seeds(rows: pd.DataFrame) -> str:
    if rows["seeds"].nunique() == 1:
        return f"number of seeds: {rows['seeds'].iloc[0]}"
    return f"numbers of seeds, row by row: {', '.join(map(str, rows['seeds']))}"


def _each_once(experiments: list[Experiment], what: str = "valid") -> list[Experiment]:
    return list({getattr(each, what): each for each in reversed(experiments)}.values())[::-1]


def _describe(experiment: Experiment) -> str:
    summary = experiment.summary
    return naming.describe(experiment.protocol, summary["speakers_known"], summary["speaker_overlap"])


def _reason(utterances: pd.DataFrame, protocol: str) -> str:
    try:
        protocols.refuse_unserved(utterances, protocol)
    except UserError as error:
        return error.what
    return ""


def price_picture(rows: pd.DataFrame) -> str:
    """The SVG of a file: points against the reference, a row for each validation of a protocol."""
    first = rows.iloc[0]
    against = f"{first['protocol']}, {first['valid']} (WA {percent(first['wa'])}, UA {percent(first['ua'])})"
    alt = f"Points of WA and UA against {against}. " + " ".join(
        f"{row['base']}, {row['valid']}: WA {difference(row, 'wa')}, UA {difference(row, 'ua')}."
        for row in rows.iloc[1:].to_dict("records")
    )
    labels: list[tuple[str, dict | None]] = []  # of each line: that of a protocol, or of a row below it
    for base, of_base in rows.groupby("base", sort=False):
        labels += [(base, None), *((row["valid"], row) for row in of_base.to_dict("records"))]
    with picture("price", alt, height=MARGIN + LINE * len(labels)) as drawn:
        axes = drawn.axes
        axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
        ends = ("_low", "", "_high")
        dot_rows(axes, labels, MARKS, lambda row, score: [100 * row[f"{score}_diff{end}"] for end in ends])
        axes.set(xlabel=f"points against {against}")
    return standalone(drawn.svg)


def write_price(
    experiments: list[Experiment], out: Path | None, command: str, remarks: Iterable[str]
) -> tuple[pd.DataFrame, str]:
    """The table of `price` and its Markdown; with `out` the latter is written, and the picture beside it."""
    image, rows = out.with_suffix(".svg") if out else None, price(experiments)
    utterances = manifest.read(MANIFESTS / experiments[0].corpus / "all.csv")
    text = render_price(rows, experiments, utterances, command, image.name if image else "", remarks)
    if out:
        write_text(image, price_picture(rows))
        write_text(out, text)
    return rows, text

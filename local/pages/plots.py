"""The plots of the report: each function returns an SVG whose label gives its figures as text.

Rates are given as fractions and shown in per cent. `name` is unique within the page.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from local.pages.svg import DASHES, INK, MARKERS, MUTED, RULE, SERIES, picture

LONGEST_LABEL = 18
POINTS_IN_WORDS = 4
COVERAGES = (25, 50, 75, 100)  # per cent, whose risks are told in words
CURVE_POINTS = 200
HIGHEST_WER = 1.5  # the axis ends here, so that one high WER does not flatten the rest


def fold_bars(name: str, folds: pd.DataFrame) -> str:
    """WA and UA of every fold as bars, with their intervals where there are any.

    `folds` has the columns `fold,wa,wa_low,wa_high,ua,ua_low,ua_high`; the bars keep its order.
    """
    alt = "WA and UA of every fold, in per cent. " + " ".join(
        f"{row['fold']}: " + ", ".join(_with_interval(row, score) for score in ("wa", "ua")) + "."
        for _, row in folds.iterrows()
    )
    with picture(name, alt, height=0.7 + 0.42 * len(folds)) as drawn:
        axes = drawn.axes
        for place, score in enumerate(("wa", "ua")):
            at = [number + (place - 0.5) * 0.36 for number in range(len(folds))]
            axes.barh(at, 100 * folds[score], height=0.34, color=SERIES[place], label=score.upper(), zorder=2)
            for y, low, high in zip(at, folds[f"{score}_low"], folds[f"{score}_high"], strict=True):
                if not math.isnan(low):
                    axes.plot([100 * low, 100 * high], [y, y], color=INK, linewidth=0.9, marker="|", markersize=5)
        axes.set(xlim=(0, 100), ylim=(len(folds) - 0.5, -0.5), xlabel="per cent")
        axes.set_yticks(range(len(folds)), [_short(fold) for fold in folds["fold"]])
        axes.grid(visible=False, axis="y")
        legend(axes)
    return drawn.svg


def reliability(name: str, bins: pd.DataFrame, ece: float, brier: float) -> str:
    """Accuracy against confidence, and how many utterances each bin of confidence holds.

    `bins` has the columns `low,high,n,confidence,accuracy`, see `local.scoring.metrics.reliability`.
    """
    alt = f"Reliability diagram; expected calibration error {100 * ece:.2f} %, Brier score {brier:.3f}. " + " ".join(
        f"Confidence {100 * row.low:.0f} to {100 * row.high:.0f} %: {row.n} utterances, mean confidence "
        f"{100 * row.confidence:.2f}, accuracy {100 * row.accuracy:.2f}."
        for row in bins.itertuples()
    )
    with picture(name, alt, height=4.2) as drawn:
        upper, lower = drawn.figure.subplots(2, sharex=True, height_ratios=(3, 1))
        middles, widths = 50 * (bins["low"] + bins["high"]), 92 * (bins["high"] - bins["low"])
        upper.bar(middles, 100 * bins["accuracy"], widths, color=SERIES[0], alpha=0.35, label="accuracy of a bin")
        upper.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=DASHES[1], label="perfectly calibrated")
        confidence, accuracy = 100 * bins["confidence"], 100 * bins["accuracy"]
        dots = {"color": SERIES[0], "marker": "o", "linestyle": "", "clip_on": False, "zorder": 3}
        upper.plot(confidence, accuracy, label="at its mean confidence", **dots)
        upper.set(xlim=(0, 100), ylim=(0, 100), ylabel="accuracy (%)")
        lower.bar(middles, bins["n"], widths, color=MUTED, alpha=0.6)
        lower.set(xlabel="confidence (%)", ylabel="utterances")
        lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        legend(upper, columns=2)
    return drawn.svg


def risk_coverage(name: str, curves: dict[str, np.ndarray]) -> str:
    """The share of errors among the most confident answers, against how many are given.

    `curves` have the share among the 1, 2, ... n most confident, see `local.scoring.calibration.risk_coverage`.
    """
    alt = "Errors against coverage, in per cent. " + " ".join(
        f"{label}: "
        + ", ".join(f"{100 * curve[max(len(curve) * share // 100, 1) - 1]:.2f} at {share}" for share in COVERAGES)
        + "."
        for label, curve in curves.items()
    )
    with picture(name, alt, height=3.0) as drawn:
        axes = drawn.axes
        for place, (label, curve) in enumerate(curves.items()):
            counts = np.unique(np.linspace(1, len(curve), min(len(curve), CURVE_POINTS)).round().astype(int))
            style = {"color": SERIES[place], "linestyle": DASHES[place]}
            axes.plot(100 * counts / len(curve), 100 * curve[counts - 1], label=label, **style)
        axes.set(xlim=(0, 100), ylim=(0, None), xlabel="coverage: answers given (%)", ylabel="errors among them (%)")
        legend(axes, columns=2)
    return drawn.svg


def row_intervals(name: str, rows: pd.DataFrame) -> str:
    """WA and UA of several experiments as points with their intervals, each below its label.

    `rows` has the columns `label,wa,wa_low,wa_high,ua,ua_low,ua_high`, and keeps its order.
    """
    alt = "WA and UA of every row, in per cent. " + " ".join(
        f"{row['label']}: " + ", ".join(_with_interval(row, score) for score in ("wa", "ua")) + "."
        for _, row in rows.iterrows()
    )
    with picture(name, alt, height=0.8 + 0.5 * len(rows)) as drawn:
        axes = drawn.axes
        for place, score in enumerate(("wa", "ua")):
            at = [number + 0.14 + 0.24 * place for number in range(len(rows))]
            style = {"color": SERIES[place], "clip_on": False}
            for y, low, high in zip(at, rows[f"{score}_low"], rows[f"{score}_high"], strict=True):
                if not math.isnan(low):
                    axes.plot([100 * low, 100 * high], [y, y], linewidth=1.4, marker="|", markersize=5, **style)
            marks = {"marker": MARKERS[place], "linestyle": "", "markersize": 5, "zorder": 3}
            axes.plot(100 * rows[score], at, label=score.upper(), **marks, **style)
        for number, label in enumerate(rows["label"]):
            # The room of a line of figures is below its label, from the left edge: on a phone there is none beside it.
            axes.text(0, number - 0.15, label, fontsize=9, va="center")
            axes.axhline(number - 0.4, color=RULE, linewidth=0.6)
        axes.set(xlim=(0, 100), ylim=(len(rows) - 0.4, -0.4), xlabel="per cent", yticks=[])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        legend(axes)
    return drawn.svg


class Curve(NamedTuple):
    """A line of the learning curves."""

    label: str
    axis: str  # what its axis shows, of `ACCURACY`, `LOSS` and `ERRORS`
    colour: str
    width: float
    dashes: str | tuple = "-"


ACCURACY, LOSS, ERRORS = "per cent", "loss", "WER (%)"  # above; below on the left and on the right
LEARNING = {  # by column of epochs.csv
    "valid_ua": Curve("UA", ACCURACY, SERIES[1], 2.8),
    "valid_wa": Curve("WA", ACCURACY, SERIES[0], 1.0),
    "train_wa": Curve("WA, training", ACCURACY, MUTED, 1.0, DASHES[2]),
    "valid_loss": Curve("loss", LOSS, SERIES[3], 1.4),
    "train_loss": Curve("loss, training", LOSS, MUTED, 1.0, DASHES[2]),
    "valid_wer": Curve("WER", ERRORS, SERIES[2], 1.4, DASHES[1]),
}


def learning(name: str, fold: str, epochs: pd.DataFrame, chosen: dict[int, int]) -> str:
    """Accuracy of one fold by epoch, for each seed, and below it loss and WER.

    `epochs` has `seed`, `epoch`, `train_wa` and columns of `LEARNING`; empty or missing ones are left out. `chosen` is
    the epoch that was decoded, by seed.
    """
    known = {column: line for column, line in LEARNING.items() if column in epochs and epochs[column].notna().any()}
    curves = [
        (line, seed, one[column] * (1 if line.axis == LOSS else 100))
        for seed, one in epochs.set_index("epoch").groupby("seed")
        for column, line in known.items()
    ]
    words = " ".join(
        f"{line.label} of seed {seed}: {_curve_in_words(curve, line.axis != ACCURACY)}." for line, seed, curve in curves
    )
    alt = f"Fold {fold} by epoch, rates in per cent. {words} Epoch chosen: "
    alt += "; ".join(f"{epoch} of seed {seed}" for seed, epoch in chosen.items()) + "."
    drawn_axes = {line.axis for line, _, _ in curves}  # no accuracy where emotions were not trained
    panels = [[axis for axis in axes if axis in drawn_axes] for axes in ((ACCURACY,), (LOSS, ERRORS))]
    panels = [axes for axes in panels if axes] or [[ACCURACY]]
    with picture(name, alt, height=(3.0, 4.6)[len(panels) - 1]) as drawn:
        ratios = (4, 3)[: len(panels)]
        for panel, axes in zip(
            drawn.figure.subplots(len(panels), squeeze=False, sharex=True, height_ratios=ratios)[:, 0],
            panels,
            strict=True,
        ):
            _learning_panel(panel, axes, curves, chosen)
        panel.set(xlabel="epoch")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return drawn.svg


def _learning_panel(panel: Axes, names: list[str], curves: list[tuple[Curve, int, pd.Series]], chosen: dict) -> None:
    """Draw the learning curves of one axis, or of two, left and right, and mark the chosen epochs."""
    drawn = []
    for place, name in enumerate(names):
        axes = panel.twinx() if place else panel
        for line, seed, curve in curves:
            if line.axis == name:
                style = {"color": line.colour, "linewidth": line.width, "linestyle": line.dashes}
                drawn += axes.plot(curve.index, curve, label=line.label if seed == curves[0][1] else "", **style)
        top = {ACCURACY: 102, ERRORS: min(max(102, axes.get_ylim()[1]), 100 * HIGHEST_WER)}.get(name)
        axes.set(ylabel=name, ylim=(0, top))
        axes.grid(visible=not place)
    marks = [
        panel.axvline(epoch, color=INK, linewidth=0.8, label="epoch chosen", zorder=1) for epoch in chosen.values()
    ]
    shown = [line for line in drawn if not line.get_label().startswith("_")]
    legend(panel, shown + (marks[:1] if ACCURACY in names else []))


def lines(name: str, curves: dict[str, pd.Series], what: str) -> str:
    """One line per key of `curves`, a fraction by epoch, as in the paper's Figure 2; `what` names the fraction."""
    alt = f"{what}, per cent by epoch. " + " ".join(
        f"{label}: {_curve_in_words(100 * curve, what.endswith('WER'))}." for label, curve in curves.items()
    )
    with picture(name, alt, height=3.1) as drawn:
        axes = drawn.axes
        for place, (label, curve) in enumerate(curves.items()):
            style = {"color": SERIES[place % len(SERIES)], "linestyle": DASHES[place % len(DASHES)]}
            marks = {"marker": MARKERS[place % len(MARKERS)], "markevery": max(1, len(curve) // 8)}
            axes.plot(curve.index, 100 * curve, label=label, **style, **marks)
        top = 100 * min(max(1.0, *(float(curve.max()) for curve in curves.values())), HIGHEST_WER) + 2
        axes.set(xlabel="epoch", ylabel=f"{what} (%)", ylim=(0, top))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        legend(axes, columns=3)
    return drawn.svg


def legend(axes: Axes, handles: list[Artist] | None = None, columns: int = 4) -> None:
    """Put the legend above the axes, where it hides nothing."""
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def _with_interval(row: pd.Series, score: str) -> str:
    low, high = row[f"{score}_low"], row[f"{score}_high"]
    interval = "" if math.isnan(low) else f" ({100 * low:.2f} to {100 * high:.2f})"
    return f"{score.upper()} {100 * row[score]:.2f}{interval}"


def _curve_in_words(curve: pd.Series, lower_is_better: bool) -> str:
    """Name a curve's first and last value, some between, and its best.

    >>> _curve_in_words(pd.Series({1: 25, 2: 75, 3: 50}), lower_is_better=False)
    '25.00 at epoch 1, 75.00 at 2, 50.00 at 3, highest 75.00 at 2'
    """
    curve = curve.dropna()
    if curve.empty:
        return "no figures"
    steps = sorted({round(part * (len(curve) - 1) / POINTS_IN_WORDS) for part in range(POINTS_IN_WORDS + 1)})
    points = [f"{curve.iloc[step]:.2f} at {curve.index[step]}" for step in steps]
    points[0] = points[0].replace(" at ", " at epoch ")
    word, best = ("lowest", curve.idxmin()) if lower_is_better else ("highest", curve.idxmax())
    return f"{', '.join(points)}, {word} {curve[best]:.2f} at {best}"

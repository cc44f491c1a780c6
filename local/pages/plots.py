"""The plots of the report: each function returns an SVG whose label gives its figures as text.

Rates are given as fractions and shown in per cent. `name` is unique within the page.
"""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from local.pages.svg import DASHES, HEAT, INK, MARKERS, MUTED, ON_HEAT, SERIES, picture

LONGEST_LABEL = 18
CHARACTERS = 50  # that fit along a plot
DARK_CELL = 0.7  # a cell with more colour has a light number
POINTS_IN_WORDS = 4
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
        _legend(axes)
    return drawn.svg


def confusion(name: str, counts: pd.DataFrame, normalised: bool = False) -> str:
    """A confusion matrix: rows are references, columns hypotheses; counts, or per cent of each row."""
    shares = counts.div(counts.sum(axis=1).where(lambda total: total > 0), axis=0)
    depths = shares.fillna(0) if normalised else counts / max(counts.to_numpy().max(), 1)
    words = (shares * 100).map(lambda share: "–" if math.isnan(share) else f"{share:.2f}")
    words = words if normalised else counts.astype(str)
    alt = f"Confusion matrix, {'per cent of each reference' if normalised else 'counts'}. " + " ".join(
        f"Reference {reference}: " + ", ".join(f"{words.loc[reference, label]} as {label}" for label in counts) + "."
        for reference in counts.index
    )
    with picture(name, alt, height=0.7 + 3.2 * min(1, len(counts) / 4)) as drawn:
        axes = drawn.axes
        for row, reference in enumerate(counts.index):
            for column, label in enumerate(counts):
                depth = float(depths.loc[reference, label])
                axes.add_patch(
                    Rectangle((column - 0.48, row - 0.47), 0.96, 0.94, color=HEAT, alpha=0.06 + 0.94 * depth)
                )
                ink = ON_HEAT if depth > DARK_CELL else INK
                axes.text(column, row, words.loc[reference, label], ha="center", va="center", color=ink)
        edge = len(counts) - 0.5
        axes.set(xlim=(-0.5, edge), ylim=(edge, -0.5), xlabel="hypothesis", ylabel="reference")
        tight = max(map(len, counts)) * len(counts) > CHARACTERS
        slant = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if tight else {}
        axes.set_xticks(range(len(counts)), [_short(label) for label in counts], **slant)
        axes.set_yticks(range(len(counts)), [_short(label) for label in counts.index])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
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
        _legend(upper, columns=2)
    return drawn.svg


# The lines of a learning curve: column, name, colour, dashes.
LEARNING = {
    "train_wa": ("WA, training", MUTED, DASHES[2]),
    "valid_wa": ("WA", SERIES[0], DASHES[0]),
    "valid_ua": ("UA", SERIES[1], DASHES[1]),
    "valid_wer": ("WER", SERIES[2], DASHES[3]),
}


def learning(name: str, fold: str, epochs: pd.DataFrame, chosen: dict[int, int]) -> str:
    """Accuracy and WER of one fold by epoch, for each seed.

    `epochs` has `seed`, `epoch` and the columns of `LEARNING`; empty columns are left out. `chosen` is the
    epoch that was decoded, by seed.
    """
    known = [column for column in LEARNING if epochs[column].notna().any()]
    curves = [f"{LEARNING[column][0]} of seed {seed}: {_curve_in_words(one.set_index('epoch')[column], column)}."
              for seed, one in epochs.groupby("seed") for column in known]  # fmt: skip
    epochs_chosen = "; ".join(f"{epoch} of seed {seed}" for seed, epoch in chosen.items())
    alt = f"Fold {fold}, per cent by epoch. {' '.join(curves)} Epoch chosen: {epochs_chosen}."
    with picture(name, alt, height=3.0) as drawn:
        axes = drawn.axes
        for seed, one in epochs.groupby("seed"):
            first = seed == epochs["seed"].min()
            for column in known:
                label, colour, dashes = LEARNING[column]
                label = label if first else None
                axes.plot(one["epoch"], 100 * one[column], color=colour, linestyle=dashes, label=label)
            label = "epoch chosen" if first else None
            axes.axvline(chosen[seed], color=INK, linewidth=0.8, label=label, zorder=1)
        _by_epoch(axes, epochs[known], "per cent")
    return drawn.svg


def lines(name: str, curves: dict[str, pd.Series], what: str) -> str:
    """One line per key of `curves`, a fraction by epoch, as in the paper's Figure 2; `what` names the fraction."""
    alt = f"{what}, per cent by epoch. " + " ".join(
        f"{label}: {_curve_in_words(curve, what)}." for label, curve in curves.items()
    )
    with picture(name, alt, height=3.1) as drawn:
        axes = drawn.axes
        for place, (label, curve) in enumerate(curves.items()):
            style = {"color": SERIES[place % len(SERIES)], "linestyle": DASHES[place % len(DASHES)]}
            marks = {"marker": MARKERS[place % len(MARKERS)], "markevery": max(1, len(curve) // 8)}
            axes.plot(curve.index, 100 * curve, label=label, **style, **marks)
        _by_epoch(axes, pd.DataFrame(curves), f"{what} (%)")
    return drawn.svg


def _legend(axes: Axes, columns: int = 4) -> None:
    """Put the legend above the axes, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2)


def _by_epoch(axes: Axes, rates: pd.DataFrame, what: str) -> None:
    """Label the axes of curves by epoch; they end at 100 per cent, or higher for a WER above it."""
    top = 100 * min(max(1.0, float(rates.max().max())), HIGHEST_WER) + 2
    axes.set(xlabel="epoch", ylabel=what, ylim=(0, top))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(axes, columns=3)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def _with_interval(row: pd.Series, score: str) -> str:
    low, high = row[f"{score}_low"], row[f"{score}_high"]
    interval = "" if math.isnan(low) else f" ({100 * low:.2f} to {100 * high:.2f})"
    return f"{score.upper()} {100 * row[score]:.2f}{interval}"


def _curve_in_words(curve: pd.Series, what: str) -> str:
    """Name a curve's first and last value, some between, and its best: the highest, or the lowest WER.

    >>> _curve_in_words(pd.Series({1: 0.25, 2: 0.75, 3: 0.5}), "WA")
    '25.00 at epoch 1, 75.00 at 2, 50.00 at 3, highest 75.00 at 2'
    """
    curve = curve.dropna()
    if curve.empty:
        return "no figures"
    steps = sorted({round(part * (len(curve) - 1) / POINTS_IN_WORDS) for part in range(POINTS_IN_WORDS + 1)})
    points = [f"{100 * curve.iloc[step]:.2f} at {curve.index[step]}" for step in steps]
    points[0] = points[0].replace(" at ", " at epoch ")
    word, best = ("lowest", curve.idxmin()) if what.lower().endswith("wer") else ("highest", curve.idxmax())
    return f"{', '.join(points)}, {word} {100 * curve[best]:.2f} at {best}"

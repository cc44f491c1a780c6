"""The plot of a further head that predicts numbers, as valence: what it predicts against the true values."""

from __future__ import annotations

import numpy as np
import pandas as pd

from local.pages.plots import legend
from local.pages.svg import DASHES, INK, MARKERS, MUTED, SERIES, picture

MOST_POINTS = 600  # that are drawn, so that the page stays small
GROUPS = 6  # of true values, of equal width, whose mean prediction is drawn
ROOM = 0.04  # on each side of the values, as a share of their range


def predicted_against_true(name: str, head: str, true: np.ndarray, predicted: np.ndarray, ccc: str) -> str:
    """Predictions of a head against their labels, [n] each, with the mean prediction of `GROUPS` of labels.

    `name` is unique within the page, `ccc` says the head's CCC, which is over all n. Of more than `MOST_POINTS` some
    are drawn, the same ones every time.
    """
    groups = mean_predictions(true, predicted)
    alt = f"Predicted against true {head}, {len(true)} predictions; {ccc}. " + " ".join(
        f"True {row.low:.2f} to {row.high:.2f}: {row.n} predictions, mean {row.predicted:.2f}."
        for row in groups.itertuples()
    )
    drawn_ones = np.sort(np.random.default_rng(0).permutation(len(true))[:MOST_POINTS])
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    room = ROOM * (high - low) or 1.0
    ends = [low - room, high + room]
    with picture(name, alt, height=4.6) as drawn:
        axes = drawn.axes
        axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle=DASHES[2], label="predicted = true")
        dots = {"color": SERIES[0], "marker": "o", "linestyle": "", "markersize": 3, "markeredgewidth": 0, "alpha": 0.4}
        axes.plot(true[drawn_ones], predicted[drawn_ones], label="an utterance", **dots)
        means = {"color": SERIES[1], "marker": MARKERS[1], "markersize": 5, "label": "mean prediction"}
        axes.plot(groups["true"], groups["predicted"], **means)
        axes.text(0.02, 0.98, f"{head}: {ccc}", transform=axes.transAxes, va="top", color=INK)
        axes.set(xlim=ends, ylim=ends, xlabel=f"true {head}", ylabel=f"predicted {head}", aspect="equal")
        legend(axes, columns=3)
    return drawn.svg


def mean_predictions(true: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    """`low,high,n,true,predicted`, a row for each group of labels [low, high) that has some: the means of both.

    The last group has the highest label, too.
    """
    edges = np.linspace(true.min(), true.max(), GROUPS + 1)
    place = np.searchsorted(edges[1:-1], true, side="right")
    pairs = pd.DataFrame({"n": 1, "true": true, "predicted": predicted}).groupby(place)
    rows = pairs[["true", "predicted"]].mean().assign(n=pairs.size())
    return rows.assign(low=edges[rows.index], high=edges[rows.index + 1])[["low", "high", "n", "true", "predicted"]]

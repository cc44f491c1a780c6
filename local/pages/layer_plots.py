"""The plots of what a training has learned of an encoder's layers: of each run a dot, and their mean."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from local.pages.plots import legend
from local.pages.svg import DASHES, INK, MARKERS, MUTED, SERIES, picture
from local.scoring.coefficients import by_part
from local.scoring.layer_shares import by_state

MOST_TICKS = 12
APART = 0.12  # of the dots of two tasks, each to its side


def layer_shares(name: str, shares: pd.DataFrame) -> str:
    """The share of each hidden state in what the emotion head reads.

    `shares` has the columns `seed,fold,state,share`, see `local.scoring.layer_shares`.
    """
    states = by_state(shares)
    alt = "Weight of each hidden state, from 0, the input of block 1; mean over runs, lowest and highest. "
    with picture(name, alt + _in_words(states), height=2.8) as drawn:
        axes = drawn.axes
        axes.axhline(1 / len(states), color=MUTED, linewidth=1, linestyle=DASHES[2], label="equal weights")
        _dots(axes, shares["state"], shares["share"], SERIES[0], "a fold and seed")
        axes.plot(states.index, states["mean"], color=SERIES[1], marker=MARKERS[1], label="mean")
        axes.set(xlabel="hidden state", ylabel="weight", ylim=(0, 1.1 * states["high"].max()))
        axes.xaxis.set_major_locator(MaxNLocator(MOST_TICKS, integer=True))
        legend(axes)
    return drawn.svg


def coefficients(name: str, table: pd.DataFrame) -> str:
    """The share of each task vector in a merged encoder, by layer, a line for each task.

    `table` has the columns `seed,fold,task,part,coefficient`, see `local.scoring.coefficients`.
    """
    means = {task: by_part(of_task) for task, of_task in table.groupby("task", sort=False)}
    places, ticks = _places(table["part"].unique())
    alt = "Coefficient of each task vector, by part of the encoder; mean over runs, lowest and highest. "
    alt += " ".join(f"{task}: {_in_words(parts)}" for task, parts in means.items())
    with picture(name, alt, height=2.8) as drawn:
        axes = drawn.axes
        axes.axhline(0, color=INK, linewidth=0.6)
        for number, (task, parts) in enumerate(means.items()):
            of_task, aside = table[table["task"] == task], APART * (2 * number - len(means) + 1)
            _dots(axes, of_task["part"].map(places) + aside, of_task["coefficient"], SERIES[number])
            line = {"color": SERIES[number], "linestyle": DASHES[number], "marker": MARKERS[number]}
            axes.plot([places[part] + aside for part in parts.index], parts["mean"], label=f"{task}, mean", **line)
        _dots(axes, [], [], MUTED, "a fold and seed")
        lowest, highest = table["coefficient"].min(), table["coefficient"].max()
        axes.set(xlabel="layer", ylabel="coefficient", ylim=(min(0.0, 1.1 * lowest), max(1.0, 1.1 * highest)))
        axes.set_xticks([places[part] for part in ticks], ticks)
        legend(axes)
    return drawn.svg


def _dots(axes: Axes, at: Iterable[float], values: Iterable[float], colour: str, label: str = "") -> None:
    """Draw a small dot for each run; a legend has them where they have a label."""
    dots = {"marker": "o", "linestyle": "", "markersize": 2.5, "alpha": 0.5, "clip_on": False}
    axes.plot(at, values, color=colour, label=label, **dots)


def _in_words(spread: pd.DataFrame) -> str:
    """The figures of `local.scoring.layer_shares.spread` as text."""
    return " ".join(
        f"{key}: {row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f})." for key, row in spread.iterrows()
    )


def _places(parts: Iterable[str]) -> tuple[dict[str, float], list[str]]:
    """Where on the axis each part is, and which of them have a label there, so that no two labels touch.

    >>> _places(["front", "1", "2", "output"])
    ({'front': 0.0, '1': 1.0, '2': 2.0, 'output': 3.0}, ['front', '1', '2', 'output'])
    """
    parts = list(parts)
    numbers = [int(part) for part in parts if part.isdecimal()]
    step, gap = math.ceil(len(numbers) / MOST_TICKS) or 1, max(1.0, len(numbers) / 8)
    first, last = (numbers[0], numbers[-1]) if numbers else (1, 0)
    places = {part: float(int(part)) if part.isdecimal() else first - gap for part in parts}
    places |= {part: last + gap for part in parts if part == "output"}
    return places, [part for part in parts if not part.isdecimal() or (int(part) - first) % step == 0]

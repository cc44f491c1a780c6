"""Pictures of emotion over time: the most probable label above, the posteriors of each label below.

Up to `COLUMNS` edges of windows are drawn exactly; with more, each column shows the mean over the windows in it,
weighted by time. Time outside of windows stays empty.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from local.core.files import atomic
from local.inference.analyzer import Window

# Okabe and Ito's colours for colour-blind readers, darkened for a white background, by the first three letters of an
# emotion: ang, anger.
COLOURS = {
    "ang": "#d55e00", "hap": "#e0a100", "neu": "#7d868e", "sad": "#0072b2", "fea": "#b4568d", "sur": "#56b4e9",
    "dis": "#008a66", "exc": "#8c6100", "fru": "#4b3fa0",
}  # fmt: skip
INK, MUTED, RULE = "#1c2024", "#5b636b", "#dcdfe1"
WIDTH, LANE = 7.5, 0.62  # inches
COLUMNS = 900
LONGEST_NAME = 18
UNITS = (("s", 1, 120), ("min", 60, 2 * 3600), ("h", 3600, np.inf))  # name, seconds, longest recording in seconds


def colours(labels: Sequence[str]) -> dict[str, str]:
    """The colour of each label: that of its emotion, or a free one; colours repeat when all are taken."""
    by_label: dict[str, str] = {}
    for label in labels:
        colour = COLOURS.get(label[:3].lower())
        if colour and colour not in by_label.values():
            by_label[label] = colour
    free = [colour for colour in COLOURS.values() if colour not in by_label.values()] or list(COLOURS.values())
    others = (label for label in labels if label not in by_label)
    return by_label | dict(zip(others, itertools.cycle(free), strict=False))


def unit_of(duration: float) -> tuple[str, float]:
    """The unit of a time axis of so many seconds: its name, and its length in seconds."""
    return next((name, unit) for name, unit, most in UNITS if duration <= most)


def draw(windows: Sequence[Window], labels: list[str], path: Path, title: str = "") -> None:
    """Draw emotion over time to a file whose name ends with `.png` or `.svg`.

    `windows` are one or more, in their order, without overlap; the `labels` are drawn in their order.
    """
    picture = _Picture(windows, labels, title)
    picture.fill()
    with atomic(path, "wb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # of a file's name, in a script that the font lacks
        picture.figure.savefig(file, format=path.suffix[1:])


class _Picture:
    """A figure with a strip on `top`, and a lane below for each label. The time axis is in `unit`s."""

    def __init__(self, windows: Sequence[Window], labels: list[str], title: str) -> None:
        self.windows, self.labels, self.colours = windows, labels, colours(labels)
        duration = windows[-1].end
        self.edges = edges(windows, duration)
        name, self.unit = unit_of(duration)
        # Without pyplot, whose state is shared by threads.
        self.figure = Figure(figsize=(WIDTH, 1.0 + LANE * (1 + len(labels))), layout="constrained", dpi=200)
        self.figure.get_layout_engine().set(h_pad=0.03, hspace=0.06)
        self.top, *self.below = self.figure.subplots(1 + len(labels), sharex=True)
        for axes in (self.top, *self.below):
            _plain(axes)
        bottom = (self.top, *self.below)[-1]
        bottom.set_xlabel(f"time ({name})", color=INK)
        bottom.set_xlim(0, duration / self.unit)
        bottom.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        # A file name may have bytes that are not UTF-8.
        self.figure.suptitle(title.encode(errors="backslashreplace").decode(), color=INK, fontsize=11, parse_math=False)

    def fill(self) -> None:
        """Draw the posteriors in the lanes, and the most probable label above them."""
        shares = means(self.windows, self.labels, self.edges)
        best = likeliest(shares)
        for index, (axes, label) in enumerate(zip(self.below, self.labels, strict=True)):
            shape = {"edges": self.edges / self.unit, "fill": True, "color": self.colours[label]}
            axes.stairs(shares[:, index], **shape)
            axes.set(ylim=(0, 1))
            _name(axes, label)
            axes.set_yticks([0, 0.5, 1], ["0", "", "100 %"])
            self.top.stairs(np.where(best == index, 1.0, np.nan), **shape)
        self.top.set_ylim(0, 1)
        _name(self.top, "top label")


def _plain(axes: Axes) -> None:
    """Reduce axes to a line at the bottom, faint grid lines and numbers on the right."""
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.yaxis.tick_right()
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=8, labelcolor=MUTED)
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def _name(axes: Axes, name: str) -> None:
    name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    axes.set_ylabel(name, rotation=0, ha="right", va="center", color=INK, parse_math=False)


def edges(windows: Sequence[Window], duration: float) -> np.ndarray:
    """Starts and ends of the windows in seconds, or the edges of `COLUMNS` equal columns if there are more."""
    times = np.unique([0.0, duration] + [time for window in windows for time in window[:2]])
    return times if len(times) <= COLUMNS else np.linspace(0, duration, COLUMNS + 1)


def means(windows: Sequence[Window], labels: list[str], edges: np.ndarray) -> np.ndarray:
    """Mean posteriors between edges over the time in windows, [edges - 1, labels]; NaN where there is none.

    The integrals of the posteriors and of the time in windows are linear between the edges of windows.
    """
    times = np.array([[window.start, window.end] for window in windows]).reshape(-1, 2)
    values = [[window.analysis.posteriors[label] for label in labels] + [1.0] for window in windows]
    areas = np.diff(times) * np.reshape(values, (len(times), len(labels) + 1))
    after = areas.cumsum(0)
    knots = np.r_[0.0, times.ravel()]
    sums = np.vstack([np.zeros(len(labels) + 1), np.stack([after - areas, after], 1).reshape(-1, len(labels) + 1)])
    *integrals, covered = (np.diff(np.interp(edges, knots, column)) for column in sums.T)
    covered = np.where(covered > 1e-6, covered, np.nan)
    return np.stack(integrals, 1) / covered[:, None]


def likeliest(shares: np.ndarray) -> np.ndarray:
    """[n] index of the largest of [n, labels] shares; -1 where there are none."""
    return np.where(np.isnan(shares[:, 0]), -1, shares.argmax(1))

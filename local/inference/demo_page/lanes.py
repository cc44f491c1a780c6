"""Emotion over time as lanes of a page: the waveform above, the posteriors of each label below.

A lane is a name and shapes in a box of `WIDTH` x `HEIGHT` that is stretched to any size; times are shares of the width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from local.audio import header, recordings
from local.audio.header import SAMPLE_RATE
from local.inference import timeline
from local.inference.analyzer import Window

WIDTH, HEIGHT = 1000, 100
NOTHING = "none"  # the name of the colour of time outside of windows


@dataclass(frozen=True)
class Lane:
    """A row of the picture: its name, its description for those who do not see it, and colours with their paths."""

    name: str
    alt: str
    shapes: list[tuple[str, str]]


@dataclass(frozen=True)
class Lanes:
    """The picture: its rows, and the ticks of its time axis as shares of the width with their numbers, in `unit`s."""

    duration: float
    rows: list[Lane] = field(default_factory=list)
    ticks: list[tuple[float, str]] = field(default_factory=list)
    unit: str = ""


def of_recording(path: Path | str, windows: Sequence[Window], names: Mapping[str, str]) -> Lanes:
    """The lanes of a recording of any length, which is read in blocks.

    `windows` are in their order, without overlap; the rest is `NOTHING`. `names` are the labels with the words that are
    shown for them. A `UserError` if the file cannot be read.
    """
    labels = list(names)
    colours = timeline.colours(labels)
    edges, low, high = envelope(path)
    duration = float(edges[-1])
    best = timeline.likeliest(timeline.means(windows, labels, edges))
    reach = max(np.abs([low, high]).max(), 1e-4) * 1.05
    shapes = [
        (colours.get(label, NOTHING), outline(edges, 0.5 + low / reach / 2, 0.5 + high / reach / 2, best == index))
        for index, label in zip([-1, *range(len(labels))], [NOTHING, *labels], strict=True)
    ]
    rows = [Lane("waveform", _summary(windows, names, duration), shapes)]
    edges = timeline.edges(windows, duration)
    shares = timeline.means(windows, labels, edges)
    for label, values in zip(labels, shares.T, strict=True):
        inside = np.isfinite(values)
        path_of = outline(edges, np.zeros(len(values)), values, inside)
        alt = f"probability of {names[label]}: {_extent(edges, values)}" if inside.any() else "silent"
        rows.append(Lane(names[label], alt, [(colours[label], path_of)]))
    name, unit = timeline.unit_of(duration)
    ticks = [tick for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(0, duration / unit) if tick >= 0]
    return Lanes(
        duration, rows, [(tick * unit / duration, f"{tick:g}") for tick in ticks if tick * unit <= duration], name
    )


def _summary(windows: Sequence[Window], names: Mapping[str, str], duration: float) -> str:
    """The waveform in words: how long each label is the most probable one."""
    seconds = dict.fromkeys(names, 0.0)
    for start, end, analysis in windows:
        seconds[analysis.emotion] += end - start
    shares = [f"{names[label]} for {length:.1f} s" for label, length in seconds.items() if length]
    return f"waveform of {duration:.1f} s, most probable: {', '.join(shares) or 'silent throughout'}"


def _extent(edges: np.ndarray, values: np.ndarray) -> str:
    inside = np.isfinite(values)
    mean = np.average(values[inside], weights=np.diff(edges)[inside])
    return f"{mean:.0%} on average, {values[inside].max():.0%} at most"


def outline(edges: np.ndarray, low: np.ndarray, high: np.ndarray, shown: np.ndarray) -> str:
    """The path around steps.

    [n + 1] edges from 0 to the end in seconds, [n] lower and upper ends between 0 and 1, and which of the n steps there
    are.
    """
    across, down, up = WIDTH * edges / edges[-1], HEIGHT * (1 - low), HEIGHT * (1 - high)
    parts = []
    for is_shown, group in itertools.groupby(range(len(shown)), key=lambda step: bool(shown[step])):
        if is_shown:
            steps = list(group)
            there = "".join(f"V{up[step]:.1f}H{across[step + 1]:.1f}" for step in steps)
            back = "".join(f"V{down[step]:.1f}H{across[step]:.1f}" for step in reversed(steps))
            parts.append(f"M{across[steps[0]]:.1f} {down[steps[0]]:.1f}{there}{back}Z")
    return "".join(parts)


def envelope(path: Path | str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of equal columns of a recording in seconds, [n + 1], and its lowest and highest sample in each, [n]."""
    blocks = recordings.blocks(path)  # first: its errors name the file
    total = max(round(header.read_header(path).duration * SAMPLE_RATE), 1)
    columns = min(timeline.COLUMNS, total)
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    done = 0
    for block in blocks:
        wav = block.numpy()
        places = np.minimum((done + np.arange(len(wav))) * columns // total, columns - 1)
        within, first = np.unique(places, return_index=True)
        low[within] = np.minimum(low[within], np.minimum.reduceat(wav, first))
        high[within] = np.maximum(high[within], np.maximum.reduceat(wav, first))
        done += len(wav)
    return np.linspace(0, total / SAMPLE_RATE, columns + 1), low, high

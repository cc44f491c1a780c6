"""The pictures of emotion over time: their shapes hold what the windows say."""

from __future__ import annotations

import itertools
import re
import threading
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from PIL import Image

from local.inference import timeline
from local.inference.analyzer import Analysis, Window

LABELS = ["ang", "hap", "neu", "sad"]


def window(start: float, end: float, *shares: float) -> Window:
    posteriors = dict(zip(LABELS, shares, strict=True))
    return Window(start, end, Analysis(max(posteriors, key=posteriors.get), posteriors, "", [], end - start))


CALL = [window(1, 3, 0.7, 0.1, 0.1, 0.1), window(3, 4.5, 0, 0.2, 0.2, 0.6), window(6, 9, 0.05, 0.9, 0.05, 0)]


@pytest.fixture
def figure_of(tmp_path, monkeypatch):
    """The figure that `draw` saves."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *given, **how: (figures.append(self), save(self, *given, **how))
    )

    def drawn(windows, labels=LABELS, name="picture.png", title=""):
        timeline.draw(windows, labels, tmp_path / name, title)
        return figures[-1]

    return drawn


def steps(axes) -> dict[str, StepPatch]:
    """The shapes of an axes by their colour."""
    return {to_hex(patch.get_facecolor()): patch for patch in axes.patches}


def at(patch: StepPatch, time: float) -> float:
    values, edges, _ = patch.get_data()
    return values[np.searchsorted(edges, time) - 1] if edges[0] < time < edges[-1] else np.nan


def unit(axes) -> str:
    return re.fullmatch(r"time \((.*)\)", axes.get_xlabel())[1]


def test_a_name_in_a_script_that_the_font_lacks_is_no_warning(tmp_path, recwarn):
    timeline.draw(CALL, LABELS, tmp_path / "picture.png", title="\u65e5\u672c\t.wav")
    assert not [str(warning.message) for warning in recwarn]


def test_each_lane_shows_the_posteriors_of_its_label_and_gaps_stay_empty(figure_of):
    _, *lanes = figure_of(CALL).axes
    assert [lane.get_ylabel() for lane in lanes] == LABELS
    for lane, label in zip(lanes, LABELS, strict=True):
        (patch,) = lane.patches
        assert to_hex(patch.get_facecolor()) == timeline.colours(LABELS)[label]
        for start, end, analysis in CALL:
            for time in (start + 0.01, end - 0.01):
                assert at(patch, time) == pytest.approx(analysis.posteriors[label])
        assert np.isnan([at(patch, time) for time in (0.5, 0.99, 4.51, 5, 5.99)]).all()


def test_the_strip_has_the_colour_of_the_most_probable_label_and_is_empty_in_gaps(figure_of):
    top = figure_of(CALL).axes[0]
    shapes = {label: steps(top)[colour] for label, colour in timeline.colours(LABELS).items()}
    for time, label in ((2, "ang"), (4, "sad"), (5, None), (7, "hap")):
        assert {name for name, patch in shapes.items() if at(patch, time) == 1} == ({label} if label else set())


def test_many_windows_become_means_by_time(figure_of):
    generator = np.random.default_rng(1)
    edges = np.cumsum(generator.uniform(0.5, 8, 12001))
    windows = [
        window(start, end, *generator.dirichlet(np.ones(4)))
        for place, (start, end) in enumerate(itertools.pairwise(edges))
        if place % 5
    ]
    axes = figure_of(windows).axes
    (patch,) = axes[2].patches
    values, hours, _ = patch.get_data()
    assert unit(axes[-1]) == "h" and len(values) == timeline.COLUMNS
    for column in (0, 400, 899):
        low, high = 3600 * hours[column : column + 2]
        inside = [
            (min(end, high) - max(start, low), each) for start, end, each in windows if start < high and end > low
        ]
        expected = sum(length * each.posteriors["hap"] for length, each in inside) / sum(length for length, _ in inside)
        assert values[column] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("seconds", "name", "end"), [(10, "s", 10), (600, "min", 10), (36_000, "h", 10)])
def test_the_time_axis_is_in_seconds_minutes_or_hours(figure_of, seconds, name, end):
    axes = figure_of([window(0, seconds / 2, 1, 0, 0, 0), window(seconds / 2, seconds, 0, 0, 1, 0)]).axes[-1]
    assert unit(axes) == name and axes.get_xlim() == (0, pytest.approx(end))
    assert 4 <= len(axes.get_xticks()) <= 12


def test_png_or_svg_by_suffix(figure_of, tmp_path):
    figure_of(CALL, name="a.png")
    width, height = Image.open(tmp_path / "a.png").size
    assert width > 1000 and height > 500
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3)
    for colour in timeline.colours(LABELS).values():
        rgb = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        assert (pixels == rgb).all(1).sum() > 1000
    figure_of(CALL, name="a.svg")
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg"]


def test_any_title_and_any_label_can_be_drawn(figure_of):
    labels = ["$x_1", "\\frac", "a long label that would leave no room at all"]
    posteriors = dict(zip(labels, (0.2, 0.3, 0.5), strict=True))
    figure = figure_of([Window(0, 1, Analysis(labels[2], posteriors, "", [], 1))], labels, title="$a_\udcff$.wav")
    assert figure.get_suptitle() == "$a_\\udcff$.wav"
    assert [axes.get_ylabel() for axes in figure.axes[1:3]] == labels[:2]


def test_colours_are_the_emotions_own_and_different():
    assert timeline.colours(["sad", "ang"]) == {"sad": timeline.COLOURS["sad"], "ang": timeline.COLOURS["ang"]}
    assert timeline.colours(["Anger", "sadness"])["Anger"] == timeline.COLOURS["ang"]
    labels = ["disappointed", "calm", "disgust", "bored", "neutral", "happy", "sarcastic"]
    assert len(set(timeline.colours(labels).values())) == len(labels)
    assert timeline.colours(labels)["happy"] == timeline.COLOURS["hap"]


def test_threads_do_not_mix_their_pictures(tmp_path):
    calls = [[window(0, 1 + place, 1 - place / 8, place / 8, 0, 0)] for place in range(4)]
    names = [tmp_path / f"{place}.png" for place in range(4)]
    threads = [
        threading.Thread(target=timeline.draw, args=(call, LABELS, name))
        for call, name in zip(calls, names, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for call, name in zip(calls, names, strict=True):
        timeline.draw(call, LABELS, tmp_path / "alone.png")
        assert name.read_bytes() == (tmp_path / "alone.png").read_bytes()

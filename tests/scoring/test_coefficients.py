"""The coefficients of merged encoders, from run folders to a table and a sentence."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from local.core.markers import Marker
from local.pages import layer_plots
from local.scoring import coefficients


def run(place: Path, **facts) -> Path:
    place.mkdir(parents=True)
    Marker(place / "decode.json", {}).write(**facts)
    return place


def test_the_table_and_the_sentence(tmp_path):
    shares = {"ctc": {"front": 0.2, "1": 0.4}, "emotion": {"front": 0.6, "1": 1.0}}
    more = {"ctc": {"front": 0.4, "1": 0.4}, "emotion": {"front": 0.6, "1": 0.0}}
    runs = [run(tmp_path / "seed1" / "F", coefficients=shares), run(tmp_path / "seed1" / "G", coefficients=more)]
    table = coefficients.of_runs(runs)
    assert table.iloc[0].tolist() == ["1", "F", "ctc", "front", 0.2] and len(table) == 8
    (said,) = coefficients.in_words(table)
    assert said.endswith("of ctc front 0.30 (0.14), 1 0.40 (0.00); of emotion front 0.60 (0.00), 1 0.50 (0.71)")
    (alone,) = coefficients.in_words(coefficients.of_runs(runs[:1]))
    assert alone.endswith("of ctc front 0.20, 1 0.40; of emotion front 0.60, 1 1.00")


def test_of_other_runs_there_is_nothing(tmp_path):
    assert coefficients.in_words(coefficients.of_runs([run(tmp_path / "seed1" / "F"), tmp_path])) == []


@pytest.mark.parametrize("layers", [range(1, 3), range(3, 13), range(1, 25)])
def test_the_picture_has_a_line_for_each_task_and_no_labels_that_touch(tmp_path, layers):
    parts = ["front", *map(str, layers), "output"]
    tables = [
        {task: dict.fromkeys(parts, share) for task, share in shares.items()}
        for shares in (
            {"ctc": 0.2, "emotion": 0.75},
            {"ctc": 0.4, "emotion": -0.25},
        )
    ]
    runs = [run(tmp_path / "seed1" / fold, coefficients=each) for fold, each in zip("FG", tables, strict=True)]
    table = coefficients.of_runs(runs)
    svg = layer_plots.coefficients("merged", table)
    label = re.search(r'aria-label="([^"]*)"', svg)[1]
    assert "ctc: front: 0.300 (0.200 to 0.400)." in label and "output: 0.250 (-0.250 to 0.750)." in label
    ticks = re.findall(r'<text style="[^"]*text-anchor: middle[^"]*" x="([\d.]+)"[^>]*>(front|output|\d+)</text>', svg)
    assert [name for _, name in ticks if not name.isdecimal()] == ["front", "output"] and len(ticks) <= 14
    for (left, one), (right, other) in pairwise(ticks):  # a letter or digit of 9 points is some 5 wide
        assert float(right) - float(left) > 2.75 * (len(one) + len(other)) + 3
    for words in ("ctc, mean", "emotion, mean", "a fold and seed"):
        assert f">{words}</text>" in svg
    assert svg.count("<use ") >= 2 * 2 * len(parts) + 2 * len(parts)  # each run of each task, and the means
    assert layer_plots.coefficients("merged", table) == svg


def test_an_encoder_in_one_part_has_a_picture(tmp_path):
    table = coefficients.of_runs(
        [run(tmp_path / "seed1" / "F", coefficients={"ctc": {"all": 0.5}, "emotion": {"all": 1}})]
    )
    assert "emotion: all: 1.000 (1.000 to 1.000)." in layer_plots.coefficients("merged", table)

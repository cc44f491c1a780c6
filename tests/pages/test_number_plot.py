"""The plot of a head of numbers: its figures in words, against means by hand, and what is drawn of many."""

from __future__ import annotations

import re

import numpy as np
import pytest

from local.pages import number_plot
from local.pages.number_plot import MOST_POINTS, mean_predictions, predicted_against_true


def test_means_of_groups_of_labels():
    true, predicted = np.array([1.0, 1.2, 2.0, 7.0, 6.5]), np.array([2.0, 3.0, 4.0, 6.0, 5.0])
    groups = mean_predictions(true, predicted)  # edges 1, 2, ... 7
    assert groups["low"].tolist() == [1, 2, 6] and groups["high"].tolist() == [2, 3, 7]
    assert groups["n"].tolist() == [2, 1, 2]
    assert groups["true"].tolist() == pytest.approx([1.1, 2, 6.75])
    assert groups["predicted"].tolist() == pytest.approx([2.5, 4, 5.5])
    svg = predicted_against_true("head_valence", "valence", true, predicted, "CCC 0.765")
    assert "Predicted against true valence, 5 predictions; CCC 0.765." in svg
    assert "True 6.00 to 7.00: 2 predictions, mean 5.50." in svg and ">valence: CCC 0.765<" in svg


def points(svg: str) -> int:
    """How many markers the plot has, those of the legend included."""
    return len(re.findall(r"<use ", svg))


def test_of_many_predictions_some_are_drawn_and_the_same_ones_again(monkeypatch):
    monkeypatch.setattr(number_plot, "MOST_POINTS", 50)
    true = np.linspace(0, 1, 400)
    few, many = (predicted_against_true("n", "arousal", true[:n], true[:n], "CCC 1.000") for n in (50, 400))
    assert points(many) == points(few) and "400 predictions" in many
    assert many == predicted_against_true("n", "arousal", true, true, "CCC 1.000")
    assert MOST_POINTS > 50


@pytest.mark.parametrize(("true", "predicted"), [(3.0, 3.0), (3.0, 2.0)])
def test_one_label_alone(true, predicted):
    svg = predicted_against_true("n", "valence", np.full(4, true), np.full(4, predicted), "no CCC")
    assert f"4 predictions, mean {predicted:.2f}" in svg and "nan" not in svg

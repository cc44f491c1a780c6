"""The confusion matrix: shares by hand, and text that is legible in every cell, in light and in dark mode."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from local.pages.confusion import contrast, matrix, style

LEAST = 4.5  # WCAG 2.1, level AA


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [("#000000", "#ffffff", 21), ("#777777", "#ffffff", 4.48), ("#0000ff", "#ffffff", 8.59), ("#123456", "#123456", 1)],
)  # fmt: skip
def test_contrast_is_that_of_wcag(one, other, ratio):
    assert contrast(one, other) == contrast(other, one) == pytest.approx(ratio, abs=0.005)


def test_every_cell_is_legible():
    for share in range(1001):
        grounds, inks = re.fullmatch(
            r"background: light-dark\((.*)\); color: light-dark\((.*)\)", style(share / 1000)
        ).groups()
        for ground, ink in zip(grounds.split(", "), inks.split(", "), strict=True):
            assert contrast(ground, ink) >= LEAST, share


def test_cells_are_shares_of_their_row():
    counts = pd.DataFrame([[3, 1, 0], [2, 2, 0], [0, 0, 0]], list("abc"), list("abc"))
    rows = matrix(counts)
    assert [[(cell.share, cell.count) for cell in row] for row in rows] == [
        [("75.00", 3), ("25.00", 1), ("0.00", 0)],
        [("50.00", 2), ("50.00", 2), ("0.00", 0)],
        [("–", 0), ("–", 0), ("–", 0)],
    ]
    assert [(cell.reference, cell.hypothesis) for row in rows for cell in row if cell.is_mistake] == [
        ("a", "b"), ("b", "a")
    ]  # fmt: skip
    assert rows[2][0].style == style(0) and rows[0][0].style == style(0.75) != style(0.25)

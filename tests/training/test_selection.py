"""Which epoch is chosen, and when a training ends: by hand, and as the checkpoints are ranked."""

from __future__ import annotations

import math

import pytest

from local.core.errors import UserError
from local.training.checkpoints import rank
from local.training.selection import Selection

ROWS = [
    {"epoch": 1, "valid_ua": 0.5, "valid_wa": 0.6, "valid_f1": 0.4, "valid_wer": 0.9, "valid_loss": 3.0},
    {"epoch": 2, "valid_ua": 0.7, "valid_wa": 0.5, "valid_f1": 0.6, "valid_wer": 0.9, "valid_loss": 2.0},
    {"epoch": 3, "valid_ua": 0.7, "valid_wa": 0.6, "valid_f1": 0.6, "valid_wer": 0.8, "valid_loss": math.nan},
    {"epoch": 4, "valid_ua": 0.6, "valid_wa": 0.5, "valid_f1": 0.5, "valid_wer": 0.8, "valid_loss": 2.5},
]


@pytest.mark.parametrize(
    ("name", "best", "first", "cost"),
    [
        ("valid_ua", 3, 2, 0.5),  # of the two best, the one with the lower WER
        ("wa", 3, 1, 0.4),
        ("valid_f1", 3, 2, 0.6),
        ("wer", 3, 3, 0.9),  # and then the earlier
        ("loss", 2, 2, 3.0),
    ],
)
def test_the_best_epoch_of_each_figure(name, best, first, cost):
    selection = Selection(name)
    assert max((selection.meta(row) for row in ROWS), key=rank)["epoch"] == best
    assert selection.best(ROWS)["epoch"] == first
    assert selection.cost(ROWS[0]) == pytest.approx(cost)


def test_checkpoints_of_ua_are_ranked_as_those_of_earlier_versions():
    assert Selection("valid_ua").meta(ROWS[1]) == {"epoch": 2, "ua": 0.7, "wer": 0.9}


def test_without_text_or_validation():
    silent = {"epoch": 1, "valid_ua": 0.5, "valid_wer": None}, {"epoch": 2, "valid_ua": 0.5, "valid_wer": math.nan}
    assert [rank(Selection("ua").meta(row)) for row in silent] == [(0.5, 0.0, -1), (0.5, 0.0, -2)]
    unvalidated = [Selection("wa").meta({"epoch": epoch}) for epoch in (1, 2)]
    assert max(unvalidated, key=rank)["epoch"] == 2
    assert Selection("wa").best([{"epoch": 1}]) is None and Selection("wa").cost({"epoch": 1}) is None


@pytest.mark.parametrize(("name", "patience", "ends"), [("ua", 2, 4), ("ua", 3, None), ("wa", 2, 3), ("ua", 0, None)])
def test_patience_counts_epochs_since_the_best(name, patience, ends):
    over = [number for number in range(1, 5) if Selection(name).is_over(ROWS[:number], patience)]
    assert over[:1] == ([ends] if ends else [])


def test_patience_without_rows():
    assert not Selection("ua").is_over([], 1) and not Selection("ua").is_over([{"epoch": 3}], 1)


@pytest.mark.parametrize(("name", "writes_text"), [("uaa", True), ("valid_cer", False), ("train_loss", True)])
def test_a_figure_that_is_not_there_is_refused(name, writes_text):
    with pytest.raises(UserError, match=f"selection is '{name}'"):
        Selection(name, writes_text)

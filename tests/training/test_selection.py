"""Which epoch is chosen, and when a training ends: by hand, and as the checkpoints are ranked."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from local.core.errors import UserError
from local.training.checkpoints import rank
from local.training.selection import Selection, refuse_without_use

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
    assert [rank(Selection("ua").meta(row)) for row in silent] == [
        (False, 0.5, 0.0, -1),
        (False, 0.5, 0.0, -2),
    ]
    unvalidated = [Selection("wa").meta({"epoch": epoch}) for epoch in (1, 2)]
    assert max(unvalidated, key=rank)["epoch"] == 2
    assert Selection("wa").best([{"epoch": 1}]) is None and Selection("wa").cost({"epoch": 1}) is None


@pytest.mark.parametrize(("name", "patience", "ends"), [("ua", 2, 4), ("ua", 3, None), ("wa", 2, 3), ("ua", 0, None)])
def test_patience_counts_epochs_since_the_best(name, patience, ends):
    over = [number for number in range(1, 5) if Selection(name).is_over(ROWS[:number], patience)]
    assert over[:1] == ([ends] if ends else [])


def test_patience_without_rows():
    assert not Selection("ua").is_over([], 1) and not Selection("ua").is_over([{"epoch": 3}], 1)


def test_the_last_epoch_though_there_is_a_validation_set():
    selection = Selection("last")
    assert max(map(selection.meta, ROWS), key=rank)["epoch"] == 4
    assert selection.meta(ROWS[1]) == {"epoch": 2, "ua": 0.7, "wer": 0.9, "score": None}
    assert not selection.is_over(ROWS, 1) and selection.cost(ROWS[0]) is None
    assert selection.is_new_best(ROWS) is None and selection.is_new_best([*ROWS, {"epoch": 5, "solved": 1}]) == 1
    values = {"selection": "last", "freeze_encoder_epochs": 0}
    refuse_without_use(SimpleNamespace(**values, patience=0), True, False, None)
    for patience, follows, name in ((2, False, "patience"), (0, True, "scheduler")):
        with pytest.raises(UserError, match=f"{name}: it follows a figure, and selection is last"):
            refuse_without_use(SimpleNamespace(**values, patience=patience), True, follows, None)


@pytest.mark.parametrize("name", ["valid_ua", "loss", "last"])
def test_what_was_solved_comes_before_every_epoch(name):
    rows = [*ROWS, {"epoch": 5, "valid_ua": 0.1, "valid_loss": 9.0, "valid_wer": None, "solved": 1}]
    assert max(map(Selection(name).meta, rows), key=rank) == Selection(name).meta(rows[-1])
    assert Selection(name).meta(rows[-1])["solved"] is True


@pytest.mark.parametrize("name", ["uaa", "valid_last", "valid_cer", "train_loss", 5, None])
def test_a_figure_that_is_not_there_is_refused(name):
    with pytest.raises(UserError, match=f"selection is '{name}'"):
        Selection(name, writes_text=name != "valid_cer")

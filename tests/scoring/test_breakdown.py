"""Scores of parts of what was tested, against scores of the parts taken by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from random_predictions import predicted

from local.scoring.breakdown import MOST_GROUPS, breakdown, shown_groups
from local.scoring.metrics import scores


@pytest.fixture
def table() -> pd.DataFrame:
    """Forty turns of four speakers in two sessions, of 1 s, 2 s, ... 40 s; three styles, one of them not known."""
    table = predicted(4, 10, 2).assign(duration=[float(i + 1) for i in range(40)], fold="f")
    table["session"] = ["Ses01"] * 20 + ["Ses02"] * 20
    table["gender"] = (["F"] * 10 + ["M"] * 10) * 2
    table["style"] = ["impro", "script", "script", ""] * 10
    return table


def test_every_group_has_the_scores_of_its_utterances(table):
    groups_scored = breakdown(table).set_index(["by", "group"])
    groups = {"style": {"impro", "script", ""}, "gender": {"F", "M"}, "session": {"Ses01", "Ses02"}}
    groups["speaker"] = {"s00", "s01", "s02", "s03"}
    for by, names in groups.items():
        assert set(groups_scored.loc[by].index) == names
    some = {
        ("style", "script"): table[table["style"] == "script"],
        ("style", ""): table[table["style"] == ""],
        ("gender", "M"): table[table["gender"] == "M"],
        ("speaker", "s03"): table[30:],
        ("duration", "3: 20.50 to 30.25 s"): table[20:30],
    }
    for key, part in some.items():
        assert groups_scored.loc[key].to_dict() == pytest.approx(
            {k: v for k, v in scores(part).items() if k in groups_scored}
        )


def test_quarters_of_duration_hold_a_quarter_of_the_utterances_whatever_the_seeds(table):
    several = pd.concat([table, table.iloc[:7].assign(seed=2)])
    groups_scored = breakdown(several)
    quarters = groups_scored[groups_scored["by"] == "duration"]
    assert quarters["n"].tolist() == [17, 10, 10, 10]
    assert quarters["group"].tolist()[0] == "1: 1.00 to 10.75 s"


def test_what_does_not_vary_has_no_row(table):
    groups_scored = breakdown(table.assign(style="", gender="F", duration=1.0, session="", spk_id="a"))
    assert groups_scored.empty and list(groups_scored.columns) == ["by", "group", "n", "wa", "ua", "f1", "wer", "cer"]


def test_quarters_that_round_to_the_same_figures_stay_separate(table):
    groups_scored = breakdown(table.assign(duration=[1 + i / 10_000 for i in range(40)]))
    assert groups_scored[groups_scored["by"] == "duration"]["n"].tolist() == [10] * 4
    of_two = breakdown(table.assign(duration=[1.0] * 30 + [2.0] * 10))  # 1 s is the first three quartiles
    assert of_two[of_two["by"] == "duration"]["n"].tolist() == [30, 10]


def test_a_page_shows_no_more_groups_than_can_be_read(table):
    every = breakdown(table)
    few, notes = shown_groups(every)
    assert few.equals(every) and notes == []
    columns = {"duration": 1.0, "fold": "f", "session": "", "style": "", "gender": ["F", "M"] * (MOST_GROUPS + 1)}
    many = predicted(MOST_GROUPS + 1, 2, 3).assign(**columns)
    few, notes = shown_groups(breakdown(many))
    assert few["by"].tolist() == ["gender", "gender"]
    assert notes == ["By speaker there are 101 groups: see breakdown.csv."]

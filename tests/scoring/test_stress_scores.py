"""Scores by case: against counts by hand, and against the tests of all tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from random_predictions import predicted

from local.core.conditions import CLEAN, INAUDIBLE, Case
from local.scoring import stats
from local.scoring.stress_scores import ANY, inaudible_changes, share_interval, stress_scores

WHITE, MP3 = Case("white", 0), Case("mp3", 8)


def cases(text: bool = True) -> dict[Case, pd.DataFrame]:
    """The same utterances, with 60, 40 and 60 per cent right; the transcripts of all are lost in one."""
    drop = [] if text else ["wrd_hyp"]
    tables = [predicted(8, 10, 1, accuracy).drop(columns=drop) for accuracy in (0.6, 0.4, 0.6)]
    if text:
        tables[1]["wrd_hyp"] = ""
    return dict(zip((CLEAN, WHITE, MP3), tables, strict=True))


def test_scores_and_differences_by_hand():
    every = cases()
    found = stress_scores(every).set_index(["condition", "strength"])
    assert [*found.index] == [("clean", 0), ("white", 0), ("mp3", 8)]
    for case, table in every.items():
        row = found.loc[tuple(case)]
        right = sum(table["emo"] == table["emo_hyp"])
        assert row["wa"] == right / 80 and row["n"] == 80 and row["wa_low"] < row["wa"] < row["wa_high"]
        recalls = [(one["emo"] == one["emo_hyp"]).mean() for _, one in table.groupby("emo")]
        assert row["ua"] == pytest.approx(np.mean(recalls))
        other = sum(table["emo_hyp"].to_numpy() != every[CLEAN]["emo_hyp"].to_numpy())
        assert row["changed"] == other / 80
        assert row["wa_diff"] == pytest.approx(row["wa"] - found["wa"].iloc[0], nan_ok=case == CLEAN) or case == CLEAN
    assert found["wer"].iloc[1] == 1.0 and found["wer_diff"].iloc[1] == pytest.approx(1 - found["wer"].iloc[0])
    assert found["changed"].tolist()[::2] == [0, 0] and found["p_wa"].iloc[2] == 1  # MP3 has changed nothing
    assert found[["wa_diff", "p_wa", "p_wa_holm"]].iloc[0].isna().all()
    expected = stats.differences(every[CLEAN], every[WHITE])["wa"]
    assert (found["p_wa"].iloc[1], found["wa_diff_low"].iloc[1]) == (expected.p, expected.low)
    assert found["p_wa_holm"].iloc[1] == pytest.approx(2 * expected.p)  # of two cases


def test_without_text_there_is_no_wer():
    found = stress_scores(cases(text=False))
    assert found["wer"].isna().all() and found["p_wer_holm"].isna().all() and found["wa"].notna().all()


def test_the_interval_of_a_share_is_that_of_an_accuracy():
    table = predicted(8, 10, 3)
    right = (table["emo"] == table["emo_hyp"]).to_numpy()
    assert share_interval(table, right) == pytest.approx(stats.intervals(table)["wa"])


def test_changes_that_nobody_hears():
    clean, every = predicted(8, 10, 1), {}
    for number, case in enumerate(INAUDIBLE):
        table = clean.copy()
        table.loc[number * 2 : number * 2 + 1, "emo_hyp"] = "other"  # two answers each
        every[case] = table
    found = inaudible_changes({CLEAN: clean} | every).set_index("change")
    assert found["changed"].tolist() == [2 / 80] * 4 + [8 / 80] and found.index[-1] == ANY
    assert found.index[1] == "white noise, 60 dB SNR"
    assert (found["changed_low"] <= found["changed"]).all() and (found["changed_high"] >= found["changed"]).all()
    assert inaudible_changes({CLEAN: clean}).empty
    for many, lines in ((1, 1), (2, 3)):  # of one alone there is no "any"
        few = {case: every[case] for case in INAUDIBLE[:many]}
        assert len(inaudible_changes({CLEAN: clean} | few)) == lines

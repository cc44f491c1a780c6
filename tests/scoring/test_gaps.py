"""Gaps between groups and how they move: by hand, against statsmodels' formula written out, and in simulations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy
from random_predictions import predicted

from local.core.conditions import CLEAN, Case
from local.scoring import stats
from local.scoring.gaps import gaps

WHITE = Case("white", 0)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(stats, "RESAMPLES", 499)


def table(women: float, men: float, seed: int = 1, speakers: int = 10, each: int = 40) -> pd.DataFrame:
    """Speakers of whom every second is a woman, with these accuracies; every third utterance is long, and one short."""
    accuracies = np.where(np.arange(speakers) % 2, men, women)
    made = predicted(speakers, each, seed, accuracies)
    made["gender"] = np.where(made["spk_id"].str[1:].astype(int) % 2, "M", "F")
    return made.assign(duration=[1.0 + number % 3 for number in range(len(made))])


def wa(some: pd.DataFrame) -> float:
    return (some["emo"] == some["emo_hyp"]).mean()


def rows(found: pd.DataFrame, by: str, score: str = "wa") -> pd.DataFrame:
    return found[(found["by"] == by) & (found["score"] == score)].set_index("condition")


def test_gaps_and_changes_by_hand():
    clean, noisy = table(0.8, 0.6), table(0.7, 0.3)
    found = gaps({CLEAN: clean, WHITE: noisy})
    gender, duration = rows(found, "gender"), rows(found, "duration")
    for name, each in (("clean", clean), ("white", noisy)):
        women, men = each[each["gender"] == "F"], each[each["gender"] == "M"]
        assert gender.loc[name, "gap"] == pytest.approx(wa(women) - wa(men))
        long, short = each[each["duration"] == 3], each[each["duration"] == 1]
        assert duration.loc[name, "gap"] == pytest.approx(wa(long) - wa(short))
    for each in (gender, duration):
        assert each.loc["white", "change"] == pytest.approx(each.loc["white", "gap"] - each.loc["clean", "gap"])
        assert each.loc["white", "change_low"] < each.loc["white", "change"] < each.loc["white", "change_high"]
        assert np.isnan(each.loc["clean", "change"]) and np.isnan(each.loc["white", "p"])
    assert gender.loc["clean", "p"] < 0.05 and gender.loc["white", "p_change"] < 0.05
    assert duration.loc["clean", "p"] > 0.05
    assert set(found["score"]) == {"wa", "ua", "wer"} and len(found) == 2 * (3 + 3 + 1)


def test_holm_is_over_kinds_and_scores_and_over_cases():
    clean = table(0.8, 0.6)
    found = gaps({CLEAN: clean, WHITE: table(0.7, 0.3), Case("white", 5): clean})
    known = found.dropna(subset=["p"])
    smallest = known["p"].min()
    assert len(known) == 7 and known["p_holm"].min() == pytest.approx(min(1, 7 * smallest))
    gender = found[(found["by"] == "gender") & (found["score"] == "wa")]
    assert gender["p_change_holm"].min() == pytest.approx(2 * gender["p_change"].min())
    same = gender.iloc[2]
    assert (same["change"], same["p_change"]) == (0, 1)


def test_the_spread_of_speakers_is_a_variance_component():
    made = table(0.9, 0.5)
    found = rows(gaps({CLEAN: made}), "speaker")
    right = (made["emo"] == made["emo_hyp"]).astype(float)
    groups = [each.to_numpy() for _, each in right.groupby(made["spk_id"])]
    between = 40 * np.var([each.mean() for each in groups], ddof=1)
    within = np.mean([np.var(each, ddof=1) for each in groups])
    assert found.loc["clean", "gap"] == pytest.approx(np.sqrt((between - within) / 40))
    assert found.loc["clean", "p"] == pytest.approx(scipy.stats.f_oneway(*groups).pvalue)
    assert found.loc["clean", "gap"] == pytest.approx(0.2, abs=0.08)
    equal = rows(gaps({CLEAN: table(0.6, 0.6)}), "speaker").loc["clean"]
    assert equal["gap"] < 0.06 and equal["p"] > 0.05
    constant = rows(gaps({CLEAN: table(1, 0)}), "speaker").loc["clean"]  # nothing varies within speakers
    assert constant["gap"] == pytest.approx(np.std([0, 1] * 5, ddof=1)) and np.isnan(constant["p"])


def test_speakers_spread_over_the_means_of_seeds():
    one, other = table(0.9, 0.5), table(0.9, 0.5, seed=2)
    both = pd.concat([one, other.assign(seed=2)], ignore_index=True)
    found = rows(gaps({CLEAN: both}), "speaker")
    right = [(each["emo"] == each["emo_hyp"]).to_numpy().reshape(10, 40) for each in (one, other)]
    mean = np.mean(right, axis=0)  # [speakers, utterances]: 0, 1/2 or 1
    within = mean.var(1, ddof=1).mean()
    assert found.loc["clean", "gap"] == pytest.approx(np.sqrt(mean.mean(1).var(ddof=1) - within / 40))


def test_the_order_of_rows_means_nothing(monkeypatch):
    monkeypatch.setattr(stats, "RESAMPLES", 99)
    made = table(0.8, 0.6, each=4)
    pd.testing.assert_frame_equal(gaps({CLEAN: made[::-1]}), gaps({CLEAN: made}))


def test_seeds_do_not_count_an_utterance_twice():
    one = table(0.9, 0.5)
    twice = pd.concat([one, one.assign(seed=2)], ignore_index=True)
    for by in ("speaker", "gender"):
        single, double = (rows(gaps({CLEAN: each}), by).loc["clean"] for each in (one, twice))
        assert single["gap"] == pytest.approx(double["gap"]) and single["p"] == pytest.approx(double["p"])


def test_an_utterance_of_two_seeds_does_not_move_what_is_long():
    """Of the first seed all are tested, of the second one fold, of long utterances."""
    one = table(0.9, 0.5)
    more = one[one["duration"] > 2].assign(seed=2)
    clean = rows(gaps({CLEAN: pd.concat([one, more], ignore_index=True)}), "duration").loc["clean", "gap"]
    both = pd.concat([one[one["duration"] == 3], more[more["duration"] == 3]])
    assert clean == pytest.approx(wa(both) - wa(one[one["duration"] == 1]))


@pytest.mark.parametrize(("unknown", "known"), [(2, False), (1, True)])
def test_few_clusters_of_two_groups_have_no_interval(unknown, known):
    """Of six speakers: two women and two men are fewer than the five that an interval wants."""
    made = table(0.8, 0.6, speakers=6)
    made.loc[made["spk_id"].isin(["s05", "s04"][:unknown]), "gender"] = ""
    found = rows(gaps({CLEAN: made}), "gender").loc["clean"]
    assert found[["gap_low", "gap_high", "p"]].notna().tolist() == [known] * 3


@pytest.mark.parametrize(("those", "known"), [(1, False), (2, False), (3, True)])
def test_few_clusters_with_both_groups_have_no_interval_either(those, known):
    """Women and men in each of so many of six clusters, men in the others: of two, 9 % of the draws have no woman."""
    made = table(0.8, 0.6, speakers=6)
    within = made["spk_id"].isin(["s00", "s01", "s02"][:those]) & (made.index % 2 == 0)
    made["gender"] = np.where(within, "F", "M")
    found = rows(gaps({CLEAN: made, WHITE: made}), "gender")
    assert found.loc["clean", ["gap_low", "gap_high", "p"]].notna().tolist() == [known] * 3
    assert found.loc["white", ["change_low", "change_high", "p_change"]].notna().tolist() == [known] * 3


def test_what_is_not_known_has_no_rows_and_few_speakers_no_interval():
    unknown = table(0.8, 0.6).assign(gender="", spk_id="", recording="")
    assert set(gaps({CLEAN: unknown})["by"]) == {"duration"}
    assert gaps({CLEAN: unknown.assign(duration=1.0)}).empty
    few = table(0.8, 0.6, speakers=3).assign(recording="")  # utterances are drawn, and speakers are not
    found = gaps({CLEAN: few})
    assert rows(found, "gender")["gap_low"].notna().all() and rows(found, "speaker")["gap_low"].isna().all()
    assert rows(found, "speaker").loc["clean", "p"] < 1
    alone = table(0.8, 0.6, speakers=6)
    alone["gender"] = np.where(alone["spk_id"] == "s00", "F", "M")  # one woman does not tell how women differ
    assert rows(gaps({CLEAN: alone}), "gender")[["gap_low", "p"]].isna().all(axis=None)
    assert "wer" not in set(gaps({CLEAN: table(0.8, 0.6).drop(columns="wrd_hyp")})["score"])


@pytest.mark.slow
def test_intervals_of_a_gap_hold_what_they_promise():
    chance, hits = np.random.default_rng(5), 0
    for seed in range(100):
        accuracies = np.clip(0.6 + 0.1 * chance.normal(size=10), 0, 1)
        made = predicted(10, 30, seed, accuracies).assign(duration=1.0)
        made["gender"] = np.where(made["spk_id"].str[1:].astype(int) % 2, "M", "F")
        row = rows(gaps({CLEAN: made}), "gender").loc["clean"]
        hits += row["gap_low"] <= 0 <= row["gap_high"]
    assert hits >= 92  # no fewer than 95 of 100, but for chance

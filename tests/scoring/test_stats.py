"""Intervals, paired tests and corrections against exact enumeration, libraries, printed examples and simulation."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest
from random_predictions import predicted
from scipy import stats as scipy_stats

from local.scoring import metrics, stats


def rates(table: pd.DataFrame) -> list[float]:
    result = metrics.scores(table)
    return [np.nan if result[name] is None else result[name] for name in stats.TALLIED]


# ---------------------------------------------------------------- the sums


@pytest.mark.parametrize("seed", range(3))
def test_rates_of_sums_are_the_scores(seed):
    table = predicted(6, 7, seed).iloc[4:]  # of the first speaker three
    tallies = stats.Tallies.of(table, table["spk_id"])
    assert tallies.rates(tallies.sums.sum(0)).tolist() == pytest.approx(rates(table), abs=1e-14)


def test_rates_of_a_resample_are_the_scores_of_its_utterances():
    table = predicted(5, 3, 4)  # few: classes are absent from some speakers
    tallies = stats.Tallies.of(table, table["spk_id"])
    drawn = np.array([[0, 0, 3, 3, 3], [4, 4, 4, 4, 4], [0, 1, 2, 3, 4]])
    result = tallies.resampled(drawn)
    for column, one in enumerate(drawn):
        again = pd.concat([table[table["spk_id"] == f"s{i:02}"] for i in one])
        assert result[:, column].tolist() == pytest.approx(rates(again), abs=1e-14)


def test_edits_are_those_that_the_rates_count():
    table = predicted(3, 20, 9)
    counts = metrics.edits(table["wrd"], table["wrd_hyp"]).sum()
    result = metrics.error_rates(table)
    assert counts["word_edits"] / counts["words"] == result["wer"]
    assert counts["char_edits"] / counts["chars"] == result["cer"]
    assert (
        metrics.edits(table["wrd"][::-1], table["wrd_hyp"][::-1])
        .sort_index()
        .equals(metrics.edits(table["wrd"], table["wrd_hyp"]))
    )
    assert metrics.edits(pd.Series(["", "A"]), pd.Series(["B C", ""])).to_numpy().tolist() == [[0] * 4, [1] * 4]


# ---------------------------------------------------------------- whom to draw


def test_speakers_are_drawn_where_there_are_five():
    assert stats.clusters(predicted(5, 2, 1))[1] == "speaker"


def test_recordings_are_drawn_where_speakers_are_few_and_utterances_where_both_are():
    table = predicted(4, 5, 1)
    assert stats.clusters(table)[1] == "utterance"
    cluster, kind = stats.clusters(table.assign(recording=[f"r{i % 6}" for i in range(20)]))
    assert kind == "recording" and cluster.nunique() == 6
    assert stats.clusters(table.assign(recording=[f"r{i % 4}" for i in range(20)]))[1] == "utterance"
    assert (
        stats.clusters(predicted(6, 2, 1).assign(spk_id=["", *["a", "b", "c", "d", "e", "f"] * 2][:12]))[1] != "speaker"
    )


def test_too_few_of_anything_have_no_interval():
    result = stats.intervals(predicted(1, 4, 1))
    assert all(np.isnan(bound) for pair in result.values() for bound in pair)


# ---------------------------------------------------------------- the interval


@pytest.mark.filterwarnings("error")
def test_a_figure_that_some_resamples_lack_has_interval_and_p_or_neither():
    values = np.linspace(-1, 2, 20)

    def means(drawn: np.ndarray) -> np.ndarray:  # of all clusters, of the first 4, of the first alone
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return np.stack([np.nanmean(np.where(drawn < size, values[drawn], np.nan), -1) for size in (20, 4, 1)])

    low, high, distribution = stats.bootstrap(20, means)
    lacking = np.isnan(distribution).mean(1)
    assert lacking[0] == 0 and lacking[1] == pytest.approx(0.8**20, rel=0.2) and lacking[2] == 1
    of_some = distribution[1][np.isfinite(distribution[1])]
    tail = (1 - stats.level_for(20)) / 2
    assert (low[1], high[1]) == pytest.approx(tuple(np.quantile(of_some, [tail, 1 - tail])))
    assert values[0] <= low[1] < values[:4].mean() < high[1] <= values[3]
    assert np.isnan([low[2], high[2], stats.p_value(values[0], distribution[2], 20)]).all()


def test_the_interval_against_all_ways_to_draw_six_speakers():
    """Its ends are quantiles of the exact bootstrap distribution (46656 draws), at the level that six need."""
    table = predicted(6, 25, 3)
    tallies = stats.Tallies.of(table, table["spk_id"])
    every = tallies.resampled(np.array(list(product(range(6), repeat=6))))
    tail = scipy_stats.norm.cdf(-np.sqrt(6 / 5) * scipy_stats.t.ppf(0.975, 5))
    assert tail == pytest.approx(0.0024, abs=1e-4)
    for place, (low, high) in enumerate(stats.intervals(table).values()):
        for bound, wanted in ((low, tail), (high, 1 - tail)):
            below, up_to = (every[place] < bound - 1e-12).mean(), (every[place] <= bound + 1e-12).mean()
            assert below - 0.0015 <= wanted <= up_to + 0.0015


def test_the_level_is_a_t_interval_when_the_mean_is_normal():
    """For a mean of n values the expanded interval is Student's: percentiles of N(m, s^2 (n - 1) / n^2)."""
    for n in (5, 10, 40):
        values = np.random.default_rng(n).normal(size=n)
        spread = values.std(ddof=1) * np.sqrt((n - 1) / n) / np.sqrt(n)
        low = scipy_stats.norm.ppf((1 - stats.level_for(n)) / 2, values.mean(), spread)
        students = scipy_stats.t.interval(0.95, n - 1, values.mean(), scipy_stats.sem(values))
        assert low == pytest.approx(students[0], abs=1e-12)


@pytest.mark.parametrize("at_a_time", [1, 2, 700])
def test_memory_may_be_little(monkeypatch, at_a_time):
    """The same clusters are drawn, however many resamples are drawn together."""
    table = predicted(6, 4, 3)
    monkeypatch.setattr(stats, "RESAMPLES", 1499)
    usual = stats.intervals(table)
    monkeypatch.setattr(stats, "BATCH", 6 * at_a_time)
    assert stats.intervals(table) == usual


@pytest.mark.slow
def test_coverage_by_simulation(monkeypatch):
    """Ten speakers who differ (sd .12): the 95 % interval holds the truth 95 times of 100, plain percentiles fewer."""
    monkeypatch.setattr(stats, "RESAMPLES", 1999)
    chance = np.random.default_rng(11)
    trials, held, plain = 300, 0, 0
    for trial in range(trials):
        accuracy = np.clip(chance.normal(0.6, 0.12, size=10), 0, 1)
        table = predicted(10, 40, 1000 + trial, accuracy, text=False)
        low, high = stats.intervals(table)["wa"]
        held += low <= 0.6 <= high
        tallies = stats.Tallies.of(table, table["spk_id"])
        drawn = tallies.resampled(chance.integers(10, size=(1999, 10)))[0]
        plain += np.quantile(drawn, 0.025) <= 0.6 <= np.quantile(drawn, 0.975)
    # Three standard errors of a share of .95 in 300 trials are .038.
    assert abs(held / trials - 0.95) < 0.038
    assert plain < held


def test_utterances_of_a_speaker_are_drawn_together():
    """Speakers all right or all wrong: the interval knows six speakers, not 600 utterances."""
    table = predicted(6, 100, 1, np.array([1, 1, 1, 0, 0, 0]))
    by_speaker = np.subtract(*stats.intervals(table)["wa"][::-1])
    by_utterance = np.subtract(*stats.intervals(table.assign(spk_id=""))["wa"][::-1])
    assert by_speaker > 0.8 and by_utterance == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 600), rel=0.1)


def test_without_transcripts_there_is_an_interval_of_wa_and_none_of_wer():
    result = stats.intervals(predicted(6, 10, 1, text=False))
    assert result["wa"][0] < result["wa"][1] and np.isnan(result["wer"]).all() and np.isnan(result["cer"]).all()


# ---------------------------------------------------------------- differences


def test_a_paired_difference_draws_the_same_speakers_for_both():
    """B is right where A is, and twice more with every speaker: hard speakers do not widen the difference."""
    a = predicted(8, 40, 5, np.linspace(0.2, 0.9, 8))
    b = a.copy()
    for _, wrong in a[a["emo"] != a["emo_hyp"]].groupby("spk_id"):
        b.loc[wrong.index[:2], "emo_hyp"] = a["emo"]
    result = stats.differences(a, b)["wa"]
    assert (result.estimate, result.low, result.high) == pytest.approx((2 / 40,) * 3)
    assert result.p < 0.001
    none = stats.differences(a, a)["wa"]
    assert (none.estimate, none.low, none.high) == (0, 0, 0) and none.p == pytest.approx(1)


def test_a_difference_changes_sign_with_its_order():
    a, b = predicted(9, 30, 1, 0.6), predicted(9, 30, 1, 0.7)
    b[["emo", "wrd"]] = a[["emo", "wrd"]]
    there, back = stats.differences(a, b), stats.differences(b, a)
    for name in stats.TALLIED:
        assert there[name].estimate == pytest.approx(-back[name].estimate)
        assert (there[name].low, there[name].high) == pytest.approx((-back[name].high, -back[name].low))
        assert there[name].p == pytest.approx(back[name].p)


def test_p_is_five_in_a_hundred_where_the_interval_touches_zero():
    for n in (5, 10, 200):
        tail = (1 - stats.level_for(n)) / 2
        size = 400_000
        below = round(tail * (size + 1)) - 1
        distribution = np.concatenate([np.full(below, -1.0), np.full(size - below, 1.0)])
        assert stats.p_value(1.0, distribution, n) == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize("beyond", [4, 5, 6])
def test_fewer_than_five_resamples_beyond_zero_count_as_five(beyond):
    distribution = np.repeat([-1.0, 1.0], [beyond, 1000 - beyond])
    z = scipy_stats.norm.ppf(max(beyond, 5) / 1000)
    p = 2 * scipy_stats.t.cdf(z * np.sqrt(9 / 10), 9)
    assert stats.p_value(0.01, distribution, 10) == pytest.approx(p) == stats.p_value(-0.01, -distribution, 10)


def test_p_is_below_five_in_a_hundred_where_the_interval_leaves_out_zero():
    """Of five clusters no resample is beyond 0 if all have one sign, however unlike they are."""
    for values in (np.array([0.02, 0.02, 0.02, 0.02, 0.4]), np.array([-0.02, 0.02, 0.02, 0.02, 0.4])):
        low, high, drawn = stats.bootstrap(5, lambda chosen, values=values: values[chosen].mean(-1)[None])
        p = stats.p_value(values.mean(), drawn[0], 5)
        assert (p < 0.05) == (not low[0] <= 0 <= high[0]) == (values.min() > 0)


def test_a_small_p_is_students():
    """Far from 0, where no resample lies beyond it, p is the t test's, as the bootstrap's sd is that of the mean."""
    values = np.random.default_rng(5).normal(2, 1, size=10)
    drawn = values[np.random.default_rng(6).integers(10, size=(9999, 10))].mean(1)
    assert (drawn > 0).all()
    p = stats.p_value(values.mean(), drawn, 10)
    assert np.log(p) == pytest.approx(np.log(scipy_stats.ttest_1samp(values, 0).pvalue), abs=0.3)


def test_p_of_equal_systems_is_uniform():
    """Two systems alike: p falls below .05 about 5 times of 100 (200 seeded trials, 3 standard errors)."""
    chance = np.random.default_rng(2)
    low = 0
    for _ in range(200):
        differences = chance.normal(size=10)
        drawn = differences[chance.integers(10, size=(999, 10))].mean(1)
        low += stats.p_value(differences.mean(), drawn, 10) < 0.05
    assert abs(low / 200 - 0.05) < 0.046


# ---------------------------------------------------------------- named tests


def test_mcnemar_worked_by_hand():
    # 1 for A alone, 5 for B alone: 2 (C(6,0) + C(6,1)) / 2^6
    a = np.array([True] * 3 + [True] + [False] * 5 + [False] * 4)
    b = np.array([True] * 3 + [False] + [True] * 5 + [False] * 4)
    assert stats.mcnemar(a, b) == pytest.approx(2 * (1 + 6) / 64) == stats.mcnemar(b, a)
    assert stats.mcnemar(a, a) == 1


def test_matched_pairs_worked_by_hand():
    # differences 1 0 2 1 1: mean 1, sd sqrt(1/2), t = 1 / sqrt(.5 / 5) = sqrt(10) with 4 degrees of freedom
    a, b = np.array([3, 1, 4, 2, 2]), np.array([2, 1, 2, 1, 1])
    assert stats.matched_pairs(a, b) == pytest.approx(2 * scipy_stats.t.sf(np.sqrt(10), 4))
    assert stats.matched_pairs(a, a) == 1 and stats.matched_pairs(a, a + 2) == 0
    assert np.isnan(stats.matched_pairs(a[:1], b[:1]))


def test_holm_worked_by_hand():
    # Sorted: .005 x 4 = .02, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 = .04 -> .06
    result = stats.holm(pd.Series([0.01, 0.04, np.nan, 0.03, 0.005], index=list("abcde")))
    assert result.to_dict() == pytest.approx({"a": 0.03, "b": 0.06, "c": np.nan, "d": 0.06, "e": 0.02}, nan_ok=True)
    assert stats.holm(pd.Series([0.6, 0.7])).tolist() == [1, 1]

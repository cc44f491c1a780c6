"""Temperature, ECE with its interval, risk against coverage: against scipy, by hand, and against other code here."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from local.core.errors import UserError
from local.scoring import calibration, metrics, stats
from local.scoring.calibration import Temperature

LABELS = ("ang", "hap", "neu", "sad")


def made(n: int = 400, sharpness: float = 3.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """[n, 4] logits that are `sharpness` times too large, and [n] the truth, drawn with what would be right."""
    chance = np.random.default_rng(seed)
    logits = chance.normal(0, 1.5, (n, len(LABELS)))
    truth = np.array([chance.choice(len(LABELS), p=each) for each in softmax(logits, 1)])
    return sharpness * logits, truth


def table(posteriors: np.ndarray, truth: np.ndarray, **columns: object) -> pd.DataFrame:
    named = {f"p_{label}": column for label, column in zip(LABELS, posteriors.T, strict=True)}
    emotions = {"emo": np.array(LABELS)[truth], "emo_hyp": np.array(LABELS)[posteriors.argmax(1)]}
    return pd.DataFrame({"ID": [f"u{i:03d}" for i in range(len(truth))], **emotions, **named, **columns})


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_is_scipy_s_optimum_on_logits(sharpness):
    logits, truth = made(sharpness=sharpness)

    def loss(temperature: float) -> float:
        return -log_softmax(logits / temperature, 1)[range(len(truth)), truth].mean()

    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9}).x
    assert calibration.fit(softmax(logits, 1), truth) == pytest.approx(best, rel=1e-3)
    assert best == pytest.approx(sharpness, rel=0.25)


def test_it_ends_where_a_validation_set_has_no_optimum():
    sure = softmax(np.eye(4)[[0, 1, 2, 3]], 1)
    assert calibration.fit(sure, np.arange(4)) == calibration.LEAST  # without a mistake: the surer the better
    assert calibration.fit(sure, np.array([1, 2, 3, 0])) == calibration.MOST  # always wrong
    assert np.isfinite(calibration.fit(np.eye(4), np.array([0, 1, 2, 0])))  # posteriors of 0, as of `majority`


def test_scaled_posteriors_are_those_of_scaled_logits_and_change_no_prediction():
    logits, _ = made(sharpness=1.5)
    posteriors = softmax(logits, 1)
    np.testing.assert_allclose(calibration.scaled(posteriors, 2.5), softmax(logits / 2.5, 1), atol=1e-6)
    np.testing.assert_allclose(calibration.scaled(posteriors, 1), posteriors, atol=1e-7)
    each = np.linspace(0.3, 3, len(posteriors))[:, None]
    assert (calibration.scaled(posteriors, each).argmax(1) == posteriors.argmax(1)).all()


def test_each_run_has_its_own():
    posteriors = np.array([[0.7, 0.1, 0.1, 0.1]] * 3)
    pooled = table(posteriors, np.zeros(3, int), seed=[1, 1, 2], fold=["a", "b", "a"])
    found = calibration.calibrated(pooled, {(1, "a"): 2.0, (1, "b"): 0.5})["p_ang"].tolist()
    roots = np.sqrt([0.7, 0.1])
    assert found[0] == pytest.approx(roots[0] / (roots[0] + 3 * roots[1]))
    assert found[1] == pytest.approx(0.49 / (0.49 + 3 * 0.01)) and found[2] == pytest.approx(0.7)
    assert pooled["p_ang"].tolist() == [0.7] * 3


def test_a_risk_coverage_curve_by_hand():
    confidence, correct = np.array([0.6, 0.9, 0.7, 0.8]), np.array([True, True, True, False])
    np.testing.assert_allclose(calibration.risk_coverage(confidence, correct), [0, 1 / 2, 1 / 3, 1 / 4])
    assert calibration.aurc(confidence, correct) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    # Two that are equally sure, one of them wrong: half an error each, in whichever order they come.
    tied = np.array([0.9, 0.9, 0.5])
    for order in ([True, False, False], [False, True, False]):
        np.testing.assert_allclose(calibration.risk_coverage(tied, np.array(order)), [0.5, 0.5, 2 / 3])


def test_ece_with_temperature_by_hand():
    """Three of four are right at a confidence of 0.9; with T that makes 0.7 of it, the distance is 0.05."""
    posteriors = np.array([[0.9, 0.1 / 3, 0.1 / 3, 0.1 / 3]] * 4)
    pooled = table(posteriors, np.array([0, 0, 0, 1]), seed=1, fold="a", spk_id="", recording="")
    ratio = np.log(0.9 / (0.1 / 3)) / np.log(0.7 / 0.1)
    tables = {"raw": pooled, "scaled": calibration.calibrated(pooled, {(1, "a"): ratio})}
    found = calibration.figures(tables)
    assert found["ece"].tolist() == pytest.approx([0.15, 0.05, -0.1])
    assert found["nll"].iloc[1] == pytest.approx(-(3 * np.log(0.7) + np.log(0.1)) / 4)
    assert found["aurc"].tolist()[:2] == pytest.approx([0.25, 0.25]) and np.isnan(found["low"]).all()


def test_the_interval_is_of_the_same_figure_and_paired(monkeypatch):
    logits, truth = made(600)
    speakers = np.array([f"s{i % 12}" for i in range(len(truth))])
    raw = table(softmax(logits, 1), truth, seed=1, fold="a", spk_id=speakers, recording="")
    scaled = calibration.calibrated(raw, {(1, "a"): 3.0})
    asked = []
    monkeypatch.setattr(stats, "RESAMPLES", 999)
    bootstrap = stats.bootstrap
    monkeypatch.setattr(stats, "bootstrap", lambda n, rates: asked.append((n, rates)) or bootstrap(n, rates))
    ends = calibration.ece_intervals([raw, scaled])
    (n, rates), eces = asked[0], [metrics.calibration_scores(each)["ece"] for each in (raw, scaled)]
    assert n == 12
    np.testing.assert_allclose(rates(np.arange(12)[None])[:, 0], [*eces, eces[1] - eces[0]])
    # A resample by hand: the first speaker twice in place of the last.
    drawn = [0, 0, *range(1, 11)]
    names = sorted(set(speakers))
    by_hand = [pd.concat([each[speakers == names[i]] for i in drawn], ignore_index=True) for each in (raw, scaled)]
    again = [metrics.calibration_scores(each)["ece"] for each in by_hand]
    np.testing.assert_allclose(rates(np.array([drawn]))[:2, 0], again)
    assert (ends[:, 0] < ends[:, 1]).all() and eces[1] < eces[0] and ends[2, 1] < 0
    named = calibration.figures({"raw": raw, "scaled": scaled})[["low", "high"]]
    assert [*named.index] == ["raw", "scaled", "difference"] and (named == ends).all(axis=None)


def test_the_interval_of_a_small_error_holds_it(monkeypatch):
    """Of a calibrated model and few utterances an ECE is noise, and those of resamples have more of it."""
    logits, truth = made(96)
    speakers = np.array([f"s{i % 12}" for i in range(len(truth))])
    found = table(softmax(logits / 3, 1), truth, seed=1, fold="a", spk_id=speakers, recording="")
    kept, bootstrap = [], stats.bootstrap
    monkeypatch.setattr(stats, "bootstrap", lambda *words: kept.append(bootstrap(*words)) or kept[0])
    (low, high), ece = calibration.ece_intervals([found])[0], metrics.calibration_scores(found)["ece"]
    bias = kept[0][2][0].mean() - ece
    assert bias > 0.02 and 0 <= low < ece < high
    assert high == pytest.approx(kept[0][1][0] - bias) and low == pytest.approx(max(0, kept[0][0][0] - bias))


def test_an_interval_begins_at_0_at_the_least_and_a_likelihood_has_an_end():
    chance = np.random.default_rng(0)
    right = np.tile([0, 0, 0, 1], 300)  # three of four are right at a confidence of 0.75, whoever speaks
    posteriors = np.array([[0.75, 0.25, 0, 0]] * len(right))
    speakers = chance.permutation(np.repeat([f"s{i:02}" for i in range(40)], 30))
    found = table(posteriors, right, seed=1, fold="a", spk_id=speakers, recording="")
    low, high = calibration.ece_intervals([found])[0]
    assert metrics.calibration_scores(found)["ece"] == pytest.approx(0) and low == 0 < high
    assert calibration.nll(posteriors, np.full(len(right), 2)) == pytest.approx(-np.log(5e-9))


def test_how_many_are_answered_and_how_many_of_them_are_right():
    posteriors = np.array([[0.9, 0.05, 0.03, 0.02], [0.6, 0.2, 0.1, 0.1], [0.5, 0.3, 0.1, 0.1]])
    found = calibration.answered(table(posteriors, np.array([0, 1, 0])), [0.5, 0.6, 0.7, 0.95])
    assert found["answered"].tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert found["wa"].tolist() == pytest.approx([2 / 3, 1 / 2, 1, np.nan], nan_ok=True)


def test_it_is_kept_in_the_run_folder(tmp_path):
    logits, truth = made(50)
    found = calibration.of_validation(table(softmax(logits, 1), truth), "partner", 7)
    assert (found.n, found.valid, found.epoch) == (50, "partner", 7) and found.nll_scaled < found.nll
    assert Temperature.read(tmp_path) is None
    assert found.write(tmp_path).name == "temperature.json" and Temperature.read(tmp_path) == found
    for damaged in ("{", "[]", "{}", json.dumps(asdict(found) | {"value": 0})):
        (tmp_path / "temperature.json").write_text(damaged)
        with pytest.raises(UserError, match=r"temperature\.json is damaged"):
            Temperature.read(tmp_path)

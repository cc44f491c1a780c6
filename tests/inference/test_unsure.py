"""Thresholds and temperatures of a model in use."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax

from local.core.errors import UserError
from local.inference.unsure import NO_TEMPERATURE, Confidence, threshold


@pytest.mark.parametrize("word", ["high", "nan", "0", "1", "-0.5", "60", "1.5", "inf", ""])
def test_a_bad_threshold_is_refused(word):
    with pytest.raises(UserError, match="is not a probability between 0 and 1") as refusal:
        threshold(word)
    assert ("0.6 for 60 %" in refusal.value.remedy) == (word == "60")


def test_the_highest_posterior_with_a_temperature(caplog):
    model = SimpleNamespace(labels=["ang", "hap", "sad"], temperature=2.0, emotions_trained=True)
    sure = Confidence.of(model, "0.5")
    assert (sure.threshold, sure.temperature, caplog.text) == (0.5, 2.0, "")
    logits = np.array([3.0, 1.0, -2.0])
    posteriors = dict(zip(model.labels, softmax(logits).tolist(), strict=True))
    assert sure.highest(posteriors) == pytest.approx(softmax(logits / 2).max(), abs=1e-6)
    assert Confidence.of(model, None) is None


def test_a_model_of_before_has_none_and_it_is_said(caplog):
    model = SimpleNamespace(labels=["ang", "sad"], temperature=None, emotions_trained=True)
    assert Confidence.of(model, 0.7).highest({"ang": 0.625, "sad": 0.375}) == 0.625
    assert NO_TEMPERATURE in caplog.text


def test_a_threshold_that_nothing_can_be_below_is_refused():
    with pytest.raises(UserError, match=r"the highest of 4 posteriors is never below 0\.25"):
        Confidence.of(SimpleNamespace(labels=[*"abcd"], temperature=1.5, emotions_trained=True), 0.25)


def test_a_threshold_for_emotions_that_were_not_trained_is_refused():
    model = SimpleNamespace(labels=[*"abcd"], temperature=1.5, emotions_trained=False)
    with pytest.raises(UserError, match=r"--unsure 0\.6: the emotion head of the model was not trained") as refusal:
        Confidence.of(model, 0.6)
    assert refusal.value.remedy == "leave it out" and Confidence.of(model, None) is None

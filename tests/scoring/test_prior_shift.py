"""Posteriors for equal shares of the classes, against Bayes' rule by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from local.scoring.prior_shift import with_equal_shares


def frame(posteriors: list[list[float]]) -> pd.DataFrame:
    table = pd.DataFrame(posteriors, columns=["p_ang", "p_sad"])
    return table.assign(ID=[str(i) for i in range(len(table))], emo="ang", emo_hyp="?")


def test_by_hand():
    # 0.6 : 0.4 of a training set of 3 : 1 has likelihoods as 0.2 : 0.4.
    found = with_equal_shares(frame([[0.6, 0.4], [0.9, 0.1]]), {"ang": 300, "sad": 100})
    assert found["p_ang"].tolist() == pytest.approx([1 / 3, 0.75])
    assert found["emo_hyp"].tolist() == ["sad", "ang"]
    assert with_equal_shares(frame([[0.6, 0.4]]), {"ang": 5, "sad": 5})["p_ang"].tolist() == pytest.approx([0.6])


def test_bayes_rule_of_two_gaussians():
    rng = np.random.default_rng(1)
    x = rng.normal(size=50)
    likelihood = np.exp(-0.5 * np.stack([(x - 1) ** 2, (x + 1) ** 2], 1))
    of_training = likelihood * [0.9, 0.1]
    found = with_equal_shares(
        frame((of_training / of_training.sum(1, keepdims=True)).tolist()), {"ang": 0.9, "sad": 0.1}
    )
    right = likelihood / likelihood.sum(1, keepdims=True)
    assert np.allclose(found[["p_ang", "p_sad"]], right, atol=1e-12)
    assert found["emo_hyp"].tolist() == ["ang" if value > 0 else "sad" for value in x]


def test_a_class_without_training_data_counts_as_the_rarest_that_has_some():
    table = frame([[0.6, 0.4]]).assign(p_ang=0.5, p_sad=0.3, p_fea=0.2)
    found = with_equal_shares(table[["ID", "emo", "emo_hyp", "p_ang", "p_fea", "p_sad"]], {"ang": 300, "sad": 100})
    weighed = np.array([0.5 / 300, 0.2 / 100, 0.3 / 100])
    assert found[["p_ang", "p_fea", "p_sad"]].iloc[0].tolist() == pytest.approx(weighed / weighed.sum())

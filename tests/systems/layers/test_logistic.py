"""local.systems.layers.logistic against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from local.systems.layers.logistic import logistic_regression


def classed_rows(rows: int, width: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated rows, whose class can be told from them in part."""
    chance = np.random.default_rng(5)
    labels = chance.integers(classes, size=rows)
    mixed = chance.standard_normal((rows, width)) @ (chance.standard_normal((width, width)) / width**0.5)
    mixed[:, :classes] += np.eye(classes)[labels]
    return torch.from_numpy((mixed - mixed.mean(0)) / mixed.std(0)).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_weights_are_those_of_scikit_learn(C: float) -> None:
    rows, labels = classed_rows(120, 10, 4)
    theirs = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(rows.double().numpy(), labels.numpy())
    weight, bias = logistic_regression(rows, labels, 4, C)
    np.testing.assert_allclose(weight, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(bias, theirs.intercept_, atol=1e-4)
    posteriors = (rows @ weight.T + bias).softmax(1)
    np.testing.assert_allclose(posteriors, theirs.predict_proba(rows.double().numpy()), atol=1e-5)


def test_the_gradient_is_zero_where_it_ends() -> None:
    rows, labels = classed_rows(60, 40, 3)  # any labels of so few rows can be told
    weight, bias = (each.double().requires_grad_() for each in logistic_regression(rows, labels, 3))
    logits = rows.double() @ weight.T + bias
    total = torch.nn.functional.cross_entropy(logits, labels, reduction="sum") + weight.square().sum() / 2
    total.backward()
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 1e-5
    assert abs(bias.sum()) < 1e-6


def test_without_gradients_and_with_a_class_that_none_has() -> None:
    rows, labels = classed_rows(60, 5, 3)
    with torch.no_grad():
        weight, bias = logistic_regression(rows, labels, 4)
        again = logistic_regression(rows, labels, 4)
    assert torch.equal(weight, again[0]) and torch.equal(bias, again[1])
    assert (rows @ weight.T + bias).softmax(1)[:, 3].max() < 1e-4


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e8])
def test_it_ends_whatever_the_features_are_and_says_where_rounding_keeps_it_from_its_end(scale, caplog) -> None:
    rows, labels = classed_rows(60, 5, 3)
    weight, bias = logistic_regression(rows * scale, labels, 3)
    assert weight.isfinite().all() and bias.isfinite().all()
    assert ("are its features standardised?" in caplog.text) == (scale == 1e8)

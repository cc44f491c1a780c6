"""The extreme learning machine, against scikit-learn's ridge regression on the same hidden layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import recall_score
from torch import Tensor

from local.systems.layers.elm import CHOICES, ExtremeLearningMachine, unweighted_accuracy

SIZE, HIDDEN = 30, 80


def vectors(count: int, seed: int, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """Vectors about the centres of four classes of unlike sizes, and the classes."""
    generator = torch.Generator().manual_seed(seed)
    emotions = torch.arange(count).remainder(7).clamp(max=3)
    centres = torch.randn(4, SIZE, generator=torch.Generator().manual_seed(9))
    return 5 + centres[emotions] + 2 * noise * torch.randn(count, SIZE, generator=generator), emotions


@pytest.fixture
def machine() -> ExtremeLearningMachine:
    torch.manual_seed(1)
    return ExtremeLearningMachine(SIZE, 4, HIDDEN)


def hidden_by_hand(machine: ExtremeLearningMachine, x: Tensor, training: Tensor) -> np.ndarray:
    x, training = x.double().numpy(), training.double().numpy()
    z = (x - training.mean(0)) / training.std(0)
    return 1 / (1 + np.exp(-(z @ machine.weight.double().numpy() + machine.bias.double().numpy())))


@torch.no_grad()
def test_the_output_is_that_of_ridge_regression(machine):
    (training, emotions), (other, held_out) = vectors(120, 1), vectors(60, 2)
    choice = machine.solve(training, emotions, (other, held_out))
    rows, others = (hidden_by_hand(machine, each, training) for each in (training, other))
    targets = np.where(np.eye(4)[emotions] > 0, 1.0, -1.0)
    fitted = {c: Ridge(alpha=1 / c, fit_intercept=False, solver="cholesky").fit(rows, targets) for c in CHOICES}
    np.testing.assert_allclose(machine.beta, fitted[choice].coef_.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(machine(other), fitted[choice].predict(others), atol=1e-4)
    # The choice is the first of the best by the mean recall of the validation set.
    recalls = [recall_score(held_out, each.predict(others).argmax(1), average="macro") for each in fitted.values()]
    assert choice == CHOICES[int(np.argmax(recalls))]
    assert len({round(each, 6) for each in recalls}) > 1


@torch.no_grad()
def test_the_exact_solution_is_ridges_to_the_sixth_digit(machine):
    from local.systems.layers.elm import ridge

    x, emotions = vectors(120, 1)
    hidden, targets = hidden_by_hand(machine, x, x), np.where(np.eye(4)[emotions] > 0, 1.0, -1.0)
    for choice in CHOICES:
        found = ridge(torch.from_numpy(hidden.T @ hidden), torch.from_numpy(hidden.T @ targets), choice)
        expected = Ridge(alpha=1 / choice, fit_intercept=False, solver="svd").fit(hidden, targets)
        np.testing.assert_allclose(hidden @ found.numpy(), expected.predict(hidden), atol=1e-6)


@torch.no_grad()
def test_without_a_validation_set_c_is_1_and_it_knows_that_it_is_solved(machine):
    assert not machine.solved and not machine(vectors(3, 1)[0]).any()
    assert machine.solve(*vectors(60, 1), None) == 1.0 and machine.solved
    assert not list(machine.parameters())
    assert machine.weight.abs().max() <= SIZE**-0.5 and machine.bias.abs().max() <= 1


@torch.no_grad()
def test_a_number_that_never_varies_in_training_does_not_decide(machine):
    x, emotions = vectors(60, 1)
    x[:, 0] = 1.0
    machine.solve(x, emotions, None)
    before = machine(x)
    x[:, 0] = 1.0001
    assert (machine(x) - before).abs().max() < 0.1


def test_unweighted_accuracy_of_the_classes_that_there_are():
    scores = torch.eye(4)[torch.tensor([0, 0, 1, 1, 1, 2])]
    assert unweighted_accuracy(scores, torch.tensor([0, 1, 1, 1, 1, 0])) == pytest.approx((0.5 + 0.75) / 2)

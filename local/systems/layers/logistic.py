"""Multinomial logistic regression, solved to convergence."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from torch import Tensor

logger = logging.getLogger(__name__)

MOST_STEPS = 100
TOLERANCE = 1e-9  # of each derivative
DECREASE = 1e-4  # of the loss, as a share of what its slope promises: Armijo's rule
ROUNDING = 1e-11  # share of the loss: where a slope promises less, rounding hides whether a step helps


def logistic_regression(features: Tensor, classes: Tensor, n_classes: int, C: float = 1.0) -> tuple[Tensor, Tensor]:
    """The weight [n_classes, d] and bias [n_classes] that minimise |weight|^2 / 2 + C * sum of the cross-entropies.

    As scikit-learn's `LogisticRegression` of the same `C`: the bias is not penalised, so that there is one minimum but
    for what is added to all biases, whose sum is 0 here. By Newton's method from zeros in double precision on the CPU:
    the same features give the same numbers. Penalties are alike for features of like size: standardise them before.

    Parameters
    ----------
    features
        [n, d], on any device.
    classes
        [n] class indices. A class that none has gets a bias far below the others.
    n_classes
        How many classes there are.
    C
        The larger, the smaller the penalty.
    """
    rows = F.pad(features.detach().double().cpu(), (0, 1), value=1.0)
    targets = F.one_hot(classes.cpu(), n_classes).double()
    penalty = torch.full((rows.shape[1],), 1 / (C * len(rows)), dtype=torch.double)
    penalty[-1] = 0.0

    def loss(values: Tensor) -> Tensor:
        logits = rows @ values.T
        errors = logits.logsumexp(1).mean() - (logits * targets).sum(1).mean()
        return errors + (penalty * values.square()).sum() / 2

    values = torch.zeros(n_classes, rows.shape[1], dtype=torch.double)
    with torch.no_grad():
        for _ in range(MOST_STEPS):
            posteriors = (rows @ values.T).softmax(1)
            gradient = (posteriors - targets).T @ rows / len(rows) + penalty * values
            if gradient.abs().max() <= TOLERANCE:
                break
            step = torch.linalg.solve(_hessian(rows, posteriors, penalty), gradient.flatten()).view_as(values)
            slope, size, now = (gradient * step).sum(), 1.0, loss(values)
            while slope > ROUNDING * now and loss(values - size * step) > now - DECREASE * size * slope:
                size /= 2
            values -= size * step
        else:
            most = gradient.abs().max()
            logger.warning("logistic regression ended with a derivative of %.1g: are its features standardised?", most)
    values = values.float()
    return values[:, :-1].contiguous(), values[:, -1].contiguous()


def _hessian(rows: Tensor, posteriors: Tensor, penalty: Tensor) -> Tensor:
    """The second derivatives of the mean loss, [C k, C k], of rows [n, k] and posteriors [n, C].

    What is the same of all classes has none but the penalty's: something of like size is put there, which leaves a step
    as it is, since no gradient points that way.
    """
    classes, width = posteriors.shape[1], rows.shape[1]
    blocks = torch.zeros(classes, width, classes, width, dtype=torch.double)
    for one in range(classes):
        for other in range(one + 1):
            shares = posteriors[:, one] * (float(one == other) - posteriors[:, other])
            blocks[one, :, other] = rows.T @ (rows * shares[:, None]) / len(rows)
            blocks[other, :, one] = blocks[one, :, other]
        blocks[one, :, one] += penalty.diag()
    blocks += rows.square().mean(0).diag()[:, None]
    return blocks.view(classes * width, -1)

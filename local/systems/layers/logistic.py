"""Multinomial logistic regression, solved to convergence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_STEPS = 10_000
TOLERANCE = 1e-9  # of each derivative


def logistic_regression(features: Tensor, classes: Tensor, n_classes: int, C: float = 1.0) -> tuple[Tensor, Tensor]:
    """The weight [n_classes, d] and bias [n_classes] that minimise |weight|^2 / 2 + C * sum of the cross-entropies.

    As scikit-learn's `LogisticRegression` of the same `C`: the bias is not penalised, so that there is one minimum but
    for what is added to all biases, whose sum is 0 here. By L-BFGS from zeros in double precision on the CPU: the same
    features give the same numbers. Penalties are alike for features of like size: standardise them before.

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
    features, classes = features.detach().double().cpu(), classes.cpu()
    values = torch.zeros(n_classes, features.shape[1] + 1, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [values],
        max_iter=MOST_STEPS,
        max_eval=2 * MOST_STEPS,
        tolerance_grad=TOLERANCE,
        tolerance_change=0.0,
        history_size=50,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        weight, bias = values[:, :-1], values[:, -1]
        mean = F.cross_entropy(features @ weight.T + bias, classes)
        total = mean + weight.square().sum() / (2 * C * len(features))
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(loss)
    values = values.detach().float()
    return values[:, :-1].contiguous(), values[:, -1].contiguous()

"""A support vector machine: fitted by scikit-learn, computed in torch."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.core.errors import UserError

if TYPE_CHECKING:
    from typing import Self  # from Python 3.11 on

KERNELS = ("linear", "rbf")
MOST = 8192  # support vectors that there is room for


class SupportVectorMachine(nn.Module):
    """One machine for each pair of `n_classes`, on vectors of a `size`: [B, size] -> [B, n_classes] scores.

    For the pair (i, j), d_ij(x) = sum over support vectors s of a_ijs k(x, s) + b_ij is above 0 where x is rather of
    class i. The score of a class is the number of pairs that it wins, and less than a third, by which ties end, of what
    speaks for it: v / (3 (|v| + 1)), v = sum_j d_ij. That is scikit-learn's `decision_function`, and the highest score
    its `predict` with `break_ties`. Scores are no probabilities.

    Of the kernel `linear` the sum over support vectors is one vector of weights. Of `rbf`, exp(-gamma |x - s|^2), they
    are kept, in room for `MOST`, of which those unused have weight 0: so a model's size does not depend on its data.
    """

    def __init__(self, size: int, n_classes: int, kernel: str = "linear") -> None:
        super().__init__()
        if kernel not in KERNELS:
            raise UserError(f"kernel is '{kernel}'", f"set kernel to one of: {' '.join(KERNELS)}")
        self.kernel, self.n_classes = kernel, n_classes
        pairs = list(combinations(range(n_classes), 2))
        sides = [[float(each == i) - float(each == j) for each in range(n_classes)] for i, j in pairs]
        self.register_buffer("sides", torch.tensor(sides), persistent=False)  # [pairs, classes]: 1, -1, or 0
        self.weight = nn.Parameter(torch.zeros(len(pairs), size if kernel == "linear" else MOST))
        self.bias = nn.Parameter(torch.zeros(len(pairs)))
        if kernel == "rbf":
            self.register_buffer("support", torch.zeros(MOST, size))
            self.register_buffer("gamma", torch.ones(()))

    def forward(self, vectors: Tensor) -> Tensor:
        """The scores of the classes."""
        if self.kernel == "rbf":
            # Not by products, |x|^2 - 2 x s + |s|^2, which lose digits.
            distances = torch.cdist(vectors, self.support, compute_mode="donot_use_mm_for_euclid_dist")
            vectors = torch.exp(-self.gamma * distances.square())
        decisions = F.linear(vectors, self.weight, self.bias)
        won = (decisions >= 0).float()
        votes = won @ self.sides.clamp(min=0) + (1 - won) @ (-self.sides).clamp(min=0)
        speaks = decisions @ self.sides
        return votes + speaks / (3 * (speaks.abs() + 1))

    @torch.no_grad()
    def fit(self, vectors: Tensor, classes: Tensor, C: float) -> Self:
        """Fit the machines to [n, size] vectors of [n] classes, which weigh the same whatever their numbers.

        gamma is 1 / (size * variance of all numbers), scikit-learn's `scale`. A `UserError` if all are of one class, or
        there is no room.
        """
        from sklearn.svm import SVC

        present = classes.unique().tolist()
        if len(present) < 2:
            raise UserError("the training set has utterances of one emotion alone", "take another fold or protocol")
        vectors = vectors.double().cpu().numpy()
        gamma = 1 / (vectors.shape[1] * (vectors.var() or 1.0))  # "scale"
        fitted = SVC(C=C, kernel=self.kernel, class_weight="balanced", gamma=gamma, cache_size=500)
        fitted.fit(vectors, classes.cpu().numpy())
        self.weight.zero_()
        # A pair with a class that none has: the other wins.
        has = torch.tensor([each in present for each in range(self.n_classes)], device=self.sides.device).float()
        self.bias.copy_(self.sides @ has)
        weights = fitted.coef_ if self.kernel == "linear" else self._keep_support(fitted)
        # Of two classes alone scikit-learn's sign is the other way.
        sign = -1 if len(present) == 2 else 1
        rows = [number for number, sides in enumerate(self.sides) if bool((has[sides != 0] == 1).all())]
        self.weight[rows, : weights.shape[1]] = torch.from_numpy(sign * weights).to(self.weight)
        self.bias[rows] = torch.from_numpy(sign * fitted.intercept_).to(self.bias)
        return self

    def _keep_support(self, fitted) -> np.ndarray:
        """Keep the support vectors; return their weights in each pair, [pairs, vectors].

        libsvm's are ordered by class, and a vector has one weight for each of the other classes.
        """
        count, ends = len(fitted.support_vectors_), np.cumsum(fitted.n_support_)
        if count > MOST:
            raise UserError(f"kernel rbf: {count} support vectors, and there is room for {MOST}", "take kernel linear")
        self.support.zero_()
        self.support[:count] = torch.from_numpy(fitted.support_vectors_).to(self.support)
        self.gamma.fill_(fitted.gamma)
        parts = [slice(end - number, end) for end, number in zip(ends, fitted.n_support_, strict=True)]
        pairs = list(combinations(range(len(parts)), 2))
        weights = np.zeros((len(pairs), count))
        for row, (i, j) in enumerate(pairs):
            weights[row, parts[i]] = fitted.dual_coef_[j - 1, parts[i]]
            weights[row, parts[j]] = fitted.dual_coef_[i, parts[j]]
        return weights

"""The extreme learning machine: a hidden layer of fixed random weights, and an output layer in closed form.

After Huang, Zhu, Siew: Extreme learning machine: theory and applications. Neurocomputing 70, 2006; with a penalty.

    h = sigmoid(z A + a)                        z the standardised vector; A from U(-1, 1) / sqrt(d), a from U(-1, 1)
    beta = (H^T H + I / C)^-1 H^T Y             Y: +1 of an utterance's own class, -1 of the others
    score = h beta
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.systems.layers.standardise import Standardise

CHOICES = tuple(10.0**exponent for exponent in range(-3, 4))  # of C
WITHOUT_VALIDATION = 1.0
LEAST_DEVIATION = 1e-3  # a number that hardly varies in training would decide everything where it does


class ExtremeLearningMachine(nn.Module):
    """Scores of `n_labels` classes from vectors of `size` numbers; nothing of it is trained by gradients.

    `solved`, a scalar buffer, is 1 after `solve`.
    """

    def __init__(self, size: int, n_labels: int, hidden: int = 2000) -> None:
        super().__init__()
        self.standardise = Standardise(size, least=LEAST_DEVIATION)
        self.register_buffer("weight", (2 * torch.rand(size, hidden) - 1) / size**0.5)
        self.register_buffer("bias", 2 * torch.rand(hidden) - 1)
        self.register_buffer("beta", torch.zeros(hidden, n_labels))
        self.register_buffer("solved", torch.zeros((), dtype=torch.long))

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, size] -> [B, n_labels] scores, about from -1 to 1; 0 before `solve`."""
        return (self.standardise(vectors) @ self.weight + self.bias).sigmoid() @ self.beta

    def solve(self, vectors: Tensor, emotions: Tensor, validation: tuple[Tensor, Tensor] | None) -> float:
        """Standardise by the training set, and solve for `beta`.

        Parameters
        ----------
        vectors, emotions
            Of the training set: [n, size], and [n] class indices.
        validation
            The same of the validation set, which chooses C of `CHOICES` by unweighted accuracy, of equals the smallest;
            None: C is 1.

        Returns
        -------
        C.
        """
        self.standardise.measure([(vectors[:, None], torch.ones(len(vectors), dtype=torch.long))])
        hidden = self._hidden_exactly(vectors)
        targets = 2.0 * F.one_hot(emotions, self.beta.shape[1]).to(hidden) - 1
        products, right = hidden.T @ hidden, hidden.T @ targets
        if validation is None:
            chosen, beta = WITHOUT_VALIDATION, ridge(products, right, WITHOUT_VALIDATION)
        else:
            held_out = self._hidden_exactly(validation[0])
            solutions = {choice: ridge(products, right, choice) for choice in CHOICES}
            scores = {choice: unweighted_accuracy(held_out @ beta, validation[1]) for choice, beta in solutions.items()}
            chosen = max(scores, key=scores.get)
            beta = solutions[chosen]
        self.beta.copy_(beta)
        self.solved.fill_(1)
        return chosen

    def _hidden_exactly(self, vectors: Tensor) -> Tensor:
        """[n, size] -> [n, hidden], in double precision."""
        return (self.standardise(vectors).double() @ self.weight.double() + self.bias.double()).sigmoid()


def ridge(products: Tensor, right: Tensor, choice: float) -> Tensor:
    """(H^T H + I / C)^-1 H^T Y: [h, h], [h, c] -> [h, c]."""
    penalty = torch.eye(len(products), dtype=products.dtype, device=products.device) / choice
    return torch.cholesky_solve(right, torch.linalg.cholesky(products + penalty))


def unweighted_accuracy(scores: Tensor, emotions: Tensor) -> float:
    """Mean recall over the classes that there are, of [n, C] scores and [n] class indices."""
    true = F.one_hot(emotions, scores.shape[1]).double()
    hits = (true * (scores.argmax(1) == emotions)[:, None]).sum(0)
    return float((hits / true.sum(0)).nanmean())

"""Mean and standard deviation of 80 log-mel energies, and logistic regression solved to convergence: the floor.

s = (mean_t m, deviation_t m)           [B, 160]     of 80 log-mel energies: `local.features.logmel_statistics`
emotion = W (s - mean) / deviation + b  [B, C]       mean and deviation of s in the training set

For four emotions 644 parameters. Own choice: the window, the penalty |W|^2 / 2 + C * sum of the cross-entropies with
C = 1, and that all utterances weigh the same.
"""

from __future__ import annotations

from typing import Any

import torch

from local.systems import Labelled
from local.systems.layers.logistic import logistic_regression
from local.systems.statistics import StatisticsSystem


class LogmelLogistic(StatisticsSystem):
    """Logistic regression of `n_labels` emotions; `C` as in `local.systems.layers.logistic`."""

    title = "Log-mel statistics, logistic regression"
    certainty = "own choice"
    solves = True

    def __init__(self, n_labels: int, C: float = 1.0) -> None:
        super().__init__(n_labels, n_mels=80)
        self.C = C

    def solve(self, training: Labelled, validation: Labelled | None) -> None:
        """Fit the linear layer to the training set."""
        pairs = [(self.standardised(*inputs), emotions) for *inputs, emotions in training]
        features, emotions = map(torch.cat, zip(*pairs, strict=True))
        weight, bias = logistic_regression(features, emotions, self.emotion_head.out_features, self.C)
        self.emotion_head.weight.copy_(weight)
        self.emotion_head.bias.copy_(bias)

    def settings(self) -> dict[str, Any]:
        """The argument of the constructor besides `n_labels`."""
        return {"C": self.C}


SYSTEM = LogmelLogistic

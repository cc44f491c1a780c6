"""The most frequent emotion of the training set for every utterance: what a system must beat.

p(c) = n_c / n, the shares of the classes in the training set, are the posteriors of every utterance. As many parameters
as there are emotions, and no audio. Own choice: there is nothing to know.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from local.systems import Labelled, Outputs, System

LEAST = 1e-9  # a posterior: the logarithm of 0 is no number that a model folder takes


class MajorityClass(System):
    """The shares of `n_labels` emotions in the training set."""

    title = "Majority class"
    certainty = "own choice"
    solves = True

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_labels))

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, ...] whatever they are -> logits of the emotions, the same for all."""
        return Outputs(self.logits.expand(wavs.shape[0], -1))  # a `len` would fix the size of the batch in a graph

    def solve(self, training: Labelled, validation: Labelled | None) -> None:
        """Count the classes of the training set."""
        counts = sum(torch.bincount(emotions, minlength=len(self.logits)) for _, _, emotions in training)
        self.logits.copy_((counts.double() / counts.sum()).clamp(min=LEAST).log())


SYSTEM = MajorityClass

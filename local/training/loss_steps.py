"""A learning rate that falls by steps, as the training loss does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class LossSteps(LRScheduler):
    """Lower the rates by a step whenever the mean loss has fallen to a share of that at the previous step.

    The mean is that of `updates` updates, and is looked at once for each so many: reading the loss after every update
    would wait for a GPU each time. The first is the one that the first step is measured by. Updates whose loss is not
    finite do not count.

    Parameters
    ----------
    optimizer
        With the rates of the first updates.
    factors
        Of these rates, after each step.
    epochs
        After how many epochs each step comes at the latest; as many as factors.
    total_steps, epoch_count
        Updates and epochs of the training; `local.training.optimisation` gives both.
    updates, drop
        See above.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factors: Sequence[float],
        epochs: Sequence[int],
        total_steps: int,
        epoch_count: int,
        updates: int = 100,
        drop: float = 0.1,
    ) -> None:
        if len(factors) != len(epochs) or updates < 1:
            raise ValueError(f"{len(factors)} factors, {len(epochs)} epochs and {updates} updates")
        self.factors = [1.0, *map(float, factors)]
        self.latest = [epoch * total_steps // max(1, epoch_count) for epoch in epochs]
        self.updates, self.drop = updates, drop
        self.steps = 0  # done
        self.losses: list[Tensor | float] = []  # since the latest mean
        self.mean: float | None = None
        self.mean_at_step: float | None = None
        super().__init__(optimizer)

    def step(self, loss: Tensor | None = None) -> None:
        """After an update, of this loss."""
        due = False
        if loss is not None:
            self.losses.append(loss.detach())
        if len(self.losses) == self.updates:
            finite = [value for value in map(float, self.losses) if math.isfinite(value)]
            self.losses = []
            if finite:
                self.mean = sum(finite) / len(finite)
                due = self.mean_at_step is not None and self.mean <= self.drop * self.mean_at_step
                if self.mean_at_step is None:
                    self.mean_at_step = self.mean
        left = self.steps < len(self.latest)
        if left and (due or self.last_epoch + 1 >= self.latest[self.steps]):
            self.steps, self.mean_at_step = self.steps + 1, self.mean
        super().step()

    def get_lr(self) -> list[float]:
        """The rates of the next update, a group each."""
        return [rate * self.factors[self.steps] for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """All that changes, as plain numbers."""
        return super().state_dict() | {"losses": [float(loss) for loss in self.losses]}

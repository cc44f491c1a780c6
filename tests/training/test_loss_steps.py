"""Rates that fall with the training loss: when each step comes, and that a resumed schedule goes on as it was."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from local.core.errors import UserError
from local.training.loss_steps import LossSteps
from local.training.optimisation import Length, Schedule

FACTORS = (0.5, 0.2, 0.1)


def schedule(updates_per_epoch: int = 10, updates: int = 5, epochs: tuple[int, ...] = (8, 13, 17)) -> Schedule:
    torch.manual_seed(1)
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate} for rate in (1e-3, 2e-3)]
    factory = partial(LossSteps, factors=FACTORS, epochs=epochs, updates=updates)
    return Schedule(factory, torch.optim.Adam(groups), Length(20, 20 * updates_per_epoch, 0, 1e-3))


def follow(made: Schedule, losses: list[float], first: int = 0) -> list[float]:
    """The rate of each update, as a share of the first; of the second group it is twice as high."""
    shares = []
    for number, loss in enumerate(losses, start=first + 1):
        low, high = (group["lr"] for group in made.optimizer.param_groups)
        assert high == pytest.approx(2 * low)
        shares.append(round(low / 1e-3, 6))
        made.optimizer.step()
        made.after_update(number, torch.tensor(loss))
        if number % 10 == 0:
            made.after_epoch(number // 10, None)
    return shares


def test_without_a_fall_the_steps_come_after_their_epochs():
    shares = follow(schedule(), [1.0] * 200)
    assert shares == [1.0] * 80 + [0.5] * 50 + [0.2] * 40 + [0.1] * 30


def test_a_step_comes_when_the_mean_is_a_tenth_of_that_at_the_last():
    # Means of five: 2, 1, 0.19 (a tenth of the first), 0.05, 0.018 (a tenth of that at the step), 0.01, ...
    losses = [loss for mean in (2, 1, 0.19, 0.05, 0.018, 0.01) for loss in (mean / 2, mean, mean, mean, 1.5 * mean)]
    shares = follow(schedule(), losses + [0.01] * 170)
    assert shares == [1.0] * 15 + [0.5] * 10 + [0.2] * 145 + [0.1] * 30


def test_a_loss_that_is_not_finite_does_not_count():
    losses = [2.0] * 5 + [0.19, math.nan, 0.19, math.inf, 0.19] + [math.nan] * 5 + [0.2] * 5
    assert follow(schedule(), losses) == [1.0] * 10 + [0.5] * 10
    half = [2.0] * 5 + [1.0] + [math.nan] * 4 + [1.0] * 10  # one that counts is not a fifth of five
    assert follow(schedule(), half) == [1.0] * 20


@pytest.mark.parametrize("at", [3, 12, 100])
def test_a_schedule_that_is_resumed_goes_on_as_it_was(tmp_path, at):
    losses = [2.0] * 5 + [0.3] * 7 + [0.15] * 188
    whole = follow(schedule(), losses)
    first = schedule()
    begun = follow(first, losses[:at])
    first.save(tmp_path / "state")
    second = schedule()
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load(tmp_path / "state", True)
    assert begun + follow(second, losses[at:], at) == whole
    assert set(whole) == {1.0, 0.5, 0.2, 0.1}


def test_as_many_factors_as_epochs():
    with pytest.raises(UserError, match="3 factors, 1 epochs"):
        schedule(epochs=(8,))
    with pytest.raises(UserError, match="3 factors, 3 epochs and 0 updates"):
        schedule(updates=0)
    assert follow(schedule(updates=1), [2.0, 0.19, 0.19]) == [1.0, 1.0, 0.5]  # a mean of one

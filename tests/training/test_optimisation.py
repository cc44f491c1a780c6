"""Optimizers and schedulers of three libraries: when each is called, with what, and that its state is all of it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import speechbrain.nnet.schedulers as speechbrain
import torch
import transformers
from speechbrain.utils.checkpoints import Checkpointer
from torch import nn
from torch.optim import lr_scheduler

from local.config.trust import KNOWN
from local.core.errors import UserError
from local.training.optimisation import EpochCyclicLR, Length, Schedule, build_optimizer, step

EPOCHS, PER_EPOCH, LR, HEAD_LR = 4, 5, 0.5, 2.0
LENGTH = Length(EPOCHS, EPOCHS * PER_EPOCH, 4, LR)
COSTS = (0.9, 0.8, 0.85, 0.82)  # of the epochs
Rates = list[list[float]]


class Body(nn.Module):
    """A system with one head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.body, self.head = nn.Linear(2, 2), nn.Linear(2, 1)

    def heads(self) -> list[nn.Module]:
        return [self.head]


SGD = partial(torch.optim.SGD, momentum=0.9)


def optimizer(factory=SGD) -> torch.optim.Optimizer:
    return build_optimizer(factory, Body(), LR, HEAD_LR)


def follow(schedule: Schedule, start: int = 0, end: int = LENGTH.updates) -> Rates:
    """The rates of the updates, those of the groups in turn, from one update to another."""
    rates = []
    for update in range(start, end):
        rates.append([group["lr"] for group in schedule.optimizer.param_groups])
        schedule.optimizer.step()
        schedule.after_update(update + 1)
        if (update + 1) % PER_EPOCH == 0:
            epoch = (update + 1) // PER_EPOCH
            schedule.after_epoch(epoch, COSTS[epoch - 1])
    return rates


def schedule_of(factory) -> Schedule:
    return Schedule(factory, optimizer(), LENGTH)


def by_hand(factors: list[float]) -> Rates:
    return [[LR * factor, HEAD_LR * factor] for factor in factors]


def per_epoch(*factors: float) -> Rates:
    return by_hand([factor for factor in factors for _ in range(PER_EPOCH)])


UPDATES = range(LENGTH.updates)
WARM = [update / 4 for update in range(4)]
EXPECTED = {
    "linear": (transformers.get_linear_schedule_with_warmup, by_hand(WARM + [(20 - n) / 16 for n in UPDATES[4:]])),
    "constant": (transformers.get_constant_schedule_with_warmup, by_hand(WARM + [1.0] * 16)),
    "cosine": (
        transformers.get_cosine_schedule_with_warmup,
        by_hand(WARM + [(1 + math.cos(math.pi * (n - 4) / 16)) / 2 for n in UPDATES[4:]]),
    ),
    "step": (partial(lr_scheduler.StepLR, step_size=2, gamma=0.1), per_epoch(1, 1, 0.1, 0.1)),
    "torch cosine": (
        lr_scheduler.CosineAnnealingLR,
        per_epoch(*((1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4))),
    ),
    # 0.8 is the best of the costs, the two after it are no better.
    "plateau": (partial(lr_scheduler.ReduceLROnPlateau, factor=0.5, patience=0), per_epoch(1, 1, 1, 0.5)),
    "transformers' plateau": (
        partial(transformers.get_reduce_on_plateau_schedule, factor=0.5, patience=0),
        per_epoch(1, 1, 1, 0.5),
    ),
    "noam": (speechbrain.NoamScheduler, by_hand([2 * min(n**-0.5, n / 8) for n in range(1, 21)])),
    "newbob": (speechbrain.NewBobScheduler, per_epoch(1, 1, 1, 0.5)),
    "newbob object": (speechbrain.NewBobScheduler(LR, patient=1), per_epoch(1, 1, 1, 1)),
    "speechbrain plateau": (
        partial(speechbrain.ReduceLROnPlateau, patience=0, dont_halve_until_epoch=1),
        per_epoch(1, 1, 1, 0.5),
    ),
    "speechbrain step": (speechbrain.StepScheduler, per_epoch(1, 0.5, 0.5, 0.25)),
    "tri-stage": (
        partial(speechbrain.TriStageLRSchedule, hold_steps=6, decay_steps=10, init_lr_scale=0.2, final_lr_scale=0.1),
        by_hand([0.2 + n * 0.2 for n in range(4)] + [1] * 6 + [10 ** (-n / 10) for n in range(10)]),
    ),
    "cyclic": (
        partial(speechbrain.CyclicLRScheduler, base_lr=0, max_lr=LR, step_size=5),
        by_hand([1 - abs(n % 10 / 5 - 1) for n in range(1, 21)]),
    ),
}
EXPECTED |= {
    "one cycle": (
        partial(lr_scheduler.OneCycleLR, max_lr=LR, pct_start=0.5, anneal_strategy="linear", cycle_momentum=False),
        by_hand([0.04 + 0.96 * n / 9 for n in range(10)] + [1 - (1 - 4e-6) * n / 10 for n in range(1, 11)]),
    ),
    "torch cyclic": (
        partial(lr_scheduler.CyclicLR, base_lr=0.0, max_lr=LR, step_size_up=5, cycle_momentum=False),
        by_hand([1 - abs(n % 10 / 5 - 1) for n in UPDATES]),
    ),
    "cyclic by epoch": (
        partial(EpochCyclicLR, base_lr=0.0, max_lr=LR, step_size_up=2),
        per_epoch(0, 0.5, 1, 0.5),
    ),
}
ALL_OF_SPEECHBRAIN = {
    "CyclicCosineScheduler": {},
    "CyclicLRScheduler": {"step_size": 3},
    "IntervalScheduler": {"intervals": [{"steps": 3, "lr": 0.1}, {"steps": 9, "lr": 0.01}]},
    "InverseSquareRootScheduler": {},
    "LinearNoamScheduler": {"n_keep_steps": 3},
    "LinearScheduler": {"final_value": 0.1},
    "LinearWarmupScheduler": {},
    "NewBobScheduler": {},
    "NoamIntervalScheduler": {"anneal_steps": [8], "anneal_rates": [0.5]},
    "NoamScheduler": {},
    "ReduceLROnPlateau": {"patience": 0, "dont_halve_until_epoch": 1},
    "StepScheduler": {},
    "TriStageLRSchedule": {"hold_steps": 3, "decay_steps": 5},
    "WarmAndExpDecayLRSchedule": {},
    "WarmCoolDecayLRSchedule": {"cooldown": 3},
}
OF_TORCH = {
    "CyclicLR": partial(lr_scheduler.CyclicLR, base_lr=0.1, max_lr=0.4, step_size_up=3),
    "EpochCyclicLR": partial(EpochCyclicLR, base_lr=0.1, max_lr=0.4, step_size_up=3),
    "OneCycleLR": partial(lr_scheduler.OneCycleLR, max_lr=0.5),
    "ReduceLROnPlateau": EXPECTED["plateau"][0],
    "linear": EXPECTED["linear"][0],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_rates_by_hand(name):
    """Those of the heads keep their ratio, though SpeechBrain's know one rate."""
    factory, expected = EXPECTED[name]
    found = follow(schedule_of(factory))
    assert found == [pytest.approx(row, rel=1e-6, abs=1e-9) for row in expected]


def test_cycles_of_epochs_swing_the_momentum_as_pytorchs_do():
    made = schedule_of(partial(EpochCyclicLR, base_lr=5e-4, max_lr=1e-3, step_size_up=10))
    theirs = lr_scheduler.CyclicLR(optimizer(), base_lr=5e-4, max_lr=1e-3, step_size_up=10)
    for epoch in range(1, 26):
        assert [group["momentum"] for group in made.optimizer.param_groups] == [
            group["momentum"] for group in theirs.optimizer.param_groups
        ]
        assert made.optimizer.param_groups[0]["lr"] == theirs.optimizer.param_groups[0]["lr"]
        made.optimizer.step(), theirs.optimizer.step()
        made.after_update(epoch)
        made.after_epoch(epoch, None)
        theirs.step()
        if epoch in (10, 20):  # the highest rate has the lowest momentum
            expected = {10: 0.8, 20: 0.9}[epoch]
            assert made.optimizer.param_groups[0]["momentum"] == pytest.approx(expected)


def resumable() -> dict[str, object]:
    known = {tag.rpartition(".")[2] for tag in KNOWN if ".nnet.schedulers." in tag}
    assert known == ALL_OF_SPEECHBRAIN.keys()
    own = {name: partial(getattr(speechbrain, name), **given) for name, given in ALL_OF_SPEECHBRAIN.items()}
    return own | {f"torch {name}": factory for name, factory in OF_TORCH.items()}


@pytest.mark.parametrize("name", resumable())
@pytest.mark.parametrize("at", [3, 10])
def test_a_schedule_that_is_resumed_goes_on_as_it_was(tmp_path, name, at):
    factory = resumable()[name]
    whole = follow(schedule_of(factory))
    assert len({tuple(row) for row in whole}) > 1  # the rate changes
    first = schedule_of(factory)
    begun = follow(first, end=at)
    Checkpointer(tmp_path, {"optimizer": first.optimizer, "scheduler": first}).save_checkpoint()
    second = schedule_of(factory)
    Checkpointer(tmp_path, {"optimizer": second.optimizer, "scheduler": second}).recover_if_possible()
    assert begun + follow(second, start=at) == whole


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (partial(lr_scheduler.StepLR), "StepLR cannot be built.*step_size"),
        (partial(speechbrain.WarmCoolDecayLRSchedule), "WarmCoolDecayLRSchedule cannot be built.*cooldown"),
        (partial(lr_scheduler.ReduceLROnPlateau, mode="max"), "mode is max"),
        (partial(speechbrain.ScheduledLoss, schedule=[]), "ScheduledLoss"),
        (partial(nn.Linear, 2, 2), "Linear"),
    ],
)
def test_what_is_no_scheduler_is_refused(factory, message):
    with pytest.raises(UserError, match=message):
        schedule_of(factory)


@pytest.mark.parametrize(
    "factory", [partial(torch.optim.AdamW, momentum=1), partial(torch.optim.LBFGS), partial(torch.optim.SGD, lr=-1)]
)
def test_what_is_no_optimizer_is_refused(factory):
    with pytest.raises(UserError, match=r"optimizer: .* cannot be built"):
        optimizer(factory)


@pytest.mark.parametrize("name", ["SGD", "RAdam", "RMSprop", "Adafactor", "AdamW", "fused"])
def test_an_update_that_is_not_finite_is_skipped_by_every_optimizer(name):
    factory = partial(torch.optim.AdamW, fused=True) if name == "fused" else getattr(torch.optim, name)
    system = Body()
    made = build_optimizer(factory, system, LR, HEAD_LR)
    scaler = torch.amp.GradScaler(enabled=False)

    def update(gradient: float) -> bool:
        """Whether a step with this gradient moves the weights."""
        before = [p.detach().clone() for p in system.parameters()]
        for p in system.parameters():
            p.grad = torch.full_like(p, gradient)
        step(made, scaler, torch.isfinite(torch.tensor(gradient)))
        return not all(torch.equal(p, old) for p, old in zip(system.parameters(), before, strict=True))

    assert [update(gradient) for gradient in (1.0, math.nan, math.inf, -1.0)] == [True, False, False, True]
    assert all(p.isfinite().all() for p in system.parameters())

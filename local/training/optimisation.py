"""The optimizer and the learning rates, as the YAML's `optimizer` and `scheduler` name them.

`optimizer` is called with the parameter groups. `scheduler` is a function of transformers, a class of
`torch.optim.lr_scheduler`, or a class or an object of `speechbrain.nnet.schedulers`; `FILLED` gives those of its
arguments that follow from other values and are not written. When it is called follows from what it is:

    after each update   transformers' (but for those that follow a figure), `OneCycleLR`, `CyclicLR` and `LossSteps`,
                        and those of SpeechBrain that take the optimizer
    after each epoch    PyTorch's others, `EpochCyclicLR`, and those of SpeechBrain that take an epoch or a figure; the
                        figure is one that falls as the model gets better, see `local.training.selection.cost`

SpeechBrain's know one rate. It is that of `lr`; a group with another, `head_lr`, keeps its ratio to it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.distributed import main_process_only
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR

from local.core.errors import UserError
from local.training.loss_steps import LossSteps


class Length(NamedTuple):
    """How long a training is, and its rate: what `FILLED` follows from."""

    epochs: int
    updates: int
    warm: int  # updates that warm up
    lr: float


FILLED: dict[str, Callable[[Length], float]] = {
    "num_warmup_steps": lambda length: length.warm,
    **dict.fromkeys(("n_warmup_steps", "warmup_steps", "warmup"), lambda length: max(1, length.warm)),
    **dict.fromkeys(("num_training_steps", "total_steps"), lambda length: length.updates),
    **dict.fromkeys(("T_max", "epoch_count"), lambda length: length.epochs),
    **dict.fromkeys(("lr_initial", "initial_value", "lr"), lambda length: length.lr),
}
BY_UPDATE = (OneCycleLR, CyclicLR, LossSteps)


class EpochCyclicLR(CyclicLR):
    """PyTorch's `CyclicLR`, which swings the momentum as well, with steps that are epochs instead of updates."""


def build_optimizer(factory: Callable[..., Optimizer], system: nn.Module, lr: float, head_lr: float) -> Optimizer:
    """The optimizer over what learns in a system, the heads in a group of their own, at their rate."""
    heads = {id(p) for head in system.heads() for p in head.parameters()}
    learning = [p for p in system.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if id(p) not in heads], "lr": lr},
        {"params": [p for p in learning if id(p) in heads], "lr": head_lr},
    ]
    # Of a system that only solves nothing may learn; an optimizer needs a parameter, and this one has no number.
    nothing = [] if learning else [{"params": [nn.Parameter(torch.zeros(0))], "lr": lr}]
    try:
        return factory([group for group in groups if group["params"]] + nothing)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"optimizer: {_name(factory)} cannot be built: {error}", "correct its arguments") from None


def refuse_without_training(system: nn.Module, epochs: int, where: str) -> None:
    """Raise a `UserError` where there are no epochs, and no last step; or epochs, and nothing that is trained."""
    if not epochs and not system.solves:
        raise UserError(
            f"{where}: epochs is 0, and {type(system).__name__} has no last step in closed form",
            "set epochs to a whole number of at least 1",
        )
    if epochs and not any(parameter.requires_grad for parameter in system.parameters()):
        raise UserError(
            f"{where}: epochs is {epochs}, and nothing of {type(system).__name__} is trained by updates",
            "set epochs to 0" if system.solves else "set freeze to False and freeze_layers to 0",
        )


def step(optimizer: Optimizer, scaler: torch.amp.GradScaler, is_finite: Tensor) -> None:
    """Step, unless `is_finite`, a scalar bool on the device, says that a loss or a gradient is not finite."""
    if scaler.is_enabled():
        scaler.step(optimizer)  # looks at the gradient itself, and lowers its scale
    elif optimizer.defaults.get("fused"):
        # It then leaves everything as it is, without a wait for the device.
        optimizer.found_inf = (~is_finite).float()
        optimizer.step()
    elif is_finite:
        optimizer.step()


@register_checkpoint_hooks
class Schedule:
    """The learning rates of an optimizer over a training.

    Parameters
    ----------
    factory
        The YAML's `scheduler`.
    optimizer
        With the rates of its groups.
    length
        Of the training.

    Attributes
    ----------
    follows_figure
        Whether it needs a figure of the validation set after each epoch.
    """

    def __init__(self, factory: Any, optimizer: Optimizer, length: Length) -> None:
        self.optimizer, self.length = optimizer, length
        self.ratios = [group["lr"] / length.lr if length.lr else 1.0 for group in optimizer.param_groups]
        self.inner = _build(factory, optimizer, length, self.ratios)
        self.rate = SimpleNamespace(param_groups=[{"lr": length.lr}])  # what SpeechBrain's take for the optimizer
        self.of_torch = isinstance(self.inner, LRScheduler)
        call = self.inner.step if self.of_torch else self.inner
        names = set(inspect.signature(call).parameters) if callable(call) else set()
        if self.of_torch:
            self.by_update = isinstance(self.inner, BY_UPDATE) or _is_of_transformers(factory)
            self.follows_figure = "metrics" in names
            self.by_update &= not (self.follows_figure or isinstance(self.inner, EpochCyclicLR))
        else:
            self.takes = names
            self.by_update = "opt" in names or hasattr(self.inner, "on_batch_end")
            self.follows_figure = bool(names & {"metric_value", "current_loss"})
            if not (self.by_update or names & {"metric_value", "current_epoch"}):
                raise UserError(
                    f"scheduler: {_name(factory)} is called with ({', '.join(sorted(names))}), which is not known",
                    "take one of transformers, torch.optim.lr_scheduler or speechbrain.nnet.schedulers",
                )
            if self.by_update:
                self._call_by_update(0)
        if getattr(self.inner, "mode", "min") == "max" and self.follows_figure:
            raise UserError("scheduler: mode is max, and the figure that it is given falls", "set mode to min")

    def after_update(self, updates: int, loss: Tensor | None = None) -> None:
        """Set the rates of the next update, after so many, the latest of this loss."""
        if isinstance(self.inner, LossSteps):
            self.inner.step(loss)
        elif self.by_update:
            self.inner.step() if self.of_torch else self._call_by_update(updates)

    def after_epoch(self, epoch: int, cost: float | None) -> None:
        """Set the rates of the next epoch, after the one of this number, whose figure is `cost`."""
        if self.by_update or (self.follows_figure and not math.isfinite(cost)):
            return
        if self.of_torch:
            self.inner.step(cost) if self.follows_figure else self.inner.step()
        elif "metric_value" in self.takes:
            self._set(self.inner(cost)[1])
        elif "current_loss" in self.takes:
            self._set(self.inner([self.rate], epoch, cost)[1])
        else:
            self._set(self.inner(epoch)[1])

    def _call_by_update(self, updates: int) -> None:
        if hasattr(self.inner, "on_batch_end"):
            self.inner.on_batch_end(self.rate)
        elif "num_updates" in self.takes:
            self.inner(self.rate, updates)
        else:
            self.inner(self.rate)
        self._set(self.rate.param_groups[0]["lr"])

    def _set(self, rate: float) -> None:
        self.rate.param_groups[0]["lr"] = rate
        for group, ratio in zip(self.optimizer.param_groups, self.ratios, strict=True):
            group["lr"] = rate * ratio

    # Its state. SpeechBrain's save not all of theirs, and one saves what it does not load.

    def state_dict(self) -> dict[str, Any]:
        """All that changes."""
        if self.of_torch:
            return self.inner.state_dict()
        numbers = {name: value for name, value in vars(self.inner).items() if _is_plain(value)}
        return {"inner": numbers, "rate": self.rate.param_groups[0]["lr"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        if self.of_torch:
            self.inner.load_state_dict(state)
        else:
            vars(self.inner).update(state["inner"])
            self.rate.param_groups[0]["lr"] = state["rate"]

    @mark_as_saver
    def save(self, path: Path) -> None:
        """Save the state."""
        main_process_only(torch.save)(self.state_dict(), path)

    @mark_as_loader
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Load the state."""
        self.load_state_dict(torch.load(path, weights_only=True))


def _build(factory: Any, optimizer: Optimizer, length: Length, ratios: list[float]) -> Any:
    """The scheduler of PyTorch or SpeechBrain, with the arguments of `FILLED` that the YAML does not give.

    Of those that set the rates of all groups to that of their arguments, each group's is its own by its ratio.
    """
    function = getattr(factory, "func", factory)
    if not (inspect.isclass(function) or inspect.isroutine(function)):
        return factory  # an object of `!new:`
    given = getattr(factory, "keywords", {})
    positional = len(getattr(factory, "args", ()))
    names = [name for name in list(inspect.signature(function).parameters)[positional:] if name not in given]
    filled = {name: FILLED[name](length) for name in names if name in FILLED}
    if "optimizer" in names:
        filled["optimizer"] = optimizer
    if function in (*BY_UPDATE, EpochCyclicLR):
        rates = {name: given[name] for name in ("base_lr", "max_lr") if isinstance(given.get(name), int | float)}
        filled |= {name: [rate * ratio for ratio in ratios] for name, rate in rates.items()}
    try:
        return factory(**filled)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"scheduler: {_name(factory)} cannot be built: {error}", "correct its arguments") from None


def _is_of_transformers(factory: Any) -> bool:
    return getattr(factory, "func", factory).__module__.startswith("transformers")


def _name(factory: Any) -> str:
    function = getattr(factory, "func", factory)
    return getattr(function, "__qualname__", type(function).__qualname__)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, (bool, int, float, str))

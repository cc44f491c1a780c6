"""Gradual unfreezing: first the heads are trained, then more and more layers of the encoder, from the top.

With `freeze_encoder_epochs` the whole encoder follows the heads at once.

J. Howard and S. Ruder: Universal Language Model Fine-tuning for Text Classification. ACL 2018. `unfreeze` of the YAML:

    {every: E, layers: N}       epochs 1 to E: the heads; E + 1 to 2 E: also the N highest layers; and N more after each
                                E epochs; with the lowest of them all that comes before

The optimizer has all parameters from the start. Of those that have no gradient yet it keeps nothing, so that their
moments, and AdamW's count of steps, begin when they do; the learning rates go on. What is trained in an epoch follows
from its number alone, and so a run that is resumed trains the same.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from local.core.errors import UserError

KEYS = ("every", "layers")


def refuse_wrong(values: SimpleNamespace, encoder: Any) -> None:
    """Raise a `UserError` for an `unfreeze` that has wrong values, or nothing to unfreeze; `encoder` may be None."""
    given = values.unfreeze
    if not given:
        return
    example = "give both, as whole numbers of at least 1: {every: 2, layers: 4}"
    if not isinstance(given, dict) or {*given} != {*KEYS}:
        raise UserError(f"unfreeze is {given!r}, and its keys are {' and '.join(KEYS)}", example)
    for key, value in given.items():
        if type(value) is not int or value < 1:
            raise UserError(f"unfreeze: {key} is {value!r}", example)
    if encoder is None or encoder.freeze:
        why = "the whole encoder is frozen" if encoder else "the system has no encoder"
        other = ", or freeze to False and freeze_layers to 0" * bool(encoder)
        raise UserError(f"unfreeze: {why}", "set unfreeze to {}" + other)
    if encoder.task_vectors is not None:
        raise UserError("unfreeze: of a merged encoder no layer is trained", "set unfreeze to {}")
    if not encoder.has_layers:
        kind = encoder.model.config.model_type
        raise UserError(f"unfreeze: the layers of a {kind} pass on more than frames", "take freeze_encoder_epochs")
    if values.freeze_encoder_epochs:
        raise UserError("unfreeze and freeze_encoder_epochs both say when the encoder is trained", "set one of them")


def unreached(values: SimpleNamespace, encoder: Any) -> str:
    """Say that the lowest layers are never trained in so few epochs; empty where all are, or without `unfreeze`."""
    if not values.unfreeze or not values.epochs:
        return ""
    of = encoder.highest - encoder.frozen_layers
    never = of - _layers(values.unfreeze, values.epochs)
    if never <= 0:
        return ""
    needed = math.ceil(of / values.unfreeze["layers"]) * values.unfreeze["every"] + 1
    return (
        f"unfreeze: the lowest {never} of {of} layers, and what is before them, are not trained: that would begin in "
        f"epoch {needed}, and epochs is {values.epochs}; for all of them, raise epochs or layers, or lower every"
    )


def plan(values: SimpleNamespace, encoder: Any) -> str:
    """Say what is trained from which epoch on; empty where all that learns is from the first, or there is no epoch.

    `encoder` may be None. A `UserError` as of `refuse_wrong`.
    """
    refuse_wrong(values, encoder)
    if encoder is None or encoder.freeze or not values.epochs:
        return ""
    begins = [(epoch, what) for epoch in range(2, values.epochs + 1) if (what := begun(values, encoder, epoch))]
    if not begins:
        return "the heads alone" if values.unfreeze or values.freeze_encoder_epochs else ""
    (first, what), (last, all_layers) = begins[0], begins[-1]
    said = [f"the heads from epoch 1, {what} from epoch {first}"]
    if len(begins) > 2:
        every, layers = (values.unfreeze[key] for key in KEYS)
        said.append(f"{layers} more after each {'epoch' if every == 1 else f'{every} epochs'}")
    return ", ".join(said + [f"{all_layers} from epoch {last}"] * (last > first))


def begun(values: SimpleNamespace, encoder: Any, epoch: int) -> str:
    """Name what of the encoder is trained from an epoch on, numbered from 1, and not before it; mostly empty."""
    if values.freeze_encoder_epochs and not encoder.freeze:
        return "the encoder" * (epoch == values.freeze_encoder_epochs + 1)
    if not values.unfreeze:
        return ""
    of = encoder.highest - encoder.frozen_layers
    before, now = (min(of, _layers(values.unfreeze, each)) for each in (max(1, epoch - 1), epoch))
    if now == of:
        return (f"all {of} layers" + " and what is before them" * (not encoder.frozen_layers)) * (before < of)
    return f"the highest {now} of {of} layers" * (before < now)


def hold(values: SimpleNamespace, encoder: Any, epoch: int) -> None:
    """Before an epoch, numbered from 1: let the encoder train what is to be trained in it."""
    encoder.held = epoch <= values.freeze_encoder_epochs
    if values.unfreeze:
        trained = _layers(values.unfreeze, epoch)
        encoder.held = trained == 0
        resting = max(0, encoder.highest - trained)
        encoder.rest(resting if resting > encoder.frozen_layers else 0)


def _layers(given: dict[str, Any], epoch: int) -> int:
    """How many of the highest layers are trained in an epoch."""
    return (epoch - 1) // given["every"] * given["layers"]

"""The heads of a model folder from which a training continues; its encoder is `local.encoders.exported`'s."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from local.core import model_json
from local.experiment import continued
from local.experiment.continued import Agreement, Origin
from local.systems import System
from local.systems.layers.layer_choice import DEFAULTS

ENCODER = "encoder."  # begins the names of the encoder's tensors
FURTHER = "further_heads."  # and those of the further heads', each with its name
EMOTION, TOKEN = "emotion_head", "token_head"  # linear layers, of a class and of a token each row


@torch.no_grad()
def take(system: System, origin: Origin, labels: list[str], tokens: list[str], where: str) -> list[str]:
    """Put into a system the heads of a model folder whose labels or tokens agree; say in lines which.

    The row of each label and token goes where it is here. What else there is besides the encoder, a pooling or weights
    of layers that are trained, goes with the emotion head. A further head is taken where its classes are the same, and
    it is given the same. `labels` and `tokens` are those of the training, `where` is its YAML. A
    `UserError` for a model of another system.
    """
    continued.refuse_other_system(origin, type(system).__module__.rpartition(".")[2], where)
    if system.encoder is not None and system.encoder.task_vectors is not None:
        return [f"the encoder begins as {origin.source}, and the heads as those of ctc_run and emotion_run"]
    with safe_open(model_json.file_of(Path(origin.source), model_json.WEIGHTS), "pt") as stored:
        names = [name for name in stored.keys() if not name.startswith(ENCODER)]  # noqa: SIM118
        found = {name: stored.get_tensor(name) for name in names}
    own = dict(system.state_dict())
    of_tokens = {name for name in own if name.startswith(f"{TOKEN}.")}
    of_emotions = {name for name in own if not name.startswith((ENCODER, FURTHER))} - of_tokens
    emotions = _emotions(system, origin, labels)
    lines = [_taken(own, found, of_emotions, EMOTION, emotions)]
    if system.writes_text:
        agreed = _same_settings(system, origin, "ctc_layer") or continued.tokens(origin, tokens)
        lines.append(_taken(own, found, of_tokens, TOKEN, agreed))
    said = [f"{head} {line}" for head, line in zip(("emotion head", "CTC head"), lines, strict=False)]
    lacks = "" if emotions.order is not None else next(iter(sorted(_shared(of_emotions))), "")
    said += [f"{name} head {_further(system, own, found, name, origin, lacks)}" for name in system.tasks]
    return [f"continues from {origin.source}: its encoder is taken", *said]


def _shared(of_emotions: set[str]) -> set[str]:
    """The tensors between the encoder and the emotion head, which further heads are given the output of, too."""
    return {name for name in of_emotions if not name.startswith(f"{EMOTION}.")}


def _further(
    system: System, own: dict[str, Tensor], found: dict[str, Tensor], name: str, origin: Origin, lacks: str
) -> str:
    """Take a further head, unless it is given something else: `lacks` is of that what was not taken. Say what came."""
    if agreed := _same_settings(system, origin, "pooling", "emotion_layers"):
        return agreed.said
    if lacks:
        return Agreement.none(f"so does {lacks}, of which it reads").said
    agreed = continued.head(origin, name, list(system.tasks[name]))
    return _taken(own, found, {each for each in own if each.startswith(f"{FURTHER}{name}.")}, name, agreed)


def _emotions(system: System, origin: Origin, labels: list[str]) -> Agreement:
    """Compare the emotions, and what else decides what the emotion head is given."""
    if not isinstance(getattr(system, EMOTION, None), nn.Linear):
        return Agreement.none(f"of {type(system).__name__} the encoder alone is taken")
    return _same_settings(system, origin, "pooling", "emotion_layers") or continued.emotions(origin, labels)


def _same_settings(system: System, origin: Origin, *keys: str) -> Agreement | None:
    """That settings differ, without which a head is given something else; None where they do not."""
    for key in keys:
        there, here = (settings.get(key, DEFAULTS.get(key)) for settings in (origin.settings, system.settings()))
        if there != here:
            return Agreement.none(f"the {key} of {origin.name} is {there}, here it is {here}")
    return None


def _taken(own: dict[str, Tensor], found: dict[str, Tensor], names: set[str], head: str, agreed: Agreement) -> str:
    """Copy the tensors of a head, by rows, and of what goes with it; say what came of it."""
    if agreed.order is None:
        return agreed.said
    by_row = agreed.order and head in (EMOTION, TOKEN)
    rows = {
        name: found[name][agreed.order] if by_row and name.startswith(f"{head}.") else found[name]
        for name in names & {*found}
    }
    if differing := sorted(name for name in names if name not in rows or rows[name].shape != own[name].shape):
        return Agreement.none(f"{differing[0]} is of another shape").said
    for name, tensor in rows.items():
        own[name].copy_(tensor)
    return agreed.said

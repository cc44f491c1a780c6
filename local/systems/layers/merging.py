"""Merged or joint: a multi-task system whose encoder is merged of two trainings, of transcripts and of emotions alone.

What is merged, and its sources, are in `local.encoders.task_vectors`. The heads begin as those trainings left them: the
CTC head as that of transcripts did, all others, a pooling and weights of layers as that of emotions did. They are
trained with the coefficients, at `head_lr`, by the loss of the system.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from local.core.errors import UserError
from local.encoders import task_vectors
from local.systems import System
from local.systems.layers.trained_run import chosen_weights

ENCODER, TOKENS, FURTHER = "encoder.", "token_head.", "further_heads."  # begin the names of tensors of a system
MODEL = f"{ENCODER}model."


def begin(system: System, ctc: str | None, emotion: str | None, start: float) -> None:
    """Merge two trainings into a system, whose encoder is as they began; without either nothing changes.

    `ctc` and `emotion` are their run folders, `start` the first value of every coefficient. A `UserError` for one
    without the other, a folder that is no run whose training has ended, or one of another shape.
    """
    if ctc is None and emotion is None:
        return
    if ctc is None or emotion is None:
        have, lack = ("emotion_run", "ctc_run") if ctc is None else ("ctc_run", "emotion_run")
        raise UserError(f"{have} is given and {lack} is not", f"give both: -- --{lack} EXPERIMENT")
    states = {"ctc": _read("ctc_run", ctc), "emotion": _read("emotion_run", emotion)}
    encoders = {
        task: {name.removeprefix(MODEL): tensor for name, tensor in state.items() if name.startswith(MODEL)}
        for task, state in states.items()
    }
    task_vectors.add(system.encoder, encoders, start)
    with torch.no_grad():
        for name, tensor in system.state_dict().items():
            if not name.startswith(ENCODER):
                _take(tensor, name, states["ctc" if name.startswith(TOKENS) else "emotion"])


def _take(tensor: Tensor, name: str, state: Mapping[str, Tensor]) -> None:
    """Give a tensor of a head the values of a run's; a further head that the run has not stays random."""
    found = state.get(name)
    if found is not None and found.shape == tensor.shape:
        tensor.copy_(found)
    elif not name.startswith(FURTHER):
        key = "ctc_run" if name.startswith(TOKENS) else "emotion_run"
        has = "missing" if found is None else f"{[*found.shape]}, here it is {[*tensor.shape]}"
        raise UserError(f"{key}: its {name} is {has}", "give a run of the same labels, tokens and pooling")


def _read(key: str, source: str) -> dict[str, Tensor]:
    """The tensors of the epoch that a run has chosen."""
    if not (files := chosen_weights(Path(source))):
        raise UserError(
            f"{key}: {source} is no folder of a run whose training has ended",
            "train it first, on the same folds and seeds, and give the folder of its experiment",
        )
    try:
        return torch.load(files[0], map_location="cpu", weights_only=True)
    except (OSError, UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{key}: {files[0]} cannot be read: {reason}", "train that run again") from None

"""The encoder of a model folder, as `local.export` wrote it, to continue from: none of the folder's code is run.

Its heads are taken by `local.training.heads`, where labels and tokens agree.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from local.core import model_json
from local.core.errors import UserError
from local.encoders.base import Encoder

PREFIX = "encoder.model."  # of the encoder's tensors among those of the system
OF_SPEC_AUGMENT = "masked_spec_embed"  # which an encoder has only where SpecAugment is on


def load(source: str, changes: dict[str, Any], build: Callable[..., Encoder]) -> Encoder:
    """Load the encoder of a model folder.

    `changes` replace values of its configuration; `build`, called with configuration and preprocessor, builds an
    encoder of random weights. A `UserError` for a folder that is broken, of several models, or of a system that has no
    encoder.
    """
    folder, where = Path(source), f"encoder {source}"
    config = model_json.read(folder)
    if (members := len(config["sizes"])) > 1:
        raise UserError(
            f"{where} is an ensemble of {members} models, which cannot be trained as one",
            "give a model of one fold: python -m local.export RUN MODEL",
        )
    if not config["encoder"]:
        raise UserError(
            f"{where} is a model of the system {config['system']}, which has no encoder", "give a model that has one"
        )
    values = config["encoder"] | changes, config["preprocessor"]
    found = _tensors(folder)
    with torch.device("meta"):  # sizes are compared before memory is taken for them
        expected = build(*values).model.state_dict()
    for name in sorted((expected.keys() ^ found.keys()) - {OF_SPEC_AUGMENT}):
        raise model_json.damaged(folder / model_json.WEIGHTS, f"{PREFIX}{name} is missing or not the encoder's")
    for name in sorted(expected.keys() & found.keys()):
        if (has := [*found[name].shape]) != (wanted := [*expected[name].shape]):
            raise model_json.damaged(folder / model_json.WEIGHTS, f"{PREFIX}{name} is {has}, not {wanted}")
    encoder = build(*values)
    encoder.model.load_state_dict({name: found[name] for name in expected.keys() & found.keys()}, strict=False)
    return encoder


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The encoder's tensors in a model folder."""
    file = model_json.file_of(folder, model_json.WEIGHTS)
    try:
        with safe_open(file, "pt") as stored:
            names = [name for name in stored.keys() if name.startswith(PREFIX)]  # noqa: SIM118
            return {name.removeprefix(PREFIX): stored.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise model_json.damaged(file, str(error)) from None

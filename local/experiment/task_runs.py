"""The runs that are merged, `ctc_run` and `emotion_run` of a YAML, which began as the training that merges them.

No torch. They must be of its fold, on the same utterances: a run of another may have been trained on who is tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.core import markers, starts
from local.core.errors import UserError

KEYS = {"ctc_run": "alpha", "emotion_run": "emotion_weight"}  # each with the weight of the task that it is of
OF_FOLD = ("train.csv", "valid.csv", "tokenizer.model", "valid")
OF_MODEL = ("freeze", "freeze_cnn", "freeze_layers", "emotion_layers", "ctc_layer", "pooling")
NEVER = {"lora": "has adapters", "ctc_run": "is merged itself"}  # values that a run must not have


def read(key: str, run: Path, fold: str, seed: int) -> dict[str, Any]:
    """The inputs of a run whose training has ended; a `UserError` where it has not, or the seed is another."""
    if not (run / "train.json").exists():
        raise UserError(
            f"{key}: {run} has no run of fold {fold} and seed {seed} whose training has ended",
            "train it first, with the same --folds, --seeds and overrides",
        )
    its = starts.read(run).get("job", {}).get("seed")
    if its not in (None, seed):
        raise UserError(f"{key}: {run} has seed {its}, and here it is {seed}", "give the folder of its experiment")
    return markers.read(run / "train.json")["inputs"]


def refuse_other(key: str, run: str | Path, found: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise a `UserError` for a run that was trained on another fold, with another encoder, or not for its task.

    `found` and `own` are the inputs of its training and of the one that merges it.
    """
    if differing := [name for name in OF_FOLD if found.get(name) != own.get(name)]:
        raise UserError(
            f"{key}: {run} was trained on other utterances ({', '.join(differing)}), perhaps of those tested here",
            "give the folder of an experiment of the same corpus, --protocol and --valid, which has a run of this fold",
        )
    for name, what in NEVER.items():
        if found.get(name):
            raise UserError(f"{key}: {run} {what}", "give a run that has trained the encoder's own weights")
    if found.get(KEYS[key], 1) == 0:
        raise UserError(f"{key}: {run} has {KEYS[key]} 0: it has not learned that task", "give a run that has")
    names = [*OF_MODEL, _encoder_key(found, own)]
    if differing := [
        f"{name} ({found.get(name)}, here {own.get(name)})" for name in names if found.get(name) != own.get(name)
    ]:
        raise UserError(
            f"{key}: {run} did not begin as this training: {', '.join(differing)}", "give both the same values"
        )


def _encoder_key(found: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """What says which encoder it is: the version of its weights, wherever they lie, if it is known."""
    version = "encoder_version"
    return version if found.get(version) and own.get(version) else "encoder"

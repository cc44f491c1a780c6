"""config.json of a model folder: what `local.export` writes beside the weights, read and checked without torch.

It is a closed list of keys with plain values (see `KEYS`); of a system without an encoder "encoder" and "preprocessor"
are empty, without a CTC head "tokens" is. What the values mean is said in `local.inference.model_folder`.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from local.core.errors import UserError

FORMAT = "ser-mtl 1"
SAMPLE_RATE = 16_000  # Hz, of all models
CONFIG, WEIGHTS = "config.json", "model.safetensors"
OF_MODEL = {  # the keys that are attributes of `local.inference.model_folder.Model`, and their types
    "labels": list,
    "tokens": list,
    "sizes": list,
    "max_seconds": float,
    "provenance": dict,
}
OPTIONAL = {  # further such keys, which earlier versions did not write
    "temperature": float,  # by which logits are divided for calibrated posteriors, where one was fitted
}
KEYS = {  # all other keys
    "format": str,  # FORMAT
    "system": str,  # a file of local/systems
    "settings": dict,  # the system's `settings()`
    "encoder": dict,  # transformers' model_type and the keys of its configuration
    "preprocessor": dict,  # keys of its feature extractor
} | OF_MODEL
MAX_BYTES = 1_000_000
# Limits of numbers for which an encoder may take memory without having weights of that size; vocabularies reach 60,000.
MAX_ENCODER, MAX_PREPROCESSOR = 100_000, 4096


def is_model(source: Any) -> bool:
    """Whether it is the path of a model folder, of this version of the format or another."""
    if not isinstance(source, str | Path):
        return False
    path = Path(source, CONFIG)
    try:
        if path.stat().st_size > MAX_BYTES:
            return False
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        return False
    return isinstance(config, dict) and str(config.get("format")).startswith(FORMAT.partition(" ")[0])


def read(folder: Path) -> dict[str, Any]:
    """Read config.json; a `UserError` if a key is missing or unknown, or has a value of a wrong type or size."""
    path = file_of(folder, CONFIG)
    if path.stat().st_size > MAX_BYTES:
        raise damaged(path, f"it is larger than {MAX_BYTES} bytes")
    try:
        config = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError, OSError) as error:
        raise damaged(path, f"it cannot be read as JSON ({error})") from None
    if reason := _fault(config):
        raise damaged(path, reason)
    return config | {"max_seconds": float(config["max_seconds"])}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _fault(config: Any) -> str:
    """The first fault of the keys, types and values; empty if there is none."""
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        return f'its "format" is not "{FORMAT}"'
    for key in sorted((KEYS.keys() ^ config.keys()) - OPTIONAL.keys()):
        return f'"{key}" is missing' if key in KEYS else f'"{key}" is not a known key'
    for key, kind in (KEYS | {name: kind for name, kind in OPTIONAL.items() if name in config}).items():
        if type(config[key]) not in ((int, float) if kind is float else (kind,)):
            return f'"{key}" is not a {kind.__name__}'
    for key, kind in (("labels", str), ("tokens", str), ("sizes", int)):
        if not (config[key] or key == "tokens") or not all(type(value) is kind for value in config[key]):
            return f'"{key}" is not a list of {kind.__name__}'
    numbers = [value for key in config["encoder"].values() for value in (key if isinstance(key, list) else [key])]
    if not all(0 <= number <= MAX_ENCODER for number in numbers if isinstance(number, int | float)):
        return f'"encoder" has a number that is not from 0 to {MAX_ENCODER}'
    preprocessor = config["preprocessor"]
    if (rate := preprocessor.get("sampling_rate", SAMPLE_RATE)) != SAMPLE_RATE:
        return f"it is a model of audio at {rate} Hz, and all audio here has {SAMPLE_RATE}"
    if not all(type(value) in (int, bool) and 0 <= value <= MAX_PREPROCESSOR for value in preprocessor.values()):
        return f'"preprocessor" has a value that is not from 0 to {MAX_PREPROCESSOR}'
    if len(set(config["labels"])) < len(config["labels"]):
        return '"labels" has a label twice'
    if len(config["sizes"]) == 1 and config["sizes"] != [len(config["tokens"])]:
        return '"sizes" is not the number of "tokens"'
    if not 0 < config["max_seconds"] < 1e6:
        return '"max_seconds" is not a length in seconds'
    if not 0 < config.get("temperature", 1.0) < 1e6:
        return '"temperature" is not above 0'
    return ""


def file_of(folder: Path, name: str) -> Path:
    """The path of a file of a model folder; a `UserError` if it is missing, closed or a link out of the folder."""
    path = folder / name
    try:
        is_file = stat.S_ISREG(os.stat(path).st_mode)
        if is_file:
            open(path, "rb").close()
    except PermissionError as error:
        raise UserError(f"{path}: {error.strerror}", "let your account read it, and the folder") from None
    except OSError:
        is_file = False
    if not is_file:
        fault = f"is no model folder: {name} is missing" if os.path.exists(folder) else "is missing"
        within = folder / "model"  # of a run folder, as stage 6 writes it
        exported = within if os.path.isfile(within / name) else "a folder that python -m local.export wrote"
        raise UserError(f"{folder} {fault}", f"give {exported}")
    if folder.resolve() not in path.resolve().parents:
        raise damaged(path, "it is a link that leads out of the folder")
    return path


def damaged(path: Path, reason: str) -> UserError:
    """The error of a file of a model folder that is not as it was written."""
    return UserError(f"{path}: {reason}", "export the model again, and use only models from people you trust")

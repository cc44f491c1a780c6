"""A model folder: what `local.export` writes of a trained fold, and how it is read again.

    config.json         what the model is: a closed list of keys (see `KEYS`), plain values
    model.safetensors   its weights, named as in the system's `state_dict`

Reading one builds nothing but the encoders and systems of this project, and runs no code that comes with the
folder: no YAML, no pickle. A folder from anywhere can be read, or is refused with a reason.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.core.files import atomic
from local.encoders import KNOWN, build_encoder, description, refuse_undeclared
from local.inference.ensemble import Ensemble
from local.systems import system_class

FORMAT = "ser-mtl 1"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
# The keys of config.json, all of them, and what each is.
KEYS = {
    "format": str,  # FORMAT
    "system": str,  # a file of local/systems
    "settings": dict,  # what makes another of it
    "encoder": dict,  # transformers' model_type and the keys of its configuration
    "preprocessor": dict,  # keys of its feature extractor
    "labels": list,  # the emotions, in the order of the classes
    "tokens": list,  # what each token stands for; U+2581 is the blank between words
    "sizes": list,  # tokens of each member: one, or several of an ensemble
    "max_seconds": float,  # the longest utterance of training
    "provenance": dict,  # where it comes from, for the reader
}
MAX_BYTES = 1_000_000  # of config.json
MOST_PARAMETERS = 50_000  # tensors; an ensemble of ten large encoders has ten thousand
# Of what an encoder takes memory for without having weights of that size; vocabularies reach 60,000.
LARGEST = {"encoder": 100_000, "preprocessor": 4096}
TYPES = {torch.float32: "F32", torch.int64: "I64"}  # as safetensors has them


@dataclass(frozen=True)
class Model:
    """A model and what its outputs mean.

    Attributes
    ----------
    system
        A system (see `local.systems`) or an `Ensemble` of them.
    labels
        The emotions, in the order of the classes.
    tokens
        What each token stands for, as SentencePiece writes it: U+2581 is the blank between words.
    sizes
        Tokens of each member.
    max_seconds
        The longest utterance of training.
    provenance
        Where it comes from: plain values by name, for the reader.
    """

    system: nn.Module
    labels: list[str]
    tokens: list[str]
    sizes: list[int]
    max_seconds: float
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def members(self) -> list[nn.Module]:
        """The systems, one or several."""
        return list(self.system.members) if isinstance(self.system, Ensemble) else [self.system]


def write(folder: Path, model: Model) -> None:
    """Write a model into a folder, the weights in single precision, config.json last."""
    members = model.members
    encoder, preprocessor = description(members[0].encoder)
    config = {
        "format": FORMAT,
        "system": type(members[0]).__module__.rpartition(".")[2],
        "settings": members[0].settings(),
        "encoder": encoder,
        "preprocessor": preprocessor,
        "labels": model.labels,
        "tokens": model.tokens,
        "sizes": model.sizes,
        "max_seconds": model.max_seconds,
        "provenance": model.provenance,
    }
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.system.state_dict().items()}
    with atomic(folder / WEIGHTS, "wb") as file:
        file.write(save(weights, metadata={"format": "pt"}))
    with atomic(folder / CONFIG) as file:
        json.dump(config, file, indent=1, ensure_ascii=False)
        file.write("\n")


def read(folder: Path | str) -> Model:
    """Read a model folder; the system is in evaluation mode, on the CPU.

    Raises
    ------
    UserError
        It is absent, broken, or not what `write` could have written; the message says where.
    """
    folder = Path(folder)
    config = _config(folder)
    weights = _inside(folder, WEIGHTS)
    try:
        with safe_open(weights, "pt") as file:
            stored = {name: _kind_of(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _refused(weights, str(error)) from None
    try:
        # Sizes are compared before memory is taken for them.
        with torch.device("meta"), _parameters_at_most(min(2 * len(stored), MOST_PARAMETERS)):
            expected = {name: _kind_of(tensor) for name, tensor in _system(config).state_dict().items()}
        if differing := sorted(set(expected.items()) ^ set(stored.items())):
            raise ValueError(f"{differing[0][0]} of {WEIGHTS} is not of the shape and type that it describes")
        system = _system(config)
        _load(system, load_file(weights), config["sizes"])
    except Exception as error:  # there are as many ways to fail as there are values
        raise _refused(folder / CONFIG, str(error)) from None
    return Model(
        system,
        config["labels"],
        config["tokens"],
        config["sizes"],
        float(config["max_seconds"]),
        config["provenance"],
    )


def _kind_of(tensor: Any) -> tuple[tuple[int, ...], str]:
    """Shape and type of a tensor, or of one in a file of safetensors."""
    if isinstance(tensor, Tensor):
        return tuple(tensor.shape), TYPES[tensor.dtype]
    return tuple(tensor.get_shape()), tensor.get_dtype()


@contextlib.contextmanager
def _parameters_at_most(count: int) -> Iterator[None]:
    """Stop whoever makes modules of more parameters: a thousand million layers take long even without memory."""
    made = itertools.count(1)

    def counted(*_) -> None:
        if next(made) > count:
            raise ValueError(f"it describes more weights than {WEIGHTS} holds")

    hook = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()


def _system(config: dict[str, Any]) -> nn.Module:
    """Make the system that config.json describes, with random weights."""
    refuse_undeclared(config["encoder"], config["preprocessor"])
    kind = system_class(config["system"])
    members = []
    for size in config["sizes"]:
        encoder = build_encoder(config["encoder"], config["preprocessor"])
        members.append(kind(encoder, n_labels=len(config["labels"]), n_tokens=size, **config["settings"]))
    if encoder.preprocessor != config["preprocessor"] or not 0.005 <= encoder.seconds_per_frame <= 1:
        raise ValueError("the preprocessor is not the encoder's, or its frames are not 5 ms to 1 s apart")
    if len(members) == 1:
        return members[0]
    return Ensemble(members, torch.zeros(len(members), len(config["tokens"]), dtype=torch.long))


def _load(system: nn.Module, weights: dict[str, Tensor], sizes: list[int]) -> None:
    """Give a system its weights, and try whether it can be used."""
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise ValueError(f"{WEIGHTS} holds numbers that are not finite")
    system.load_state_dict(weights)
    if isinstance(system, Ensemble):
        for order, size in zip(system.orders, sizes, strict=True):
            if order.min() < 0 or order.max() > size:
                raise ValueError(f"orders of {WEIGHTS} names tokens that there are not")
    system.eval().requires_grad_(False)
    samples = SAMPLE_RATE // 10
    system(torch.zeros(1, samples), torch.tensor([samples]))


def _config(folder: Path) -> dict[str, Any]:
    """Read config.json and look whether it has all its keys, and no others."""
    path = _inside(folder, CONFIG)
    if path.stat().st_size > MAX_BYTES:
        raise _refused(path, f"it is larger than {MAX_BYTES} bytes")
    try:
        config = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError, OSError) as error:
        raise _refused(path, f"it cannot be read as JSON ({error})") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise _refused(path, f'its "format" is not "{FORMAT}"')
    for key in sorted(KEYS.keys() ^ config.keys()):
        raise _refused(path, f'it has {"no" if key in KEYS else "a key of its own,"} "{key}"')
    for key, kind in KEYS.items():
        if type(config[key]) not in ((int, float) if kind is float else (kind,)):
            raise _refused(path, f'"{key}" is not a {kind.__name__}')
    for key, kind in (("labels", str), ("tokens", str), ("sizes", int)):
        if not config[key] or not all(type(value) is kind for value in config[key]):
            raise _refused(path, f'"{key}" is not a list of {kind.__name__}')
    if why := _wrong(config):
        raise _refused(path, why)
    return config


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _wrong(config: dict[str, Any]) -> str:
    """What is wrong with values whose types are right; empty where nothing is."""
    encoder, preprocessor = config["encoder"], config["preprocessor"]
    numbers = [value for key in encoder.values() for value in (key if isinstance(key, list) else [key])]
    if encoder.get("model_type") not in KNOWN:
        return f'the "model_type" of "encoder" is not one of: {" ".join(KNOWN)}'
    if not all(0 <= number <= LARGEST["encoder"] for number in numbers if isinstance(number, int | float)):
        return f'"encoder" has a number that is not from 0 to {LARGEST["encoder"]}'
    if not all(type(value) in (int, bool) and 0 <= value <= LARGEST["preprocessor"] for value in preprocessor.values()):
        return f'"preprocessor" has a value that is not from 0 to {LARGEST["preprocessor"]}'
    if len(set(config["labels"])) < len(config["labels"]):
        return '"labels" has one twice'
    if len(config["sizes"]) == 1 and config["sizes"] != [len(config["tokens"])]:
        return '"sizes" is not the number of "tokens"'
    if not 0 < config["max_seconds"] < 1e6:
        return '"max_seconds" is not a length'
    return ""


def _inside(folder: Path, name: str) -> Path:
    """The path of a file of a model folder, which no link may lead out of it."""
    path = folder / name
    if not os.path.isfile(path):  # Path.is_file raises where it may not look
        what = "is not there" if not os.path.exists(folder) else f"is no model folder: it has no {name}"
        raise UserError(f"{folder} {what}", "give a folder that python -m local.export wrote")
    if folder.resolve() not in path.resolve().parents:
        raise _refused(path, "it is a link that leads out of the folder")
    return path


def _refused(path: Path, why: str) -> UserError:
    return UserError(f"{path}: {why}", "export the model again, and take models from people you trust")

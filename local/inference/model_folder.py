"""The model folder that `local.export` writes for a trained fold: writing and reading it.

    config.json         the description of the model: a closed list of keys (see `KEYS`), plain values; of a system
                        without an encoder "encoder" and "preprocessor" are empty, without a CTC head "tokens" is
    model.safetensors   its weights, named as in the system's `state_dict`

Reading one builds nothing but the encoders and systems of this project, and runs no code that comes with the
folder: no YAML, no pickle. A folder of any origin is safe to read: it loads, or an error says why not.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.core.files import atomic
from local.encoders import plain
from local.encoders.base import Encoder
from local.inference.ensemble import Ensemble
from local.systems import system_class

FORMAT = "ser-mtl 1"
MTL = "mtl"  # the system of this recipe's own models
CONFIG, WEIGHTS = "config.json", "model.safetensors"
OF_MODEL = {  # the keys of config.json that are attributes of `Model`, and their types
    "labels": list,
    "tokens": list,
    "sizes": list,
    "max_seconds": float,
    "provenance": dict,
}
KEYS = {  # all of its keys
    "format": str,  # FORMAT
    "system": str,  # a file of local/systems
    "settings": dict,  # the system's `settings()`
    "encoder": dict,  # transformers' model_type and the keys of its configuration
    "preprocessor": dict,  # keys of its feature extractor
} | OF_MODEL
MAX_BYTES = 1_000_000  # of config.json
MAX_PARAMETERS = 50_000  # tensors; an ensemble of ten large encoders has ten thousand
# Limits of numbers for which an encoder may take memory without having weights of that size; vocabularies reach 60,000.
MAX_ENCODER, MAX_PREPROCESSOR = 100_000, 4096
# Functions of torch, and of its tensors, that fill one with random numbers.
DRAWN = {"normal_", "uniform_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_"}
# Their names in safetensors.
TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL"}


@dataclass(frozen=True)
class Model:
    """A model and the meaning of its outputs."""

    system: nn.Module  # a system (see `local.systems`) or an `Ensemble` of them
    labels: list[str]  # the emotions, in the order of the classes
    tokens: list[str]  # the text of each token, as SentencePiece writes it: U+2581 is the space between words; or none
    sizes: list[int]  # number of tokens of each member
    max_seconds: float  # the longest utterance of training
    provenance: dict[str, Any] = field(default_factory=dict)  # corpus, folds and so on: plain values, for information

    @property
    def members(self) -> list[nn.Module]:
        """The systems: one, or those of an ensemble."""
        return list(self.system.members) if isinstance(self.system, Ensemble) else [self.system]


def write(folder: Path, model: Model) -> None:
    """Write a model into a folder, the weights in single precision, config.json last."""
    from local.encoders import description  # takes seconds

    members = model.members
    encoder, preprocessor = description(members[0].encoder) if members[0].encoder is not None else ({}, {})
    config = {
        "format": FORMAT,
        "system": type(members[0]).__module__.rpartition(".")[2],
        "settings": members[0].settings(),
        "encoder": encoder,
        "preprocessor": preprocessor,
    } | {name: getattr(model, name) for name in OF_MODEL}
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.system.state_dict().items()}
    with atomic(folder / WEIGHTS, "wb") as file:
        file.write(save(weights, metadata={"format": "pt"}))
    with atomic(folder / CONFIG) as file:
        json.dump(config, file, indent=1, ensure_ascii=False)
        file.write("\n")


def read(folder: Path | str) -> Model:
    """Read a model folder; the system is in evaluation mode, on the CPU.

    If it is missing, broken, or not as `write` writes it, a `UserError` says where.
    """
    folder = Path(folder)
    config = _read_config(folder)
    weights = _file_of(folder, WEIGHTS)
    try:
        with safe_open(weights, "pt") as file:
            stored = {name: _shape_and_type(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _error(weights, str(error)) from None
    try:
        # Sizes are compared before memory is allocated for them.
        with torch.device("meta"), _limit_parameters(min(2 * len(stored), MAX_PARAMETERS)):
            expected = {name: _shape_and_type(tensor) for name, tensor in _build(config).state_dict().items()}
        if differing := sorted(set(expected.items()) ^ set(stored.items())):
            raise ValueError(f"{differing[0][0]} of {WEIGHTS} is not of the shape and type that it describes")
        with _RandomSkipped():
            system = _build(config)
        _load(system, load_file(weights), config["sizes"])
    except Exception as error:  # wrong values raise errors of any class
        raise _error(folder / CONFIG, str(error)) from None
    return Model(system, **{name: config[name] for name in OF_MODEL})


def _shape_and_type(tensor: Any) -> tuple[tuple[int, ...], str]:
    """Of a tensor, or of one in a file of safetensors."""
    if isinstance(tensor, Tensor):
        return tuple(tensor.shape), TYPES[tensor.dtype]
    return tuple(tensor.get_shape()), tensor.get_dtype()


@contextlib.contextmanager
def _limit_parameters(count: int) -> Iterator[None]:
    """Raise an error when modules of more parameters are made: a billion layers take long even without memory.

    Those that another thread makes meanwhile do not count: PyTorch tells of all.
    """
    numbers, mine = itertools.count(1), threading.get_ident()

    def check(*_) -> None:
        if threading.get_ident() == mine and next(numbers) > count:
            raise ValueError(f"it describes more weights than {WEIGHTS} holds")

    hook = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        hook.remove()


class _RandomSkipped(TorchFunctionMode):
    """Leaves parameters without their random values: these take longer to draw than the weights to read."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        filled = args[0] if args else kwargs.get("tensor")  # functions of torch.nn.init name it
        if getattr(func, "__name__", "") in DRAWN and isinstance(filled, nn.Parameter):
            return filled
        return func(*args, **kwargs)


def _build(config: dict[str, Any]) -> nn.Module:
    """Build the system that config.json describes, with random weights."""
    system, members = system_class(config["system"]), []
    if system.writes_text != bool(config["tokens"]):
        raise ValueError(f"the system {config['system']} {'has' if system.writes_text else 'has no'} tokens")
    for size in config["sizes"]:
        sizes = {"n_labels": len(config["labels"])} | ({"n_tokens": size} if system.writes_text else {})
        encoder = {"encoder": _build_encoder(config)} if config["encoder"] else {}
        members.append(system(**encoder, **sizes, **config["settings"]))
    if len(members) == 1:
        return members[0]
    return Ensemble(members, torch.zeros(len(members), len(config["tokens"]), dtype=torch.long))


def _build_encoder(config: dict[str, Any]) -> Encoder:
    values = config["encoder"], config["preprocessor"]
    if config["system"] == MTL and plain.takes(*values):  # other systems may use more of a model than its frames
        encoder = plain.build(*values)
    else:
        from local.encoders import build_encoder, refuse_undeclared  # takes seconds

        refuse_undeclared(*values)
        encoder = build_encoder(*values)
    if encoder.preprocessor != config["preprocessor"] or not 0.005 <= encoder.seconds_per_frame <= 1:
        raise ValueError("the preprocessor is not the encoder's, or its frames are not 5 ms to 1 s apart")
    return encoder


def _load(system: nn.Module, weights: dict[str, Tensor], sizes: list[int]) -> None:
    """Load the weights into a system, and run it once."""
    # A sum is finite only if all of its terms are, and is found sooner.
    if not all(tensor.sum().isfinite() or tensor.isfinite().all() for tensor in weights.values()):
        raise ValueError(f"{WEIGHTS} holds numbers that are not finite")
    system.load_state_dict(weights)
    if isinstance(system, Ensemble):
        for order, size in zip(system.orders, sizes, strict=True):
            if len(order) and (order.min() < 0 or order.max() > size):
                raise ValueError(f"orders of {WEIGHTS} has the index of a token that does not exist")
    system.eval().requires_grad_(False)
    samples = SAMPLE_RATE // 10
    system(torch.zeros(1, samples), torch.tensor([samples]))


def _read_config(folder: Path) -> dict[str, Any]:
    """Read config.json; an error if a key is missing or unknown, or has a value of a wrong type or out of range."""
    path = _file_of(folder, CONFIG)
    if path.stat().st_size > MAX_BYTES:
        raise _error(path, f"it is larger than {MAX_BYTES} bytes")
    try:
        config = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError, OSError) as error:
        raise _error(path, f"it cannot be read as JSON ({error})") from None
    if reason := _fault(config):
        raise _error(path, reason)
    return config | {"max_seconds": float(config["max_seconds"])}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _fault(config: Any) -> str:
    """The first fault of the keys, types and values of config.json; empty if there is none."""
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        return f'its "format" is not "{FORMAT}"'
    for key in sorted(KEYS.keys() ^ config.keys()):
        return f'"{key}" is missing' if key in KEYS else f'"{key}" is not a known key'
    for key, kind in KEYS.items():
        if type(config[key]) not in ((int, float) if kind is float else (kind,)):
            return f'"{key}" is not a {kind.__name__}'
    for key, kind in (("labels", str), ("tokens", str), ("sizes", int)):
        if not (config[key] or key == "tokens") or not all(type(value) is kind for value in config[key]):
            return f'"{key}" is not a list of {kind.__name__}'
    encoder, preprocessor = config["encoder"], config["preprocessor"]
    numbers = [value for key in encoder.values() for value in (key if isinstance(key, list) else [key])]
    if (encoder or preprocessor) and encoder.get("model_type") not in [*plain.OWN]:
        from local.encoders import KNOWN  # takes seconds

        if encoder.get("model_type") not in KNOWN:
            return f'the "model_type" of "encoder" is not one of: {" ".join(KNOWN)}'
    if not all(0 <= number <= MAX_ENCODER for number in numbers if isinstance(number, int | float)):
        return f'"encoder" has a number that is not from 0 to {MAX_ENCODER}'
    if not all(type(value) in (int, bool) and 0 <= value <= MAX_PREPROCESSOR for value in preprocessor.values()):
        return f'"preprocessor" has a value that is not from 0 to {MAX_PREPROCESSOR}'
    if len(set(config["labels"])) < len(config["labels"]):
        return '"labels" has a label twice'
    if len(config["sizes"]) == 1 and config["sizes"] != [len(config["tokens"])]:
        return '"sizes" is not the number of "tokens"'
    if not 0 < config["max_seconds"] < 1e6:
        return '"max_seconds" is not a length in seconds'
    return ""


def _file_of(folder: Path, name: str) -> Path:
    """The path of a file of a model folder; an error if it is missing or a link out of the folder."""
    path = folder / name
    if not os.path.isfile(path):  # Path.is_file raises an error without permission to look
        fault = f"is no model folder: {name} is missing" if os.path.exists(folder) else "is missing"
        within = folder / "model"  # of a run folder, as stage 6 writes it
        exported = within if os.path.isfile(within / name) else "a folder that python -m local.export wrote"
        raise UserError(f"{folder} {fault}", f"give {exported}")
    if folder.resolve() not in path.resolve().parents:
        raise _error(path, "it is a link that leads out of the folder")
    return path


def _error(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: {reason}", "export the model again, and use only models from people you trust")

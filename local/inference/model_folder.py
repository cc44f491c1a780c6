"""The model folder that `local.export` writes for a trained fold: writing and reading it.

    config.json         the description of the model: a closed list of keys, plain values (see `local.core.model_json`)
    model.safetensors   its weights, named as in the system's `state_dict`

Reading one builds nothing but the encoders and systems of this project, and runs no code that comes with the
folder: no YAML, no pickle. A folder of any origin is safe to read: it loads, or an error says why not.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from local.audio.header import SAMPLE_RATE
from local.core import model_json
from local.core.files import atomic, write_text
from local.core.model_json import CONFIG, FORMAT, OF_MODEL, OPTIONAL, WEIGHTS
from local.encoders import plain
from local.encoders.base import Encoder
from local.inference.ensemble import Ensemble
from local.systems import system_class

ALIGNMENT = 64  # bytes: of PyTorch's memory on a CPU
MTL = "mtl"  # the system of this recipe's own models
MAX_PARAMETERS = 50_000  # tensors; an ensemble of ten large encoders has ten thousand
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
    temperature: float | None = None  # of its posteriors, see `local.scoring.calibration`; None where none was fitted

    @property
    def members(self) -> list[nn.Module]:
        """The systems: one, or those of an ensemble."""
        return list(self.system.members) if isinstance(self.system, Ensemble) else [self.system]

    @property
    def emotions_trained(self) -> bool:
        """Whether the emotion head was trained: otherwise emotions and posteriors mean nothing."""
        return all(member.emotion_weight for member in self.members)


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
    config |= {name: value for name in OPTIONAL if (value := getattr(model, name)) is not None}
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.system.state_dict().items()}
    with atomic(folder / WEIGHTS, "wb") as file:
        file.write(save(weights, metadata={"format": "pt"}))
    write_text(folder / CONFIG, json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def read(folder: Path | str) -> Model:
    """Read a model folder; the system is in evaluation mode, on the CPU, its weights still pages of their file.

    If it is missing, broken, or not as `write` writes it, a `UserError` says where.
    """
    folder = Path(folder)
    config = _read_config(folder)
    weights = model_json.file_of(folder, WEIGHTS)
    try:
        with safe_open(weights, "pt") as file:
            stored = {name: _shape_and_type(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise model_json.damaged(weights, str(error)) from None
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
        raise model_json.damaged(folder / CONFIG, str(error)) from None
    return Model(system, **{name: config[name] for name in (*OF_MODEL, *OPTIONAL) if name in config})


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
    # The file is mapped into memory, where most tensors begin at odd places: of these, products differ in their last
    # bits from those of the trained model, whose tensors PyTorch has aligned, as it does those of a copy.
    aligned = {name: weight.clone() if weight.data_ptr() % ALIGNMENT else weight for name, weight in weights.items()}
    system.load_state_dict(aligned, assign=True)
    if isinstance(system, Ensemble):
        for order, size in zip(system.orders, sizes, strict=True):
            if len(order) and (order.min() < 0 or order.max() > size):
                raise ValueError(f"orders of {WEIGHTS} has the index of a token that does not exist")
    system.eval().requires_grad_(False)
    samples = SAMPLE_RATE // 10
    system(torch.zeros(1, samples), torch.tensor([samples]))


def _read_config(folder: Path) -> dict[str, Any]:
    """Read config.json; an error for what `local.core.model_json` refuses, or an encoder of no known type."""
    config = model_json.read(folder)
    kind = config["encoder"].get("model_type")
    if (config["encoder"] or config["preprocessor"]) and kind not in [*plain.OWN]:
        from local.encoders import KNOWN  # takes seconds

        if kind not in KNOWN:
            reason = f'the "model_type" of "encoder" is not one of: {" ".join(KNOWN)}'
            raise model_json.damaged(folder / CONFIG, reason)
    return config

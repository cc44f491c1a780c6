"""Weights from a file that the user names: the tensors of a module, and nothing else."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from local.core.errors import UserError

REMEDY = "give a file of weights, .safetensors or .pth"


def load_weights(module: nn.Module, file: str | Path, key: str) -> None:
    """Load a file of PyTorch or safetensors (`.safetensors`) into a module.

    Of a pickle only tensors are read: no code of the file runs. It must hold the tensors of the module's `state_dict`,
    and no others; the counters of batch norm, which have no use, may be missing. A `UserError`, which begins with
    `key`, the file's key in the YAML, names the first tensor that is missing, unknown or of another shape.
    """
    where = f"{key} {file}"
    fill(module, read_tensors(Path(file), where), where)


def fill(module: nn.Module, found: dict[str, Tensor], where: str, prefix: str = "") -> None:
    """Put into a module the tensors of a file, whose names there begin with `prefix`; errors as of `load_weights`."""
    needed = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    for name, tensor in needed.items():
        if name not in found:
            if name.endswith("num_batches_tracked"):
                found = found | {name: tensor}
                continue
            raise UserError(f"{where}: the tensor {name}, {[*tensor.shape]}, is missing", _remedy(module))
        if found[name].shape != tensor.shape:
            has, wanted = [*found[name].shape], [*tensor.shape]
            raise UserError(f"{where}: the tensor {name} is {has}, not {wanted}", _remedy(module))
    if unknown := sorted(found.keys() - needed.keys()):
        raise UserError(f"{where}: the tensor {unknown[0]} is not one of the network's", _remedy(module))
    module.load_state_dict({name.removeprefix(prefix): found[name] for name in needed})


def _remedy(module: nn.Module) -> str:
    return f"give the weights of this very {type(module).__name__}"


def read_tensors(file: Path, where: str) -> dict[str, Tensor]:
    """The tensors of a file, as `load_weights` reads it; a `UserError`, which begins with `where`, if it has others."""
    found = read_plain(file, where)
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise UserError(f"{where}: it is not one mapping from names to tensors", REMEDY)
    return dict(found)


def read_plain(file: Path, where: str) -> Any:
    """Tensors and plain values of a file of PyTorch or safetensors; a `UserError` if it has more, or is broken."""
    if not file.is_file():
        raise UserError(f"{where}: there is no such file", REMEDY)
    try:
        is_safe = file.suffix == ".safetensors"
        return load_file(file) if is_safe else torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise UserError(f"{where}: it is a pickle that holds more than weights, perhaps code", REMEDY) from None
    except Exception as error:  # a broken file raises errors of any class
        raise UserError(f"{where}: cannot be read ({str(error).partition(chr(10))[0]})", REMEDY) from None

"""Precision and batch limits by device."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn

from local.core.errors import UserError
from local.core.precisions import PRECISIONS
from local.data.batches import Limits
from local.systems.layers.batch_norm import running_statistics

# Others, such as mps, lack some of what this project takes from PyTorch, and were never tried.
BACKENDS = {"cpu": torch.cpu, "cuda": torch.cuda}

# What a pass of a few utterances costs besides their seconds, in seconds of audio for a model of base
# size: little on a CPU; on a GPU hundreds of kernels must be launched.
OVERHEAD = {"cpu": 1.0, "cuda": 30.0}
BASE_PARAMETERS = 95e6
# Where a pass is measured, in seconds: no padding is worth another pass.
WHOLE = 1e9


def infer_device() -> str:
    """A GPU of CUDA if there is one, of several processes each its own; else the CPU, as with other GPUs."""
    if not torch.cuda.is_available():
        return "cpu"
    from speechbrain.utils import distributed  # takes a second to load

    return distributed.infer_device()


def kind(values: dict[str, Any]) -> str:
    """`cpu` or `cuda`: the YAML's `device`, or by default a GPU if there is one."""
    return (values["device"] or infer_device()).split(":")[0]


def full_name(name: str | None) -> str:
    """The device of this name, by default a GPU if there is one; with its number, which SpeechBrain misses.

    >>> full_name("cuda"), full_name("cuda:1"), full_name("cpu")
    ('cuda:0', 'cuda:1', 'cpu')
    """
    name = name or infer_device()
    return "cuda:0" if name == "cuda" else name


def refuse_missing_device(name: str | None) -> None:
    """Raise a UserError for a device that PyTorch does not find here, or other than a CPU or a GPU of CUDA."""
    try:
        device = torch.device(name or infer_device())
    except RuntimeError:
        device = None
    if device is None or device.type not in BACKENDS:
        raise UserError(f"device '{name}' is not known", "take cpu, cuda, or cuda:N, N from 0")
    count = BACKENDS[device.type].device_count()
    if (device.index or 0) >= count:
        raise UserError(f"device {name}: PyTorch finds {count} devices {device.type} here", "take cpu, or another")


def resolve_precision(values: dict[str, Any]) -> str:
    """The YAML's `precision`; `auto` is mixed precision where the device has it in hardware.

    A CPU has it with AVX-512 BF16 or AMX, where training was measured to be twice as fast, unless oneDNN is held to
    less, as by ONEDNN_MAX_CPU_ISA. A `UserError` for fp16 on a CPU, in training or validation.
    """
    if "fp16" in (values["precision"], values["eval_precision"]) and kind(values) == "cpu":
        raise UserError(
            "fp16 needs a GPU, and the device is a CPU", "take --precision bf16 or fp32, or another --device"
        )
    if values["precision"] != "auto":
        return values["precision"]
    if kind(values) == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    able = sys.platform == "linux" and torch.cpu._is_avx512_bf16_supported()
    return "bf16" if able and torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"


def use_precision(precision: str) -> str:
    """Let a GPU round single precision to TF32 if the precision is `tf32`, else not; for the whole process.

    SpeechBrain allows it when it is imported, and cuDNN by default: with inputs rounded to 11 bits, an utterance
    differs between alone and in a batch by 1e-3. Returns SpeechBrain's name of the precision, which has none for
    `tf32`. A `UserError` for an unknown precision.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision '{precision}' is not known", f"take one of: {' '.join(PRECISIONS)}")
    allowed = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    # The newer switches for the same: unset, those of cuDNN follow one of all devices. They come second: where the
    # two kinds disagree, PyTorch raises an error when the older is read.
    for operation in (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
        operation.fp32_precision = "tf32" if allowed else "ieee"
    return "fp32" if allowed else precision


def tf32_is_allowed() -> bool:
    """Whether a GPU may round single precision to TF32 in this process, somewhere."""
    return torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32


def limits(values: dict[str, Any], system: nn.Module) -> Limits:
    """Limits of a micro-batch in training.

    With batch norm that learns, whose statistics are those of a pass, an update has as few passes as the YAML allows,
    whatever the device: else an update would depend on how it is cut, and on the lengths that pass together.
    """
    found = batch_limits(kind(values), system, values["micro_batch_seconds"])
    overhead = WHOLE if running_statistics(system) else found.overhead
    return found._replace(size=values["micro_batch_size"], overhead=overhead)


def evaluation_limits(values: dict[str, Any], system: nn.Module) -> Limits:
    """Limits of a batch in validation and decoding."""
    return batch_limits(kind(values), system, values["eval_batch_seconds"])


def batch_limits(device: str, system: nn.Module, seconds: float) -> Limits:
    """Limits of a batch of so many seconds on a `cpu` or another device.

    What a pass costs is the more, the smaller the model. On a CPU there are as few passes as can be where no padding
    passes through the encoder (`local.encoders.packing`); padding counts then only where several hidden states are
    read, each of which is padded again.
    """
    encoder = getattr(system, "encoder", None)
    if device == "cpu" and getattr(encoder, "packs", False):
        return Limits(sys.maxsize, seconds, WHOLE, packed=not encoder.taken)
    parameters = max(1, sum(p.numel() for p in system.parameters()))
    overhead = OVERHEAD["cpu" if device == "cpu" else "cuda"] * BASE_PARAMETERS / parameters
    return Limits(sys.maxsize, seconds, overhead)

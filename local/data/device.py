"""Precision and batch limits by device."""

from __future__ import annotations

import sys
from typing import Any

import torch
from speechbrain.utils.distributed import infer_device
from torch import nn

from local.data.batches import Limits

# What a pass of a few utterances costs besides their seconds, in seconds of audio for a model of base
# size: little on a CPU; on a GPU hundreds of kernels must be launched.
OVERHEAD = {"cpu": 1.0, "cuda": 30.0}
BASE_PARAMETERS = 95e6


def kind(values: dict[str, Any]) -> str:
    """`cpu` or `cuda`: the YAML's `device`, or by default a GPU if there is one."""
    return (values["device"] or infer_device()).split(":")[0]


def resolve_precision(values: dict[str, Any]) -> str:
    """The YAML's `precision`; `auto` is mixed precision where the device has it in hardware.

    A CPU has it with AVX-512 BF16 or AMX, where training was measured to be twice as fast.
    """
    if values["precision"] != "auto":
        return values["precision"]
    if kind(values) == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if sys.platform == "linux" and torch.cpu._is_avx512_bf16_supported() else "fp32"


def limits(values: dict[str, Any], system: nn.Module) -> Limits:
    """Limits of a micro-batch in training."""
    return Limits(values["micro_batch_size"], values["micro_batch_seconds"], overhead(kind(values), system))


def evaluation_limits(values: dict[str, Any], system: nn.Module) -> Limits:
    """Limits of a batch in validation and decoding."""
    return Limits(sys.maxsize, values["eval_batch_seconds"], overhead(kind(values), system))


def overhead(device: str, system: nn.Module) -> float:
    """What a pass costs besides its seconds, in seconds of audio: the more, the smaller the model."""
    parameters = sum(p.numel() for p in system.parameters())
    return OVERHEAD["cpu" if device == "cpu" else "cuda"] * BASE_PARAMETERS / parameters

"""What a device is good at: the precision that it trains in, and how much may pass at a time."""

from __future__ import annotations

import sys
from typing import Any

import torch
from speechbrain.utils.distributed import infer_device
from torch import nn

from local.data.batches import Limits

# What a pass of a few utterances costs besides their seconds, in seconds of audio for a model of base
# size: a processor only begins and ends its operations; a GPU waits for hundreds of kernels to be launched.
OVERHEAD = {"cpu": 1.0, "cuda": 30.0}
BASE_PARAMETERS = 95e6


def kind(values: dict[str, Any]) -> str:
    """`cpu` or `cuda`: of the YAML's `device`, or, where it says nothing, of what there is."""
    return (values["device"] or infer_device()).split(":")[0]


def resolve_precision(values: dict[str, Any]) -> str:
    """Settle `precision: auto`: mixed precision where the device has it.

    A processor has it where it multiplies bfloat16 in hardware (AVX-512 BF16, AMX): seen to train
    twice as fast there.
    """
    if values["precision"] != "auto":
        return values["precision"]
    if kind(values) == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if sys.platform == "linux" and torch.cpu._is_avx512_bf16_supported() else "fp32"


def limits(values: dict[str, Any], system: nn.Module) -> Limits:
    """What may pass at a time in training."""
    return Limits(values["micro_batch_size"], values["micro_batch_seconds"], overhead(kind(values), system))


def evaluation_limits(values: dict[str, Any], system: nn.Module) -> Limits:
    """What may pass at a time in validation and decoding."""
    return Limits(sys.maxsize, values["eval_batch_seconds"], overhead(kind(values), system))


def overhead(device: str, system: nn.Module) -> float:
    """What a pass costs a device besides its seconds, in seconds of audio; the smaller the model, the more of them."""
    parameters = sum(p.numel() for p in system.parameters())
    return OVERHEAD["cpu" if device == "cpu" else "cuda"] * BASE_PARAMETERS / parameters

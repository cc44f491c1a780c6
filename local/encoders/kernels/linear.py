"""Linear layers in single precision without a gradient: oneDNN in place of MKL.

On AMD's CPUs MKL does not use AVX-512: oneDNN was measured to be twice as fast there.
With AVX2 alone they differ by 5 % or less, and PyTorch's choice, MKL, is kept.
"""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HAS_AVX2 = "AVX" in torch.backends.cpu.get_cpu_capability()  # or more
HAS_AVX512 = "AVX512" in torch.backends.cpu.get_cpu_capability()
HAS_AMX = HAS_AVX512 and torch.cpu._is_amx_tile_supported()
AVAILABLE = HAS_AVX512 and torch.backends.mkldnn.is_available() and platform.machine() in ("x86_64", "AMD64")


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Compute as `torch.nn.Linear` does: [..., in] -> [..., out]."""
    kinds = {x.dtype, layer.weight.dtype}
    single = kinds == {torch.float32} and not torch.is_autocast_enabled("cpu")
    # The operation has no gradient and cannot be exported.
    if not (AVAILABLE and single) or x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_exporting():
        return F.linear(x, layer.weight, layer.bias)
    return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "none", [], "")

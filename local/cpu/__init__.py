"""What PyTorch is slow at on a processor, done otherwise there: dropout, attention with dropout, grouped convolution.

Together they took more than half of an update. They compute the same, and leave other devices alone.
"""

from __future__ import annotations

from types import MethodType

from torch import nn
from transformers import PreTrainedModel

from local.cpu.attention import NAME
from local.cpu.convolution import convolve
from local.cpu.dropout import Dropout


def quicken(model: PreTrainedModel) -> None:
    """Let a model of transformers take these."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))
        plain = isinstance(module, nn.Conv1d) and (module.stride, module.dilation) == ((1,), (1,))
        if plain and module.groups > 1 and module.groups < module.in_channels and module.padding_mode == "zeros":
            module._conv_forward = MethodType(convolve, module)
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)

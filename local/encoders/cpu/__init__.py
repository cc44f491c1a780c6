"""What PyTorch is slow at on a processor, done otherwise there: dropout, attention, convolution, linear layers.

Together the first three took more than half of an update. They compute the same, and leave other devices alone.
`torch.compile` was measured and gains nothing: neither over these nor, for short utterances, over PyTorch's own.
"""

from __future__ import annotations

from types import MethodType

from torch import nn
from transformers import PreTrainedModel

from local.encoders.cpu.attention import NAME
from local.encoders.cpu.convolution import convolve
from local.encoders.cpu.dropout import Dropout
from local.encoders.cpu.linear import linear


def use_cpu_kernels(model: PreTrainedModel) -> None:
    """Let a model of transformers take these."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))
        if isinstance(module, nn.Conv1d) and _has_faster_kernel(module):
            module._conv_forward = MethodType(convolve, module)
        if type(module) is nn.Linear:
            module.forward = MethodType(linear, module)
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)


def _has_faster_kernel(conv: nn.Conv1d) -> bool:
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return False
    if conv.groups == 1:
        return conv.in_channels > 1  # to lay one channel otherwise is no gain
    return conv.groups < conv.in_channels and (conv.stride, conv.dilation) == ((1,), (1,))

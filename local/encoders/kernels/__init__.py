"""Faster kernels: dropout, attention, convolution and its norm, linear layers for CPUs; convolution, graphs for GPUs.

They compute the same as PyTorch's, of which the first three took more than half of an update on a CPU. `torch.compile`
was measured there: it is not faster than these, nor, for short utterances, than PyTorch's own.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING

from torch import nn

from local.encoders.kernels.attention import gated_attention, register
from local.encoders.kernels.convolution import convolve
from local.encoders.kernels.dropout import Dropout
from local.encoders.kernels.linear import linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def use_kernels(model: PreTrainedModel) -> None:
    """Use them in a model of transformers."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))
        if isinstance(module, nn.Conv1d) and _has_faster_kernel(module):
            module._conv_forward = MethodType(convolve, module)
        if type(module) is nn.Linear:
            module.forward = MethodType(linear, module)
    if model.config.model_type == "wavlm":
        for layer in model.encoder.layers:
            layer.attention.forward = MethodType(gated_attention, layer.attention)
    elif model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(register())


def _has_faster_kernel(conv: nn.Conv1d) -> bool:
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return False
    return conv.groups == 1 or (conv.groups < conv.in_channels and (conv.stride, conv.dilation) == ((1,), (1,)))

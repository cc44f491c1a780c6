"""Convolution over frames on a CPU, in bfloat16; without a gradient, also in single precision.

The CNN of a wav2vec 2.0 is a fifth faster (a small one twice as fast) with the channels of a frame next to each
other in memory. Its positional convolution has 16 groups of 48 channels and 128 taps: oneDNN computes it at a
quarter of the rate of a matrix product in bfloat16; here it is one, over windows of frames.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOWS = {"cpu": 256, "cuda": 1024}  # in one product, which bounds the memory: 200 KB each in 16 bits for a base model


def _windows(x: Tensor, taps: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield the windows of [G, B, c, T], at most `WINDOWS` at once: a slice of their starts, and [G, B n, c taps]."""
    batch, frames = x.shape[1], x.shape[3]
    step = max(1, WINDOWS[x.device.type] // batch)
    for start in range(0, frames - taps + 1, step):
        part = x[..., start : start + step + taps - 1]
        yield slice(start, start + step), part.unfold(3, taps, 1).transpose(2, 3).flatten(3).flatten(1, 2)


def _correlate(x: Tensor, weight: Tensor, taps: int) -> Tensor:
    """Multiply each window by [G, c taps, o]: [G, B, c, T] -> [B, G o, T - taps + 1]."""
    parts = [(windows @ weight).unflatten(1, (x.shape[1], -1)) for _, windows in _windows(x, taps)]
    return torch.cat(parts, dim=2).permute(1, 0, 3, 2).flatten(1, 2)


def _groups(x: Tensor, groups: int) -> Tensor:
    """[B, C, T] -> [G, B, c, T]."""
    return x.unflatten(1, (groups, -1)).transpose(0, 1)


class _Convolution(torch.autograd.Function):
    """[B, C, T] with weight [G o, c, taps] -> [B, G o, T + 2 padding - taps + 1]."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, padding: int) -> Tensor:
        groups, taps = x.shape[1] // weight.shape[1], weight.shape[2]
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        by_group = weight.unflatten(0, (groups, -1)).flatten(2).transpose(1, 2)
        return _correlate(_groups(F.pad(x, (padding, padding)), groups), by_group, taps)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        groups, taps = x.shape[1] // weight.shape[1], weight.shape[2]
        by_group = weight.unflatten(0, (groups, -1))
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            # The taps apply to the gradient in reverse order; the gradient is reversed instead.
            beyond = taps - 1 - ctx.padding
            reverse = _groups(F.pad(grad, (beyond, beyond)).flip(2), groups)
            grad_x = _correlate(reverse, by_group.transpose(2, 3).flatten(1, 2), taps).flip(2)
        if ctx.needs_input_grad[1]:
            total = torch.zeros(by_group.flatten(2).shape, dtype=torch.promote_types(weight.dtype, torch.float32))
            by_frame = _groups(grad, groups).transpose(2, 3)
            for part, windows in _windows(_groups(F.pad(x, (ctx.padding, ctx.padding)), groups), taps):
                total += by_frame[:, :, part].flatten(1, 2).transpose(1, 2) @ windows
            grad_weight = total.view_as(weight).to(weight.dtype)
        return grad_x, grad_weight, None


def convolve(conv: nn.Conv1d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve as `torch.nn.Conv1d` does: [B, C, T] -> [B, C', T']; with groups, stride and dilation must be 1."""
    device = x.device.type
    kind = torch.get_autocast_dtype(device) if device in WINDOWS and torch.is_autocast_enabled(device) else x.dtype
    if not _is_faster(device, kind, conv.groups):
        return nn.Conv1d._conv_forward(conv, x, weight, bias)
    x, weight = x.to(kind), weight.to(kind)
    if conv.groups == 1:
        x, weight = (value[:, :, None].contiguous(memory_format=torch.channels_last) for value in (x, weight))
        stride, padding, dilation = (1, *conv.stride), (0, *conv.padding), (1, *conv.dilation)
        return F.conv2d(x, weight, bias, stride, padding, dilation).squeeze(2)
    y = _Convolution.apply(x, weight, conv.padding[0])
    return y if bias is None else y + bias.to(kind)[:, None]


def _is_faster(device: str, kind: torch.dtype, groups: int) -> bool:
    if device == "cuda":
        return groups > 1 or kind != torch.float32
    # In single precision the other layout is a fifth faster, but not with a gradient.
    inference = not (torch.is_grad_enabled() or torch.compiler.is_exporting())
    single = kind == torch.float32 and groups == 1 and inference
    return device == "cpu" and (kind == torch.bfloat16 or single)

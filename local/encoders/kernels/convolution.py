"""Convolution over frames, as products of matrices.

The CNN of a wav2vec 2.0: with the channels of a frame next to each other in memory, the taps that lie within a stride
are a row of a matrix that is there already, and a convolution is a product for each such group of taps. In single
precision with a gradient this took two thirds of the time of PyTorch's own on a CPU with AVX2 alone. In bfloat16 on a
CPU the same layout makes oneDNN's own convolution a fifth faster (of a small CNN twice as fast); in single precision
without a gradient a whole pass took 3 to 16 % less time with AVX2.

The positional convolution, of groups of channels, goes through Fourier transforms on a CPU (`fourier`).

On a GPU cuDNN prepares a plan for every new length, for a time in which the GPU waits; a product needs none. That of
the positional convolution is over windows of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.encoders.kernels.fourier import grouped_convolution
from local.encoders.kernels.linear import HAS_AMX, HAS_AVX2

WINDOWS = 1024  # in one product, which bounds the memory: 200 KB each in 16 bits for a base model


def _windows(x: Tensor, taps: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield the windows of [G, B, c, T], at most `WINDOWS` at once: a slice of their starts, and [G, B n, c taps]."""
    batch, frames = x.shape[1], x.shape[3]
    step = max(1, WINDOWS // batch)
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


class _Grouped(torch.autograd.Function):
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
            kind = torch.promote_types(weight.dtype, torch.float32)
            total = torch.zeros(by_group.flatten(2).shape, dtype=kind, device=x.device)
            by_frame = _groups(grad, groups).transpose(2, 3)
            for part, windows in _windows(_groups(F.pad(x, (ctx.padding, ctx.padding)), groups), taps):
                total += by_frame[:, :, part].flatten(1, 2).transpose(1, 2) @ windows
            grad_weight = total.view_as(weight).to(weight.dtype)
        return grad_x, grad_weight, None


class _Strided(torch.autograd.Function):
    """[B, T, c] with weight [o, c, taps] -> [B, T', o], for taps in groups of a stride."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.stride, frames = stride, (x.shape[1] - weight.shape[2]) // stride + 1
        first, *others = _tap_groups(weight, stride)
        y = _rows(x, first, stride, frames) @ _matrix(weight, first)
        for taps in others:
            y.baddbmm_(_rows(x, taps, stride, frames), _matrix(weight, taps).expand(len(x), -1, -1))
        return y

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad, stride, frames = grad.contiguous(), ctx.stride, grad.shape[1]
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = weight.new_empty(weight.shape[::-1])  # [taps, c, o]
        for taps in _tap_groups(weight, stride):
            if grad_x is not None:
                _rows(grad_x, taps, stride, frames).add_(grad @ _matrix(weight, taps).t())
            by_frame = _rows(x, taps, stride, frames).transpose(1, 2)
            total = (by_frame @ grad).sum(0, dtype=torch.promote_types(weight.dtype, torch.float32))
            grad_weight[taps] = total.unflatten(0, (-1, weight.shape[1]))
        return grad_x, grad_weight.permute(2, 1, 0), None


def _tap_groups(weight: Tensor, stride: int) -> list[slice]:
    """Slices of the taps, each no longer than a stride, so that the rows of a group do not overlap."""
    taps = weight.shape[2]
    return [slice(start, min(start + stride, taps)) for start in range(0, taps, stride)]


def _rows(x: Tensor, taps: slice, stride: int, frames: int) -> Tensor:
    """The inputs of some taps for each frame of the output, a view of [B, T, c]: [B, T', taps c]."""
    _, length, channels = x.shape
    size = (len(x), frames, (taps.stop - taps.start) * channels)
    start = x.storage_offset() + taps.start * channels  # `as_strided` counts from the beginning of the memory
    return x.as_strided(size, (length * channels, stride * channels, 1), start)


def _matrix(weight: Tensor, taps: slice) -> Tensor:
    """[o, c, taps] -> [taps c, o], of some of the taps."""
    return weight[:, :, taps].permute(2, 1, 0).flatten(0, 1)


def convolve(conv: nn.Conv1d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve as `torch.nn.Conv1d` does: [B, C, T] -> [B, C', T']; with groups, stride and dilation must be 1."""
    device = x.device.type
    in_autocast = device in ("cpu", "cuda") and torch.is_autocast_enabled(device)
    kind = torch.get_autocast_dtype(device) if in_autocast else x.dtype
    way = _fastest(conv, device, kind)
    if way is None:
        return nn.Conv1d._conv_forward(conv, x, weight, bias)
    if way != _by_transforms:
        x, weight = x.to(kind), weight.to(kind)
    y = way(conv, x, weight).to(kind)
    return y if bias is None else y + bias.to(kind)[:, None]


def _fastest(conv: nn.Conv1d, device: str, kind: torch.dtype) -> Callable[..., Tensor] | None:
    """The way to convolve; None for PyTorch's own."""
    is_strided = conv.groups == 1 and (conv.padding, conv.dilation) == ((0,), (1,))
    as_product = _grouped if conv.groups > 1 else _strided if is_strided else None
    in_channels_last = _channels_last if conv.in_channels > 1 else None
    if device == "cuda":
        return as_product
    if device != "cpu" or torch.compiler.is_exporting():
        return None
    if conv.groups > 1:
        return _by_transforms
    if kind == torch.bfloat16:
        reads_beyond = HAS_AMX and torch.is_grad_enabled() and conv.kernel_size[0] >= 2 * conv.stride[0] > 2
        return as_product if reads_beyond else in_channels_last
    if kind != torch.float32:
        return None
    if torch.is_grad_enabled():
        return as_product
    return in_channels_last if HAS_AVX2 else None


def _grouped(conv: nn.Conv1d, x: Tensor, weight: Tensor) -> Tensor:
    return _Grouped.apply(x, weight, conv.padding[0])


def _by_transforms(conv: nn.Conv1d, x: Tensor, weight: Tensor) -> Tensor:
    return grouped_convolution(x, weight, conv.padding[0])


def _strided(conv: nn.Conv1d, x: Tensor, weight: Tensor) -> Tensor:
    (stride,) = conv.stride
    if conv.in_channels > 1:
        return _Strided.apply(x.transpose(1, 2), weight, stride).transpose(1, 2)
    rows, weight = rows_of_one_channel(x, weight, stride)
    return (rows @ weight.t()).transpose(1, 2)


def rows_of_one_channel(x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """What the taps of each frame read, and the weights for it: [B, 1, N], [o, 1, taps] -> [B, T, k], [o, k].

    A row is short: it is copied, with zeros to a length k that a GPU multiplies fast.
    """
    beyond = (0, -weight.shape[2] % 8)
    return F.pad(x[:, 0].unfold(1, weight.shape[2], stride), beyond), F.pad(weight[:, 0], beyond)


def _channels_last(conv: nn.Conv1d, x: Tensor, weight: Tensor) -> Tensor:
    x, weight = (value[:, :, None].contiguous(memory_format=torch.channels_last) for value in (x, weight))
    stride, padding, dilation = (1, *conv.stride), (0, *conv.padding), (1, *conv.dilation)
    return F.conv2d(x, weight, None, stride, padding, dilation, conv.groups).squeeze(2)

"""Convolution over frames on a CPU by Fourier transforms, for groups of channels and many taps.

The positional convolution of a wav2vec 2.0 has 16 groups of 48 channels and 128 taps. By transforms it takes about a
quarter of the multiplications. Frames are cut into blocks which overlap; of each block those results are kept that its
transform does not mix with those of its other end (overlap-save), and gradients are added where blocks overlap.
A. V. Oppenheim and R. W. Schafer: Discrete-Time Signal Processing.

The transforms are products with matrices of cosines and sines: for so short blocks these are as fast as fast ones, and
leave everything in the order in which the next product reads it. Forwards and backwards over 1,346 frames, with one
thread in single precision, that took 134 ms, PyTorch's own convolution 858. Its error is up to twice as large.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd

# Frames for each tap from which on there are transforms. Of a base model 380 frames took 34 ms for PyTorch's 43, with a
# gradient 97 for 170; but 100 frames 29 for 15, with a gradient 89 for 53.
ENOUGH = 3


def grouped_convolution(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """`torch.nn.functional.conv1d`: [B, C, T], [O, c, taps], for G = C / c groups -> [B, O, T + 2 padding - taps + 1].

    In single precision at least, whatever autocast says: so the number of frames, which decides on the way, decides on
    nothing else. Few go through PyTorch's own: the weights' transform takes as long for them as for many.
    """
    kind = torch.promote_types(torch.promote_types(x.dtype, weight.dtype), torch.float32)
    x, weight = x.to(kind), weight.to(kind)
    if x.shape[0] * x.shape[2] >= ENOUGH * weight.shape[2]:
        return _GroupedConvolution.apply(x, weight, padding)
    with torch.autocast(x.device.type, enabled=False):
        return F.conv1d(x, weight, padding=padding, groups=x.shape[1] // weight.shape[1])


class _GroupedConvolution(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, x: Tensor, weight: Tensor, padding: int) -> Tensor:
        (_, channels, taps), length = weight.shape, x.shape[2]
        size = 1 << (2 * taps - 1).bit_length()  # of a block: a power of two, and no less than twice the taps
        hop, frames = size - taps + 1, length + 2 * padding - taps + 1
        blocks = -(-frames // hop)
        forth, back = _transforms(size, x.dtype)
        rows = F.pad(x.transpose(1, 2), (0, 0, padding, blocks * hop + taps - 1 - padding - length))
        inputs = forth @ rows.unfold(1, size, hop).transpose(2, 3).flatten(0, 1)  # [B n, 2 F, C]
        weights = forth[:, :taps] @ weight.flatten(0, 1).t()
        weights = weights.view(2, -1, len(weight) // (x.shape[1] // channels), channels)  # [2, F G, o, c]
        ctx.save_for_backward(inputs, weights)
        ctx.sizes = length, taps, padding, size
        outputs = _product(inputs, weights.mT, -1)
        return (back[:hop] @ outputs).view(len(x), -1, len(weight))[:, :frames].transpose(1, 2)

    @staticmethod
    @custom_bwd(device_type="cpu")
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weights = ctx.saved_tensors
        length, taps, padding, size = ctx.sizes
        hop, blocks, channels = size - taps + 1, len(inputs) // len(grad), weights.shape[3]
        forth, back = _transforms(size, inputs.dtype)
        rows = F.pad(grad.transpose(1, 2), (0, 0, 0, blocks * hop - grad.shape[2]))
        spectra = forth[:, :hop] @ rows.reshape(len(inputs), hop, -1)  # [B n, 2 F, O]
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            each = (back @ _product(spectra, weights, 1)).unflatten(0, (-1, blocks))  # [B, n, size, C]
            grad_x = F.pad(each[:, :, :hop].flatten(1, 2), (0, 0, 0, hop))
            grad_x[:, hop:].unflatten(1, (blocks, hop))[:, :, : taps - 1] += each[:, :, hop:]
            grad_x = grad_x[:, padding : padding + length].transpose(1, 2)
        if ctx.needs_input_grad[1]:
            products = torch.empty_like(weights)
            for each, product in zip((inputs, _turned(inputs, -1)), products, strict=True):
                torch.bmm(_by_group(spectra, weights.shape[2]).mT, _by_group(each, channels), out=product)
            grad_weight = (back[:taps] @ products.view(back.shape[1], -1)).t().view(-1, channels, taps)
        return grad_x, grad_weight, None


@cache
def _transforms(size: int, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """From `size` numbers to the real parts of F frequencies, then their imaginary parts, [2 F, size]; and back."""
    frequencies = torch.arange(size // 2 + 1)
    angles = (2 * torch.pi / size) * (frequencies[:, None] * torch.arange(size) % size).double()
    forth = torch.cat([angles.cos(), -angles.sin()])
    times = 2.0 - (frequencies % (size // 2) == 0).double()  # all but the first and the last stand for two
    return forth.to(kind), (forth * times.repeat(2)[:, None] / size).t().contiguous().to(kind)


def _by_group(spectra: Tensor, channels: int) -> Tensor:
    """[B n, 2 F, C], real parts and imaginary ones -> a view [F G, 2 B n, c]."""
    return spectra.view(2 * len(spectra), -1, channels).transpose(0, 1)


def _turned(spectra: Tensor, sign: int) -> Tensor:
    """Times the imaginary unit, or for the sign -1 times its negative: [B n, 2 F, C]."""
    real, imaginary = spectra.chunk(2, 1)
    return torch.cat([imaginary, -real] if sign < 0 else [-imaginary, real], 1)


def _product(spectra: Tensor, weights: Tensor, sign: int) -> Tensor:
    """Multiply by weights [2, F G, c, o], for the sign -1 by their conjugates: [B n, 2 F, G c] -> [B n, 2 F, G o]."""
    channels = weights.shape[2]
    made = _by_group(spectra, channels) @ weights[0]
    made.baddbmm_(_by_group(_turned(spectra, sign), channels), weights[1])
    return made.transpose(0, 1).reshape(len(spectra), spectra.shape[1], -1)

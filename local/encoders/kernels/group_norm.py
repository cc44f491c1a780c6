"""The first layer of a CNN: a convolution of one channel, and a group norm for which each channel is a group.

The mean and the variance of a channel over time follow from those of what its taps read: of y = w x they are w m and
w C w', where m is the mean and C the covariance of the samples of a frame. So the norm is done to the weights, once an
utterance, and the layer is one product. What it norms is a hundred times as large as a waveform; to read and write it
again took about a tenth of an update of the base model in bfloat16 on a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from local.encoders.kernels.convolution import rows_of_one_channel
from local.encoders.masking import length_mask


def normed_convolution(conv: nn.Conv1d, norm: nn.GroupNorm, wavs: Tensor, n_frames: Tensor) -> Tensor:
    """Convolve, and norm over each utterance's true frames only.

    [B, 1, N] waveforms and [B] true frames of the output, at least 1 -> [B, c, T]. Whatever autocast says, the norm is
    computed in double precision: samples in sequence are alike, and the variance of a filter that tells them apart is a
    difference of large numbers.
    """
    rows, weight = rows_of_one_channel(wavs, conv.weight, conv.stride[0])  # [B, T, k], [c, k]
    with torch.autocast(wavs.device.type, enabled=False):
        true = length_mask(n_frames, rows.shape[1], wavs.device)[:, :, None]
        count = true.sum(1, keepdim=True)  # not of `n_frames`, for which a GPU would wait
        rows, weight = rows.double(), weight.double()
        rows = (rows - (rows * true).sum(1, keepdim=True) / count) * true
        columns = rows.mT
        if torch.compiler.is_exporting():
            # Once more, without effect: onnxruntime 1.23, of Python 3.10, makes one node of a transposition and a
            # product, and then cannot compute it in double precision.
            columns = columns * true.mT
        variance = (weight @ (columns @ rows / count) * weight).sum(2)  # [B, c]
        weight = weight * (norm.weight * torch.rsqrt(variance + norm.eps))[:, :, None]  # [B, c, k]
    # A bias of the convolution is part of the mean, without effect; its gradient is 0, and not missing.
    bias = norm.bias if conv.bias is None else norm.bias + 0 * conv.bias
    return torch.baddbmm(bias, rows.float(), weight.float().mT).transpose(1, 2)

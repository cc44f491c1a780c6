"""Convolution of a picture, batch normalisation, ReLU and max-pooling, that keep no more than the pooled maps.

Of a large picture the maps before the pooling are most of what a training holds, three times over. Here the statistics
of the batch are found without them: a map is w . p + b of the patches p of the picture, so that over the batch

    mean = w . mean(p) + b,    variance = w' cov(p) w

and normalised it is the convolution with other weights, w scale and (b - mean) scale + shift, for
scale = weight / sqrt(variance + eps). Utterances then no longer depend on each other: a few at a time are computed, and
computed again for the gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

AT_A_TIME = 8  # utterances


class ConvPool(nn.Module):
    """[B, 1, H, W] -> [B, maps, about H / 2, about W / 2]: kernel `size`, padding 1, stride 1, pooled 2 x 2."""

    def __init__(self, maps: int, size: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, maps, size, padding=1), nn.BatchNorm2d(maps)

    def forward(self, pictures: Tensor) -> Tensor:
        """As `max_pool2d(norm(conv(pictures)).relu(), 2)`; ReLU and maximum can be exchanged.

        In single precision: the variance is a small difference, and so is what is left of a large mean.
        """
        with torch.autocast(pictures.device.type, enabled=False):
            return self._forward(pictures)

    def _forward(self, pictures: Tensor) -> Tensor:
        mean, variance = self._statistics(pictures)
        scale = self.norm.weight / (variance + self.norm.eps).sqrt()
        weight, bias = self.conv.weight * scale[:, None, None, None], (self.conv.bias - mean) * scale + self.norm.bias
        if not torch.is_grad_enabled():
            return torch.cat([_pooled(part, weight, bias) for part in pictures.split(AT_A_TIME)])
        settings = {"use_reentrant": False, "preserve_rng_state": False}
        parts = [checkpoint(_pooled, part, weight, bias, **settings) for part in pictures.split(AT_A_TIME)]
        return torch.cat(parts)

    def _statistics(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each map: in training those of the batch, which the running ones then follow."""
        norm = self.norm
        if not self.training:
            return norm.running_mean, norm.running_var
        (mean, covariance), weights = self._moments(pictures), self.conv.weight.flatten(1)
        count = len(pictures) * (pictures.shape[2] + 3 - self.conv.kernel_size[0])
        count *= pictures.shape[3] + 3 - self.conv.kernel_size[1]
        mean, variance = weights @ mean + self.conv.bias, (weights @ covariance * weights).sum(1)
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * count / (count - 1), norm.momentum)
            norm.num_batches_tracked += 1
        return mean, variance

    @torch.no_grad()
    def _moments(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, [size^2], and covariance, [size^2, size^2], of the patches."""
        about = pictures.mean()  # or the squares of a large mean would hide a small variance
        sums, squares, count = 0.0, 0.0, 0
        for part in pictures.split(AT_A_TIME):
            patches = F.unfold(part, self.conv.kernel_size, padding=1) - about  # [b, size^2, places]
            sums = sums + patches.sum((0, 2)).double()
            squares = squares + (patches @ patches.transpose(1, 2)).sum(0).double()
            count += len(part) * patches.shape[2]
        mean = sums / count
        covariance = squares / count - mean[:, None] * mean
        return (mean + about).to(pictures.dtype), covariance.to(pictures.dtype)


def _pooled(pictures: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.max_pool2d(F.conv2d(pictures, weight, bias, padding=1), 2).relu()

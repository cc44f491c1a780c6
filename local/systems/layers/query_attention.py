"""Multi-head attention with one learned query per head: an utterance's frames to one vector."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from local.encoders import length_mask


class QueryAttention(nn.Module):
    """`heads` heads of `size`: a = softmax over time(q . K h_t / sqrt(size)), v = sum_t a_t V h_t; their v joined.

    [B, T, d] frames, [B] true frames, on the CPU -> [B, heads * size]. With `bias`, K and V have one.
    """

    def __init__(self, dim: int, heads: int = 8, size: int = 32, bias: bool = False) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.query = nn.Parameter(torch.randn(heads, size))
        self.key = nn.Linear(dim, heads * size, bias=bias)
        self.value = nn.Linear(dim, heads * size, bias=bias)

    def forward(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """Attend to the true frames."""
        values = self.value(frames).unflatten(2, (self.heads, self.size))
        return torch.einsum("bth,bthk->bhk", self.attention(frames, n_frames).to(values.dtype), values).flatten(1)

    def attention(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """How much each head attends to each frame: [B, T, heads], 0 beyond the end, 1 in sum."""
        keys = self.key(frames).unflatten(2, (self.heads, self.size))
        scores = torch.einsum("hk,bthk->bth", self.query, keys).float() / math.sqrt(self.size)
        true = length_mask(n_frames, frames.shape[1], frames.device)[:, :, None]
        return scores.masked_fill(~true, -torch.inf).softmax(1)

"""Attention with learned queries: against PyTorch's, sums, padding, and a query of nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from local.systems.layers.query_attention import QueryAttention

LENGTHS = torch.tensor([9, 4, 1])


@pytest.fixture
def frames() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(3, 11, 128)


@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_it_is_pytorchs_attention_with_the_queries_joined(frames, bias):
    layer = QueryAttention(128, bias=bias)
    reference = nn.MultiheadAttention(256, 8, kdim=128, vdim=128, bias=bias, batch_first=True)
    reference.q_proj_weight.copy_(torch.eye(256))
    reference.k_proj_weight.copy_(layer.key.weight)
    reference.v_proj_weight.copy_(layer.value.weight)
    reference.out_proj.weight.copy_(torch.eye(256))
    if bias:
        reference.in_proj_bias.copy_(torch.cat([torch.zeros(256), layer.key.bias, layer.value.bias]))
        reference.out_proj.bias.zero_()
    padding = torch.arange(11) >= LENGTHS[:, None]
    query = layer.query.reshape(1, 1, 256).expand(3, 1, 256)
    expected, weights = reference(query, frames, frames, key_padding_mask=padding, average_attn_weights=False)
    torch.testing.assert_close(layer(frames, LENGTHS), expected[:, 0], rtol=0, atol=1e-6)
    torch.testing.assert_close(layer.attention(frames, LENGTHS), weights[:, :, 0].transpose(1, 2), rtol=0, atol=1e-6)


@torch.no_grad()
def test_the_attention_sums_to_one_and_is_nothing_on_padding(frames):
    attention = QueryAttention(128).attention(frames, LENGTHS)
    torch.testing.assert_close(attention.sum(1), torch.ones(3, 8))
    for row, length in enumerate(LENGTHS):
        assert not attention[row, length:].any()


@torch.no_grad()
def test_a_query_of_nothing_is_the_mean(frames):
    layer = QueryAttention(128)
    layer.query.zero_()
    for row, (vector, length) in enumerate(zip(layer(frames, LENGTHS), LENGTHS, strict=True)):
        torch.testing.assert_close(vector, frames[row, :length].mean(0) @ layer.value.weight.T)

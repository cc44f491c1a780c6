"""Convolution, batch normalisation, ReLU and pooling in one, against PyTorch's four layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from local.systems.layers.conv_pool import AT_A_TIME, ConvPool


def layers(size: int) -> tuple[ConvPool, nn.Sequential]:
    """The layer, and PyTorch's with the same weights."""
    torch.manual_seed(1)
    made = ConvPool(6, size)
    with torch.no_grad():
        made.norm.weight.uniform_(-1, 1)  # negative as well: the maximum is that of what is normalised
        made.norm.bias.normal_()
    plain = nn.Sequential(nn.Conv2d(1, 6, size, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2))
    plain[0].load_state_dict(made.conv.state_dict())
    plain[1].load_state_dict(made.norm.state_dict())
    return made, plain


@pytest.mark.parametrize("count", [1, AT_A_TIME, 2 * AT_A_TIME + 3])
@pytest.mark.parametrize("size", [3, 4])
def test_it_is_the_four_layers(count, size):
    made, plain = layers(size)
    for seed in range(3):
        torch.manual_seed(seed)
        pictures = 40 + 20 * torch.randn(count, 1, 17, 14)
        torch.testing.assert_close(made(pictures), plain(pictures), rtol=0, atol=1e-4)
    for name, buffer in plain[1].named_buffers():
        torch.testing.assert_close(made.norm.get_buffer(name), buffer, rtol=1e-5, atol=1e-5)
    pictures = 40 + 20 * torch.randn(count, 1, 17, 14)
    torch.testing.assert_close(made.eval()(pictures), plain.eval()(pictures), rtol=0, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(made(pictures), plain(pictures), rtol=0, atol=1e-4)


def test_its_gradients_are_those_of_the_four_layers():
    made, plain = layers(4)
    made, plain = made.double(), plain.double()
    pictures = 40 + 20 * torch.randn(11, 1, 17, 14).double()
    factors = torch.randn(11, 6, 8, 6).double()
    for each in (made, plain):
        (each(pictures) * factors).sum().backward()
    for name in ("weight", "bias"):
        torch.testing.assert_close(
            made.conv.get_parameter(name).grad, plain[0].get_parameter(name).grad, rtol=1e-8, atol=1e-8
        )
        torch.testing.assert_close(made.norm.get_parameter(name).grad, plain[1].get_parameter(name).grad)


def test_mixed_precision_does_not_reach_it():
    made, _ = layers(4)
    pictures = 40 + 0.5 * torch.randn(9, 1, 17, 14)
    expected = made(pictures)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(made(pictures), expected)

"""Convolutions of few sizes: what they are given, and that systems compute the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from local.systems import liu_local_global, peng_asrnn, wu_capsules
from local.systems.layers import few_sizes
from local.systems.layers.few_sizes import in_steps, laid_out
from local.systems.liu_local_global import Network
from local.systems.peng_asrnn import PengAsrnn
from local.systems.wu_capsules import Trunk


@pytest.mark.parametrize(("size", "given"), [(1, 8), (8, 8), (9, 16), (23, 24)])
def test_a_device_that_plans_sees_multiples_and_what_follows_does_not(size, given, monkeypatch):
    monkeypatch.setattr(few_sizes, "PLANNED", ("cpu",))
    seen = []

    def layer(maps):
        seen.append(maps.shape)
        return 2 * maps

    found = in_steps(layer, torch.zeros(2, size, 3), dim=1, step=8)
    assert found.shape == (2, size, 3) and seen == [(2, given, 3)]


def test_of_a_same_convolution_the_zeros_are_its_padding(monkeypatch):
    convolution, maps = nn.Conv2d(2, 3, 5, padding="same").double(), torch.randn(1, 2, 6, 11, dtype=torch.double)
    expected = convolution(maps)
    monkeypatch.setattr(few_sizes, "PLANNED", ("cpu",))
    torch.testing.assert_close(in_steps(convolution, maps, 3, 8), expected)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4, 5, 6)])
def test_maps_of_a_place_lie_beside_each_other(shape):
    maps = torch.randn(shape)
    found = laid_out(maps)
    assert torch.equal(found, maps) and found.stride(1) == 1 and found.stride(-1) == 3


def trunk():
    rows, made = torch.randn(2, 24, 200, dtype=torch.double), Trunk().double()
    return made, lambda: made(rows, torch.tensor([16, 24]))


def network():
    segments, made = torch.randn(3, 8, 129, dtype=torch.double), Network(4, "standard").double().eval()
    for norm in (module for module in made.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.train()  # without dropout
    return made, lambda: made(segments).logits


def stages():
    rows, made = torch.randn(2, 108, 192, dtype=torch.double), PengAsrnn(4).double()
    return made.convolutions, lambda: made.steps(rows, torch.tensor([100, 108]))[0][:, :25]


@pytest.mark.parametrize("build", [trunk, network, stages])
def test_a_system_computes_the_same_where_sizes_are_planned(build, monkeypatch):
    """Batch norm, which follows each convolution but those of capsules, would show zeros that it sees."""
    torch.manual_seed(3)
    for file, name, step in ((wu_capsules, "ROWS", 32), (liu_local_global, "STEP", 4), (peng_asrnn, "ROWS", 64)):
        monkeypatch.setattr(file, name, step)
    module, compute = build()

    def output_and_gradients():
        output = compute()
        return output, *torch.autograd.grad(output.sin().sum(), [*module.parameters()])

    expected = output_and_gradients()
    monkeypatch.setattr(few_sizes, "PLANNED", ("cpu",))
    for found, each in zip(output_and_gradients(), expected, strict=True):
        torch.testing.assert_close(found, each, rtol=1e-6, atol=1e-9)

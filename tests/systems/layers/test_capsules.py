"""Routing by agreement against loops over single numbers, and what follows from its formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from local.core.errors import UserError
from local.systems.layers.capsules import (
    RULES,
    Capsules,
    PrimaryCapsules,
    cost_of_truth,
    emotion_vector,
    margin_costs,
    route,
    squash,
)


def squash_by_hand(s: np.ndarray) -> np.ndarray:
    square = float((s * s).sum())
    return square / (1 + square) * s / math.sqrt(square + 1e-8)


def route_by_hand(predictions: np.ndarray, rule: str) -> np.ndarray:
    """[J, I, D] -> [J, D], three iterations."""
    outputs, inputs, size = predictions.shape
    b, v = np.zeros((outputs, inputs)), np.zeros((outputs, size))
    for iteration in range(3):
        c = np.zeros((outputs, inputs))
        for j in range(outputs):
            for i in range(inputs):
                rivals = b[:, i] if rule == "standard" else b[j]
                c[j, i] = math.exp(b[j, i]) / sum(math.exp(rival) for rival in rivals)
        for j in range(outputs):
            v[j] = squash_by_hand(sum(c[j, i] * predictions[j, i] for i in range(inputs)))
        for j in range(outputs if iteration < 2 else 0):
            for i in range(inputs):
                lengths = np.linalg.norm(predictions[j, i]) * np.linalg.norm(v[j]) if rule == "cosine" else 1
                b[j, i] += sum(predictions[j, i, d] * v[j, d] for d in range(size)) / lengths
    return v


def predictions(batch: int = 3, inputs: int = 7) -> Tensor:
    return torch.randn(batch, 4, inputs, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("rule", RULES)
def test_routing_is_that_of_loops(rule):
    found, _ = route(predictions(), rule=rule)
    expected = np.stack([route_by_hand(one, rule) for one in predictions().double().numpy()])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (torch.linalg.vector_norm(found, dim=-1) < 1).all()


def test_couplings_sum_to_1_over_the_outputs_or_the_inputs():
    for rule, dim in (("standard", 1), ("cosine", 2)):
        _, couplings = route(predictions(), rule=rule)
        totals = couplings.sum(dim)
        torch.testing.assert_close(totals, torch.ones_like(totals), rtol=0, atol=1e-6)
        assert couplings.std() > 0.01  # not what they were at first


def test_with_one_iteration_all_inputs_count_alike():
    found, _ = route(predictions(), iterations=1)
    torch.testing.assert_close(found, squash(predictions().sum(2) / 4))
    found, _ = route(predictions(), iterations=1, rule="cosine")
    torch.testing.assert_close(found, squash(predictions().mean(2)))


def test_squash_keeps_the_direction_and_a_length_below_1():
    for length in (1e-2, 0.5, 1.0, 30.0):
        found = squash(torch.tensor([0.6, 0.8]) * length)
        torch.testing.assert_close(found, torch.tensor([0.6, 0.8]) * length**2 / (1 + length**2), rtol=1e-3, atol=0)
    assert squash(torch.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("rule", RULES)
def test_padding_takes_no_part(rule):
    whole = torch.cat([predictions(), 1e3 * torch.ones(3, 4, 2, 5)], dim=2)
    true = torch.arange(9) < 7
    found, _ = route(whole, true.expand(3, 9), rule=rule)
    torch.testing.assert_close(found, route(predictions(), rule=rule)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_inputs_with_their_matrices_is_nothing(rule):
    torch.manual_seed(1)
    layer = Capsules(9, 8, 4, 16, rule=rule)
    inputs, order = torch.randn(2, 9, 1, 8), torch.randperm(9)
    with torch.no_grad():
        before = layer(inputs)
        layer.weight.copy_(layer.weight[order])
        torch.testing.assert_close(layer(inputs[:, order]), before, rtol=0, atol=1e-6)


def test_predictions_are_products_with_the_matrices_of_groups():
    torch.manual_seed(1)
    layer, inputs = Capsules(3, 8, 4, 16), torch.randn(2, 3, 5, 8)
    found = layer.predictions(inputs)
    assert found.shape == (2, 4, 15, 16)
    expected = torch.stack([layer.weight[1, 2] @ inputs[1, 1, p] for p in range(5)])
    torch.testing.assert_close(found[1, 2, 5:10], expected)
    assert layer(inputs).shape == (2, 4, 16)


@pytest.mark.parametrize("rule", RULES)
def test_the_gradient_of_all_iterations_in_double_precision(rule):
    torch.manual_seed(1)
    layer = Capsules(5, 2, 3, 4, rule=rule).double()
    inputs = torch.randn(2, 5, 1, 2, dtype=torch.double, requires_grad=True)
    true = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    assert torch.autograd.gradcheck(lambda *given: layer(given[0], true), (inputs, layer.weight))


def test_primary_capsules_are_channels_of_a_convolution_squashed():
    torch.manual_seed(1)
    layer, maps = PrimaryCapsules(3, 2, 4, stride=(4, 2), padding=1), torch.randn(2, 3, 9, 8)
    found, values = layer(maps), layer.convolution(maps)
    assert found.shape == (2, 2, values.shape[2] * values.shape[3], 4)
    torch.testing.assert_close(found[1, 1, 5], squash(values[1, 4:, 1, 1]))  # position 1, 1 of 3 x 4


def test_margin_costs_by_hand():
    costs = margin_costs(torch.tensor([0.5, 0.3, 0.05]))
    expected = [0.4**2 + 0.5 * 0.2**2, 0.6**2 + 0.5 * 0.4**2, 0.85**2 + 0.5 * (0.4**2 + 0.2**2)]
    torch.testing.assert_close(costs, torch.tensor(expected))
    both, emotions = torch.stack([costs, 2 * costs]), torch.tensor([2, 0])
    assert cost_of_truth(both, emotions).item() == pytest.approx((expected[2] + 2 * expected[0]) / 2)
    assert cost_of_truth(both, emotions, torch.tensor([0.0, 3.0])).item() == pytest.approx(3 * expected[0])


def test_the_emotion_vector_ends_with_the_lengths():
    vector = emotion_vector(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]))
    assert vector.tolist() == [[3, 4, 0, 1, 5, 1]]


def test_an_unknown_rule_is_refused():
    with pytest.raises(UserError, match="routing is 'dynamic'"):
        Capsules(1, 2, 3, 4, rule="dynamic")

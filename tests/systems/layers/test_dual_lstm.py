"""The dual LSTM against loops over numbers, in training and in evaluation mode."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from local.systems.layers.dual_lstm import DualLstm

BATCH, STEPS, X, Y, SIZE = 3, 5, 4, 3, 2


@pytest.fixture
def layer() -> DualLstm:
    """A layer with random weights, scales, shifts and statistics, in double precision."""
    torch.manual_seed(1)
    made = DualLstm(X, Y, SIZE, STEPS).double()
    with torch.no_grad():
        for value in made.parameters():
            value.normal_()
        for name, value in made.named_buffers():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5) if name.endswith("var") else value.normal_()
    return made


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    return torch.randn(BATCH, STEPS, X).double(), torch.randn(BATCH, STEPS, Y).double()


def normalised(values: list[list[float]], mean, variance, scale, shift, training: bool) -> list[list[float]]:
    """Batch normalisation, number by number: `values[utterance][number]`."""
    count, made = len(values), [[0.0] * len(values[0]) for _ in values]
    for number in range(len(values[0])):
        column = [row[number] for row in values]
        about, spread = mean[number], variance[number]
        if training:
            about = sum(column) / count
            spread = sum((value - about) ** 2 for value in column) / count
        for row in range(count):
            made[row][number] = scale[number] * (column[row] - about) / math.sqrt(spread + 1e-5) + shift[number]
    return made


def by_loops(layer: DualLstm, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """The formulas at the top of the layer's file, without one product of matrices."""
    of_x, of_y, of_h = (each.weight.detach().numpy() for each in (layer.of_x, layer.of_y, layer.of_h))
    bias = layer.of_h.bias.detach().numpy()
    gate_norm = [value.detach().numpy() for value in (layer.gate_norm.weight, layer.gate_norm.bias)]
    output_norm = [value.detach().numpy() for value in (layer.output_norm.weight, layer.output_norm.bias)]
    out_statistics = layer.output_norm.running_mean.numpy(), layer.output_norm.running_var.numpy()
    x, y, h, cell = x.numpy(), y.numpy(), np.zeros((BATCH, SIZE)), np.zeros((BATCH, SIZE))
    outputs = np.empty((BATCH, STEPS, SIZE))

    def product(row: np.ndarray, vector: np.ndarray) -> float:
        return sum(float(one) * float(other) for one, other in zip(row, vector, strict=True))

    for step in range(STEPS):
        gates = [[0.0] * 4 * SIZE for _ in range(BATCH)]
        for b in range(BATCH):
            for k in range(4 * SIZE):
                value = product(of_x[k], x[b, step]) + product(of_y[k], y[b, step]) + product(of_h[k], h[b]) + bias[k]
                gates[b][k] = 1 / (1 + math.exp(-value))
        statistics = layer.gate_norm.running_mean[step].numpy(), layer.gate_norm.running_var[step].numpy()
        gates = normalised(gates, *statistics, *gate_norm, layer.training)
        new = np.empty((BATCH, SIZE))
        for b in range(BATCH):
            for k in range(SIZE):
                f, i, o, g = (gates[b][gate * SIZE + k] for gate in range(4))
                row_x, row_y = 4 * SIZE + k, 5 * SIZE + k
                candidate_x = math.tanh(product(of_x[row_x], x[b, step]) + product(of_h[row_x], h[b]) + bias[row_x])
                candidate_y = math.tanh(product(of_y[row_x], y[b, step]) + product(of_h[row_y], h[b]) + bias[row_y])
                cell[b, k] = f * cell[b, k] + i * candidate_x + g * candidate_y
                new[b, k] = o * math.tanh(cell[b, k])
        h = new
        outputs[:, step] = normalised(h.tolist(), *out_statistics, *output_norm, layer.training)
    return outputs


@pytest.mark.parametrize("training", [True, False])
def test_the_layer_is_its_formulas(layer, inputs, training):
    layer.train(training)
    expected = by_loops(layer, *inputs)
    np.testing.assert_allclose(layer(*inputs).detach(), expected, rtol=0, atol=1e-9)


def test_with_g_at_zero_the_second_candidate_no_longer_reaches_the_cell(layer, inputs):
    layer.eval()
    x, y = inputs
    with torch.no_grad():
        before = layer(x, y)
        layer.of_y.weight[: 4 * SIZE] = 0  # of the gates: y is left in its candidate alone
        with_y = layer(x, y)
        assert not torch.allclose(layer(x, y + 1), with_y) and not torch.allclose(with_y, before)
        layer.gate_norm.weight[3 * SIZE :] = 0
        layer.gate_norm.bias[3 * SIZE :] = 0
        closed = layer(x, y)
        assert torch.equal(layer(x, torch.randn_like(y)), closed)
        assert not torch.allclose(layer(x + 1, y), closed)


def test_statistics_of_a_step_do_not_depend_on_later_steps(layer, inputs):
    x, y = inputs
    other = DualLstm(X, Y, SIZE, STEPS).double()
    other.load_state_dict(layer.state_dict())
    later = x.clone()
    later[:, 3:] += 1
    layer.train()(x, y)
    other.train()(later, y)
    equal = (layer.gate_norm.running_mean == other.gate_norm.running_mean).all(1)
    assert equal.tolist() == [True, True, True, False, False]


def test_gates_can_be_negative(layer, inputs):
    seen = []
    layer.gate_norm.register_forward_hook(lambda *arguments: seen.append(arguments[2]))
    layer(*inputs)
    assert min(gates.min() for gates in seen) < 0


def test_the_parameters_of_the_papers_layers_and_their_first_values():
    layers = DualLstm(992, 2016, 200, 27), DualLstm(200, 2016, 200, 27)
    assert [sum(each.numel() for each in layer.parameters()) for layer in layers] == [3_251_200, 2_459_200]
    layer = layers[0]
    for value, bounds in (
        (layer.of_x.weight, [3208] * 4 + [1192]),
        (layer.of_y.weight, [3208] * 4 + [2216]),
        (layer.of_h.weight, [3208] * 4 + [1192, 2216]),
        (layer.of_h.bias, [3208] * 4 + [1192, 2216]),
    ):
        for part, inputs in zip(value.detach().chunk(len(bounds)), bounds, strict=True):
            assert 0.95 < part.abs().max() * inputs**0.5 <= 1
    assert (layer.gate_norm.weight == 0.1).all() and (layer.gate_norm.bias == 0).all()

"""The LSTM with two input sequences of Wang et al. 2020 (known from the authors' code); H numbers in its state.

[f, i, o, g] = norm_t(sigmoid(W [x; y; h] + b))                              [B, 4 H]   batch norm after the sigmoid
C = f * C + i * tanh(W_x [x; h] + b_x) + g * tanh(W_y [y; h] + b_y)          [B, H]
h = o * tanh(C)                                                              [B, H]
output = norm(h)                                                             [B, H]     the recurrence keeps h

`norm_t` has statistics of its own for each step, so that gates are not between 0 and 1. State and C start at zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from local.systems.layers.batch_norm import StepNorm, VectorNorm


class DualLstm(nn.Module):
    """A layer: [B, S, x_size] and [B, S, y_size] -> [B, S, size], for S = `n_steps`.

    The three matrices are held by what they multiply, the columns of gates, W_x and W_y side by side: the products
    with x and y are computed for all steps at once, and a step has a single product, with h.
    """

    def __init__(self, x_size: int, y_size: int, size: int, n_steps: int) -> None:
        super().__init__()
        self.size = size
        self.of_x = nn.Linear(x_size, 5 * size, bias=False)  # gates, candidate of x
        self.of_y = nn.Linear(y_size, 5 * size, bias=False)  # gates, candidate of y
        self.of_h = nn.Linear(size, 6 * size)  # gates, both candidates
        self.gate_norm = StepNorm(4 * size, n_steps)
        self.output_norm = VectorNorm(size)
        # As PyTorch draws a linear layer, by the number of its inputs: here those of W, W_x and W_y.
        gates = (x_size + y_size + size) ** -0.5
        candidate_x, candidate_y = (x_size + size) ** -0.5, (y_size + size) ** -0.5
        _draw(self.of_x.weight, [*[gates] * 4, candidate_x])
        _draw(self.of_y.weight, [*[gates] * 4, candidate_y])
        for values in self.of_h.parameters():
            _draw(values, [*[gates] * 4, candidate_x, candidate_y])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """[B, S, x_size], [B, S, y_size] -> [B, S, size]."""
        gates_x, candidate_x = self.of_x(x.transpose(0, 1)).split([4 * self.size, self.size], dim=2)
        gates_y, candidate_y = self.of_y(y.transpose(0, 1)).split([4 * self.size, self.size], dim=2)
        given = torch.cat([gates_x + gates_y, candidate_x, candidate_y], dim=2) + self.of_h.bias  # [S, B, 6 size]
        weight = self.of_h.weight.T
        h = cell = given.new_zeros(given.shape[1], self.size)
        outputs = []
        for step, of_inputs in enumerate(given):
            gates, candidates = torch.addmm(of_inputs, h, weight).split([4 * self.size, 2 * self.size], dim=1)
            f, i, o, g = self.gate_norm(gates.sigmoid(), step).chunk(4, dim=1)
            of_x, of_y = candidates.tanh().chunk(2, dim=1)
            cell = f * cell + i * of_x + g * of_y
            h = o * cell.tanh()
            outputs.append(self.output_norm(h))
        return torch.stack(outputs, dim=1)


def _draw(values: Tensor, bounds: list[float]) -> None:
    """Draw values evenly, the first share of their rows within the first bound, and so on."""
    for part, bound in zip(values.chunk(len(bounds)), bounds, strict=True):
        nn.init.uniform_(part, -bound, bound)

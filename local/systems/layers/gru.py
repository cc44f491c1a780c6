"""The last states of a GRU over padded batches, with a backward pass of its own on a CPU.

PyTorch's GRU over packed rows takes on a CPU a time that grows with the square of the rows, for the gradient of each
step's part of the inputs. Here both directions are computed together, and a step of the backward pass is a product of
matrices and a few of numbers: of all else the products over all steps are taken at once. As PyTorch has it:

    r, z = sigmoid(i_r + W_r h + b_r), sigmoid(i_z + W_z h + b_z)       i = W_i x + b_i
    n = tanh(i_n + r * (W_n h + b_n))
    h' = (1 - z) * n + z * h
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import pack_padded_sequence

from local.systems.layers import recurrent


def last_states(layer: nn.GRU, rows: Tensor, n_rows: Tensor) -> Tensor:
    """[B, T, c], [B] on the CPU, at least 1 each -> [B, 2 h], those of the forward and of the backward direction.

    `layer` has one layer, both directions, biases and `batch_first`. What is beyond an utterance's end has no part; the
    precision is that of the weights.
    """
    rows = rows.to(layer.weight_ih_l0.dtype)
    with recurrent.without_mixed_precision():
        if rows.device.type != "cpu":
            _, last = layer(pack_padded_sequence(rows, n_rows, batch_first=True, enforce_sorted=False))
            return torch.cat([*last], dim=1)
        weight_ih, weight_hh, bias_ih, bias_hh = (
            torch.stack([getattr(layer, f"{name}_l0{direction}") for direction in ("", "_reverse")])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        places, ends = torch.arange(rows.shape[1]), n_rows[:, None]
        mirrored = torch.where(places < ends, ends - 1 - places, places)
        both = torch.stack([rows, rows.gather(1, mirrored[:, :, None].expand_as(rows))])  # [2, B, T, c]
        inputs = torch.baddbmm(bias_ih[:, None], both.transpose(1, 2).flatten(1, 2), weight_ih.transpose(1, 2))
        inputs = inputs.unflatten(1, (rows.shape[1], -1)).transpose(0, 1)  # [T, 2, B, 3 h]
        states = _Gru.apply(inputs, weight_hh, bias_hh)
        return states[n_rows - 1, :, torch.arange(len(rows))].flatten(1)


class _Gru(torch.autograd.Function):
    """[T, D, B, 3 h] inputs of r, z, n, [D, 3 h, h] weights and [D, 3 h] biases of D directions -> [T, D, B, h]."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        size = weight.shape[2]
        shape = (*inputs.shape[:3], size)
        states, gates = inputs.new_empty(shape), inputs.new_empty(*shape[:3], 2 * size)
        candidates, carried = inputs.new_empty(shape), inputs.new_empty(shape)
        h, transposed, bias = inputs.new_zeros(shape[1:]), weight.transpose(1, 2), bias[:, None]
        by_step = (each.unbind() for each in (inputs, states, gates, candidates, carried))
        for given, state, rz, n, of_h in zip(*by_step, strict=True):
            products = torch.baddbmm(bias, h, transposed)
            torch.add(given[..., : 2 * size], products[..., : 2 * size], out=rz).sigmoid_()
            of_h.copy_(products[..., 2 * size :])
            torch.addcmul(given[..., 2 * size :], rz[..., :size], of_h, out=n).tanh_()
            h = torch.lerp(n, h, rz[..., size:], out=state)
        ctx.save_for_backward(weight, states, gates, candidates, carried)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, states, gates, n, carried = ctx.saved_tensors
        r, z = gates.chunk(2, dim=3)
        before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
        # What a gradient of h' is of those before each nonlinearity: of n, then of W_r h, W_z h and W_n h.
        of_n = (1 - z) * (1 - n.square())
        factors = torch.stack([of_n * carried * r * (1 - r), (before - n) * z * (1 - z), of_n * r], dim=3)
        of_states, of_products = torch.empty_like(states), torch.empty_like(factors)
        following = torch.zeros_like(states[0])
        for step in range(len(grad) - 1, -1, -1):
            of_h = torch.add(grad[step], following, out=of_states[step])
            products = torch.mul(factors[step], of_h[:, :, None], out=of_products[step])
            following = torch.baddbmm(of_h * z[step], products.flatten(2), weight)
        of_inputs = torch.cat([of_products[:, :, :, :2].flatten(3), of_states * of_n], dim=3)
        by_direction, before = (each.transpose(0, 1).flatten(1, 2) for each in (of_products.flatten(3), before))
        return of_inputs, by_direction.transpose(1, 2) @ before, by_direction.sum(1)

"""Recurrent layers over padded batches: the padding has no part in any state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def run(layer: nn.LSTM | nn.GRU, rows: Tensor, n_rows: Tensor) -> tuple[Tensor, Tensor]:
    """Run a recurrent layer, with `batch_first`, over each utterance's true rows, at least 1 each.

    [B, T, c], [B] on the CPU -> the outputs [B, T, h], 0 beyond each utterance's end, and [B, h], the last layer's last
    states: of a bidirectional layer the forward direction's at the last row and the backward direction's at the first.
    """
    # Sorted here: PyTorch's own way back to the order of the batch, in `pad_packed_sequence`, waits for a GPU.
    order = n_rows.argsort(descending=True, stable=True)
    there, back = (indices.to(rows.device, non_blocking=True) for indices in (order, order.argsort()))
    outputs, states = layer(pack_padded_sequence(rows[there], n_rows[order], batch_first=True))
    outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=rows.shape[1])
    hidden = states[0] if isinstance(layer, nn.LSTM) else states
    directions = 2 if layer.bidirectional else 1
    return outputs[back], torch.cat([*hidden[-directions:]], dim=1)[back]


def run_whole(layer: nn.LSTM, rows: Tensor, states: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Any]:
    """`layer(rows, states)`, where all rows are true, or what follows is not looked at.

    On a CPU in single precision: PyTorch's LSTM in 16 bits is an error on those that lack the instructions.
    """
    given = () if states is None else (states,)
    if rows.device.type != "cpu":
        return layer(rows, *given)
    with torch.autocast("cpu", enabled=False):
        return layer(rows.float(), *given)

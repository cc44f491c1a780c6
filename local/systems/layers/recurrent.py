"""Recurrent layers over padded batches: the padding has no part in any state. The precision is that of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from local.systems.layers.sequences import mask_rows

LONG = 64  # rows from which on a CPU runs an LSTM by groups
AT_A_TIME = 8  # utterances of a group


@contextmanager
def without_mixed_precision() -> Iterator[None]:
    """Turn mixed precision off, in which a recurrent layer must not run.

    On a GPU PyTorch casts what cuDNN's recurrent layers take to fp16, also where mixed precision is bf16, in which no
    loss is scaled: small gradients become 0. On a CPU an LSTM in 16 bits is an error where the instructions lack.
    """
    with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
        yield


def run(layer: nn.LSTM | nn.GRU, rows: Tensor, n_rows: Tensor) -> tuple[Tensor, Tensor]:
    """Run a recurrent layer, with `batch_first`, over each utterance's true rows, at least 1 each.

    [B, T, c], [B] on the CPU -> the outputs [B, T, h], 0 beyond each utterance's end, and [B, h], the last layer's last
    states: of a bidirectional layer the forward direction's at the last row and the backward direction's at the first.
    """
    # Sorted here: PyTorch's own way back to the order of the batch, in `pad_packed_sequence`, waits for a GPU.
    order = n_rows.argsort(descending=True, stable=True)
    there, back = (indices.to(rows.device, non_blocking=True) for indices in (order, order.argsort()))
    rows = rows.to(layer.weight_ih_l0.dtype)
    with without_mixed_precision():
        if rows.device.type == "cpu" and isinstance(layer, nn.LSTM) and rows.shape[1] >= LONG:
            outputs, last = _run_by_groups(layer, rows, n_rows, order)
            return outputs[back], last[back]
        outputs, states = layer(pack_padded_sequence(rows[there], n_rows[order], batch_first=True))
    outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=rows.shape[1])
    hidden = states[0] if isinstance(layer, nn.LSTM) else states
    directions = 2 if layer.bidirectional else 1
    return outputs[back], torch.cat([*hidden[-directions:]], dim=1)[back]


def run_whole(layer: nn.LSTM, rows: Tensor, states: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Any]:
    """`layer(rows, states)`, where all rows are true, or what follows is not looked at."""
    given = () if states is None else (states,)
    with without_mixed_precision():
        return layer(rows.to(layer.weight_ih_l0.dtype), *given)


def _run_by_groups(layer: nn.LSTM, rows: Tensor, n_rows: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """As `run`, in the order of `order`, the longest first; without dropout between layers.

    PyTorch's LSTM over packed rows takes on a CPU a time that grows with their square, several times that of oneDNN's,
    which knows no packed rows. Here oneDNN's runs over utterances of like lengths, once for each direction: what
    follows an utterance reaches none of its states, and the backward direction is the forward one of reversed rows.
    """
    outputs, last = [], []
    for group in order.split(AT_A_TIME):
        counts = n_rows[group]
        made, states = _run_padded(layer, rows[group, : int(counts[0])], counts)
        outputs.append(F.pad(made, (0, 0, 0, rows.shape[1] - made.shape[1])))
        last.append(states)
    return torch.cat(outputs), torch.cat(last)


def _run_padded(layer: nn.LSTM, rows: Tensor, n_rows: Tensor) -> tuple[Tensor, Tensor]:
    """[b, T, c], [b] -> [b, T, h], 0 beyond an utterance's end, and [b, h], the last layer's last states."""
    places, ends = torch.arange(rows.shape[1]), n_rows[:, None]
    mirrored = torch.where(places < ends, ends - 1 - places, places) + len(places) * torch.arange(len(rows))[:, None]

    def mirror(values: Tensor) -> Tensor:
        return values.flatten(0, 1).index_select(0, mirrored.flatten()).view(*rows.shape[:2], -1)

    for number in range(layer.num_layers):
        outputs = forward = _run_direction(layer, rows, f"l{number}")
        last = forward[torch.arange(len(rows)), n_rows - 1]
        if layer.bidirectional:
            backward = mirror(_run_direction(layer, mirror(rows), f"l{number}_reverse"))
            outputs, last = torch.cat([forward, backward], dim=2), torch.cat([last, backward[:, 0]], dim=1)
        rows = outputs
    return mask_rows(rows, n_rows), last


def _run_direction(layer: nn.LSTM, rows: Tensor, name: str) -> Tensor:
    """One direction of one layer, forwards: [b, T, c] -> [b, T, h]."""
    weights = [getattr(layer, f"{kind}_{name}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    nothing = rows.new_zeros(1, len(rows), layer.hidden_size)
    return torch.lstm(rows, (nothing, nothing), weights, True, 1, 0.0, layer.training, False, True)[0]

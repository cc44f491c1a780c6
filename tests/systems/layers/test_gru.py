"""The GRU's last states, and their gradients, against PyTorch's over packed rows and over each utterance alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from local.systems.layers.gru import last_states

LENGTHS = torch.tensor([2, 7, 1, 9, 7])


def made() -> tuple[nn.GRU, Tensor]:
    torch.manual_seed(1)
    layer = nn.GRU(5, 3, bidirectional=True, batch_first=True).double()
    return layer, torch.randn(5, 9, 5, dtype=torch.double, requires_grad=True)


def test_states_and_gradients_are_those_of_packed_rows():
    layer, rows = made()
    _, last = layer(pack_padded_sequence(rows, LENGTHS, batch_first=True, enforce_sorted=False))
    found, expected = last_states(layer, rows, LENGTHS), torch.cat([*last], dim=1)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    gradients = (torch.autograd.grad((each * weights).sum(), [rows, *layer.parameters()]) for each in (found, expected))
    for own, packed in zip(*gradients, strict=True):
        torch.testing.assert_close(own, packed)


def test_an_utterance_alone_has_the_same_states():
    layer, rows = made()
    together = last_states(layer, rows, LENGTHS)
    for row, length, states in zip(rows, LENGTHS.tolist(), together, strict=True):
        torch.testing.assert_close(last_states(layer, row[None, :length], torch.tensor([length]))[0], states)


def test_single_precision_whatever_comes_in():
    layer, rows = made()
    layer, rows = layer.float(), rows.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = last_states(layer, rows, LENGTHS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, last_states(layer, rows.float(), LENGTHS))


def test_nothing_waits_for_a_gpu():
    layer = nn.GRU(5, 3, bidirectional=True, batch_first=True).to("meta")  # whose numbers cannot be read
    assert last_states(layer, torch.zeros(5, 9, 5, device="meta"), LENGTHS).shape == (5, 6)

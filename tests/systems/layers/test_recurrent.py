"""Recurrent layers: each utterance as if it were alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from local.systems.layers import recurrent
from local.systems.layers.gru import last_states


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("long", [2, 100])
def test_outputs_and_last_states_are_those_of_the_utterance_alone(kind, both, long, monkeypatch):
    monkeypatch.setattr(recurrent, "LONG", long)
    monkeypatch.setattr(recurrent, "AT_A_TIME", 2)
    torch.manual_seed(1)
    layer, lengths = kind(5, 3, num_layers=2, bidirectional=both, batch_first=True), torch.tensor([2, 7, 1])
    rows = torch.randn(3, 9, 5)
    outputs, last = recurrent.run(layer, rows, lengths)
    assert outputs.shape == (3, 9, 6 if both else 3) and last.shape == (3, 6 if both else 3)
    for row, length in enumerate(lengths.tolist()):
        alone = layer(rows[row : row + 1, :length])[0][0]
        torch.testing.assert_close(outputs[row, :length], alone)
        assert not outputs[row, length:].any()
        expected = torch.cat([alone[-1, :3], alone[0, 3:]]) if both else alone[-1]
        torch.testing.assert_close(last[row], expected)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_nothing_waits_for_a_gpu(kind):
    layer = kind(5, 3, batch_first=True).to("meta")  # whose numbers cannot be read
    outputs, last = recurrent.run(layer, torch.zeros(3, 9, 5, device="meta"), torch.tensor([2, 7, 1]))
    assert outputs.shape == (3, 9, 3) and last.shape == (3, 3)


def test_mixed_precision_on_any_cpu():
    torch.manual_seed(1)
    layer, rows = nn.LSTM(5, 3, batch_first=True), torch.randn(2, 4, 5).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, states = recurrent.run_whole(layer, rows)
        again, _ = recurrent.run_whole(layer, rows, states)
    torch.testing.assert_close(outputs, layer(rows.float())[0])
    torch.testing.assert_close(again, layer(rows.float(), states)[0])


@pytest.mark.parametrize("run", [recurrent.run, recurrent.run_whole, last_states])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_layer_itself_is_not_in_mixed_precision(run, device):
    # On a GPU PyTorch's own cast would be to fp16, with bf16 for all else. Here that of "cuda" is on, without a GPU.
    kind = nn.LSTM if run is recurrent.run_whole else nn.GRU
    layer, seen = kind(5, 3, bidirectional=True, batch_first=True).to("meta"), []

    def look(_, given):
        rows = given[0].data if isinstance(given[0], PackedSequence) else given[0]
        seen.append((torch.is_autocast_enabled(device), rows.dtype))

    layer.register_forward_pre_hook(look)
    lengths = () if run is recurrent.run_whole else (torch.tensor([2, 7, 1]),)
    torch.set_autocast_enabled(device, True)
    try:
        run(layer, torch.zeros(3, 9, 5, device="meta", dtype=torch.bfloat16), *lengths)
        assert seen == [(False, torch.float32)] and torch.is_autocast_enabled(device)
    finally:
        torch.set_autocast_enabled(device, False)


@pytest.mark.parametrize("both", [True, False])
def test_by_groups_the_gradients_are_those_of_packed_rows(both, monkeypatch):
    torch.manual_seed(1)
    layer = nn.LSTM(5, 3, num_layers=2, bidirectional=both, batch_first=True).double()
    rows, lengths = torch.randn(5, 9, 5, dtype=torch.double, requires_grad=True), torch.tensor([2, 7, 1, 9, 7])
    found = []
    for long in (2, 100):
        monkeypatch.setattr(recurrent, "LONG", long)
        outputs, last = recurrent.run(layer, rows, lengths)
        total = (outputs * torch.arange(9)[None, :, None]).sin().sum() + last.square().sum()
        found.append(torch.autograd.grad(total, [rows, *layer.parameters()]))
    for by_groups, packed in zip(*found, strict=True):
        torch.testing.assert_close(by_groups, packed)


@pytest.mark.parametrize("size", [70, 9])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_true_rows_in_mixed_precision_on_any_cpu(kind, size):
    layer, rows = kind(5, 3, batch_first=True), torch.randn(2, size, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, _ = recurrent.run(layer, rows.bfloat16(), torch.tensor([size, size - 5]))
    torch.testing.assert_close(outputs[0], layer(rows[:1].bfloat16().float())[0][0])

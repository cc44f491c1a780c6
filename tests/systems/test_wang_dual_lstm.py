"""Wang et al.: parameters, shapes, alignment, both branches, and what every system must pass."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from system_checks import (
    assert_alone_as_in_a_batch,
    at_random,
    inputs,
    learns_eight,
    losses_of_steps,
    sounds,
    targets,
    trained_parameters,
)
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from local.features.mel_pairs import pack
from local.systems import Targets
from local.systems.layers import recurrent
from local.systems.wang_dual_lstm import DualSequenceSystem, align


@pytest.fixture
def system() -> DualSequenceSystem:
    torch.manual_seed(1)
    return DualSequenceSystem(4).eval()


def count(*modules: torch.nn.Module) -> int:
    return sum(map(trained_parameters, modules))


def test_the_parameters(system):
    assert trained_parameters(system) == 6_294_568
    assert count(system.cnn_a, system.cnn_b) == 68_160
    assert [count(layer) for layer in system.dual] == [3_251_200, 2_459_200]
    assert (count(system.lstm), count(system.mel_head, system.mfcc_head)) == (514_400, 1608)


def test_the_shapes_of_three_seconds(system, monkeypatch):
    shapes = {}

    def run(layer, rows, n_rows, run=recurrent.run):
        states, last = run(layer, rows, n_rows)
        shapes["lstm"] = [tuple(rows.shape[1:])], tuple(states.shape[1:])
        return states, last

    monkeypatch.setattr(recurrent, "run", run)
    for name in ("cnn_a", "cnn_b", "dual.0", "dual.1"):

        def note(_, given, made, name=name):
            shapes[name] = [tuple(each.shape[1:]) for each in given], tuple(made.shape[1:])

        system.get_submodule(name).register_forward_hook(note)
    with torch.no_grad():
        outputs = system(torch.zeros(1, 48_000), torch.tensor([48_000]))
    assert shapes == {
        "cnn_a": ([(1, 128, 230)], (32, 31, 56)),
        "cnn_b": ([(1, 256, 120)], (32, 63, 29)),
        "dual.0": ([(27, 992), (27, 2016)], (27, 200)),
        "dual.1": ([(27, 200), (27, 2016)], (27, 200)),
        "lstm": ([(298, 39)], (298, 200)),
    }
    assert outputs.emotion.shape == (1, 4)


def test_the_alignment():
    a, b = torch.randn(2, 992, 56), torch.randn(2, 2016, 29)
    x, y = align(a, b)
    for step in range(27):
        mean = (a[:, :, 2 * step] + a[:, :, 2 * step + 1] + a[:, :, 2 * step + 2]) / 3
        torch.testing.assert_close(x[:, step], mean)
        assert torch.equal(y[:, step], b[:, :, step])
    assert x.shape[1] == y.shape[1] == 27


@torch.no_grad()
def test_an_utterance_has_the_same_logits_alone_and_in_a_batch(system):
    assert_alone_as_in_a_batch(system, sounds(1.0, 2.0, 0.1, 0.01))


@torch.no_grad()
def test_the_mfcc_branch_is_that_of_packed_sequences(system):
    rows, n_rows = inputs(system, sounds(0.5, 0.9))
    mfcc, n_frames = rows[:, 1504:, :39], n_rows - 1504
    states, _ = system.lstm(pack_padded_sequence(mfcc, n_frames, batch_first=True, enforce_sorted=False))
    states, _ = pad_packed_sequence(states, batch_first=True)
    means = torch.stack([row[:frames].mean(0) for row, frames in zip(states, n_frames, strict=True)])
    torch.testing.assert_close(system(rows, n_rows).further[1], system.mfcc_head(means), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_logits_are_those_of_the_layers_one_by_one(system):
    made, double = at_random(system), {"dtype": torch.double}
    a, b, mfcc = torch.randn(128, 230, **double), torch.randn(256, 120, **double), torch.randn(7, 39, **double)

    def columns(cnn: torch.nn.Sequential, picture: torch.Tensor) -> torch.Tensor:
        first, convolution, norm, *_ = cnn
        maps = F.max_pool2d(first.norm(first.conv(picture[None, None])).relu(), 2)
        return F.max_pool2d(norm(convolution(maps)).relu(), 2)[0].flatten(0, 1).T

    a_steps, b_steps = columns(made.cnn_a, a), columns(made.cnn_b, b)
    x, y = [a_steps[2 * step : 2 * step + 3].mean(0) for step in range(27)], b_steps[:27]
    for layer in made.dual:
        h, cell, outputs = torch.zeros(200, **double), torch.zeros(200, **double), []
        for step in range(27):
            of_x, of_y, of_h = layer.of_x.weight @ x[step], layer.of_y.weight @ y[step], layer.of_h(h)
            gates = (of_x[:800] + of_y[:800] + of_h[:800]).sigmoid()
            norm = layer.gate_norm
            gates = (gates - norm.running_mean[step]) / (norm.running_var[step] + 1e-5).sqrt() * norm.weight + norm.bias
            f, i, o, g = gates.split(200)
            cell = f * cell + i * (of_x[800:] + of_h[800:1000]).tanh() + g * (of_y[800:] + of_h[1000:]).tanh()
            h, norm = o * cell.tanh(), layer.output_norm
            outputs.append((h - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias)
        x = outputs
    of_mels, of_mfcc = made.mel_head(sum(x) / 27), made.mfcc_head(made.lstm(mfcc)[0].mean(0))
    found = made(pack(a, b, mfcc)[None], torch.tensor([1504 + 7])).emotion[0]
    torch.testing.assert_close(found, (of_mels + of_mfcc) / 2, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_logits_and_loss_are_the_means_of_both_branches(system):
    outputs = system(*inputs(system, sounds(0.3, 0.4)))
    mels, mfcc = outputs.further
    torch.testing.assert_close(outputs.emotion, (mels + mfcc) / 2)
    emotions = torch.tensor([2, 0])
    parts = [-each.log_softmax(1)[[0, 1], emotions] for each in (mels, mfcc)]
    losses = system.losses(outputs, targets(emotions))
    torch.testing.assert_close(losses.total, (parts[0] + parts[1]).mean() / 2)
    torch.testing.assert_close(losses.ce, -outputs.emotion.log_softmax(1)[[0, 1], emotions].mean())
    weighted = Targets(emotions, *targets(emotions)[1:3], weights=torch.tensor([3.0, 0.5]))
    expected = ((parts[0] + parts[1]) * weighted.weights).mean() / 2
    torch.testing.assert_close(system.losses(outputs, weighted).total, expected)


@pytest.mark.slow
def test_equal_seeds_give_equal_losses():
    losses = []
    for _ in range(2):
        torch.manual_seed(1)
        losses.append(losses_of_steps(DualSequenceSystem(4), sounds(0.2, 0.3)))
    assert losses[0] == losses[1]


def test_an_update_of_a_single_utterance(system):
    rows = inputs(system, sounds(0.2))
    system.train()
    system.losses(system(*rows), targets(torch.tensor([1]))).total.backward()
    assert all(value.grad.isfinite().all() for value in system.parameters())


@pytest.mark.slow
def test_eight_utterances_are_learned():
    torch.manual_seed(1)
    assert learns_eight(DualSequenceSystem(4), seconds=1.0) <= 400

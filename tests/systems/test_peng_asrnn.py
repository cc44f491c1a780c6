"""Peng et al. 2020: shapes, parameters, the sliding network against torch.nn, and what every system must pass."""

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
    trained_parameters,
)
from torch import nn

from local.systems.layers.sequences import windows
from local.systems.peng_asrnn import SHIFT, WINDOW, PengAsrnn

CARRY = pytest.mark.parametrize("carry_state", [False, True])


def system(**values) -> PengAsrnn:
    torch.manual_seed(1)
    return PengAsrnn(4, **values).eval()


def test_parameters():
    made = system()
    assert trained_parameters(made) == 1_058_020
    parts = {"convolutions": 70_176, "blstm": 395_264, "lstm": 526_336, "attention": 33_024}
    assert {name: trained_parameters(getattr(made, name)) for name in parts} == parts
    assert trained_parameters(made.hidden) + trained_parameters(made.emotion_head) == 33_220


@torch.no_grad()
def test_shapes_of_3_seconds():
    made = system()
    rows, n_rows = made.front_end(sounds(3.0)[0][None], torch.tensor([48_000]))
    assert (rows.shape, n_rows.tolist()) == ((1, 299, 192), [299])
    shapes = []
    for block in made.convolutions:
        block.register_forward_hook(lambda *called: shapes.append(tuple(called[2].shape)))
    steps, n_steps = made.steps(rows, n_rows)
    assert shapes == [(1, 16, 6, 16, 148), (1, 32, 3, 8, 74), (1, 64, 1, 4, 74)]
    assert (steps.shape, n_steps.tolist()) == ((1, 74, 256), [74])
    found, counts = made.slide(steps, n_steps)
    assert (found.shape, counts.tolist()) == ((1, 6, 256), [6])
    assert made(rows, n_rows).emotion.shape == (1, 4)


def test_the_windows_of_3_seconds_and_the_last_always_covers_the_end():
    for steps, begins in ((74, [0, 12, 24, 36, 48, 49]), (25, [0]), (26, [0, 1]), (37, [0, 12]), (250, None)):
        cuts, counts = windows(torch.arange(steps)[None, :, None], torch.tensor([steps]), WINDOW, SHIFT)
        assert begins is None or cuts[0, :, 0, 0].tolist() == begins
        assert cuts[0, int(counts) - 1, -1, 0] == steps - 1


@CARRY
def test_an_utterance_has_the_same_logits_alone_and_in_any_batch(carry_state):
    assert_alone_as_in_a_batch(system(carry_state=carry_state), sounds(2.0, 1.3, 0.1, 0.01, 1.0))


@pytest.mark.parametrize("front_end", ["gammatone", "logmel"])
def test_the_other_front_ends(front_end):
    assert_alone_as_in_a_batch(system(front_end=front_end), sounds(1.1, 0.01))


def test_it_is_built_again_from_its_settings_and_without_memory():
    made = system(front_end="logmel", carry_state=True)
    assert PengAsrnn(4, **made.settings()).settings() == {"front_end": "logmel", "carry_state": True}
    with torch.device("meta"):
        assert PengAsrnn(4).front_end.taps.any()


@torch.no_grad()
@CARRY
def test_with_a_window_as_long_as_the_utterance_it_is_one_blstm(carry_state):
    made, steps = system(carry_state=carry_state), torch.randn(2, WINDOW, 256)
    found, counts = made.slide(steps, torch.tensor([WINDOW, WINDOW]))
    outputs, _ = made.blstm(steps)
    expected = torch.cat([outputs[:, -1, :128], outputs[:, 0, 128:]], dim=1)
    assert counts.tolist() == [1, 1]
    torch.testing.assert_close(found[:, 0], expected)
    assert made.weights_of(found, counts).tolist() == [[1.0], [1.0]]  # so that the sum is the window


@torch.no_grad()
@CARRY
def test_each_window_is_a_blstm_of_its_own_or_goes_on_from_the_one_before(carry_state):
    made, steps, n_steps = system(carry_state=carry_state), torch.randn(2, 60, 256), torch.tensor([60, 38])
    found, counts = made.slide(steps, n_steps)
    assert counts.tolist() == [4, 3]
    for one, length, count in zip(steps, n_steps.tolist(), counts.tolist(), strict=True):
        row, states = found[0 if length == 60 else 1], None
        for number in range(count):
            begin = min(number * SHIFT, length - WINDOW)
            _, (last, cell) = made.blstm(one[None, begin : begin + WINDOW], states)
            torch.testing.assert_close(row[number], last[:, 0].flatten(), rtol=0, atol=1e-6)
            states = (last, cell) if carry_state else None


@torch.no_grad()
def test_attention_sums_to_one_over_the_true_windows_and_is_the_formula():
    made, found, counts = system(), torch.randn(3, 5, 256), torch.tensor([5, 2, 1])
    weights = made.weights_of(found, counts)
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    hidden, score = made.attention[0], made.attention[2]
    for row, count in enumerate(counts.tolist()):
        scores = [score.weight[0] @ torch.tanh(hidden.weight @ s + hidden.bias) for s in found[row, :count]]
        torch.testing.assert_close(weights[row, :count], torch.stack(scores).softmax(0))
        assert not weights[row, count:].any()


@torch.no_grad()
def test_the_logits_are_those_of_the_layers_one_by_one():
    made, rows = at_random(system()), torch.randn(1, 203, 192, dtype=torch.double)
    normal = (rows[0, :200] - made.standardise.mean) / made.standardise.deviation
    maps = normal.T.reshape(1, 1, 6, 32, 200)
    kernels, pools = ((3, 3, 5), (3, 3, 3), (3, 3, 3)), ((1, 2, 2), (2, 2, 2), (3, 2, 1))
    for (layer, norm, *_), kernel, pool in zip(made.convolutions, kernels, pools, strict=True):
        assert layer.weight.shape[2:] == kernel
        maps = norm(F.conv3d(maps, layer.weight, layer.bias, padding="same"))
        maps = F.max_pool3d(F.leaky_relu(maps, 0.01), pool)
    steps, found = 1.3 * maps[0].flatten(0, 2).T, []
    for start in (0, 12, 24, 25):
        states, _ = made.blstm(steps[start : start + 25])
        found.append(torch.cat([states[-1, :128], states[0, 128:]]))
    found = torch.stack(found)
    shares = made.attention[2](torch.tanh(made.attention[0](found)))[:, 0].softmax(0)
    salient = sum(share * window for share, window in zip(shares, found, strict=True))
    linear, _, norm, _ = made.hidden
    hidden = F.leaky_relu(linear(torch.cat([made.lstm(found)[0][-1], salient])), 0.01)
    hidden = (hidden - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
    expected = made.emotion_head(1.5 * hidden)
    torch.testing.assert_close(made(rows, torch.tensor([203])).emotion[0], expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_what_is_measured_standardises_each_number_of_the_training_set():
    made = system()
    batches = [inputs(made, sounds(1.0, 0.5)), inputs(made, sounds(0.7, seed=2))]
    made.measure(batches)
    true = torch.cat([row[:count] for rows, counts in batches for row, count in zip(rows, counts, strict=True)])
    normal = made.standardise(true)
    torch.testing.assert_close(normal.mean(0), torch.zeros(192), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std(0, correction=0), torch.ones(192), atol=1e-4, rtol=0)
    assert {"standardise.mean", "standardise.deviation"} <= made.state_dict().keys()


def test_equal_seeds_have_equal_losses_also_of_a_single_utterance():
    for wavs in (sounds(1.0, 1.2), sounds(0.5)):
        assert losses_of_steps(system(), wavs) == losses_of_steps(system(), wavs)


def test_leaky_relu_and_max_pool_change_places():
    values = torch.randn(1, 2, 6, 8, 8)
    pool, leaky = nn.MaxPool3d((1, 2, 2)), nn.LeakyReLU(0.01)
    assert torch.equal(pool(leaky(values)), leaky(pool(values)))


@pytest.mark.slow
def test_eight_utterances_are_learned():
    assert learns_eight(system()) < 100

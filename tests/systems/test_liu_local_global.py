"""Liu et al.: parameters, segments, dense connections, and the learning machine after the network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from paths import REPOSITORY
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
from torch import nn

from local.config import hparams
from local.core.errors import UserError
from local.systems import liu_local_global
from local.systems.layers.elm import ExtremeLearningMachine
from local.systems.liu_local_global import LiuLocalGlobal, pool

LENGTHS = (1.0, 0.5, 0.1, 0.01)


def build(**settings) -> LiuLocalGlobal:
    torch.manual_seed(1)
    return LiuLocalGlobal(4, **settings).eval()


@pytest.fixture(scope="module")
def system() -> LiuLocalGlobal:
    return build().requires_grad_(False)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_number_of_parameters(system):
    network = system.network
    assert count(network.first) + count(network.local_module) == 301_152
    assert count(network.global_module) == 544_896 and count(network.head) == 57_988
    assert trained_parameters(build()) == trained_parameters(build(segment_s=2.0, routing="cosine")) == 904_036
    assert system.elm.weight.shape == (1344, 2000) and system.elm.beta.shape == (2000, 4)
    assert not {name for name, _ in system.named_parameters() if name.startswith("elm")}


@torch.no_grad()
def test_the_shapes_of_three_seconds(system):
    rows, n_rows = inputs(system, sounds(3.0))
    assert n_rows.tolist() == [374] and rows.shape[2] == 129
    segments, counts, _ = system._segments(rows, n_rows)
    assert segments.shape == (22, 32, 129) and counts.tolist() == [22]
    for number, segment in enumerate(segments):
        assert torch.equal(segment, rows[0, 16 * number : 16 * number + 32])
    system.train()
    assert system._segments(rows, n_rows)[0].shape == (11, 32, 129)
    system.eval()
    of_segments = system.network(segments[:2])
    assert [each.shape[1:] for each in of_segments] == [(4,), (448,), (3, 4)]
    maps = system.network.first(segments[:2].transpose(1, 2)[:, None])
    assert maps.shape[1:] == (48, 64, 16)
    entry = system.network.global_module.entry(maps)
    assert entry.shape[1:] == (64, 32, 8)
    assert system.network.global_module.primary[0](entry).shape[1:] == (16, 32, 8)
    assert system.vectors(rows, n_rows).shape == (1, 1344)


@torch.no_grad()
def test_a_short_utterance_is_repeated_and_long_segments_are_248_frames():
    made = build(segment_s=2.0)
    rows = torch.randn(1, 100, 129)
    segments, counts, _ = made._segments(rows, torch.tensor([100]))
    assert segments.shape == (1, 248, 129) and counts.tolist() == [1]
    assert torch.equal(segments[0], torch.cat([rows[0], rows[0], rows[0, :48]]))
    assert made(rows, torch.tensor([100])).emotion.isfinite().all()


@pytest.mark.parametrize("solved", [False, True])
def test_alone_as_in_a_batch(solved):
    made = build()
    if solved:
        made.elm.beta.normal_(std=0.1)
        made.elm.solved.fill_(1)
    assert_alone_as_in_a_batch(made, sounds(*LENGTHS))


def squash(s: torch.Tensor) -> torch.Tensor:
    square = (s * s).sum(-1, keepdim=True)
    return square / (1 + square) * s / (square + 1e-8).sqrt()


def routed(predicted: torch.Tensor, rule: str) -> torch.Tensor:
    """[J, I, D] -> [J, D]."""
    b = torch.zeros(predicted.shape[:2], dtype=torch.double)
    for _ in range(3):
        couplings = b.softmax(0 if rule == "standard" else 1)
        v = squash((couplings[:, :, None] * predicted).sum(1))
        lengths = 1 if rule == "standard" else predicted.norm(dim=2) * v.norm(dim=1, keepdim=True)
        b = b + (predicted * v[:, None]).sum(2) / lengths
    return v


def convolved(layer: nn.Conv2d, maps: torch.Tensor, kernel: tuple[int, int], **how) -> torch.Tensor:
    assert layer.weight.shape[2:] == kernel
    return F.conv2d(maps, layer.weight, layer.bias, **{"padding": "same"} | how)


def three(parallel: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    """The convolutions side by side, and the maximum of 2 x 2."""
    shapes = ((9, 1), (1, 9), (3, 3))
    made = [convolved(layer, maps, shape) for layer, shape in zip(parallel.convolutions, shapes, strict=True)]
    return F.max_pool2d(parallel.norm(torch.cat(made, 1)).relu(), 2)


def vector_of(network: nn.Module, segment: torch.Tensor, rule: str) -> torch.Tensor:
    """The 448 numbers of a segment, [32, 129], layer by layer."""
    first = three(network.first, segment.T[None, None])
    local, dense = network.local_module, network.global_module
    maps = F.max_pool2d(local.third_norm(convolved(local.third, three(local.second, first), (3, 3))).relu(), 2)
    maps = local.fourth_norm(convolved(local.fourth, maps, (3, 3))).relu()[0]
    assert maps.shape == (128, 16, 4)
    numbers = [maps.mean((1, 2)), maps.amax((1, 2))]
    before = [dense.entry[1](convolved(dense.entry[0], first, (5, 5), stride=2, padding=2)).relu()]
    for (layer, norm, *_), primary, capsules in zip(dense.blocks, dense.primary, dense.emotions, strict=True):
        before.append(norm(convolved(layer, torch.cat(before, 1), (3, 3))).relu())
        u = convolved(primary.convolution, before[-1], (3, 3), stride=(4, 2), padding=1).view(16, 8, 32)
        predicted = torch.einsum("tjod,tpd->jtpo", capsules.weight, squash(u.transpose(1, 2)))
        numbers.append(routed(predicted.flatten(1, 2), rule).flatten())
    return torch.cat(numbers)


@torch.no_grad()
@pytest.mark.parametrize("routing", ["standard", "cosine"])
def test_the_logits_are_those_of_the_layers_one_by_one(routing):
    made, rows = at_random(build(routing=routing)), torch.randn(1, 70, 129, dtype=torch.double)
    normal = (rows[0] - made.standardise.mean) / made.standardise.deviation
    vectors = [vector_of(made.network, normal[start : start + 32], routing) for start in (0, 16, 32)]
    first, _, _, last = made.network.head
    posteriors = [last(1.5 * first(vector).relu()).softmax(0) for vector in vectors]
    found = made(rows, torch.tensor([70])).emotion[0]
    torch.testing.assert_close(found.exp().double(), sum(posteriors) / 3, rtol=1e-5, atol=1e-6)
    elm, mean = made.elm, sum(vectors) / 3
    deviation = (sum((vector - mean) ** 2 for vector in vectors) / 3).sqrt()
    pooled = torch.cat([mean, deviation, torch.stack(vectors).amax(0)])
    elm.beta.normal_()
    elm.solved.fill_(1)
    hidden = ((pooled - elm.standardise.mean) / elm.standardise.deviation) @ elm.weight + elm.bias
    expected = (1 / (1 + (-hidden).exp())) @ elm.beta
    torch.testing.assert_close(made(rows, torch.tensor([70])).emotion[0], expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_networks_score_is_the_mean_posterior_of_the_segments(system, monkeypatch):
    batch = inputs(system, sounds(0.8, 0.3))
    outputs = system(*batch)
    for row, length in enumerate(batch[1].tolist()):
        starts = range(0, length - 31, 16)
        segments = torch.stack([batch[0][row, start : start + 32] for start in starts])
        logits, _, lengths = system.network(segments)
        torch.testing.assert_close(outputs.emotion[row].exp(), logits.softmax(1).mean(0), rtol=0, atol=1e-5)
        torch.testing.assert_close(outputs.further[0][row], -logits.log_softmax(1).mean(0), rtol=0, atol=1e-5)
        present, absent = (0.9 - lengths).clamp(min=0) ** 2, 0.5 * (lengths - 0.1).clamp(min=0) ** 2
        margins = (present[..., 2] + absent[..., [0, 1, 3]].sum(2)).mean()
        torch.testing.assert_close(outputs.further[1][row, 2], margins)
    losses = system.losses(outputs, targets(torch.tensor([2, 1])))
    both = [(outputs.further[index][0, 2] + outputs.further[index][1, 1]) / 2 for index in (0, 1)]
    torch.testing.assert_close(losses.total, both[0] + 0.5 * both[1])
    monkeypatch.setattr(liu_local_global, "AT_ONCE", 3)
    torch.testing.assert_close(system(*batch).emotion, outputs.emotion, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("number", range(4))
def test_maps_reach_the_capsules_of_their_own_block_and_of_later_ones(system, number):
    dense = system.network.global_module
    maps = torch.randn(1, 48, 64, 16, generator=torch.Generator().manual_seed(3))
    before = dense(maps)
    layer = dense.entry if number == 0 else dense.blocks[number - 1]
    hook = layer.register_forward_hook(lambda _, __, made: made + 0.5 * made.roll(1, 1))
    try:
        changed = (dense(maps) - before).abs().amax((0, 2, 3)) > 1e-6
    finally:
        hook.remove()
    assert changed.tolist() == [block >= number for block in (1, 2, 3)]


@torch.no_grad()
def test_the_vector_of_an_utterance_does_not_depend_on_the_order_of_its_segments():
    vectors, counts = torch.randn(2, 9, 5), torch.tensor([9, 4])
    vectors[1, 4:] = 0
    pooled = pool(vectors, counts)
    true = vectors[1, :4]
    expected = torch.cat([true.mean(0), true.std(0, correction=0), true.amax(0)])
    torch.testing.assert_close(pooled[1], expected)
    vectors[1, :4] = vectors[1, [2, 0, 3, 1]]
    torch.testing.assert_close(pool(vectors.clone(), counts), pooled)


@torch.no_grad()
def test_the_last_step_solves_the_machine_which_then_scores():
    made = build().requires_grad_(False)
    made.elm = ExtremeLearningMachine(1344, 4, hidden=300)
    emotions = torch.arange(8) % 4
    training = inputs(made, sounds(*[0.4 + 0.03 * number for number in range(8)]))
    held_out = inputs(made, sounds(0.5, 0.45, 0.4, 0.35, seed=2))
    before = made(*held_out).emotion
    assert made.solves and not build(elm=False).solves
    made.solve([(*training, emotions)], [(*held_out, torch.arange(4))])
    scores = made(*training).emotion
    assert torch.equal(scores, made.elm(made.vectors(*training)))
    assert (scores.argmax(1) == emotions).all() and made.elm.solved
    assert not torch.allclose(made(*held_out).emotion, before)
    made.train()
    assert torch.equal(made(*training).emotion.exp().sum(1).round(decimals=4), torch.ones(8))  # posteriors again


@pytest.mark.parametrize("routing", ["standard", "cosine"])
def test_equal_seeds_have_equal_losses(routing):
    wavs = sounds(0.3, 0.27)
    first, second = (losses_of_steps(build(routing=routing), wavs) for _ in range(2))
    assert first == second and first[-1] != first[0]


def test_the_settings_build_the_same():
    settings = {"segment_s": 0.5, "routing": "cosine", "elm": False}
    made = build(**settings)
    assert made.settings() == settings and made.elm is None
    with torch.device("meta"):
        again = LiuLocalGlobal(4, **build().settings())
    shapes = {name: each.shape for name, each in again.state_dict().items()}
    assert shapes == {name: each.shape for name, each in build().state_dict().items()}


def test_the_yaml_builds_it_and_wrong_settings_are_refused():
    file = REPOSITORY / "hparams/table3/liu_local_global.yaml"
    values = hparams.build(hparams.resolve(file, {"n_labels": 4}))
    assert trained_parameters(values["system"]) == 904_036 and values["system"].size == 32
    for wrong in ({"segment_s": 0.01}, {"segment_s": -1.0}, {"segment_s": 1e9}, {"routing": "other"}):
        with pytest.raises(UserError, match=r"segment_s|routing"):
            build(**wrong)


@pytest.mark.slow
@pytest.mark.parametrize("routing", ["standard", "cosine"])
def test_it_learns_eight_utterances(routing):
    learns_eight(build(routing=routing), seconds=0.5)


@torch.no_grad()
def test_without_the_learning_machine_the_weights_of_epochs_with_it_fit(system):
    alone = build(elm=False)
    nn.init.zeros_(alone.network.head[-1].bias)
    alone.load_state_dict(system.state_dict())
    batch = inputs(system, sounds(0.6, 0.4))
    assert torch.equal(alone(*batch).emotion, system(*batch).emotion)  # the machine is not solved
    with pytest.raises(RuntimeError, match="other"):
        alone.load_state_dict(system.state_dict() | {"other": torch.zeros(1)})

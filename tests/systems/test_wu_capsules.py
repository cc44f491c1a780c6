"""Wu et al.: parameters, shapes, windows, the two branches and their options."""

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
from local.systems.wu_capsules import WuCapsules

LENGTHS = (3.0, 1.5, 0.1, 0.01)
OTHERWISE = {"window": 12, "shift": 7, "capsule_head": "length", "recurrent": True}


def build(**settings) -> WuCapsules:
    torch.manual_seed(1)
    return WuCapsules(4, **settings).eval()


@pytest.fixture(scope="module")
def system() -> WuCapsules:
    return build().requires_grad_(False)


def test_the_number_of_parameters(system):
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in system.named_children()}
    assert counts["trunk"] == 13_200
    assert counts["primary"] == 37_120 and counts["window_capsules"] == 622_592
    assert counts["utterance_capsules"] == 4_352 and counts["capsule_linear"] == 260
    assert counts["gru"] + counts["gru_head"] == 70_724
    assert sum(counts.values()) == 748_248
    assert trained_parameters(build(capsule_head="length")) == 748_248 - 260
    assert trained_parameters(build(recurrent=True)) == 748_248 + 4 * 16 * 68 + 4 * 16


def seen(module: nn.Module, method: str, monkeypatch) -> list[tuple[int, ...]]:
    """The shapes that a method of a module returns."""
    shapes, own = [], getattr(module, method)

    def noting(*args):
        made = own(*args)
        shapes.append(tuple(made.shape))
        return made

    monkeypatch.setattr(module, method, noting)
    return shapes


def test_the_shapes_of_three_seconds(system, monkeypatch):
    rows, n_rows = inputs(system, sounds(3.0))
    assert n_rows.tolist() == [297] and rows.shape[2] == 200
    steps = seen(system.trunk, "forward", monkeypatch)
    primary = seen(system.primary, "forward", monkeypatch)
    window = seen(system.window_capsules, "predictions", monkeypatch)
    utterance = seen(system.utterance_capsules, "forward", monkeypatch)
    outputs = system(rows, n_rows)
    assert steps == [(1, 74, 96)]
    assert primary == [(3, 32, 38, 8)]  # windows at 0, 20, 34
    assert window == [(3, 4, 1216, 16)]
    assert utterance == [(1, 4, 16)]
    assert outputs.emotion.shape == (1, 4)


@pytest.mark.parametrize("settings", [{}, {"capsule_head": "length", "recurrent": True, "window": 10, "shift": 5}])
def test_alone_as_in_a_batch(settings):
    assert_alone_as_in_a_batch(build(**settings), sounds(*LENGTHS))


@torch.no_grad()
def test_frames_beyond_15_seconds_do_not_count_and_a_short_utterance_is_filled(system):
    rows = torch.randn(1, 1700, 200)
    longer, cut = (system(rows, torch.tensor([length])).emotion for length in (1700, 1500))
    assert torch.equal(longer, cut)
    filled = torch.cat([rows[:, :7], system.standardise.mean.expand(1, 153, 200)], dim=1)
    short, whole = system(rows[:, :7], torch.tensor([7])), system(filled, torch.tensor([160]))
    torch.testing.assert_close(short.emotion, whole.emotion, rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_the_trunk_is_that_of_a_padded_batch_in_a_loop(system):
    rows, n_rows = torch.randn(2, 200, 200), torch.tensor([200, 160])
    steps, trunk = system.trunk(rows, n_rows), system.trunk
    for one, length, found in zip(rows, n_rows.tolist(), steps, strict=True):
        maps = one[:length].T[None, None]
        pair = [F.conv2d(maps, each[1].weight, each[1].bias, padding="same") for each in (trunk.wide, trunk.high)]
        assert [tuple(each[1].weight.shape) for each in (trunk.wide, trunk.high)] == [(8, 1, 2, 8), (8, 1, 8, 2)]
        maps = trunk.first_norm(torch.cat(pair, 1)).relu()
        maps = nn.MaxPool2d((2, 1))(maps)
        maps = nn.MaxPool2d(2)(trunk.second_norm(trunk.second(maps)).relu())
        maps = nn.MaxPool2d((4, 1))(nn.MaxPool2d(2)(trunk.third_norm(trunk.third(maps)).relu()))
        assert maps.shape == (1, 16, 6, length // 4)
        expected = maps[0].flatten(0, 1).T
        torch.testing.assert_close(found[: length // 4], expected, rtol=0, atol=1e-5)
        assert not found[length // 4 :].any()


def squash(s: torch.Tensor) -> torch.Tensor:
    square = (s * s).sum(-1, keepdim=True)
    return square / (1 + square) * s / (square + 1e-8).sqrt()


def routed(predicted: torch.Tensor) -> torch.Tensor:
    """[J, I, D] -> [J, D]."""
    b = torch.zeros(predicted.shape[:2], dtype=torch.double)
    for _ in range(3):
        v = squash((b.softmax(0)[:, :, None] * predicted).sum(1))
        b = b + (predicted * v[:, None]).sum(2)
    return v


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("recurrent", [False, True])
def test_the_logits_are_those_of_the_layers_one_by_one(recurrent):
    made, rows = at_random(build(recurrent=recurrent)), torch.randn(1, 263, 200, dtype=torch.double)
    trunk, primary = made.trunk, made.primary.convolution
    maps = ((rows[0, :260] - made.standardise.mean) / made.standardise.deviation).T[None, None]
    maps = [F.conv2d(maps, each[1].weight, each[1].bias, padding="same") for each in (trunk.wide, trunk.high)]
    maps = F.max_pool2d(trunk.first_norm(torch.cat(maps, 1)).relu(), (2, 1))
    maps = F.max_pool2d(trunk.second_norm(trunk.second(maps)).relu(), 2)
    maps = F.max_pool2d(F.max_pool2d(trunk.third_norm(trunk.third(maps)).relu(), 2), (4, 1))[0]
    vectors = [torch.zeros(68, dtype=torch.double)]
    for start in (0, 20, 25):
        u = F.conv2d(maps[:, :, start : start + 40], primary.weight, primary.bias, stride=2).view(32, 8, 38)
        u = squash(u.transpose(1, 2)).reshape(1216, 8)
        predicted = torch.einsum("ijod,id->jio", made.window_capsules.weight, u)
        if recurrent:
            predicted += made.carry(vectors[-1]).view(4, 1, 16)
        v = routed(predicted)
        vectors.append(torch.cat([v.flatten(), (v * v).sum(1).sqrt()]))
    predicted = torch.einsum("jod,td->jto", made.utterance_capsules.weight[0], torch.stack(vectors[1:]))
    of_capsules = made.capsule_linear(routed(predicted).flatten()).softmax(0)
    states, _ = made.gru(maps.flatten(0, 1).T)
    first, _, _, last = made.gru_head
    of_gru = last(1.5 * first(torch.cat([states[-1, :64], states[0, 64:]])).relu()).softmax(0)
    found = made(rows, torch.tensor([263])).emotion[0].exp().double()
    torch.testing.assert_close(found, 0.6 * of_capsules + 0.4 * of_gru, rtol=1e-5, atol=1e-6)


def test_the_first_weights_are_xaviers_and_those_of_capsules_normal():
    for name, values in build(recurrent=True).requires_grad_(False).named_parameters():
        if values.ndim == 1:
            assert (values == float(name.endswith("norm.weight"))).all(), name
        elif name.endswith("capsules.weight"):
            assert float(values.std()) == pytest.approx(0.1, rel=0.05), name
        else:
            bound = (6 / ((values.shape[0] + values.shape[1]) * values[0, 0].numel())) ** 0.5
            assert 0.9 * bound < float(values.abs().max()) <= bound, name


@torch.no_grad()
def test_the_trunk_keeps_16_bits(system):
    seen = []
    hooks = [
        each.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
        for each in (system.trunk.second, system.trunk.third)
    ]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        system.trunk(torch.randn(2, 24, 200), torch.tensor([24, 16]))
    for hook in hooks:
        hook.remove()
    assert seen == [torch.bfloat16] * 2


@torch.no_grad()
def test_the_score_is_the_mixture_of_the_two_posteriors(system):
    outputs = system(*inputs(system, sounds(2.0, 1.0)))
    capsules, gru = (branch.softmax(1) for branch in outputs.further)
    torch.testing.assert_close(outputs.emotion.softmax(1), 0.6 * capsules + 0.4 * gru)
    made = build(capsule_head="length").requires_grad_(False)
    outputs = made(*inputs(made, sounds(2.0, 1.0)))
    lengths = outputs.further[0].exp()
    assert (lengths < 1).all()
    expected = 0.6 * lengths / lengths.sum(1, keepdim=True) + 0.4 * outputs.further[1].softmax(1)
    torch.testing.assert_close(outputs.emotion.softmax(1), expected)


@torch.no_grad()
def test_the_losses(system):
    outputs, truth = system(*inputs(system, sounds(2.0, 1.0))), targets(torch.tensor([2, 0]))
    sums = [nn.functional.cross_entropy(branch, truth.emotion) for branch in outputs.further]
    torch.testing.assert_close(system.losses(outputs, truth).total, sum(sums))
    made = build(capsule_head="length").requires_grad_(False)
    outputs = made(*inputs(made, sounds(2.0, 1.0)))
    lengths, truths = outputs.further[0].exp(), torch.eye(4)[truth.emotion]
    margins = truths * (0.9 - lengths).clamp(min=0) ** 2 + 0.5 * (1 - truths) * (lengths - 0.1).clamp(min=0) ** 2
    expected = margins.sum(1).mean() + nn.functional.cross_entropy(outputs.further[1], truth.emotion)
    torch.testing.assert_close(made.losses(outputs, truth).total, expected)


@torch.no_grad()
def test_recurrent_without_weights_is_the_plain_model(system):
    recurrent = build(recurrent=True)
    recurrent.load_state_dict(system.state_dict(), strict=False)
    batch = inputs(system, sounds(3.0, 2.0))
    assert not torch.allclose(recurrent(*batch).emotion, system(*batch).emotion, atol=1e-4)
    nn.init.zeros_(recurrent.carry.weight)
    torch.testing.assert_close(recurrent(*batch).emotion, system(*batch).emotion, rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, OTHERWISE])
def test_equal_seeds_have_equal_losses(settings):
    wavs = sounds(0.8, 0.3)
    first, second = (losses_of_steps(build(**settings), wavs) for _ in range(2))
    assert first == second and first[-1] != first[0]


def test_the_settings_build_the_same():
    made = build(**OTHERWISE)
    assert made.settings() == OTHERWISE
    with torch.device("meta"):
        again = WuCapsules(4, **made.settings())
    assert {name: each.shape for name, each in again.state_dict().items()} == {
        name: each.shape for name, each in made.state_dict().items()
    }


def test_the_bins_are_standardised_by_the_training_set():
    made, batch = build(), inputs(build(), sounds(1.0, 0.6))
    made.measure([batch])
    true = torch.cat([batch[0][0, : batch[1][0]], batch[0][1, : batch[1][1]]])
    torch.testing.assert_close(made.standardise.mean, true.mean(0), rtol=1e-4, atol=1e-4)


def test_the_yaml_builds_it_and_wrong_settings_are_refused():
    file = REPOSITORY / "hparams/table3/wu_capsules.yaml"
    values = hparams.build(hparams.resolve(file, {"n_labels": 4}))
    assert trained_parameters(values["system"]) == 748_248
    for wrong in ({"window": 2}, {"window": 400}, {"shift": 0}, {"capsule_head": "other"}):
        with pytest.raises(UserError, match="capsule_head"):
            build(**wrong)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"capsule_head": "length"}, {"recurrent": True}])
def test_it_learns_eight_utterances(settings):
    learns_eight(build(**settings), seconds=1.7)

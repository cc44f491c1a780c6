"""Key segments and a BiLSTM: parameters, shapes, batches, learning; the choice hangs on the training set's figures."""

from __future__ import annotations

from pathlib import Path

import hub_cache
import pytest
import torch
from safetensors.torch import save_file
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

from local.core.errors import UserError
from local.data.feature_store import RowStore
from local.features import key_segments
from local.systems.sajjad_key_segments import KeySegmentSystem


def small_network() -> nn.Module:
    layers = nn.Conv2d(3, 4, 9, 16), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, 1000))


@pytest.fixture
def resnet(monkeypatch, tmp_path) -> str:
    """A file of weights for a small network in the place of ResNet-101."""
    monkeypatch.setattr(key_segments, "ResNet101", small_network)
    torch.manual_seed(1)
    torch.save(small_network().state_dict(), tmp_path / "small.pth")
    return str(tmp_path / "small.pth")


def test_the_parameters_and_the_labels(resnet):
    system = KeySegmentSystem(4)
    assert trained_parameters(system) == 6_039_556 and (system.weights, system.certainty) == (
        "no ImageNet",
        "own choice",
    )
    system = KeySegmentSystem(4, resnet)
    assert trained_parameters(system) == 4_155_396 and system.weights == "small"


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_weights_by_a_name_of_the_hub_are_those_of_its_file(resnet, tmp_path, monkeypatch, file):
    cache, folder, name = tmp_path / "cache", tmp_path / "resnet101", "timm/resnet101.tv_in1k"
    hub_cache.use(cache, monkeypatch)
    with pytest.raises(UserError, match=rf"resnet101_weights {name}: the hub does not give model\.safetensors"):
        KeySegmentSystem(4, name)
    folder.mkdir()
    tensors = torch.load(resnet)
    (save_file if file.endswith("safetensors") else torch.save)(tensors, folder / file)
    hub_cache.add(cache, name, folder)
    made = KeySegmentSystem(4, name)
    assert made.weights == "resnet101.tv_in1k"
    assert all(torch.equal(each, tensors[key]) for key, each in made.front_end.network.state_dict().items())
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir()
    Path(name).write_bytes(b"")  # a file that is called so comes first
    with pytest.raises(UserError, match="cannot be read"):
        KeySegmentSystem(4, name)


def test_the_shapes_of_three_seconds():
    system = KeySegmentSystem(4).eval()
    rows, n_rows = inputs(system, sounds(3.0))
    points, features, n_segments = system._segments(rows, n_rows)
    assert n_segments.tolist() == [11] and points[0, :11].shape == (11, 80) and features[0, :11].shape == (11, 40, 48)
    kept, n_kept = system._kept(points, n_segments)
    assert kept.shape == (1, int(n_kept)) and 1 <= int(n_kept) <= 11
    assert system(rows, n_rows).emotion.shape == (1, 4)


def measured(system: KeySegmentSystem, *seconds: float) -> KeySegmentSystem:
    with torch.no_grad():
        system.eval().measure([inputs(system, sounds(*seconds[:2])), inputs(system, sounds(*seconds[2:]))])
    return system


def test_an_utterance_has_the_same_logits_alone_in_a_batch_and_from_its_waveform(resnet):
    wavs = [*sounds(1.5, 3.0, 0.7), *(wav[:length] for wav, length in zip(sounds(1, 1), (1600, 160), strict=True))]
    for values in ({}, {"resnet101_weights": resnet}):
        torch.manual_seed(2)
        assert_alone_as_in_a_batch(KeySegmentSystem(4, **values), wavs)
        system = measured(KeySegmentSystem(4, **values), 2.0, 3.0, 0.1)
        together = system(*inputs(system, wavs)).emotion
        for wav, expected in zip(wavs, together, strict=True):
            torch.testing.assert_close(system(*inputs(system, [wav])).emotion[0], expected, rtol=0, atol=1e-5)
        known = len(system.key_segments.known)
        system(*inputs(system, wavs[::-1]))
        assert len(system.key_segments.known) == known  # the choice is not made again in another batch


@torch.no_grad()
@pytest.mark.parametrize("pretrained", [False, True])
def test_the_logits_are_those_of_the_layers_one_by_one(resnet, pretrained):
    made = at_random(KeySegmentSystem(4, resnet if pretrained else None))
    if pretrained:
        rows = torch.randn(1, 6, 1080, dtype=torch.double)
        points, features = rows[0].split([80, 1000], dim=1)
    else:
        rows = torch.randn(1, 25 * 6 + 23, 40, dtype=torch.double)
        segments = [rows[0, 25 * n : 25 * n + 48] for n in range(6)]
        points = torch.stack([torch.cat([each.mean(0), each.std(0, correction=0)]) for each in segments])
        features = torch.stack([each.T.flatten() for each in segments])
    mean, deviation = made.standardise.mean, made.standardise.deviation
    kept = key_segments.key_segments(((points - mean[:80]) / deviation[:80]).numpy())
    assert 1 < len(kept) < 6
    states, _ = made.lstms[0](((features - mean[80:]) / deviation[80:])[kept])
    states, _ = made.lstms[1](1.5 * states)
    expected = made.emotion_head(1.5 * torch.cat([states[-1, :256], states[0, 256:]]))
    found = made(rows, torch.tensor([rows.shape[1]])).emotion[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_what_is_measured_is_of_every_segment_of_the_training_set(resnet):
    for values in ({}, {"resnet101_weights": resnet}):
        system, wavs = KeySegmentSystem(4, **values), sounds(2.0, 3.0, 0.1)
        measured(system, 2.0, 3.0, 0.1)
        rows = []
        for wav in [*sounds(2.0, 3.0), *sounds(0.1)]:
            points, features, counts = system._segments(*inputs(system, [wav]))
            rows.append(torch.cat([points, features.flatten(2)], 2)[0, : int(counts)])
        rows = torch.cat(rows)
        assert len(rows) == 7 + 11 + 1 and len(wavs) == 3
        torch.testing.assert_close(system.standardise.mean, rows.mean(0).float())
        torch.testing.assert_close(system.standardise.deviation, rows.std(0, correction=0).clamp(min=1e-5).float())
        assert sorted(name for name in system.state_dict() if "standardise" in name) == [
            "standardise.deviation",
            "standardise.mean",
        ]


def test_the_choice_hangs_on_the_training_sets_figures_and_on_nothing_else():
    system, (wav,) = measured(KeySegmentSystem(4), 2.0, 3.0, 0.1), sounds(3.0)
    rows, n_rows = inputs(system, [wav])
    points, _, n_segments = system._segments(rows, n_rows)
    kept, n_kept = system._kept(points, n_segments)
    mean, deviation = system.standardise.mean[:80], system.standardise.deviation[:80]
    expected = key_segments.key_segments(((points[0, :11] - mean) / deviation).numpy())
    assert kept[0, : int(n_kept)].tolist() == expected.tolist()
    others = inputs(system, [*sounds(1.0, 2.5), wav])
    again, counts = system._kept(*(system._segments(*others)[place] for place in (0, 2)))
    assert again[2, : int(counts[2])].tolist() == expected.tolist()


def test_it_learns_eight_utterances_and_no_chance_is_in_a_seed():
    torch.manual_seed(3)
    assert learns_eight(KeySegmentSystem(4)) < 400
    runs = []
    for _ in range(2):
        torch.manual_seed(4)
        runs.append(losses_of_steps(KeySegmentSystem(4), sounds(1.0, 0.6, 1.2, 0.8)))
    assert runs[0] == runs[1]


def test_the_settings_build_it_again_without_the_file(resnet):
    for values in ({}, {"resnet101_weights": resnet, "colormap": "viridis"}):
        system = measured(KeySegmentSystem(4, **values), 1.0, 2.0, 0.5)
        again = KeySegmentSystem(4, **system.settings()).eval()
        again.load_state_dict(system.state_dict())
        batch = inputs(system, sounds(1.0))
        assert torch.equal(again(*batch).emotion, system(*batch).emotion) and again.weights == system.weights
        with torch.device("meta"):
            assert KeySegmentSystem(4, **system.settings()).state_dict().keys() == system.state_dict().keys()


def test_stored_features_are_those_of_the_weights(resnet, tmp_path):
    """Another file of weights is another store; the same one is the same, whatever it is called."""

    class Audio:
        fingerprint = "audio"

    first = RowStore.fingerprint(Audio, KeySegmentSystem(4, resnet).front_end)
    (tmp_path / "copy.pth").write_bytes((tmp_path / "small.pth").read_bytes())
    assert RowStore.fingerprint(Audio, KeySegmentSystem(4, str(tmp_path / "copy.pth")).front_end) == first
    torch.save({name: tensor + 1 for name, tensor in torch.load(resnet).items()}, tmp_path / "other.pth")
    others = (str(tmp_path / "other.pth"), None)
    assert len({first, *(RowStore.fingerprint(Audio, KeySegmentSystem(4, each).front_end) for each in others)}) == 3


@pytest.mark.slow
def test_the_real_resnet_101_gives_the_same_alone_and_in_a_batch(tmp_path):
    torch.manual_seed(1)
    front_end = key_segments.SegmentFeatures().eval()
    for module in front_end.network.modules():  # of a random network, else, each block doubles its numbers
        if isinstance(module, nn.BatchNorm2d) and module.num_features >= 256:
            nn.init.constant_(module.weight, 0.2)
    torch.save(front_end.network.state_dict(), tmp_path / "resnet101.pth")
    system = measured(KeySegmentSystem(4, str(tmp_path / "resnet101.pth")), 0.5, 1.0, 0.75)
    wavs = sounds(0.5, 1.5)
    together = system(*inputs(system, wavs)).emotion
    for wav, expected in zip(wavs, together, strict=True):
        alone = system(wav[None], torch.tensor([len(wav)])).emotion[0]
        torch.testing.assert_close(alone, expected, rtol=0, atol=1e-4)


def test_no_dropout_is_within_an_lstm():
    """cuDNN's follows from no seed: a run that was resumed would be another."""
    inside = [each for each in KeySegmentSystem(4).modules() if isinstance(each, nn.RNNBase)]
    assert len(inside) == 2 and not any(each.dropout for each in inside)

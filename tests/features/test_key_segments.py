"""Key segments: similarities against scikit-learn, the choice by loops, textures, pictures, rows alone and stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import rbf_kernel
from system_checks import sounds
from torch import nn

from local.core.errors import UserError
from local.features import key_segments
from local.features.key_segments import KeySegments, SegmentFeatures, SegmentFrames, cut, descriptors
from local.features.logmel import LogMel

RATE = 16_000


def points(count: int, seed: int = 1) -> np.ndarray:
    """Descriptors that wander and jump now and then."""
    chance = np.random.default_rng(seed)
    jumps = np.cumsum(chance.random(count) < 0.3)[:, None] * chance.standard_normal(80)
    return jumps + 0.3 * chance.standard_normal((count, 80)).cumsum(0)


@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_similarities_are_those_of_scikit_learn(count):
    given = points(count)
    sigma = key_segments.scale(given)
    alike = key_segments.similarities(given, given, sigma)
    distances = [np.sqrt(((given[a] - given[b]) ** 2).sum()) for a in range(count) for b in range(a)]
    assert sigma == pytest.approx(np.median(distances) if distances else 1.0)
    np.testing.assert_allclose(alike, rbf_kernel(given, gamma=1 / (2 * sigma**2)), atol=1e-12)
    np.testing.assert_array_equal(alike, alike.T)
    np.testing.assert_array_equal(alike.diagonal(), 1)
    far = key_segments.similarities(given, given + 1e6, sigma)
    assert (alike > 0).all() and (alike <= 1).all() and (far > 0).all()


def chosen_by_loops(given: np.ndarray) -> list[int]:
    """The rule, step by step."""
    count = len(given)
    distances = [np.linalg.norm(given[a] - given[b]) for a in range(count) for b in range(a)]
    sigma = np.median(distances) or 1

    def like(a: np.ndarray, b: np.ndarray) -> float:
        return np.exp(-((a - b) ** 2).sum() / (2 * sigma**2))

    following = [like(given[n], given[n + 1]) for n in range(count - 1)]
    bound = np.mean(following) - np.std(following) / 2
    clusters = min(1 + sum(each < bound for each in following), count, 12)
    alike = np.array([[like(a, b) for b in given] for a in given])
    found = KMeans(clusters, n_init=10, random_state=0).fit_predict(alike)
    kept = []
    for cluster in set(found):
        members = [n for n in range(count) if found[n] == cluster]
        mean = sum(given[n] for n in members) / len(members)
        kept.append(max(members, key=lambda n: like(given[n], mean)))
    return sorted(kept)


@pytest.mark.parametrize("count", [3, 9, 40])
def test_the_choice_is_that_of_loops(count):
    for seed in range(3):
        given = points(count, seed)
        kept = key_segments.key_segments(given)
        assert kept.tolist() == chosen_by_loops(given)
        assert 1 <= len(kept) <= min(count, 12)


@pytest.mark.parametrize(("t", "clusters"), [(0.130, 2), (0.135, 3)])
def test_a_fall_is_more_than_half_a_deviation_below_the_mean(monkeypatch, t, clusters):
    """Of the similarities 0.5 - s, 0.5 - t, 0.5 + t and 0.5 + s from each segment to the next, the first is a fall.

    Their mean is 0.5, their deviation sqrt((s^2 + t^2) / 2). The second is a fall if t is more than half of it, which
    is to say that t > s / sqrt(7), here 0.1323. (With 0.49 or 0.51 deviations one of the cases would be another.)
    """
    monkeypatch.setattr(key_segments, "scale", lambda _: 1.0)
    alike = np.array([0.5 + t, 0.15, 0.85, 0.5 - t])  # s = 0.35
    line = np.concatenate([[0.0], np.sqrt(-2 * np.log(alike)).cumsum()])[:, None]
    assert len(key_segments.key_segments(line)) == clusters


def test_equal_segments_are_one_cluster_and_the_earliest_of_equal_ones_is_kept():
    for count in (1, 2, 3, 30):
        assert key_segments.key_segments(np.ones((count, 80))).tolist() == [0]
    assert key_segments.key_segments(points(2)).tolist() == [0]  # two, equally far from their mean
    turning = np.zeros((40, 80))
    turning[:, 0], turning[:, 1] = np.cos(np.arange(40)), np.sin(np.arange(40))
    assert len(key_segments.key_segments(turning)) == 1  # similarities that differ by rounding alone make no falls


def test_there_are_twelve_key_segments_at_most():
    stairs = 10.0 * (np.arange(40) // 2)[:, None] * np.ones(80)  # 20 pairs of equal segments
    assert len(key_segments.key_segments(stairs)) == 12


def texture(kind: int, seconds: float) -> torch.Tensor:
    """A steady sound: noise in a band of its own."""
    noise = np.fft.rfft(np.random.default_rng(kind).standard_normal(round(seconds * RATE)))
    frequencies = np.arange(len(noise)) * 8000 / len(noise)
    inside = (frequencies > 300 * 2**kind) & (frequencies < 600 * 2**kind)
    return torch.from_numpy(np.fft.irfft(noise * inside) * 0.3).float()


@pytest.mark.parametrize("count", [2, 3, 4])
def test_each_of_some_textures_in_a_row_has_a_key_segment(count):
    wav = torch.cat([texture(kind, 2.0) for kind in range(count)])
    frames, n_frames = SegmentFrames()(wav[None], torch.tensor([len(wav)]))
    found = descriptors(cut(frames, n_frames)[0][0])
    kept = key_segments.key_segments(((found - found.mean(0)) / found.std(0)).numpy())
    middles = (kept * 4000 + 4000) / RATE
    assert len(kept) >= count
    assert {int(middle / 2) for middle in middles} == set(range(count))


def test_a_choice_is_made_once_and_kept_by_what_the_segments_are():
    choose, given = KeySegments(), torch.from_numpy(points(9))
    first = choose(given)
    assert choose(given + 1e-9) is first and len(choose.known) == 1
    choose(torch.from_numpy(points(9, seed=2)))
    assert len(choose.known) == 2 and torch.equal(choose(given[:2]), torch.tensor([0]))


@pytest.mark.parametrize(("length", "count"), [(48_000, 11), (8000, 1), (11_999, 1), (12_000, 2), (1600, 1), (160, 1)])
def test_the_segments_of_an_utterance_are_slices_of_its_frames(length, count):
    (wav,) = sounds(3)
    wav = wav[:length]
    frames, n_frames = SegmentFrames()(wav[None], torch.tensor([length]))
    segments, n_segments = cut(frames, n_frames)
    assert n_segments.tolist() == [count] and n_frames.tolist() == [25 * count + 23]
    assert segments.shape[2:] == (40, 48)
    filled = torch.cat([wav, torch.zeros(8000)])
    for n in range(count):
        alone = LogMel(40).rows(filled[: max(8000, length)][4000 * n : 4000 * n + 8000])
        assert alone.shape == (48, 40)
        torch.testing.assert_close(segments[0, n].T, alone, rtol=0, atol=1e-4)
        expected = np.concatenate([alone.double().numpy().mean(0), alone.double().numpy().std(0)])
        np.testing.assert_allclose(descriptors(segments[0, n]), expected, atol=1e-4)


# ---------------------------------------------------------------- pictures and a network


@pytest.fixture
def small_network(monkeypatch):
    """A network of some convolutions in the place of ResNet-101."""

    def build() -> nn.Module:
        network = nn.Sequential(
            nn.Conv2d(3, 8, 7, 16), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        network.append(nn.Linear(8, 1000))
        return network

    monkeypatch.setattr(key_segments, "ResNet101", build)


def test_the_network_is_resnet_101():
    with torch.device("meta"):
        front_end = SegmentFeatures()
        pooled = SegmentFeatures(output="pooled", colormap="viridis")
    assert sum(each.numel() for each in front_end.parameters()) == 44_549_160
    assert front_end.width == 1080 and pooled.width == 2128
    assert not front_end.train().network.training and not any(each.requires_grad for each in front_end.parameters())
    for values in ({"output": "softmax"}, {"colormap": "jet"}):
        with pytest.raises(UserError, match=next(iter(values))):
            SegmentFeatures(**values)


def test_a_picture_is_the_spectrogram_of_its_segment(small_network):
    front_end = SegmentFeatures()
    (wav,) = sounds(0.5)
    (picture,) = front_end.pictures(wav[None])
    assert picture.shape == (3, 224, 224)
    taper = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.stack([wav.double().numpy()[160 * t : 160 * t + 400] * taper for t in range(48)], 1)
    values = np.log(np.abs(np.fft.rfft(frames, 512, axis=0)) + 1e-6)
    values = (values - values.min()) / (values.max() - values.min())
    assert values.shape == (257, 48)
    # Bilinear, by the centres of the pixels.
    for row, column in ((0, 0), (100, 31), (223, 223), (7, 200)):
        y, x = np.clip((row + 0.5) * 257 / 224 - 0.5, 0, 256), np.clip((column + 0.5) * 48 / 224 - 0.5, 0, 47)
        top, left = int(y), int(x)
        below, right = min(top + 1, 256), min(left + 1, 47)
        upper = values[top, left] * (1 - x + left) + values[top, right] * (x - left)
        lower = values[below, left] * (1 - x + left) + values[below, right] * (x - left)
        grey = upper * (1 - y + top) + lower * (y - top)
        expected = (grey - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        np.testing.assert_allclose(picture[:, row, column], expected, atol=1e-3)


def test_colours_are_those_of_viridis_and_silence_is_black(small_network):
    front_end = SegmentFeatures(colormap="viridis")
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (key_segments.MEAN, key_segments.DEVIATION))
    (silence,) = front_end.pictures(torch.zeros(1, 8000))
    colour = (silence * deviation + mean)[:, 0, 0]
    np.testing.assert_allclose(colour, [0.267004, 0.004874, 0.329415], atol=1e-5)  # the table's first
    (silence,) = SegmentFeatures().pictures(torch.zeros(1, 8000))
    torch.testing.assert_close(silence * deviation + mean, torch.zeros(3, 224, 224))


def test_the_rows_are_descriptors_and_features_whatever_the_passes(small_network, monkeypatch):
    front_end = SegmentFeatures().eval()
    wavs = sounds(3.0, 0.1)
    batch = torch.zeros(2, 48_000)
    batch[0], batch[1, :1600] = wavs[0], wavs[1]
    rows, n_rows = front_end(batch, torch.tensor([48_000, 1600]))
    assert rows.shape == (2, 11, 1080) and n_rows.tolist() == [11, 1]
    frames, n_frames = SegmentFrames()(wavs[0][None], torch.tensor([48_000]))
    torch.testing.assert_close(rows[0, :, :80], descriptors(cut(frames, n_frames)[0][0]).float())
    fifth = front_end.network(front_end.pictures(wavs[0][None, 16_000:24_000]))[0]
    torch.testing.assert_close(rows[0, 4, 80:], fifth.detach(), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(key_segments, "PASS", 3)
    torch.testing.assert_close(front_end.rows(wavs[0]).detach(), rows[0], rtol=1e-4, atol=1e-5)


def test_weights_of_another_network_are_refused_by_tensor_and_shape(small_network, tmp_path):
    file = tmp_path / "net.pth"
    given = SegmentFeatures().network.state_dict()
    torch.save(given, file)
    loaded = SegmentFeatures(str(file), output="logits")
    assert torch.equal(loaded.network[5].weight, given["5.weight"])
    torch.save(given | {"5.weight": torch.zeros(10, 8)}, file)
    with pytest.raises(UserError, match=r"resnet101_weights .*net\.pth: the tensor 5\.weight is \[10, 8\]"):
        SegmentFeatures(str(file))

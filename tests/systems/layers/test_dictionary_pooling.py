"""Dictionary pooling against loops over words and frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from local.core.errors import UserError
from local.systems.layers.dictionary_pooling import NAMES, DictionaryPooling

LENGTHS = torch.tensor([5, 3, 1])


@pytest.fixture(params=NAMES)
def pooling(request) -> DictionaryPooling:
    torch.manual_seed(1)
    made = DictionaryPooling(4, 3, request.param).double()
    with torch.no_grad():
        made.scales.uniform_(0.2, 2)
    return made


@pytest.fixture
def frames() -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(3, 5, 4).double()


def by_loops(pooling: DictionaryPooling, frames: np.ndarray) -> np.ndarray:
    """[T, d] of one utterance -> [words, d]."""
    words, scales = pooling.words.detach().numpy(), pooling.scales.detach().numpy()
    scores = np.empty((len(words), len(frames)))
    for h in range(len(words)):
        for t in range(len(frames)):
            distance = np.sqrt(((frames[t] - words[h]) ** 2).sum())
            scores[h, t] = -scales[h] * distance if pooling.how == "attention" else -((scales[h] * distance) ** 2)
    if pooling.how == "lde":
        scores = scores - np.log(np.exp(scores).sum(0))
    made = np.zeros((len(words), frames.shape[1]))
    for h in range(len(words)):
        shares = np.exp(scores[h]) / np.exp(scores[h]).sum()
        for t in range(len(frames)):
            made[h] += shares[t] * (frames[t] - words[h])
    return made


def test_each_utterance_is_pooled_as_by_loops(pooling, frames):
    found = pooling(frames, LENGTHS).detach()
    for row, length in enumerate(LENGTHS.tolist()):
        expected = by_loops(pooling, frames[row, :length].numpy())
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=1e-7)


def test_weights_sum_to_one_over_the_true_frames(pooling, frames):
    weights = pooling.weights(frames, LENGTHS)
    torch.testing.assert_close(weights.sum(1), torch.ones(3, 3).double(), rtol=0, atol=1e-6)
    assert all((weights[row, length:] == 0).all() for row, length in enumerate(LENGTHS.tolist()))


def test_with_scales_of_zero_it_is_the_mean_less_the_word(pooling, frames):
    pooling.scales.data.zero_()
    found = pooling(frames, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        expected = frames[row, :length].mean(0) - pooling.words
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-7)


def test_a_frame_that_is_a_word_has_a_gradient(pooling):
    frames = pooling.words.detach()[None].clone().requires_grad_()
    pooling(frames, torch.tensor([3])).square().sum().backward()
    assert frames.grad.isfinite().all() and pooling.words.grad.isfinite().all()


def test_its_parameters_and_an_unknown_name():
    pooling = DictionaryPooling(128, 32)
    assert sum(each.numel() for each in pooling.parameters()) == 4128
    words = pooling.words.detach()
    assert words.abs().max() <= 1 and float(words.std()) == pytest.approx(3**-0.5, abs=0.02)
    with pytest.raises(UserError, match="pool is 'mean'"):
        DictionaryPooling(128, 32, "mean")

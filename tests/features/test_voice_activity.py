"""Voice activity and the sliding mean, against loops over frames and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from local.features.voice_activity import is_speech, subtract_sliding_mean


def kept_by_a_loop(energies: np.ndarray) -> list[bool]:
    """The rule of Kaldi's `compute-vad-energy`, frame by frame."""
    threshold, kept = 5.5 + 0.5 * energies.mean(), []
    for place in range(len(energies)):
        near = [energies[at] for at in range(place - 2, place + 3) if 0 <= at < len(energies)]
        kept.append(sum(energy > threshold for energy in near) >= 0.12 * len(near))
    return kept


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 400])
def test_the_frames_that_are_kept_are_those_of_a_loop(frames):
    for seed in range(5):
        energies = np.random.default_rng(seed).normal(11 + seed, 4, frames)
        assert is_speech(torch.from_numpy(energies)).tolist() == kept_by_a_loop(energies)


def test_two_frames_on_each_side_of_a_loud_one_are_speech():
    energies = torch.full((11,), 8.0)
    energies[5] = 20.0
    assert is_speech(energies).nonzero()[:, 0].tolist() == [3, 4, 5, 6, 7]


def test_a_frame_must_be_louder_than_the_threshold():
    assert not is_speech(torch.full((5,), 11.0)).any()  # 5.5 + 0.5 * 11
    assert is_speech(torch.full((5,), 11.01)).all()


@pytest.mark.parametrize("frames", [1, 299, 300, 301, 700])
def test_the_sliding_mean_is_that_of_a_loop(frames):
    rows = np.random.default_rng(1).normal(50, 20, (frames, 3))
    expected = []
    for place in range(frames):
        start, end = place - 150, place + 150
        if start < 0:
            start, end = 0, end - start
        if end > frames:
            start, end = max(0, start - (end - frames)), frames
        expected.append(rows[place] - rows[start:end].mean(0))
    np.testing.assert_allclose(subtract_sliding_mean(torch.from_numpy(rows)), expected, atol=1e-9)

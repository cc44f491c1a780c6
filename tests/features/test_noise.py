"""Noisy copies: their ratio, their spectrum, and that they are always the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from system_checks import sounds

from local.features.noise import COPIES, RATIOS, noisy_copies


@pytest.fixture(scope="module")
def wav() -> torch.Tensor:
    return sounds(1.0)[0]


def test_the_ratio_of_signal_to_noise(wav):
    copies = noisy_copies(wav)
    assert len(copies) == COPIES == 6
    found = [10 * np.log10(float(wav.square().sum() / (copy - wav).square().sum())) for copy in copies]
    assert found == pytest.approx([*RATIOS, *RATIOS], abs=0.01)


def test_white_noise_is_even_over_octaves_of_frequency_and_pink_falls_by_3_db(wav):
    copies = noisy_copies(wav)
    for copy, expected in ((copies[0], 0.0), (copies[3], -3.0)):
        power = np.abs(np.fft.rfft((copy - wav).double().numpy())) ** 2
        levels = [10 * np.log10(power[2**octave : 2 ** (octave + 1)].mean()) for octave in range(8, 13)]
        assert np.diff(levels) == pytest.approx(np.full(4, expected), abs=0.8)


def test_an_utterance_always_has_the_same_and_another_has_another(wav):
    assert all(map(torch.equal, noisy_copies(wav), noisy_copies(wav.clone())))
    other = wav * 1.01
    assert not torch.allclose(noisy_copies(wav)[0] - wav, (noisy_copies(other)[0] - other), atol=1e-3)


@pytest.mark.parametrize("made", [torch.zeros(160), torch.ones(1)])
def test_silence_and_a_single_sample_have_copies(made):
    assert all(copy.shape == made.shape and copy.isfinite().all() for copy in noisy_copies(made))

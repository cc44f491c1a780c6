"""Standardising, against numpy over the true rows alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from local.systems.layers.standardise import Standardise


def test_statistics_are_those_of_the_true_rows():
    torch.manual_seed(1)
    batches = [
        (1000 + 0.1 * torch.randn(3, 7, 2, 4), torch.tensor([7, 2, 5])),
        (torch.randn(1, 3, 2, 4), torch.tensor([3])),
    ]
    layer = Standardise(2, 4)
    layer.measure(iter(batches))
    true = np.concatenate([rows[i, :n].numpy() for rows, lengths in batches for i, n in enumerate(lengths.tolist())])
    np.testing.assert_allclose(layer.mean, true.astype(float).mean(0), rtol=1e-6)
    np.testing.assert_allclose(layer.deviation, true.astype(float).std(0), rtol=1e-5)
    assert {*layer.state_dict()} == {"mean", "deviation"}


def test_a_small_deviation_of_a_large_mean_is_exact():
    layer = Standardise(1)
    rows = 1e6 + torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1)
    layer.measure([(rows, torch.tensor([3])), (rows, torch.tensor([3]))])
    assert layer.deviation.item() == torch.tensor((2 / 3) ** 0.5).item()


def test_what_is_constant_in_training_does_not_blow_up_where_it_varies():
    floor, rounding = math.log(1e-8), 2e-6 * torch.tensor([0.0, 1.0, -1.0])  # of a band that holds nothing, in 32 bits
    rows = torch.stack([torch.tensor([1.0, 2.0, 3.0]), torch.full((3,), floor), floor + rounding, 1e-3 * rounding], 1)
    layer = Standardise(4)
    layer.measure([(rows[None], torch.tensor([3]))])
    assert layer.deviation.tolist() == [pytest.approx((2 / 3) ** 0.5), 1.0, 1.0, 1.0]
    standard = layer(rows)
    assert standard[:, 1].tolist() == [0.0] * 3 and standard[:, 2:].abs().max() < 1e-5
    heard = layer(torch.tensor([2.0, 3.0, 3.0, 0.5]))  # from audio with that band
    torch.testing.assert_close(heard, torch.tensor([0.0, 3.0 - floor, 3.0 - floor, 0.5]), atol=1e-4, rtol=0)
    layer = Standardise(1, least=2.0)
    layer.measure([(torch.tensor([[[1.0], [4.9]]]), torch.tensor([2]))])
    assert layer.deviation.item() == 1.0 and layer(torch.tensor([4.95])).item() == pytest.approx(2.0)

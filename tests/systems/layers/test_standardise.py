"""Standardising, against numpy over the true rows alone."""

from __future__ import annotations

import numpy as np
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


def test_a_small_deviation_of_a_large_mean_is_exact_and_none_divides_by_zero():
    layer = Standardise(1)
    rows = 1e6 + torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1)
    layer.measure([(rows, torch.tensor([3])), (rows, torch.tensor([3]))])
    assert layer.deviation.item() == torch.tensor((2 / 3) ** 0.5).item()
    layer.measure([(torch.full((1, 2, 1), 3.0), torch.tensor([2]))])
    assert layer(torch.tensor([[[3.0]]])).item() == 0.0

"""Masks: one span each, as wide as may be, anywhere, within the true length."""

from __future__ import annotations

import torch

from local.systems.layers.spec_augment import mask_bands, mask_time


def spans(masked: torch.Tensor) -> list[tuple[int, int]]:
    """Start and width of the one span of each row, [B, n] bool."""
    found = []
    for row in masked:
        places = row.nonzero()[:, 0].tolist()
        assert places == list(range(places[0], places[0] + len(places))) if places else True
        found.append((places[0] if places else 0, len(places)))
    return found


def test_a_stretch_of_each_utterance_within_its_true_length():
    torch.manual_seed(1)
    lengths = torch.tensor([20, 9, 3, 1] * 500)
    rows = mask_time(torch.ones(2000, 20, 2), lengths, 8) == 0
    assert torch.equal(rows[..., 0], rows[..., 1])
    found = spans(rows[..., 0])
    for length, (start, width) in zip(lengths.tolist(), found, strict=True):
        assert start + width <= length and width <= 8
    whole = [each for length, each in zip(lengths.tolist(), found, strict=True) if length == 20]
    assert {width for _, width in whole} == set(range(9))
    assert {start for start, width in whole if width} >= set(range(13))
    mean = sum(width for _, width in whole) / len(whole)
    assert 3.5 < mean < 4.5  # uniform from 0 to 8


def test_a_band_over_all_of_an_utterance():
    torch.manual_seed(1)
    rows = mask_bands(torch.ones(500, 4, 80), 27) == 0
    assert (rows == rows[:, :1]).all()
    found = spans(rows[:, 0])
    assert max(width for _, width in found) == 27 and max(start + width for start, width in found) == 80
    assert len({width for _, width in found}) == 28

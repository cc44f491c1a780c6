"""Masks and a warp of time: as wide and as far as may be, anywhere, within the true length."""

from __future__ import annotations

import numpy as np
import torch

from local.features.spec_augment import mask_bands, mask_time, warp_time


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


def test_a_warp_is_piecewise_linear_about_a_row_that_moves():
    """Rows that say when they were: what is made says where it is from. numpy interpolates the same."""
    torch.manual_seed(1)
    lengths = torch.tensor([400, 200, 161, 160, 50] * 60)
    times = torch.arange(400.0).expand(300, 400)
    rows = torch.stack([times, -2 * times], 2)
    rows[torch.arange(400) >= lengths[:, None]] = torch.nan
    made = warp_time(rows, lengths, 80)
    assert torch.equal(made.isnan(), rows.isnan())
    moves, places = [], []
    for number, length in enumerate(lengths.tolist()):
        sources = made[number, :length, 0].double().numpy()
        np.testing.assert_allclose(made[number, :length, 1], -2 * sources, atol=1e-3)
        if length <= 160:
            assert (sources == np.arange(length)).all()
            continue
        first, second = sources[1] - sources[0], sources[-1] - sources[-2]
        assert (sources[0], sources[-1]) == (0, length - 1) and (np.diff(sources) > 0).all()
        if abs(first - second) < 0.02:  # moved by next to nothing
            continue
        goal = (second - 1) * (length - 1) / (second - first)  # where both lines meet
        origin = first * goal
        expected = np.interp(np.arange(length), [0, goal, length - 1], [0, origin, length - 1])
        np.testing.assert_allclose(sources, expected, atol=0.02)
        assert 80 - 0.5 < origin < length - 80 + 0.5 and abs(goal - origin) < 80.5
        if length == 400:
            moves.append(goal - origin)
            places.append(origin)
    assert max(moves) > 70 and min(moves) < -70 and abs(np.mean(moves)) < 20  # uniform from -80 to 80
    assert max(places) > 300 and min(places) < 100

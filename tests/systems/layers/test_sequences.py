"""Cutting and filling sequences, against loops over the utterances."""

from __future__ import annotations

import pytest
import torch

from local.systems.layers.sequences import fit, join, mask_rows, random_crop, repeat, separate, windows

LENGTHS = torch.tensor([11, 4, 7, 1])


def batch() -> torch.Tensor:
    """[4, 12, 2] rows, all different and none of them 0, also beyond the ends."""
    return torch.arange(1.0, 97.0).view(4, 12, 2)


def test_padding_is_zero_and_the_rest_is_as_it_was():
    rows = batch()
    for dim, shaped in ((1, rows), (2, rows.transpose(1, 2))):
        masked = mask_rows(shaped, LENGTHS, dim).transpose(1, dim)
        for one, other, length in zip(masked, rows, LENGTHS, strict=True):
            assert torch.equal(one[:length], other[:length])
            assert not one[length:].any()


@pytest.mark.parametrize(
    ("least", "most", "multiple", "lengths"),
    [(1, None, 1, [11, 4, 7, 1]), (4, 8, 4, [8, 4, 4, 4]), (1, 6, 3, [6, 3, 6, 3]), (20, None, 4, [20, 20, 20, 20])],
)
def test_each_utterance_is_cut_and_filled_by_itself(least, most, multiple, lengths):
    rows, n_rows = fit(batch(), LENGTHS, least, most, multiple)
    assert n_rows.tolist() == lengths
    assert rows.shape == (4, max(lengths), 2)
    for one, other, length, true in zip(rows, batch(), lengths, LENGTHS.tolist(), strict=True):
        kept = min(length, true)
        assert torch.equal(one[:kept], other[:kept])
        assert not one[kept:].any()


def test_a_crop_is_a_stretch_of_the_utterance_and_every_one_is_drawn():
    torch.manual_seed(1)
    starts = set()
    for _ in range(200):
        rows, n_rows = random_crop(batch(), LENGTHS, 5)
        assert n_rows.tolist() == [5, 4, 5, 1]
        for one, other, length in zip(rows, batch(), n_rows.tolist(), strict=True):
            start = int((one[0, 0] - other[0, 0]) / 2)
            assert torch.equal(one[:length], other[start : start + length])
            starts.add((int(other[0, 0]), start))
    assert starts == {(1, start) for start in range(7)} | {(25, 0)} | {(49, start) for start in range(3)} | {(73, 0)}


def test_what_is_repeated_begins_again():
    rows, n_rows = repeat(batch(), LENGTHS, 9)
    assert n_rows.tolist() == [11, 9, 9, 9]
    for one, other, length, true in zip(rows, batch(), n_rows.tolist(), LENGTHS.tolist(), strict=True):
        assert one[:length].tolist() == [other[index % true].tolist() for index in range(length)]


def test_the_last_window_is_flush_with_the_end():
    rows, counts = windows(batch(), torch.tensor([11, 4, 8, 5]), 4, 3)
    expected = [[0, 3, 6, 7], [0], [0, 3, 4], [0, 1]]
    assert counts.tolist() == [len(starts) for starts in expected]
    for one, other, starts in zip(rows, batch(), expected, strict=True):
        for window, start in zip(one, starts, strict=False):
            assert torch.equal(window, other[start : start + 4])


@pytest.mark.parametrize("gap", [0, 3])
def test_what_is_joined_is_separated_again(gap):
    rows, starts = join(batch(), LENGTHS, gap)
    expected = [torch.cat([one[:length], torch.zeros(gap, 2)]) for one, length in zip(batch(), LENGTHS, strict=True)]
    assert torch.equal(rows, torch.cat(expected))
    assert starts.tolist() == [0, 11 + gap, 15 + 2 * gap, 22 + 3 * gap]
    assert torch.equal(separate(rows, starts, LENGTHS), mask_rows(batch()[:, :11], LENGTHS))

"""Utterances side by side: each whole, none touching another, and convolutions as of each alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from local.systems.layers.shelves import Shelves

LENGTHS = torch.tensor([8, 20, 4, 12, 4, 16])
GAP = 4


def rows(size: int = 3) -> torch.Tensor:
    return torch.randn(len(LENGTHS), 22, size, generator=torch.Generator().manual_seed(1))


def test_each_utterance_is_laid_once_with_zeros_between():
    shelves, given = Shelves(LENGTHS, GAP), rows()
    laid = shelves.lay(given)
    assert laid.shape == (4, 20, 3)  # 20 | 16 | 12, 4 | 8, 4
    back, n_rows = shelves.take(laid)
    assert n_rows is not None and n_rows.tolist() == LENGTHS.tolist()
    for one, other, length in zip(back, given, LENGTHS, strict=True):
        assert torch.equal(one[:length], other[:length])
    assert (laid != 0).any(2).sum() == LENGTHS.sum()
    for shelf in (laid != 0).any(2):
        ends = (shelf[:-1] & ~shelf[1:]).nonzero()[:, 0].tolist()
        begins = (~shelf[:-1] & shelf[1:]).nonzero()[:, 0].tolist()
        assert all(begin - end >= GAP for end, begin in zip(ends, begins, strict=False))


@pytest.mark.parametrize("lengths", [[4], [12, 12, 12], [4, 8, 100], [100, 40, 40, 8]])
def test_no_shelf_is_longer_than_the_longest_and_no_more_are_used_than_utterances(lengths):
    shelves = Shelves(torch.tensor(lengths), GAP)
    assert shelves.utterance.shape[1] == max(lengths)
    assert len(shelves.utterance) <= len(lengths)
    assert sorted(shelves.utterance[shelves.utterance >= 0].tolist()) == sorted(
        utterance for utterance, length in enumerate(lengths) for _ in range(length)
    )


def test_convolutions_with_strides_are_those_of_each_utterance_alone():
    torch.manual_seed(1)
    first, second = (nn.Conv1d(*sizes, 5, padding="same") for sizes in ((3, 6), (6, 2)))
    pool = nn.MaxPool1d(2)
    shelves, given = Shelves(LENGTHS, GAP), rows()
    hidden = shelves.mask(pool(first(shelves.lay(given).transpose(1, 2))), dim=2, stride=2)
    found, n_rows = shelves.take(second(hidden).transpose(1, 2), stride=2)
    assert n_rows.tolist() == (LENGTHS // 2).tolist()
    for one, wav, length in zip(found, given, LENGTHS.tolist(), strict=True):
        alone = second(pool(first(wav[None, :length].transpose(1, 2))))[0].T
        torch.testing.assert_close(one[: length // 2], alone, rtol=0, atol=1e-6)

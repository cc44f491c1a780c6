"""Losses of further heads: by hand, in parts of an update, and of utterances without a label."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from local.core.errors import UserError
from local.systems.layers import task_heads

NAN = math.nan


def by_hand(predicted: Tensor, labels: Tensor) -> Tensor:
    """1 - CCC of Lin (1989) of predictions and labels, in double precision, to be differentiated by PyTorch."""
    p, y = predicted.double(), labels.double()
    covariance = ((p - p.mean()) * (y - y.mean())).mean()
    return 1 - 2 * covariance / (p.var(correction=0) + y.var(correction=0) + (p.mean() - y.mean()) ** 2)


def numbers(n: int = 12, missing: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    chance = np.random.default_rng(3)
    labels = torch.from_numpy(chance.uniform(1, 5, n)).float()
    labels[list(missing)] = NAN
    return torch.from_numpy(chance.normal(3, 2, n)).float().requires_grad_(), labels


@pytest.mark.parametrize("missing", [(), (0, 5, 6)])
def test_ccc_and_its_gradient_are_those_of_the_formula(missing):
    predicted, labels = numbers(missing=missing)
    known = labels.isfinite()
    result = task_heads.losses("valence", predicted, labels).mean()
    (gradient,) = torch.autograd.grad(result, predicted)
    expected = by_hand(predicted[known], labels[known]) * known.float().mean()  # n (1 - CCC) / N
    (direct,) = torch.autograd.grad(expected, predicted)
    assert result.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient, direct, rtol=1e-5, atol=1e-7)
    assert (gradient[~known] == 0).all()


@pytest.mark.parametrize("cuts", [(0, 5, 12), (0, 1, 2, 12), tuple(range(13))])
def test_ccc_of_an_update_does_not_depend_on_how_it_is_cut(cuts):
    predicted, labels = numbers(missing=(1, 7))
    whole = task_heads.losses("arousal", predicted, labels).mean()
    (expected,) = torch.autograd.grad(whole, predicted)
    parts = [slice(start, end) for start, end in pairwise(cuts)]
    moments = sum(task_heads.sums(predicted[part], labels[part]) for part in parts)
    losses = [task_heads.losses("arousal", predicted[part], labels[part], moments) for part in parts]
    shares = [len(each) / 12 * each.mean() for each in losses]
    (found,) = torch.autograd.grad(sum(shares), predicted)
    assert sum(shares).item() == pytest.approx(whole.item(), rel=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_what_a_ccc_is_not_defined_for_has_no_gradient_and_no_nan():
    for labels in ([3.0, NAN, NAN], [NAN, NAN, NAN], [2.0, 2.0, 2.0]):
        predicted = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
        loss = task_heads.losses("valence", predicted, torch.tensor(labels)).mean()
        (gradient,) = torch.autograd.grad(loss, predicted)
        assert loss.isfinite() and (gradient.abs() < 1e-9).all(), labels
    same = torch.full((3,), 2.0, requires_grad=True)
    assert task_heads.losses("valence", same, same.detach()).sum() == 0


def test_classes_and_votes_by_hand():
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0], [3.0, 0.0, 0.0]])
    log_probs = logits.double().log_softmax(-1)
    each = task_heads.losses("gender", logits[:, :2], torch.tensor([1, task_heads.MISSING, 0]))
    pairs = logits[:, :2].double().log_softmax(-1)
    assert each.tolist() == pytest.approx([-pairs[0, 1].item(), 0.0, -pairs[2, 0].item()])
    votes = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    first = sum(p * (math.log(p) - log_probs[0, i].item()) for i, p in enumerate((0.5, 0.25, 0.25)))
    each = task_heads.losses("votes", logits, votes)
    assert each.tolist() == pytest.approx([first, 0.0, -log_probs[2, 0].item()])
    exact = task_heads.losses("votes", votes[:1].log(), votes[:1])
    assert abs(exact.item()) < 1e-6


def test_which_have_a_label():
    assert task_heads.has_label("speaker", torch.tensor([0, -100])).tolist() == [True, False]
    assert task_heads.has_label("valence", torch.tensor([NAN, 0.0])).tolist() == [False, True]
    assert task_heads.has_label("votes", torch.tensor([[0.0, 0.0], [0.0, 1.0]])).tolist() == [False, True]
    for name in ("speaker", "valence", "votes"):
        nothing = task_heads.no_label(name, 3, 2, torch.device("cpu"))
        assert len(nothing) == 3 and not task_heads.has_label(name, nothing).any()


def test_a_number_is_on_the_scale_of_the_training_set():
    head = task_heads.build("valence", 4, [])
    head.scale_to(torch.tensor([1.0, NAN, 5.0, 3.0]))
    assert head.mean == 3 and head.deviation.item() == pytest.approx(math.sqrt(8 / 3))
    torch.nn.init.zeros_(head.linear.weight)
    torch.nn.init.constant_(head.linear.bias, -1.0)
    assert head(torch.zeros(2, 4)).tolist() == pytest.approx([3 - math.sqrt(8 / 3)] * 2)


def test_labels_that_are_all_equal_or_missing_scale_nothing():
    for labels in ([3.0, 3.0, NAN], [NAN, NAN], [4.0]):
        head = task_heads.build("valence", 4, [])
        head.scale_to(torch.tensor(labels))
        assert (head.mean, head.deviation) == (0, 1)


def test_a_head_without_classes_is_refused():
    with pytest.raises(UserError, match="gender has no classes"):
        task_heads.build("gender", 4, [])

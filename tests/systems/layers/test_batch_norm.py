"""Batch normalisation by step, and of a single utterance."""

from __future__ import annotations

import torch
from torch import nn

from local.systems.layers.batch_norm import StepNorm, VectorNorm, running_statistics


def test_the_statistics_of_a_step_change_only_by_it():
    norm = StepNorm(3, n_steps=4)
    vectors = torch.randn(8, 3) * 5 + 2
    norm(vectors, 2)
    changed = (norm.running_mean != 0).any(1), (norm.running_var != 1).any(1)
    assert [each.tolist() for each in changed] == [[False, False, True, False]] * 2
    torch.testing.assert_close(norm.running_mean[2], 0.1 * vectors.mean(0))
    torch.testing.assert_close(norm.running_var[2], 0.9 + 0.1 * vectors.var(0))


def test_a_step_is_a_batch_norm_of_its_own_with_the_scale_and_shift_of_all():
    norm, others = StepNorm(3, n_steps=2), [nn.BatchNorm1d(3), nn.BatchNorm1d(3)]
    with torch.no_grad():
        norm.bias.uniform_()
        for other in others:
            other.weight.fill_(0.1)
            other.bias.copy_(norm.bias)
    for mode in (True, False):
        for step in (0, 1, 0):
            vectors = torch.randn(5, 3) + step
            torch.testing.assert_close(norm.train(mode)(vectors, step), others[step].train(mode)(vectors))


def test_a_single_utterance_is_normalised_as_in_evaluation_mode_and_measured_by_nothing():
    vectors = torch.randn(1, 3)
    norm, step_norm = VectorNorm(3), StepNorm(3, n_steps=2)
    for each in (norm.running_mean, step_norm.running_mean):
        each.fill_(0.5)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    torch.testing.assert_close(norm(vectors), (vectors - 0.5) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(step_norm(vectors, 1), 0.1 * (vectors - 0.5) / (1 + 1e-5) ** 0.5)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert (step_norm.running_var == 1).all()


def test_several_are_normalised_as_by_pytorch():
    vectors, norm, other = torch.randn(6, 3), VectorNorm(3), nn.BatchNorm1d(3)
    for mode in (True, False):
        assert torch.equal(norm.train(mode)(vectors), other.train(mode)(vectors))


def test_the_statistics_of_a_training_are_not_those_of_a_front_end():
    system = nn.ModuleDict({"front_end": nn.BatchNorm1d(2), "norm": nn.BatchNorm1d(3), "steps": StepNorm(3, 4)})
    assert [each.shape for each in running_statistics(system)] == [(3,), (3,), (4, 3), (4, 3)]

"""Poolings: over true frames only, the same alone and in any batch, by hand and against SpeechBrain's own."""

from __future__ import annotations

import pytest
import torch
from speechbrain.lobes.models.ECAPA_TDNN import AttentiveStatisticsPooling
from speechbrain.nnet.pooling import AttentionPooling, StatisticsPooling
from torch import Tensor, nn

from local.core.errors import UserError
from local.systems.layers.pooling import Pooling

DIM = 6
LENGTHS = (1, 2, 7, 19, 33, 40)


def objects() -> dict[str, nn.Module | str]:
    torch.manual_seed(1)
    attentive = AttentiveStatisticsPooling(DIM, attention_channels=4)
    attentive.tdnn.norm.norm.running_mean += 0.3  # as after a training
    return {
        "mean": "mean",
        "statistics": StatisticsPooling(),
        "deviation": StatisticsPooling(return_mean=False),
        "attentive": attentive,
        "attentive-local": AttentiveStatisticsPooling(DIM, attention_channels=4, global_context=False),
        "own": Last(),
    }


class Last(nn.Module):
    """A pooling of one's own: the last true frame, twice."""

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return frames[torch.arange(len(frames)), lengths - 1].repeat(1, 2)


def batch() -> tuple[Tensor, Tensor]:
    """Frames of all lengths, with garbage beyond each end."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(len(LENGTHS), max(LENGTHS) + 3, DIM, generator=generator), torch.tensor(LENGTHS)


@pytest.mark.parametrize("name", list(objects()))
@torch.no_grad()
def test_an_utterance_has_one_vector_alone_and_in_any_batch(name):
    pooling = Pooling(objects()[name], DIM).eval()
    frames, lengths = batch()
    together = pooling(frames, lengths)
    assert together.shape == (len(LENGTHS), pooling.size) and together.isfinite().all()
    for padding in (1, 2, 57, 4096):  # n / T is rounded in other ways
        wider = torch.cat([frames, torch.full((len(LENGTHS), padding, DIM), 1e6)], 1)
        torch.testing.assert_close(pooling(wider, lengths), together, rtol=1e-5, atol=1e-5)
    for row, length, vector in zip(frames, LENGTHS, together, strict=True):
        alone = pooling(row[None, :length], torch.tensor([length]))
        torch.testing.assert_close(alone[0], vector, rtol=1e-5, atol=1e-5)
        assert torch.equal(pooling(row[None, :length], torch.tensor([length])), alone)  # no noise


@torch.no_grad()
def test_mean_and_deviation_by_hand():
    frames, lengths = batch()
    vectors = Pooling(StatisticsPooling(), DIM)(frames, lengths)
    for row, length, vector in zip(frames.double(), LENGTHS, vectors.double(), strict=True):
        true = row[:length]
        mean = sum(true) / length
        deviation = (sum((true - mean) ** 2) / (length - 1)).sqrt() if length > 1 else torch.zeros(DIM)
        torch.testing.assert_close(vector, torch.cat([mean, deviation]).double(), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_attentive_statistics_are_speechbrains_of_the_utterance_alone():
    module = objects()["attentive"].eval()
    frames, lengths = batch()
    vectors = Pooling(module, DIM).eval()(frames, lengths)
    for row, length, vector in zip(frames, LENGTHS, vectors, strict=True):
        expected = module(row[None, :length].transpose(1, 2))[0, :, 0]
        torch.testing.assert_close(vector, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["attentive", "attentive-local"])
def test_attentive_statistics_in_training_are_speechbrains_without_padding(name):
    frames, _ = batch()
    (ours, theirs), slope = (objects()[name].train() for _ in range(2)), torch.randn(len(frames), 2 * DIM)
    vectors = Pooling(ours, DIM).train()(frames, torch.full((len(frames),), frames.shape[1]))
    expected = theirs(frames.transpose(1, 2))[:, :, 0]
    torch.testing.assert_close(vectors, expected, rtol=1e-5, atol=1e-5)
    for made in (vectors, expected):
        (made * slope).sum().backward()
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, yours.grad, rtol=1e-4, atol=1e-4)
    for mine, yours in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, yours)


def test_the_batch_norm_of_attentive_statistics_counts_no_padding():
    frames, lengths = batch()
    wider = torch.cat([frames, torch.full((len(LENGTHS), 200, DIM), 1e6)], 1)
    (one, other) = (objects()["attentive"].train() for _ in range(2))
    assert torch.equal(Pooling(one, DIM).train()(frames, lengths), Pooling(other, DIM).train()(wider, lengths))
    assert all(map(torch.equal, one.buffers(), other.buffers()))
    true = torch.cat([row[:length] for row, length in zip(frames, LENGTHS, strict=True)])
    local = objects()["attentive-local"].train()
    Pooling(local, DIM).train()(frames, lengths)
    inside = local.tdnn.conv(true.T[None]).relu()
    torch.testing.assert_close(local.tdnn.norm.norm.running_mean, 0.1 * inside.mean((0, 2)))


@pytest.mark.parametrize("name", [name for name in objects() if name != "mean"])
def test_the_gradient_is_finite_and_of_true_frames_alone(name):
    frames, lengths = batch()
    frames.requires_grad_()
    Pooling(objects()[name], DIM).train()(frames, lengths).square().sum().backward()
    assert frames.grad.isfinite().all()
    reached = frames.grad.abs().sum(2) > 0
    for row, length in zip(reached, LENGTHS, strict=True):
        assert not row[length:].any()
        assert row[length - 1] or length == 1  # one frame has no deviation


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("max", "pooling is 'max'"),
        (AttentiveStatisticsPooling(8), "cannot pool frames of size 6"),
        (AttentionPooling(DIM), "cannot pool frames of size 6"),  # takes no lengths: padding would count
        (nn.Identity(), "cannot pool frames of size 6"),
        ({"class": "torch.nn.Linear", "in_features": 3}, "pooling is"),
        ({"class": "speechbrain.nnet.pooling.StatisticsPooling", "return_mean": True}, "pooling is"),
    ],
    ids=str,
)
def test_what_is_no_pooling_is_refused(how, message):
    with pytest.raises(UserError, match=message):
        Pooling(how, DIM)


@pytest.mark.parametrize("name", [name for name in objects() if name != "own"])
def test_a_description_builds_the_same_again(name):
    made = Pooling(objects()[name], DIM).eval()
    again = Pooling(made.description(), DIM).eval()
    again.load_state_dict(made.state_dict())
    with torch.no_grad():
        assert torch.equal(again(*batch()), made(*batch()))
    assert again.description() == made.description()


def test_a_pooling_of_ones_own_is_not_exported():
    with pytest.raises(UserError, match=r"cannot be exported: its pooling is .*Last"):
        Pooling(Last(), DIM).description()

"""Augmentation: each utterance alone over its true length, with its new length, from the update's random numbers."""

from __future__ import annotations

import pytest
import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.time_domain import DropChunk, DropFreq, SpeedPerturb
from torch import Tensor

from local.core.errors import UserError
from local.data.augmentation import Augmentation
from local.data.dataset import Batch
from local.encoders.base import pad_batch
from local.systems import Targets

LENGTHS = [16_000, 4001, 7990]


def batch(*lengths: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    wavs = [torch.randn(length, generator=generator) for length in lengths]
    zeros = torch.zeros(len(lengths), dtype=torch.long)
    return Batch([""] * len(lengths), pad_batch(wavs), torch.tensor(lengths), Targets(zeros, zeros, zeros), [])


def augmented(module, *lengths: int, max_samples: int | None = None, seed: int = 1) -> Batch:
    torch.manual_seed(seed)
    return Augmentation(module, max_samples)(batch(*lengths))


def test_without_one_the_batch_stays():
    given = batch(*LENGTHS)
    assert Augmentation(None, None)(given) is given


def test_lengths_that_change():
    made = augmented(SpeedPerturb(16_000, [80]), *LENGTHS)
    assert made.lengths.tolist() == [20_000, 5002, 9988]  # a quarter more, rounded up
    assert made.wavs.shape[1] == 20_480 and made.lengths.device.type == "cpu"
    for row, length in zip(made.wavs, made.lengths, strict=True):
        assert row[:length].abs().max() > 0.1 and not row[length:].any()


def test_what_the_system_could_not_read_stays_as_it_is():
    made = augmented(SpeedPerturb(16_000, [80]), *LENGTHS, max_samples=16_000)
    assert made.lengths.tolist() == [16_000, 5002, 9988]
    assert torch.equal(made.wavs[0, :16_000], batch(*LENGTHS).wavs[0, :16_000])
    assert augmented(SpeedPerturb(16_000, [80]), *LENGTHS, max_samples=20_000).lengths[0] == 20_000  # just as long
    nothing = augmented(lambda wavs: wavs[:, :0], *LENGTHS)
    assert nothing.lengths.tolist() == batch(*LENGTHS).lengths.tolist() and nothing.wavs.any()


@pytest.mark.parametrize("module", [DropFreq(), DropChunk(), SpeedPerturb(16_000, [80, 90, 110])])
def test_an_utterance_is_augmented_as_if_alone(module):
    """Whatever follows it, and however long: its padding is not augmented, and counts for nothing."""
    alone, together = augmented(module, 4001), augmented(module, 4001, 16_000)
    length = alone.lengths[0]
    assert together.lengths[0] == length and torch.equal(together.wavs[0, :length], alone.wavs[0, :length])
    assert not torch.equal(augmented(module, 4001, seed=2).wavs, alone.wavs)
    assert not torch.equal(alone.wavs, batch(4001).wavs)


def test_several_in_sequence():
    made = augmented(Augmenter(augmentations=[SpeedPerturb(16_000, [80]), DropChunk()]), *LENGTHS)
    assert made.lengths.tolist() == [20_000, 5002, 9988]
    assert all((row[:length] == 0).sum() >= 100 for row, length in zip(made.wavs, made.lengths, strict=True))


@pytest.mark.parametrize("given", [{"parallel_augment": True}, {"concat_original": True}])
def test_more_than_one_waveform_is_refused(given):
    with pytest.raises(UserError, match=r"Augmenter makes \[2, 4001\] of one waveform"):
        augmented(Augmenter(augmentations=[DropChunk(), DropFreq()], **given), 4001)


def test_a_function_of_ones_own():
    def halve(wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return wavs * 2, lengths / 2

    made = augmented(halve, *LENGTHS)
    assert made.lengths.tolist() == [8000, 2000, 3995]
    assert torch.equal(made.wavs[1, :2000], 2 * batch(*LENGTHS).wavs[1, :2000])

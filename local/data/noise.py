"""Batches of noise in the shape in which a training gets its batches: to see what they cost, before there is any."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from local.audio.header import SAMPLE_RATE
from local.data.feature_store import kind_of_store
from local.systems import System


def noise(system: System, augmented: bool, size: int, seconds: float) -> tuple[Tensor, Tensor]:
    """Draw a batch of `size` utterances: [B, N] waveforms, or [B, T, c] of what does not learn; and their lengths, [B].

    `augmented` says that waveforms are the inputs, whatever does not learn.
    """
    store = None if augmented else kind_of_store(system)
    if store is None:
        n = round(seconds * SAMPLE_RATE)
        return 0.1 * torch.randn(size, n), torch.full((size,), n)
    source = system.front_end if system.front_end is not None else system.encoder
    n = round(seconds / source.seconds_per_row) if source.seconds_per_row else source.rows_each
    return torch.randn(size, n, store.width(source)), torch.full((size,), n)


def seconds_read(system: System) -> float:
    """How much of an utterance a system reads; what is beyond is cut off."""
    source = system.front_end if system.front_end is not None else system.encoder
    most = getattr(source, "most_samples", None)
    return math.inf if most is None else most / SAMPLE_RATE

"""Batches of noise in the shape in which a training gets its batches: to see what they cost, before there is any."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from local.audio.header import SAMPLE_RATE
from local.data.feature_store import kind_of_store
from local.systems import System


def noise(system: System, augmented: bool, seconds: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Draw a batch of B utterances: [B, N] waveforms, or [B, T, c] of what does not learn; and their lengths, [B].

    `seconds` are those of each utterance; `augmented` says that waveforms are the inputs, whatever does not learn.
    """
    store = None if augmented else kind_of_store(system)
    if store is None:
        wavs = [0.1 * torch.randn(round(each * SAMPLE_RATE)) for each in seconds]
    else:
        source = system.front_end if system.front_end is not None else system.encoder
        step = source.seconds_per_row
        wavs = [torch.randn(round(each / step) if step else source.rows_each, store.width(source)) for each in seconds]
    return pad_sequence(wavs, batch_first=True), torch.tensor([len(wav) for wav in wavs])


def seconds_read(system: System) -> float:
    """How much of an utterance a system reads; what is beyond is cut off."""
    source = system.front_end if system.front_end is not None else system.encoder
    most = getattr(source, "most_samples", None)
    return min(system.most_seconds, math.inf if most is None else most / SAMPLE_RATE)

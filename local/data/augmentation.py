"""Augmentation of waveforms in training: `augment` of the YAML, one of SpeechBrain's modules or your own.

Each utterance is augmented alone, over its true length, so that neither padding nor the other utterances of its
micro-batch matter. Its random numbers are those of the update, see `local.training.updates`: the module may draw any,
and must keep nothing from one call to the next.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from local.core.errors import UserError
from local.data.dataset import Batch
from local.encoders.base import pad_batch


class Augmentation:
    """Augments the batches of a training.

    Parameters
    ----------
    module
        Called with waveforms [1, N], and with `lengths`, [1] relative to N, if it takes them; returns [1, N'], or a
        tuple of that and relative lengths, [1]. None: batches stay as they are.
    max_samples
        The longest input of the system in samples, or None: what would become longer stays as it is.
    """

    def __init__(self, module: Callable[..., Any] | None, max_samples: int | None) -> None:
        self.module, self.max_samples = module, max_samples
        call = getattr(module, "forward", module)
        self.takes_lengths = module is not None and "lengths" in inspect.signature(call).parameters

    def __call__(self, batch: Batch) -> Batch:
        """A batch whose waveforms are augmented, with their lengths."""
        if self.module is None:
            return batch
        wavs = [self._augmented(wav[:length]) for wav, length in zip(batch.wavs, batch.lengths.tolist(), strict=True)]
        return replace(
            batch, wavs=pad_batch(wavs, batch.wavs.device.type), lengths=torch.tensor([len(wav) for wav in wavs])
        )

    @torch.no_grad()
    def _augmented(self, wav: Tensor) -> Tensor:
        if self.takes_lengths:
            made = self.module(wav[None], lengths=torch.ones(1, device=wav.device))
        else:
            made = self.module(wav[None])
        waves, lengths = made if isinstance(made, tuple) else (made, None)
        if waves.ndim != 2 or len(waves) != 1:
            raise UserError(
                f"augment: {type(self.module).__name__} makes {[*waves.shape]} of one waveform",
                "let it return one: parallel_augment and concat_original must be False",
            )
        made = waves[0] if lengths is None else waves[0, : round(float(lengths[0]) * waves.shape[1])]
        fits = len(made) > 0 and (self.max_samples is None or len(made) <= self.max_samples)
        return made if fits else wav

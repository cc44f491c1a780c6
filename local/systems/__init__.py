"""Systems: one file each, pure torch modules without I/O, built by one YAML in hparams.

The trainer asks two things of a system, an `nn.Module`:

`forward(wavs, lengths)` -> `Outputs`
    [B, N] waveforms and [B] true lengths in samples to emotion logits and, with a CTC head, logits over tokens per
    frame. If the encoder's CNN is frozen, the inputs are its output, [B, T, c], and [B] frames: a system passes both
    on to its encoder as they are.
`losses(outputs, targets)` -> `Losses`
    The loss, and its parts for the log; each a mean over the batch's utterances, so that the mean over
    micro-batches, weighted by their sizes, is that of the whole batch.

`heads()`, where a system has it, lists the modules that are trained at `head_lr`; the rest is trained at `lr`.

For the export, a file names its class `SYSTEM`, and `settings()` returns the arguments of its constructor besides
`encoder`, `n_labels` and `n_tokens`, as plain values.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import NamedTuple

from torch import Tensor, nn

from local.core.errors import UserError


class Outputs(NamedTuple):
    """The output of a system for a batch."""

    emotion: Tensor  # [B, C] logits
    tokens: Tensor | None  # [B, T, V] logits per frame, or None without a CTC head
    n_frames: Tensor  # [B] true frames; on the CPU


class Targets(NamedTuple):
    """The labels of a batch."""

    emotion: Tensor  # [B] class indices; on the device
    tokens: Tensor  # [B, L] token indices, padded with 0; on the CPU
    n_tokens: Tensor  # [B] true tokens, 0 without a transcript; on the CPU


class Losses(NamedTuple):
    """The loss of a batch and its parts, scalars, each a mean over the batch's utterances.

    `ctc_left_out` is the number of utterances without a CTC term, whose transcript is missing or needs more frames
    than there are; on the CPU.
    """

    total: Tensor  # the loss to minimise
    ce: Tensor  # cross-entropy of the emotions
    ctc: Tensor  # CTC loss, summed over each transcript; 0 for an utterance without a CTC term
    ctc_left_out: Tensor


def system_class(name: str) -> type[nn.Module]:
    """The system of a file here, by its name; a UserError if there is none."""
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in known:
        raise UserError(f"system '{name}' is not known", f"known are: {' '.join(known)}")
    return importlib.import_module(f"{__name__}.{name}").SYSTEM

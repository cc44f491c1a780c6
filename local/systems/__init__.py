"""Systems: one file each, pure torch modules without I/O, built by one YAML in hparams.

The trainer asks two things of a system, an `nn.Module`:

`forward(wavs, lengths)` -> `Outputs`
    [B, N] waveforms and [B] true lengths in samples to emotion logits and, where the system has
    a CTC head, logits over tokens per frame. Where the encoder's CNN is frozen, it gets what the CNN
    has made of them, [B, T, c], and [B] frames: a system passes both on to its encoder unseen.
`losses(outputs, targets)` -> `Losses`
    What to descend on, and its parts for the log; every one a mean over the batch's utterances,
    so that the mean over micro-batches, weighted by their sizes, is that of the whole batch.

Where parameters need a learning rate of their own, `heads()` lists the modules that learn at
`head_lr`; the rest learns at `lr`.

To be exported, a file names its class `SYSTEM`, and `settings()` gives what makes another of it besides
`encoder`, `n_labels` and `n_tokens`, as plain values.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import NamedTuple

from torch import Tensor, nn

from local.core.errors import UserError


class Outputs(NamedTuple):
    """What a system says of a batch.

    emotion
        [B, C] logits.
    tokens
        [B, T, V] logits per frame, or None where the system has no CTC head.
    n_frames
        [B] true frames; on the CPU.
    """

    emotion: Tensor
    tokens: Tensor | None
    n_frames: Tensor


class Targets(NamedTuple):
    """What is true of a batch.

    emotion
        [B] class indices, on the device.
    tokens
        [B, L] token indices, padded with 0; on the CPU.
    n_tokens
        [B] true tokens; 0 where there is no transcript; on the CPU.
    """

    emotion: Tensor
    tokens: Tensor
    n_tokens: Tensor


class Losses(NamedTuple):
    """The loss of a batch and its parts, scalars, each a mean over the batch's utterances.

    total
        What is descended on.
    ce
        Cross-entropy of the emotions.
    ctc
        CTC loss, summed over each transcript; 0 for an utterance that it is left out of.
    ctc_left_out
        How many utterances the CTC term is left out of: no transcript, or one that needs more
        frames than there are; on the CPU.
    """

    total: Tensor
    ce: Tensor
    ctc: Tensor
    ctc_left_out: Tensor


def system_class(name: str) -> type[nn.Module]:
    """The system that a file here defines.

    Raises
    ------
    UserError
        There is no such file.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in known:
        raise UserError(f"system '{name}' is not known", f"known are: {' '.join(known)}")
    return importlib.import_module(f"{__name__}.{name}").SYSTEM

"""Utterances one behind the other in place of side by side: no frame of the transformer is padding then.

For training on a CPU. All utterances of an update pass together whatever their lengths, so that products have more
rows, and weights are cast, and their gradients added, once an update and not for each cut of similar lengths. All that
a layer does but attention is done frame by frame, and attention is computed utterance by utterance, see
`local.encoders.kernels.attention`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from local.encoders.base import GRID

# Parameters of the smallest model to pack. With 95 million an update took a tenth to a sixth less time; of 4 million,
# to which a step for each utterance is much, took a seventh more.
LEAST = 30e6


def is_packed(x: Tensor, held: bool = False) -> bool:
    """Whether utterances, [B, ...], are to be packed: several, on a CPU, in training.

    That is where there is a gradient, or where a `held` encoder, which has none, gets the same batches.
    """
    if torch.compiler.is_exporting():  # a graph is of any number of utterances: not even to be asked for it here
        return False
    return (torch.is_grad_enabled() or held) and x.device.type == "cpu" and len(x) > 1


def pack(hidden: Tensor, n_frames: Tensor, gap: int = 0) -> Tensor:
    """[B, T, d] of which [B] frames are true -> [1, sum of n_frames + gap, d], with a gap of zeros behind each."""
    each = [one[:length] for one, length in zip(hidden, n_frames.tolist(), strict=True)]
    return torch.cat([F.pad(one, (0, 0, 0, gap)) for one in each])[None]


def unpack(hidden: Tensor, n_frames: Tensor, size: int, gap: int = 0) -> Tensor:
    """[1, sum of n_frames + gap, d] -> [B, size, d], zeros beyond the true frames."""
    each = hidden[0].split((n_frames + gap).tolist())
    padded = pad_sequence([one[: len(one) - gap] for one in each], batch_first=True)
    return F.pad(padded, (0, 0, 0, size - padded.shape[1]))


def one_by_one(x: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Waveforms [B, N] or frames [B, T, c], and [B] lengths -> each utterance, [1, n, ...] and [1], hardly padded."""
    grid = GRID["cpu"][x.ndim - 1]
    for one, length in zip(x, lengths.split(1), strict=True):
        yield one[None, : -(-int(length) // grid) * grid], length


def side_by_side(each: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What was computed one by one, [1, T, d] and [1] true frames each -> [B, T, d], [B]."""
    n_frames = torch.cat([length for _, length in each])
    return pad_sequence([hidden[0, : int(length)] for hidden, length in each], batch_first=True), n_frames

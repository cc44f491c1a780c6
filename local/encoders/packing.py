"""Utterances one behind the other in place of side by side: no frame of the transformer is padding then.

For a CPU. All utterances of an update pass together whatever their lengths, so that products have more rows, and
weights are cast, and their gradients added, once an update and not for each cut of similar lengths. All that a layer
does but attention is done frame by frame, and attention is computed utterance by utterance, see
`local.encoders.kernels.attention`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.encoders.base import GRID, Encoder
from local.encoders.kernels import attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Parameters of the smallest model to pack. With 90 million an update took a tenth to a sixth less time; with 20, as
# Whisper base has, 6 % less with one thread, 12 in single precision, and 3 with two threads; with 8 million 6 to 17 %
# less with one thread, but 5 more with two.
LEAST = 15e6


class PackingEncoder(Encoder):
    """Base of the families whose layers can be given utterances one behind the other."""

    def __init__(self, model: PreTrainedModel, cnn: nn.Module, freeze: bool, freeze_cnn: bool) -> None:
        super().__init__(model, cnn, freeze, freeze_cnn)
        self._is_large = sum(map(torch.numel, model.parameters())) >= LEAST

    @property
    def packs(self) -> bool:
        """With attention of `local.encoders.kernels`, as WavLM always has."""
        config = self.model.config
        is_ours = config._attn_implementation == attention.NAME or config.model_type == "wavlm"
        return self._is_large and is_ours and not self.freeze

    def is_packed(self, x: Tensor) -> bool:
        """Whether utterances, [B, ...], are to be packed: several, on a CPU."""
        if torch.compiler.is_exporting():  # a graph is of any number of utterances: not even to be asked for it here
            return False
        return self.packs and x.device.type == "cpu" and len(x) > 1

    def encode(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """From what its lowest layer is given through all of them."""
        hidden, n_frames = self.start(wavs, lengths)
        return self.leave(self.through(self.layers(), hidden, n_frames)), n_frames

    def run(self, layers: Sequence[nn.Module], hidden: Tensor, mask: Tensor | None, longest: int) -> Iterator[Tensor]:
        """Run some of its layers; give the output of each, [B, T, d].

        `mask` is that of `attention_mask`, or the lengths of packed utterances; `longest` the longest of them.
        """
        raise NotImplementedError

    def each(self, layers: Sequence[nn.Module], hidden: Tensor, n_frames: Tensor) -> Iterator[Tensor]:
        """As transformers' encoder, over the true frames only."""
        if self.is_packed(hidden):
            return (unpack(each, n_frames, hidden.shape[1]) for each in self._packed(layers, hidden, n_frames))
        return self.run(layers, hidden, self.attention_mask(hidden, n_frames), hidden.shape[1])

    def through(self, layers: Sequence[nn.Module], hidden: Tensor, n_frames: Tensor) -> Tensor:
        """Of packed utterances only the last output is unpacked."""
        if not (layers and self.is_packed(hidden)):
            return super().through(layers, hidden, n_frames)
        (last,) = deque(self._packed(layers, hidden, n_frames), maxlen=1)
        return unpack(last, n_frames, hidden.shape[1])

    def _packed(self, layers: Sequence[nn.Module], hidden: Tensor, n_frames: Tensor) -> Iterator[Tensor]:
        return self.run(layers, pack(hidden, n_frames), n_frames, int(n_frames.max()))


def pack(hidden: Tensor, n_frames: Tensor, gap: int = 0) -> Tensor:
    """[B, T, d] of which [B] frames are true -> [1, sum of n_frames + gap, d], with a gap of zeros behind each."""
    each = [one[:length] for one, length in zip(hidden, n_frames.tolist(), strict=True)]
    return torch.cat([F.pad(one, (0, 0, 0, gap)) for one in each])[None]


def unpack(hidden: Tensor, n_frames: Tensor, size: int, gap: int = 0) -> Tensor:
    """[1, sum of n_frames + gap, d] -> [B, size, d], zeros beyond the true frames."""
    each = hidden[0].split((n_frames + gap).tolist())
    return _padded([one[: len(one) - gap] for one in each], size)


def one_by_one(x: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Waveforms [B, N] or frames [B, T, c], and [B] lengths -> each utterance, [1, n, ...] and [1], hardly padded."""
    grid = GRID["cpu"][x.ndim - 1]
    for one, length in zip(x, lengths.split(1), strict=True):
        yield one[None, : -(-int(length) // grid) * grid], length


def side_by_side(each: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What was computed one by one, [1, T, d] and [1] true frames each -> [B, T, d], [B]."""
    n_frames = torch.cat([length for _, length in each])
    return _padded([hidden[0, : int(length)] for hidden, length in each], int(n_frames.max())), n_frames


def _padded(each: list[Tensor], size: int) -> Tensor:
    """As torch's `pad_sequence`, [t, d] each -> [B, size, d]; but that one's gradient copies all of it for each."""
    return torch.stack([F.pad(one, (0, 0, 0, size - len(one))) for one in each])

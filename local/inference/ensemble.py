"""Several systems as one: the mean of their posteriors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.systems import Outputs


class Ensemble(nn.Module):
    """Averages the posteriors of M systems of one shape.

    `orders` are [M, V] int: for each token of the ensemble the index of the member's token, or one beyond its last if
    it has no such token, whose posterior is then 0.
    """

    def __init__(self, members: list[nn.Module], orders: Tensor) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("orders", orders)

    @property
    def encoder(self) -> nn.Module:
        """The first member's encoder."""
        return self.members[0].encoder

    @property
    def max_samples(self) -> int | None:
        """The longest input in samples, as of each member."""
        return self.members[0].max_samples

    @property
    def seconds_per_frame(self) -> float | None:
        """Seconds from one frame of the tokens to the next, as of each member."""
        return self.members[0].seconds_per_frame

    @property
    def writes_text(self) -> bool:
        """Whether the members have a CTC head."""
        return self.members[0].writes_text

    @property
    def tasks(self) -> Mapping[str, Sequence[str]]:
        """The further tasks, as of each member."""
        return self.members[0].tasks

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, [B] samples -> logarithms of mean posteriors, as logits; of numbers their mean."""
        outputs = [member(wavs, lengths) for member in self.members]
        emotion = torch.stack([output.emotion.softmax(-1) for output in outputs]).mean(0).log()
        each = zip(self.tasks.values(), zip(*(output.further for output in outputs), strict=True), strict=True)
        further = tuple(_mean(torch.stack(some), bool(classes)) for classes, some in each) if self.tasks else ()
        if outputs[0].tokens is None:
            return Outputs(emotion, None, outputs[0].n_frames, further)
        tokens = [
            F.pad(output.tokens.softmax(-1), (0, 1))[..., order]
            for output, order in zip(outputs, self.orders, strict=True)
        ]
        least = torch.finfo(torch.float32).tiny  # to avoid the logarithm of 0
        return Outputs(emotion, torch.stack(tokens).mean(0).clamp(min=least).log(), outputs[0].n_frames, further)


def _mean(outputs: Tensor, are_logits: bool) -> Tensor:
    """[M, B, ...] outputs of a further head -> their mean, of logits the logarithm of that of their posteriors."""
    return outputs.softmax(-1).mean(0).log() if are_logits else outputs.mean(0)

"""Poolings: an utterance's frames to one vector, whatever the convention of the object that does it.

`mean` and `sum` over the true frames are here. Any other pooling is an object that the YAML builds: SpeechBrain's
`StatisticsPooling` or `AttentiveStatisticsPooling`, to whose conventions `Pooling` adapts, or a module of your own:

    forward(frames, lengths) -> vectors     [B, T, d], zero beyond the end; [B] true frames, on the CPU -> [B, k]

In evaluation mode, an utterance must have the same vector alone and in any batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from local.core.errors import UserError
from local.encoders import length_mask
from local.systems.layers.sequences import join, separate

NAMES = ("mean", "sum")
# SpeechBrain's, by their class: the arguments of the constructor, as attributes of the object.
ARGUMENTS = {
    "speechbrain.nnet.pooling.StatisticsPooling": {"return_mean": "return_mean", "return_std": "return_std"},
    "speechbrain.lobes.models.ECAPA_TDNN.AttentiveStatisticsPooling": {
        "channels": "conv.conv.out_channels",
        "attention_channels": "conv.conv.in_channels",
        "global_context": "global_context",
    },
}
STATISTICS, ATTENTIVE = ARGUMENTS


class Pooling(nn.Module):
    """Pool the true frames of each utterance: [B, T, d], [B] -> [B, `size`].

    `how` is one of `NAMES`; a module (see above); or what `description` returns of one of SpeechBrain's. `dim` is the
    size d of a frame. A `UserError` if there is no such pooling, or it cannot pool frames of this size.
    """

    def __init__(self, how: str | dict[str, Any] | nn.Module, dim: int) -> None:
        super().__init__()
        if isinstance(how, dict):
            how = _rebuild(how)
        if not isinstance(how, nn.Module) and how not in NAMES:
            raise UserError(f"pooling is '{how}'", "set pooling to mean or sum, or to !new: of a module")
        self.how = how
        self.kind = how if isinstance(how, str) else f"{type(how).__module__}.{type(how).__qualname__}"
        if self.kind == STATISTICS:
            how.eps = 0.0  # of a noise that it adds to the mean, also in evaluation mode, and of its standard deviation
        self.size = dim if isinstance(how, str) else self._measured_size(dim)

    def forward(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """Pool frames; `n_frames` is on the CPU."""
        true = length_mask(n_frames, frames.shape[1], frames.device)[:, :, None]
        frames = frames.float().masked_fill(~true, 0.0)
        if self.kind not in NAMES:
            return self._pool_by_object(frames, n_frames)
        total = frames.sum(1)
        return total if self.kind == "sum" else total / true.sum(1)

    def _pool_by_object(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        if self.kind not in ARGUMENTS:
            return self.how(frames, n_frames)
        if self.kind == ATTENTIVE and self.training:
            return self._attend_to_true_frames(frames, n_frames)
        # SpeechBrain's take lengths relative to T. A quarter below n / T selects n frames, whether n is rounded or the
        # indices below it are taken: n / T itself may be rounded up to n + 1 frames.
        relative = (n_frames - 0.25) / frames.shape[1]
        if self.kind == ATTENTIVE:
            return self.how(frames.transpose(1, 2), relative).squeeze(2)
        # The deviation of one frame is not a number: twice the same frame has 0.
        frames = frames if frames.shape[1] > 1 else frames.repeat(1, 2, 1)
        single = (n_frames == 1).to(frames.device, non_blocking=True)[:, None, None]
        frames = frames.where(~single, frames[:, :1])
        return self.how(frames, (n_frames.clamp(min=2) - 0.25) / frames.shape[1]).squeeze(1)

    def _attend_to_true_frames(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """What SpeechBrain's pools in training, but that its batch norm is given no padding to count."""
        how, frames = self.how, frames[:, : n_frames.max()]
        true = length_mask(n_frames, frames.shape[1], frames.device)[:, :, None]

        def statistics(weights: Tensor) -> tuple[Tensor, Tensor]:
            mean = (weights * frames).sum(1, keepdim=True)
            variance = (weights * (frames - mean).square()).sum(1, keepdim=True)
            return mean, variance.clamp(min=how.eps).sqrt()

        rows = frames
        if how.global_context:
            each = statistics(true / true.sum(1, keepdim=True))
            rows = torch.cat([frames, *(one.expand_as(frames) for one in each)], 2)
        joined, starts = join(rows, n_frames)
        scores = separate(how.conv(how.tanh(how.tdnn(joined.T[None])))[0].T, starts, n_frames)
        return torch.cat(statistics(scores.masked_fill(~true, -torch.inf).softmax(1)), 2).squeeze(1)

    def _measured_size(self, dim: int) -> int:
        """The size of a vector, for frames of a size."""
        if self.kind == STATISTICS:
            return dim * (self.how.return_mean + self.how.return_std)
        if self.kind == ATTENTIVE and self.how.conv.conv.out_channels == dim:
            return 2 * dim
        training = self.how.training
        try:
            with torch.no_grad():
                vectors = Pooling.forward(self.eval(), torch.zeros(2, 3, dim), torch.tensor([3, 2]))
        except Exception as error:  # a module raises errors of any class
            raise UserError(
                f"pooling: {self.kind} cannot pool frames of size {dim}: {str(error).partition(chr(10))[0]}",
                "correct its arguments, or what its forward(frames, lengths) does",
            ) from None
        finally:
            self.train(training)
        if vectors.ndim != 2 or len(vectors) != 2:
            raise UserError(
                f"pooling: {self.kind} makes {[*vectors.shape]} of two utterances", "its forward must return [B, k]"
            )
        return vectors.shape[1]

    def description(self) -> str | dict[str, Any]:
        """What builds this pooling again, as plain values; a `UserError` for a module of another project."""
        if self.kind in NAMES:
            return self.kind
        if self.kind not in ARGUMENTS:
            raise UserError(
                f"the model cannot be exported: its pooling is {self.kind}, which a model folder cannot rebuild",
                f"take mean, sum, or one of SpeechBrain's: {' '.join(ARGUMENTS)}",
            )
        return {"class": self.kind} | {name: _attribute(self.how, path) for name, path in ARGUMENTS[self.kind].items()}


def _attribute(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _rebuild(description: dict[str, Any]) -> nn.Module:
    """Build one of SpeechBrain's poolings from what `Pooling.description` returned."""
    from speechbrain.lobes.models.ECAPA_TDNN import AttentiveStatisticsPooling
    from speechbrain.nnet.pooling import StatisticsPooling

    arguments = dict(description)
    kind = arguments.pop("class", None)
    if kind not in ARGUMENTS or arguments.keys() != ARGUMENTS[kind].keys():
        raise UserError(f"pooling is {description}", "set pooling to mean or sum, or to !new: of a module")
    return {STATISTICS: StatisticsPooling, ATTENTIVE: AttentiveStatisticsPooling}[kind](**arguments)

"""The base class of encoders; masks and padding."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from local.core.errors import UserError
from local.encoders.kernels import use_kernels
from local.encoders.row_source import RowSource

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# A batch's length is a multiple of this, in samples and in frames: operations are prepared again for each new size. On
# a CPU that took half of the time of a small model. On an H100 it took most of an update of the base model, which waits
# for the host, not for the device: there padding costs little. Whisper's 30 s are a multiple of all.
GRID = {"cpu": {1: 640, 2: 2}, "cuda": {1: 9600, 2: 30}}


def length_mask(lengths: Tensor, size: int, device: torch.device | str = "cpu") -> Tensor:
    """Mark what is not padding: [B] lengths -> [B, size] bool on a device, without a wait for it."""
    return torch.arange(size, device=device) < lengths.to(device, non_blocking=True)[:, None]


def pad_batch(items: list[Tensor], device: str = "cpu") -> Tensor:
    """Pad with zeros to the longest, and to a multiple of `GRID`: [N] or [T, c] each -> [B, N'] or [B, T', c].

    `device` is the kind, `cpu` or `cuda`, of that where they will be computed with.
    """
    batch = pad_sequence(items, batch_first=True)
    extra = -batch.shape[1] % GRID.get(device, GRID["cpu"])[items[0].ndim]
    return F.pad(batch, (*(0, 0) * (batch.ndim - 2), 0, extra))


class Encoder(RowSource):
    """Base of the families: freezing and SpecAugment. A row is a frame.

    `freeze` says that it is never trained; `held`, which the trainer sets, that it is not trained in this epoch.
    """

    held = False
    dim: int  # size d of a frame
    preprocessor: dict[str, Any]  # the settings of its feature extractor that are used here
    seconds_per_frame = 0.02  # from one frame to the next

    def __init__(self, model: PreTrainedModel, cnn: nn.Module | None, freeze: bool, freeze_cnn: bool) -> None:
        super().__init__()
        use_kernels(model)
        self.model = model
        self.dim = self.width = model.config.hidden_size
        self.freeze = freeze
        self.freeze_cnn = freeze or freeze_cnn
        if freeze_cnn and cnn is None:
            raise UserError(f"freeze_cnn: a {model.config.model_type} encoder has no CNN", "set freeze_cnn to False")
        if getattr(model.config, "add_adapter", False):
            raise UserError("this encoder shortens its output with an adapter (add_adapter)", "use another checkpoint")
        if freeze:
            model.requires_grad_(False)
        elif freeze_cnn:
            cnn.requires_grad_(False)

    @property
    def seconds_per_row(self) -> float:
        """That of a frame."""
        return self.seconds_per_frame

    def compute(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode waveforms; or, where the CNN of a waveform encoder alone is frozen, its output, [B, T, c]."""
        if wavs.ndim == 2:
            wavs, lengths = self.cut(wavs, lengths)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not (self.freeze or self.held)):
            return self.encode(wavs, lengths)

    def cut(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What is read of waveforms, [B, N], [B] samples: the first `most_samples`."""
        if self.most_samples is None:
            return wavs, lengths
        return wavs[:, : self.most_samples], lengths.clamp(max=self.most_samples)

    def encode(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Implement `forward` for a family; same shapes."""
        raise NotImplementedError

    def signature(self) -> str:
        """Its configuration, its preprocessor and its layers."""
        from local.encoders import description  # takes seconds

        return f"{json.dumps(description(self), sort_keys=True, default=str)}\t{self.model}"

    def weights(self) -> Iterable[Tensor]:
        """All of its weights."""
        return self.model.state_dict().values()

    def train(self, mode: bool = True) -> Encoder:
        """A frozen or held encoder stays in evaluation mode: no dropout, no SpecAugment."""
        return super().train(mode and not (self.freeze or self.held))

    def _spec_augment_mask(self, n_frames: Tensor, size: int) -> Tensor | None:
        """Draw the frames that SpecAugment masks, inside each utterance's true length: [B, size] bool, on the CPU.

        With the checkpoint's rate and span, by transformers (from numpy's generator); but not inside the
        models: HuBERT's own draw ignores padding, and all of them fail on short batches.
        """
        config = self.model.config
        if not (self.training and getattr(config, "apply_spec_augment", True) and config.mask_time_prob > 0):
            return None
        if size <= config.mask_time_length:
            return torch.zeros(len(n_frames), size, dtype=torch.bool)
        from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices  # takes seconds

        mask = _compute_mask_indices(
            (len(n_frames), size),
            mask_prob=config.mask_time_prob,
            mask_length=config.mask_time_length,
            attention_mask=length_mask(n_frames, size).long(),
            min_masks=config.mask_time_min_masks,
        )
        # If an utterance is too short for a span, transformers marks the batch's last frame.
        return torch.from_numpy(mask) & length_mask(n_frames, size)

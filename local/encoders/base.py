"""The base class of encoders; masks and padding."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
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
    `frozen_layers` are the lowest layers of its transformer that are never trained, see `freeze_lowest`. Their output
    is then taken in place of waveforms as well, [B, T, d] of any type with [B] frames.
    """

    held = False
    frozen_layers = 0
    rows_per_frame, masks_features = 1, False  # of what SpecAugment masks
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
        """Encode waveforms; or, of what is frozen below its end, the output, [B, T, c]."""
        if wavs.ndim == 2:
            wavs, lengths = self.cut(wavs, lengths)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not (self.freeze or self.held)):
            # In use, on waveforms, it is an encoder like any other, which can be exported.
            if not self.frozen_layers or (wavs.ndim == 2 and not self.training):
                return self.encode(wavs, lengths)
            hidden, n_frames = (wavs.float(), lengths) if wavs.ndim == 3 else self.lowest(wavs, lengths)
            hidden = self._spec_augment(hidden, n_frames)
            return self.leave(self.through(self.layers()[self.frozen_layers :], hidden, n_frames)), n_frames

    def cut(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What is read of waveforms, [B, N], [B] samples: the first `most_samples`."""
        if self.most_samples is None:
            return wavs, lengths
        return wavs[:, : self.most_samples], lengths.clamp(max=self.most_samples)

    def encode(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Implement `forward` for a family; same shapes."""
        raise NotImplementedError

    # The lowest layers

    def freeze_lowest(self, count: int) -> None:
        """Freeze what comes before its transformer's layers, and the lowest `count` of these; 0 changes nothing.

        With all of them it is frozen as by `freeze`. A `UserError` if there are not so many, or it has none that could
        be computed apart.
        """
        if not count:
            return
        if count > (most := len(self.layers())):
            raise UserError(
                f"freeze_layers is {count}, and the encoder has {most} layers",
                f"set freeze_layers to at most {most}, which freezes the whole encoder",
            )
        self.model.requires_grad_(False)
        self.freeze_cnn, self.freeze = True, self.freeze or count == most
        if not self.freeze:
            self.frozen_layers = count
            for module in self._upper():
                module.requires_grad_(True)

    def lowest(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The output of the frozen layers: [B, N] waveforms, [B] samples -> [B, T, d], [B] frames."""
        with torch.set_grad_enabled(False):
            hidden, n_frames = self.enter(wavs, lengths)
            return self.through(self.layers()[: self.frozen_layers], hidden, n_frames), n_frames

    def layers(self) -> Sequence[nn.Module]:
        """Its transformer's layers, from the lowest; a `UserError` for a family whose layers cannot be run apart."""
        raise UserError(
            f"freeze_layers: the layers of {self.model.config.model_type} pass on more than frames",
            "set freeze_layers to 0, or freeze to True, which freezes all of them",
        )

    def enter(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What its lowest layer is given, in evaluation mode: [B, N], [B] -> [B, T, d], [B]."""
        raise NotImplementedError

    def through(self, layers: Sequence[nn.Module], hidden: Tensor, n_frames: Tensor) -> Tensor:
        """Run some of its layers over the true frames: [B, T, d], [B] -> [B, T, d]."""
        raise NotImplementedError

    def attention_mask(self, hidden: Tensor, n_frames: Tensor) -> Tensor | None:
        """What transformers' layers are given so that no frame attends to padding; of [B, T, d] and [B] frames."""
        from transformers.masking_utils import create_bidirectional_mask  # takes seconds

        true = length_mask(n_frames, hidden.shape[1], hidden.device)
        return create_bidirectional_mask(config=self.model.config, inputs_embeds=hidden, attention_mask=true)

    def leave(self, hidden: Tensor) -> Tensor:
        """What it makes of the output of its highest layer: [B, T, d] -> [B, T, d]."""
        for module in self.after_layers():
            hidden = module(hidden)
        return hidden

    def after_layers(self) -> list[nn.Module]:
        """What comes after its highest layer."""
        return []

    def _upper(self) -> list[nn.Module]:
        """What is trained although the lowest layers are frozen."""
        return [*self.layers()[self.frozen_layers :], *self.after_layers()]

    def lowest_signature(self) -> str:
        """What the output of the frozen layers depends on besides the weights: not what a training alone has."""
        from local.encoders import description  # takes seconds

        config, preprocessor = description(self)
        kept = {key: value for key, value in config.items() if not re.search("drop|^mask_|spec_augment", key)}
        return json.dumps([self.frozen_layers, kept, preprocessor], sort_keys=True, default=str)

    def lowest_weights(self) -> Iterator[Tensor]:
        """The weights that the output of the frozen layers depends on."""
        upper = {id(weight) for module in self._upper() for weight in (*module.parameters(), *module.buffers())}
        for name, weight in self.model.state_dict(keep_vars=True).items():
            if id(weight) not in upper and name != "masked_spec_embed":
                yield weight

    def signature(self) -> str:
        """Its configuration, its preprocessor and its layers."""
        from local.encoders import description  # takes seconds

        return f"{json.dumps(description(self), sort_keys=True, default=str)}\t{self.model}"

    def weights(self) -> Iterable[Tensor]:
        """All of its weights."""
        return self.model.state_dict().values()

    def train(self, mode: bool = True) -> Encoder:
        """A frozen or held encoder stays in evaluation mode, and so do frozen layers: no dropout, no SpecAugment."""
        mode = mode and not (self.freeze or self.held)
        super().train(mode)
        if self.frozen_layers:
            self.model.eval()
            for module in self._upper():
                module.train(mode)
        return self

    # SpecAugment

    def _spec_augment(self, hidden: Tensor, n_frames: Tensor) -> Tensor:
        """SpecAugment in training of what frozen layers make, [B, T, d], whose own input cannot be masked any more.

        Frames and features are masked at the rates and spans of the checkpoint. What is masked becomes the mean of the
        utterance's true frames: what the checkpoint has for a masked frame is not of this layer.
        """
        frames = self._spec_augment_mask(n_frames, hidden.shape[1], self.rows_per_frame)
        features = self._feature_mask(len(hidden))
        if frames is None and features is None:
            return hidden
        # Each mask, [B, T, 1] and [B, 1, d], goes to the device alone: there the two make one of all numbers.
        masks = [mask.unsqueeze(dim) for mask, dim in ((frames, 2), (features, 1)) if mask is not None]
        masked = reduce(torch.logical_or, (mask.to(hidden.device, non_blocking=True) for mask in masks))
        true = length_mask(n_frames, hidden.shape[1], hidden.device)[..., None]
        mean = hidden.masked_fill(~true, 0.0).sum(1, keepdim=True) / true.sum(1, keepdim=True)
        return torch.where(masked, mean, hidden)

    def _feature_mask(self, size: int) -> Tensor | None:
        """Draw the features that SpecAugment masks, where its family masks any: [B, d] bool, on the CPU."""
        config = self.model.config
        if not (self._augments() and self.masks_features and config.mask_feature_prob > 0):
            return None
        from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices  # takes seconds

        values = (config.mask_feature_prob, config.mask_feature_length)
        return torch.from_numpy(
            _compute_mask_indices((size, self.dim), *values, min_masks=config.mask_feature_min_masks)
        )

    def _augments(self) -> bool:
        return self.training and getattr(self.model.config, "apply_spec_augment", True)

    def _spec_augment_mask(self, n_frames: Tensor, size: int, rows_per_frame: int = 1) -> Tensor | None:
        """Draw the frames that SpecAugment masks, inside each utterance's true length: [B, size] bool, on the CPU.

        With the checkpoint's rate and span, by transformers (from numpy's generator); but not inside the
        models: HuBERT's own draw ignores padding, and all of them fail on short batches. The span is that of so many
        rows of what the checkpoint masks.
        """
        config = self.model.config
        if not (self._augments() and getattr(config, "mask_time_prob", 0) > 0):
            return None
        span = max(1, config.mask_time_length // rows_per_frame)
        if size <= span:
            return torch.zeros(len(n_frames), size, dtype=torch.bool)
        from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices  # takes seconds

        mask = _compute_mask_indices(
            (len(n_frames), size),
            mask_prob=config.mask_time_prob,
            mask_length=span,
            attention_mask=length_mask(n_frames, size).long(),
            min_masks=config.mask_time_min_masks,
        )
        # If an utterance is too short for a span, transformers marks the batch's last frame.
        return torch.from_numpy(mask) & length_mask(n_frames, size)


def kept(layers: Iterable[nn.Module], drop: float) -> Iterator[nn.Module]:
    """The layers that layer drop, of this probability, leaves in a pass; all of those in evaluation mode."""
    for layer in layers:
        if not (layer.training and drop > 0 and torch.rand([]) < drop):
            yield layer

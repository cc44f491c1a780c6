"""SpecAugment, and the mask of what is not padding."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from local.encoders.row_source import RowSource


def length_mask(lengths: Tensor, size: int, device: torch.device | str = "cpu") -> Tensor:
    """Mark what is not padding: [B] lengths -> [B, size] bool on a device, without a wait for it."""
    return torch.arange(size, device=device) < lengths.to(device, non_blocking=True)[:, None]


class Masked(RowSource):
    """A source of frames that masks some of its input in training, as the `config` of its `model` says."""

    dim: int  # size d of a frame
    rows_per_frame, masks_features = 1, False  # of what SpecAugment masks

    def _spec_augment(self, hidden: Tensor, n_frames: Tensor) -> Tensor:
        """SpecAugment in training of what frozen layers make, whose own input cannot be masked any more.

        [B, T, n d], of n hidden states one after another, which have the same masks -> the same shape. Frames and
        features are masked at the rates and spans of the checkpoint. What is masked becomes the mean of the utterance's
        true frames: what the checkpoint has for a masked frame is not of this layer.
        """
        frames = self._spec_augment_mask(n_frames, hidden.shape[1], self.rows_per_frame)
        features = self._feature_mask(hidden.shape[0])
        if features is not None:
            features = features.repeat(1, hidden.shape[2] // self.dim)
        if frames is None and features is None:
            return hidden
        # Each mask, [B, T, 1] and [B, 1, d], goes to the device alone: there the two make one of all numbers.
        masks = [mask.unsqueeze(dim) for mask, dim in ((frames, 2), (features, 1)) if mask is not None]
        masked = reduce(torch.logical_or, (mask.to(hidden.device, non_blocking=True) for mask in masks))
        true = length_mask(n_frames, hidden.shape[1], hidden.device)[..., None]
        mean = hidden.masked_fill(~true, 0.0).sum(1, keepdim=True) / true.sum(1, keepdim=True)
        return torch.where(masked, mean, hidden)

    def _masked_embeddings(self, hidden: Tensor, n_frames: Tensor) -> Tensor:
        """SpecAugment in training of what the lowest layer is given, as in pretraining: [B, T, d], [B] -> [B, T, d].

        A masked frame becomes the checkpoint's embedding of one, a masked feature 0; without a wait for the GPU.
        """
        frames, features = self._spec_augment_mask(n_frames, hidden.shape[1]), self._feature_mask(hidden.shape[0])
        if frames is not None:
            # Indices, not a mask: indexing by a mask would wait for the GPU.
            frames = tuple(indices.to(hidden.device, non_blocking=True) for indices in frames.nonzero(as_tuple=True))
            hidden = hidden.index_put(frames, self.model.masked_spec_embed.to(hidden.dtype))
        if features is not None:
            hidden = hidden.masked_fill(features.unsqueeze(1).to(hidden.device, non_blocking=True), 0.0)
        return hidden

    def _feature_mask(self, size: int) -> Tensor | None:
        """Draw the features that SpecAugment masks, where its family masks any: [B, d] bool, on the CPU."""
        config = self.model.config
        if not (self._augments() and self.masks_features and config.mask_feature_prob > 0):
            return None
        from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices  # takes seconds

        values = (config.mask_feature_prob, config.mask_feature_length)
        fewest = getattr(config, "mask_feature_min_masks", 0)  # which WavLM's may lack
        return torch.from_numpy(_compute_mask_indices((size, self.dim), *values, min_masks=fewest))

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

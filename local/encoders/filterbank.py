"""w2v-BERT 2.0: a conformer on filter banks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from local.audio.header import SAMPLE_RATE
from local.encoders.base import each_kept, length_mask
from local.encoders.spectral import SpectralEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class FilterbankEncoder(SpectralEncoder):
    """w2v-BERT 2.0: one frame per 20 ms, from the filter banks of its own feature extractor."""

    masks_features = True

    def __init__(self, model: PreTrainedModel, extractor, freeze: bool = False, freeze_cnn: bool = False) -> None:
        super().__init__(model, None, freeze, freeze_cnn)
        self.extractor = extractor
        self.preprocessor = {name: getattr(extractor, name) for name in ("feature_size", "num_mel_bins", "stride")}
        self.min_samples = 720  # two windows of 25 ms, 10 ms apart (and 10 ms over): one frame

    def encode(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute filter banks per utterance, on the CPU; run the conformer."""
        features, n_frames = self._features(wavs, lengths)
        return self._of_features(features, n_frames, self._spec_augment_mask(n_frames, features.shape[1]))

    def log_mels(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N], [B] samples -> [B, M, bands], [B]: of each frame its `stride` spectra."""
        features, n_frames = self._features(wavs, lengths)
        stride = self.preprocessor["stride"]
        return features.reshape(len(features), -1, features.shape[2] // stride), n_frames * stride

    def of_log_mels(self, log_mels: Tensor, n_spectra: Tensor) -> tuple[Tensor, Tensor]:
        """[B, M, bands], [B], both of whole frames -> [B, T, d], [B]."""
        stride = self.preprocessor["stride"]
        features = log_mels.reshape(len(log_mels), -1, log_mels.shape[2] * stride)
        return self._of_features(features, n_spectra // stride, None)

    def _features(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The feature extractor's, [B, T, stride * bands], [B] frames."""
        lengths = lengths.clamp(min=self.min_samples)
        wavs = F.pad(wavs, (0, max(0, self.min_samples - wavs.shape[1])))
        waves = [wav[:length].numpy() for wav, length in zip(wavs.detach().float().cpu(), lengths, strict=True)]
        inputs = self.extractor(waves, sampling_rate=SAMPLE_RATE, return_tensors="pt", padding=True)
        return inputs["input_features"].to(wavs.device), inputs["attention_mask"].sum(1)

    def _of_features(self, features: Tensor, n_frames: Tensor, masked: Tensor | None) -> tuple[Tensor, Tensor]:
        masked = None if masked is None else masked.to(features.device)
        mask = length_mask(n_frames, features.shape[1], features.device)
        hidden = self.model(features, attention_mask=mask, mask_time_indices=masked).last_hidden_state
        return hidden, n_frames

    def layers(self) -> nn.ModuleList:
        """Those of the model's encoder."""
        return self.model.encoder.layers

    def after_layers(self) -> list[nn.Module]:
        """The feed-forward part that some have."""
        return [] if self.model.intermediate_ffn is None else [self.model.intermediate_ffn]

    def leave(self, hidden: Tensor) -> Tensor:
        """That part's output is added by half."""
        for module in self.after_layers():
            hidden = hidden + 0.5 * module(hidden)
        return hidden

    def enter(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute filter banks and project them."""
        features, n_frames = self._features(wavs, lengths)
        true = length_mask(n_frames, features.shape[1], features.device)
        return self.model.feature_projection(features)[0].masked_fill(~true[..., None], 0.0), n_frames

    def start(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same, with SpecAugment and dropout in training."""
        features, n_frames = self._features(wavs, lengths)
        true = length_mask(n_frames, features.shape[1], features.device)
        hidden, _ = self.model.feature_projection(features)
        hidden = self._masked_embeddings(hidden, n_frames)
        return self.model.encoder.dropout(hidden.masked_fill(~true[..., None], 0.0)), n_frames

    def each(self, layers: Sequence[nn.Module], hidden: Tensor, n_frames: Tensor) -> Iterator[Tensor]:
        """As transformers' encoder."""
        config, positions = self.model.config, self.model.encoder.embed_positions
        masks = {
            "attention_mask": self.attention_mask(hidden, n_frames),
            "conv_attention_mask": length_mask(n_frames, hidden.shape[1], hidden.device),
            "relative_position_embeddings": None if positions is None else positions(hidden),
        }
        return each_kept(layers, config.layerdrop, hidden, lambda layer, hidden: layer(hidden, **masks))

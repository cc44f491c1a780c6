"""wav2vec 2.0, HuBERT, WavLM and data2vec-audio: a CNN on the waveform, then a transformer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.encoders.base import each_kept, length_mask
from local.encoders.kernels.graphs import use_graphs
from local.encoders.kernels.group_norm import normed_convolution
from local.encoders.packing import PackingEncoder, one_by_one, pack, side_by_side, unpack

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class WaveformEncoder(PackingEncoder):
    """wav2vec 2.0, HuBERT, WavLM, data2vec-audio: one frame per 320 samples, from a CNN on the waveform."""

    masks_features = True

    def __init__(self, model: PreTrainedModel, extractor, freeze: bool = False, freeze_cnn: bool = False) -> None:
        super().__init__(model, model.feature_extractor, freeze, freeze_cnn)
        self.normalise = extractor.do_normalize
        self.preprocessor = {"do_normalize": extractor.do_normalize}
        config = model.config
        self.kernels = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self.seconds_per_frame = math.prod(config.conv_stride) / SAMPLE_RATE
        self.min_samples = 1
        for kernel, stride in reversed(self.kernels):
            self.min_samples = (self.min_samples - 1) * stride + kernel
        if getattr(config, "conv_pos_batch_norm", False):
            raise UserError(
                "this encoder has a batch norm over padded frames (conv_pos_batch_norm)", "use another checkpoint"
            )
        convolutions = [layer for layer in model.feature_extractor.conv_layers if not _has_group_norm(layer)]
        positions = model.encoder.pos_conv_embed
        # data2vec-audio masks within its positional convolution, and WavLM trains a bias that its layers share.
        of_frames = [] if hasattr(positions, "layers") else [positions]
        use_graphs([*convolutions, *of_frames, *([] if config.model_type == "wavlm" else self.layers())])

    def features(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run the CNN: [B, N] waveforms, [B] samples -> [B, T, c] features, [B] frames."""
        lengths = lengths.clamp(min=self.min_samples)
        wavs = F.pad(wavs, (0, max(0, self.min_samples - wavs.shape[1])))
        if self.normalise:
            wavs = _standardise(wavs, lengths)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_cnn):
            hidden, n_frames = wavs[:, None], lengths
            for layer, (kernel, stride) in zip(self.model.feature_extractor.conv_layers, self.kernels, strict=True):
                n_frames = (n_frames - kernel) // stride + 1
                if _has_group_norm(layer):
                    hidden = layer.activation(normed_convolution(layer.conv, layer.layer_norm, hidden, n_frames))
                else:
                    hidden = layer(hidden)
        return hidden.transpose(1, 2), n_frames

    def _projected(self, features: Tensor) -> Tensor:
        hidden = self.model.feature_projection(features)
        return hidden[0] if isinstance(hidden, tuple) else hidden

    def layers(self) -> nn.ModuleList:
        """Those of the model's encoder."""
        return self.model.encoder.layers

    def after_layers(self) -> list[nn.Module]:
        """The layer norm, where layers begin with their own (`do_stable_layer_norm`)."""
        return [self.model.encoder.layer_norm] if self._norm_is_last() else []

    def _norm_is_last(self) -> bool:
        return getattr(self.model.config, "do_stable_layer_norm", False)

    def enter(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run the CNN, project, add the positional convolution; and the layer norm, where that comes first."""
        features, n_frames = self.features(wavs, lengths)
        hidden = self._projected(features)
        return self._placed(hidden, length_mask(n_frames, hidden.shape[1], hidden.device)), n_frames

    def start(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same of waveforms or of the CNN's output, with SpecAugment and dropout in training."""
        if not self.is_packed(wavs):
            hidden, n_frames = self._projected_and_masked(wavs, lengths)
            placed = self._placed(hidden, length_mask(n_frames, hidden.shape[1], hidden.device))
            return self.model.encoder.dropout(placed), n_frames
        each = [self._projected_and_masked(*one) for one in one_by_one(wavs, lengths)]
        hidden, n_frames = side_by_side(each)
        # Apart, so that the positional convolution of one does not reach another.
        gap = max(
            conv.padding[0] for conv in self.model.encoder.pos_conv_embed.modules() if isinstance(conv, nn.Conv1d)
        )
        mask = pack(length_mask(n_frames, hidden.shape[1])[..., None], n_frames, gap)[..., 0]
        placed = self.model.encoder.dropout(self._placed(pack(hidden, n_frames, gap), mask))
        return unpack(placed, n_frames, hidden.shape[1], gap), n_frames

    def _projected_and_masked(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        features, n_frames = (wavs.float(), lengths) if wavs.ndim == 3 else self.features(wavs, lengths)
        return self._masked_embeddings(self._projected(features), n_frames), n_frames

    def _placed(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Add the positional convolution; `mask` is [B, T], true where a frame is an utterance's."""
        hidden = hidden.masked_fill(~mask[..., None], 0.0)
        hidden = hidden + self._positions(hidden, mask)
        return hidden if self._norm_is_last() else self.model.encoder.layer_norm(hidden)

    def _positions(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The positional convolution of what is masked already.

        data2vec-audio has several in sequence, each of which would mix padding into the utterance's end.
        """
        convolutions = self.model.encoder.pos_conv_embed
        if not hasattr(convolutions, "layers"):
            return convolutions(hidden)
        hidden = hidden.transpose(1, 2)
        for layer in convolutions.layers:
            hidden = layer(hidden.masked_fill(~mask[:, None], 0.0))
        return hidden.transpose(1, 2)

    def attention_mask(self, hidden: Tensor, n_frames: Tensor) -> Tensor | None:
        """WavLM's layers are given that of `length_mask`."""
        if self.model.config.model_type == "wavlm":
            return length_mask(n_frames, hidden.shape[1], hidden.device)
        return super().attention_mask(hidden, n_frames)

    def run(self, layers: Sequence[nn.Module], hidden: Tensor, mask: Tensor | None, longest: int) -> Iterator[Tensor]:
        """As transformers' encoders; WavLM's layers share the bias of positions that the lowest of all has."""
        values = {"attention_mask": mask}
        if self.model.config.model_type == "wavlm":
            values["position_bias"] = self.layers()[0].attention.compute_bias(longest, longest)[None]

        def output(layer: nn.Module, hidden: Tensor) -> Tensor:
            made = layer(hidden, **values)
            return made[0] if isinstance(made, tuple) else made

        return each_kept(layers, getattr(self.model.config, "layerdrop", 0.0), hidden, output)


def _has_group_norm(layer: nn.Module) -> bool:
    return isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm)


def _standardise(wavs: Tensor, lengths: Tensor) -> Tensor:
    """Bring each waveform to zero mean and unit variance over its true length; zeros beyond it.

    As transformers' Wav2Vec2FeatureExtractor does: (x - mean) / sqrt(var + 1e-7).
    """
    mask = length_mask(lengths, wavs.shape[1], wavs.device)
    samples = mask.sum(1, keepdim=True)
    wavs = (wavs - (wavs * mask).sum(1, keepdim=True) / samples) * mask
    return wavs / torch.sqrt(wavs.square().sum(1, keepdim=True) / samples + 1e-7)

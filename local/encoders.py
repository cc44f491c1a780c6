"""Speech encoders: a batch of waveforms to frames, the same for an utterance alone and in any batch.

Three families cover the Hugging Face hub: wav2vec 2.0, HuBERT, WavLM and data2vec-audio read the
waveform through a CNN; w2v-BERT 2.0 reads filter banks; Whisper (its encoder) log-mel spectra.

The weights are loaded with transformers rather than with SpeechBrain's lobes: those normalise the
padded batch, let padding into group norm, pad Whisper's input to 30 s, and ask the hub even for
what is cached.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, PreTrainedModel, Wav2Vec2FeatureExtractor
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

from local.audio import SAMPLE_RATE
from local.cpu import quicken
from local.errors import UserError

logger = logging.getLogger(__name__)

WAVEFORM = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
KNOWN = (*WAVEFORM, "wav2vec2-bert", "whisper")


def length_mask(lengths: Tensor, size: int, device: torch.device | str = "cpu") -> Tensor:
    """Mark what is not padding: [B] lengths -> [B, size] bool on a device, which is not waited for."""
    return torch.arange(size, device=device) < lengths.to(device, non_blocking=True)[:, None]


class Encoder(nn.Module):
    """Base of the families: freezing, SpecAugment, and the contract of `forward`.

    Attributes
    ----------
    dim
        Size d of a frame.
    max_samples
        Longest input in samples, or None where there is no limit.
    """

    max_samples: int | None = None

    def __init__(self, model: PreTrainedModel, cnn: nn.Module | None, freeze: bool, freeze_cnn: bool) -> None:
        super().__init__()
        quicken(model)
        self.model = model
        self.dim: int = model.config.hidden_size
        self.freeze = freeze
        self.freeze_cnn = freeze or freeze_cnn
        if freeze_cnn and cnn is None:
            raise UserError(f"freeze_cnn: a {model.config.model_type} encoder has no CNN", "set freeze_cnn to False")
        if getattr(model.config, "add_adapter", False):
            raise UserError("this encoder shortens its output with an adapter (add_adapter)", "take another checkpoint")
        if freeze:
            model.requires_grad_(False)
        elif freeze_cnn:
            cnn.requires_grad_(False)

    def forward(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode waveforms.

        Parameters
        ----------
        wavs
            [B, N] float, 16 kHz, zero beyond each utterance's end. Waveform encoders take in their place
            what their CNN has made of them (see `local.feature_store`): [B, T, c] features of any type.
        lengths
            [B] int, true samples, or frames, per utterance; on the CPU whatever the device, which would
            have to be waited for to learn them.

        Returns
        -------
        frames
            [B, T, d]; what lies beyond an utterance's last true frame is undefined.
        n_frames
            [B] int, true frames per utterance, at least 1; on the CPU.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            return self.encode(wavs, lengths)

    def encode(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What a family does behind `forward`; same shapes."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Encoder:
        """A frozen encoder stays in evaluation mode: no dropout, no SpecAugment."""
        return super().train(mode and not self.freeze)

    def _spec_augment_mask(self, n_frames: Tensor, size: int) -> Tensor | None:
        """Draw the frames that SpecAugment hides, inside each utterance's true length: [B, size] bool, on the CPU.

        The checkpoint's own rate and span, drawn by transformers (from numpy's generator); given
        explicitly because HuBERT's own draw ignores padding and all of them refuse short batches.
        """
        config = self.model.config
        if not (self.training and getattr(config, "apply_spec_augment", True) and config.mask_time_prob > 0):
            return None
        if size <= config.mask_time_length:
            return torch.zeros(len(n_frames), size, dtype=torch.bool)
        mask = _compute_mask_indices(
            (len(n_frames), size),
            mask_prob=config.mask_time_prob,
            mask_length=config.mask_time_length,
            attention_mask=length_mask(n_frames, size).long(),
            min_masks=config.mask_time_min_masks,
        )
        # Where an utterance is too short for a span, transformers marks the batch's last frame.
        return torch.from_numpy(mask) & length_mask(n_frames, size)


class WaveformEncoder(Encoder):
    """wav2vec 2.0, HuBERT, WavLM, data2vec-audio: one frame per 320 samples, from a CNN on the waveform."""

    def __init__(self, model: PreTrainedModel, normalise: bool, freeze: bool = False, freeze_cnn: bool = False) -> None:
        super().__init__(model, model.feature_extractor, freeze, freeze_cnn)
        self.normalise = normalise
        config = model.config
        self.kernels = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self.min_samples = 1
        for kernel, stride in reversed(self.kernels):
            self.min_samples = (self.min_samples - 1) * stride + kernel
        if getattr(config, "conv_pos_batch_norm", False):
            raise UserError(
                "this encoder has a batch norm over padded frames (conv_pos_batch_norm)", "take another checkpoint"
            )
        # data2vec-audio stacks several positional convolutions, each of which would smear the padding
        # into the utterance's end; in the others there is one, and its input is masked already.
        self._mask: Tensor | None = None
        for layer in getattr(model.encoder.pos_conv_embed, "layers", ()):
            layer.register_forward_pre_hook(lambda _, inputs: (inputs[0].masked_fill(~self._mask[:, None], 0.0),))

    def encode(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """CNN, unless the input is its output already, then transformer."""
        features, n_frames = (wavs.float(), lengths) if wavs.ndim == 3 else self.features(wavs, lengths)
        return self.context(features, n_frames), n_frames

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
                if isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm):
                    hidden = layer.activation(_group_norm(layer.conv(hidden), layer.layer_norm, n_frames))
                else:
                    hidden = layer(hidden)
        return hidden.transpose(1, 2), n_frames

    def context(self, features: Tensor, n_frames: Tensor) -> Tensor:
        """Project the CNN's features, hide some (SpecAugment), run the transformer: [B, T, c] -> [B, T, d]."""
        hidden = self.model.feature_projection(features)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        hide = self._spec_augment_mask(n_frames, hidden.shape[1])
        if hide is not None:
            # Indices in place of a mask: to find out what a mask on a GPU selects, it would be waited for.
            hide = tuple(indices.to(hidden.device, non_blocking=True) for indices in hide.nonzero(as_tuple=True))
        hidden = self.model._mask_hidden_states(hidden, mask_time_indices=hide)
        self._mask = length_mask(n_frames, hidden.shape[1], hidden.device)
        return self.model.encoder(hidden, attention_mask=self._mask).last_hidden_state


class FilterbankEncoder(Encoder):
    """w2v-BERT 2.0: one frame per 20 ms, from filter banks that its own feature extractor makes."""

    def __init__(self, model: PreTrainedModel, extractor, freeze: bool = False, freeze_cnn: bool = False) -> None:
        super().__init__(model, None, freeze, freeze_cnn)
        self.extractor = extractor
        self.min_samples = 720  # two windows of 25 ms, 10 ms apart (and 10 ms over): one frame

    def encode(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Filter banks per utterance, on the CPU, then the conformer."""
        lengths = lengths.clamp(min=self.min_samples)
        wavs = F.pad(wavs, (0, max(0, self.min_samples - wavs.shape[1])))
        waves = [wav[:length].numpy() for wav, length in zip(wavs.detach().float().cpu(), lengths, strict=True)]
        inputs = self.extractor(waves, sampling_rate=SAMPLE_RATE, return_tensors="pt", padding=True)
        features = inputs["input_features"].to(wavs.device)
        n_frames = inputs["attention_mask"].sum(1)
        hide = self._spec_augment_mask(n_frames, features.shape[1])
        hide = None if hide is None else hide.to(wavs.device)
        mask = length_mask(n_frames, features.shape[1], wavs.device)
        hidden = self.model(features, attention_mask=mask, mask_time_indices=hide).last_hidden_state
        return hidden, n_frames


class WhisperEncoder(Encoder):
    """Whisper's encoder: one frame per 20 ms, from log-mel spectra over the utterance's true length (30 s at most)."""

    def __init__(self, model: PreTrainedModel, extractor, freeze: bool = False, freeze_cnn: bool = False) -> None:
        super().__init__(model, nn.ModuleList([model.conv1, model.conv2]), freeze, freeze_cnn)
        model.embed_positions.requires_grad_(False)  # fixed sinusoids; transformers forgets so on loading
        self.n_fft, self.hop = extractor.n_fft, extractor.hop_length
        self.max_samples = model.config.max_source_positions * 2 * self.hop
        mel = torch.as_tensor(extractor.mel_filters, dtype=torch.float32)
        self.register_buffer("mel", mel if mel.shape[1] == self.n_fft // 2 + 1 else mel.T, persistent=False)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    def encode(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra, two convolutions, then transformer."""
        spectra, n_spectra = self.spectra(wavs, lengths)
        hide = self._spec_augment_mask(n_spectra, spectra.shape[2])
        if hide is not None:
            spectra = spectra.masked_fill(hide.to(spectra.device, non_blocking=True)[:, None], 0.0)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_cnn):
            hidden = F.gelu(self.model.conv1(spectra))
            # What the second convolution sees beyond the end must be what it would see alone: zeros.
            hidden = hidden.masked_fill(~length_mask(n_spectra, hidden.shape[2], hidden.device)[:, None], 0.0)
            hidden = F.gelu(self.model.conv2(hidden)).transpose(1, 2)
        n_frames = (n_spectra - 1) // 2 + 1
        return self.context(hidden, n_frames), n_frames

    def context(self, hidden: Tensor, n_frames: Tensor) -> Tensor:
        """Add positions and run the transformer over the true frames: [B, T, d] -> [B, T, d]."""
        config, model = self.model.config, self.model
        hidden = hidden + model.embed_positions.weight[: hidden.shape[1]]
        hidden = F.dropout(hidden, p=config.dropout, training=self.training)
        mask = create_bidirectional_mask(
            config=config,
            inputs_embeds=hidden,
            attention_mask=length_mask(n_frames, hidden.shape[1], hidden.device),
        )
        for layer in model.layers:
            if self.training and config.encoder_layerdrop > 0 and torch.rand([]) < config.encoder_layerdrop:
                continue
            hidden = layer(hidden, mask)
        return model.layer_norm(hidden)

    def spectra(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel spectra as Whisper's feature extractor makes them, each over its own true length.

        [B, N] waveforms, [B] samples -> [B, mels, M] spectra, zero beyond the end, and [B] spectra.
        Clamped 8 decades below the utterance's own maximum, then (x + 4) / 4.
        """
        longest = int(lengths.max())
        if longest > self.max_samples:
            raise ValueError(
                f"{longest / SAMPLE_RATE:.1f} s of audio: this encoder reads {self.max_samples / SAMPLE_RATE:.0f} s"
            )
        n_spectra = lengths.clamp(min=self.hop) // self.hop
        with torch.autocast(wavs.device.type, enabled=False):
            # Half a window of zeros on the right, then reflected: no utterance sees what follows it.
            wavs = F.pad(wavs.float(), (0, self.n_fft + self.hop))
            power = torch.stft(wavs, self.n_fft, self.hop, window=self.window, return_complex=True).abs() ** 2
            mel = (self.mel @ power).clamp(min=1e-10).log10()[..., : int(n_spectra.max())]
        beyond = ~length_mask(n_spectra, mel.shape[2], mel.device)[:, None]
        loudest = mel.masked_fill(beyond, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return ((torch.maximum(mel, loudest - 8.0) + 4.0) / 4.0).masked_fill(beyond, 0.0), n_spectra


def _standardise(wavs: Tensor, lengths: Tensor) -> Tensor:
    """Bring each waveform to zero mean and unit variance over its true length; zeros beyond it.

    As transformers' Wav2Vec2FeatureExtractor does: (x - mean) / sqrt(var + 1e-7).
    """
    mask = length_mask(lengths, wavs.shape[1], wavs.device)
    samples = mask.sum(1, keepdim=True)
    wavs = (wavs - (wavs * mask).sum(1, keepdim=True) / samples) * mask
    return wavs / torch.sqrt(wavs.square().sum(1, keepdim=True) / samples + 1e-7)


def _group_norm(hidden: Tensor, norm: nn.GroupNorm, n_frames: Tensor) -> Tensor:
    """Group norm with one channel a group, over each utterance's true frames only: [B, c, T] -> [B, c, T]."""
    if hidden.device.type != "cpu":
        return _masked_group_norm(hidden, norm, n_frames)
    # A processor is faster utterance by utterance.
    size, settings = hidden.shape[2], (norm.num_groups, norm.weight, norm.bias, norm.eps)
    true = [(one[None, :, :length], size - length) for one, length in zip(hidden, n_frames.tolist(), strict=True)]
    return torch.cat([F.pad(torch.group_norm(frames, *settings), (0, beyond)) for frames, beyond in true])


def _masked_group_norm(hidden: Tensor, norm: nn.GroupNorm, n_frames: Tensor) -> Tensor:
    """The same in one go."""
    mask = length_mask(n_frames, hidden.shape[2], hidden.device)[:, None]
    count = mask.sum(2, keepdim=True)
    values = hidden.float()
    mean = (values * mask).sum(2, keepdim=True) / count
    variance = ((values - mean) * mask).square().sum(2, keepdim=True) / count
    scale = norm.weight[:, None] * torch.rsqrt(variance + norm.eps)
    return ((values - mean) * scale + norm.bias[:, None]).to(hidden.dtype)


def load_encoder(source: str | dict, freeze: bool = False, freeze_cnn: bool = False) -> Encoder:
    """Load a pretrained encoder, or build one from scratch.

    Parameters
    ----------
    source
        A Hugging Face folder or hub name; or a mapping, the configuration of an encoder to be made
        with random weights: transformers' `model_type` and its keys, and `do_normalize`.
    freeze
        Nothing of the encoder learns.
    freeze_cnn
        Its CNN does not learn.

    Raises
    ------
    UserError
        There is no such encoder, it cannot be read, or its architecture is not one of the known.
    """
    if isinstance(source, dict):
        settings = dict(source)
        kind = settings.get("model_type")
        if kind not in WAVEFORM:
            raise UserError(f"encoder: model_type is {kind}", f"set model_type to one of: {' '.join(WAVEFORM)}")
        normalise = settings.pop("do_normalize", True)
        model = AutoModel.from_config(AutoConfig.for_model(**settings))
        return WaveformEncoder(model, normalise, freeze, freeze_cnn)

    kind = _read(AutoConfig, source).model_type
    if kind not in KNOWN:
        raise UserError(
            f"encoder {source}: '{kind}' is not an architecture known here",
            f"take a checkpoint of one of: {' '.join(KNOWN)}",
        )
    extractor = _read_extractor(source, kind)
    model = _read(AutoModel, source)
    if kind in WAVEFORM:
        return WaveformEncoder(model, extractor.do_normalize, freeze, freeze_cnn)
    if kind == "wav2vec2-bert":
        return FilterbankEncoder(model, extractor, freeze, freeze_cnn)
    return WhisperEncoder(model.encoder, extractor, freeze, freeze_cnn)


def _read(auto: type, source: str):
    try:
        return auto.from_pretrained(source)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"encoder {source}: cannot be loaded ({str(error).splitlines()[0]})",
            "give a folder with config.json and weights, or a hub name when there is a network",
        ) from None


def _read_extractor(source: str, kind: str):
    """Load the checkpoint's preprocessor; a waveform encoder without one gets transformers' default."""
    if kind in WAVEFORM and Path(source).is_dir() and not (Path(source) / "preprocessor_config.json").exists():
        logger.warning("encoder %s has no preprocessor_config.json: waveforms will be normalised", source)
        return Wav2Vec2FeatureExtractor(do_normalize=True)
    return _read(AutoFeatureExtractor, source)

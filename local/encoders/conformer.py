"""The encoder of SpeechBrain's conformers for speech recognition, transducers and CTC/attention models alike.

A. Gulati et al.: Conformer, Interspeech 2020. What is read of a folder of the hub: `speechbrain_folder`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedConfig

from local.audio.header import SAMPLE_RATE
from local.encoders.spectral import SpectralEncoder, by_length

LEAST = 1e-10  # SpeechBrain's, of a standard deviation


class ConformerConfig(PreTrainedConfig):
    """Sizes of the encoder; the defaults are those of SpeechBrain's large models for LibriSpeech."""

    model_type = "speechbrain-conformer"

    hidden_size: int = 512  # of a frame
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    intermediate_size: int = 2048
    kernel_size: int = 31
    bias: bool = True
    causal: bool = False
    num_mel_bins: int = 80
    input_size: int = 640  # of what the convolutions before it make of a spectrum
    conv_layers: int = 1  # in each block of convolutions
    conv_channels: list[int] | tuple[int, ...] = (64, 32)
    conv_kernels: list[int] | tuple[int, ...] = (3, 3)
    conv_strides: list[int] | tuple[int, ...] = (2, 2)
    conv_residuals: list[bool] | tuple[bool, ...] = (False, False)
    norm_type: str = "global"  # of the spectra: by mean and deviation of the training set, or of the `sentence`


class ConformerFeatures:
    """The settings of SpeechBrain's `Fbank`, its windows in ms."""

    def __init__(self, n_fft: int = 512, win_length: int = 32, hop_length: int = 10) -> None:
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length, hop_length


class ConformerModel(nn.Module):
    """SpeechBrain's modules, and the statistics of their inputs."""

    def __init__(self, config: ConformerConfig) -> None:
        from speechbrain.lobes.models.convolution import ConvolutionFrontEnd  # takes seconds
        from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR

        super().__init__()
        if config.norm_type not in ("global", "sentence"):
            raise ValueError(f"norm_type is {config.norm_type}, not global or sentence")
        self.config = config
        self.cnn = ConvolutionFrontEnd(
            input_shape=(1, 10, config.num_mel_bins),
            num_blocks=len(config.conv_channels),
            num_layers_per_block=config.conv_layers,
            out_channels=config.conv_channels,
            kernel_sizes=config.conv_kernels,
            strides=config.conv_strides,
            dilations=[1] * len(config.conv_channels),
            residuals=config.conv_residuals,
        )
        self.transformer = TransformerASR(
            tgt_vocab=1,
            input_size=config.input_size,
            d_model=config.hidden_size,
            nhead=config.num_attention_heads,
            num_encoder_layers=config.num_hidden_layers,
            num_decoder_layers=0,
            d_ffn=config.intermediate_size,
            kernel_size=config.kernel_size,
            bias=config.bias,
            causal=config.causal,
            encoder_module="conformer",
            attention_type="RelPosMHAXL",
            normalize_before=True,
        )
        del self.transformer.positional_encoding_decoder
        self.register_buffer("mean", torch.zeros(config.num_mel_bins))
        self.register_buffer("deviation", torch.ones(config.num_mel_bins))

    def normalised(self, spectra: Tensor) -> Tensor:
        """[M, bands] of an utterance -> the same."""
        mean, deviation = self.mean, self.deviation
        if self.config.norm_type == "sentence":
            mean, deviation = spectra.mean(0), spectra.std(0, correction=0)
        return (spectra - mean) / deviation.clamp(min=LEAST)

    def forward(self, spectra: Tensor) -> Tensor:
        """[B, M, bands] normalised spectra of one length -> [B, T, d]."""
        return self.transformer.encode(self.cnn(spectra))

    def enter(self, spectra: Tensor) -> Tensor:
        """The same up to the lowest layer: [B, M, bands] -> [B, T, d]."""
        return self.transformer.custom_src_module(self.cnn(spectra).flatten(2))

    def through(self, layers: Sequence[nn.Module], hidden: Tensor) -> Tensor:
        """Run some of its layers: [B, T, d] of one length -> [B, T, d]."""
        from speechbrain.lobes.models.transformer.TransformerASR import make_transformer_src_tgt_masks

        positions = self.transformer.positional_encoding(hidden)
        _, _, mask, _ = make_transformer_src_tgt_masks(hidden, causal=self.transformer.causal)
        for layer in layers:
            hidden, _ = layer(hidden, src_mask=mask, pos_embs=positions)
        return hidden


class ConformerEncoder(SpectralEncoder):
    """One frame per 40 ms, or whatever the strides of its convolutions make."""

    norms_last_state = True

    def __init__(
        self, model: ConformerModel, extractor: ConformerFeatures, freeze: bool = False, freeze_cnn: bool = False
    ) -> None:
        from speechbrain.lobes.features import Fbank

        super().__init__(model, model.cnn, freeze, freeze_cnn)
        names = ("n_fft", "win_length", "hop_length")
        self.preprocessor = {name: getattr(extractor, name) for name in names}
        stride = math.prod(model.config.conv_strides)
        self.seconds_per_spectrum = extractor.hop_length / 1000
        self.seconds_per_frame = stride * self.seconds_per_spectrum
        # The convolutions mirror their input at its ends: the last of them needs two rows.
        self.min_samples = round(2 * self.seconds_per_frame * SAMPLE_RATE)
        self.fbank = Fbank(sample_rate=SAMPLE_RATE, n_mels=model.config.num_mel_bins, **self.preprocessor)
        del self.fbank.compute_deltas  # not used, and its kernel would be among the weights

    def log_mels(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N], [B] samples -> [B, M, bands], [B]: each over its own length, at most 80 dB below its own maximum."""
        wavs = F.pad(wavs.float(), (0, max(0, self.min_samples - wavs.shape[1])))
        counts = lengths.clamp(min=self.min_samples).tolist()
        with torch.autocast(wavs.device.type, enabled=False):
            spectra = [
                self.model.normalised(self.fbank(wav[None, :count])[0]) for wav, count in zip(wavs, counts, strict=True)
            ]
        return pad_sequence(spectra, batch_first=True), torch.tensor([len(each) for each in spectra])

    def of_log_mels(self, log_mels: Tensor, n_spectra: Tensor) -> tuple[Tensor, Tensor]:
        """[B, M, bands], [B] -> [B, T, d], [B]; the convolutions know no padding."""
        return by_length(self.model, log_mels, n_spectra)

    def layers(self) -> nn.ModuleList:
        """The conformer's."""
        return self.model.transformer.encoder.layers

    def after_layers(self) -> list[nn.Module]:
        """The layer norm."""
        return [self.model.transformer.encoder.norm]

    def enter(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute spectra, run the convolutions and the linear layer after them."""
        return by_length(self.model.enter, *self.log_mels(wavs, lengths))

    def through(self, layers: Sequence[nn.Module], hidden: Tensor, n_frames: Tensor) -> Tensor:
        """As SpeechBrain's encoder."""
        return by_length(partial(self.model.through, layers), hidden, n_frames)[0]

    def each(self, layers: Sequence[nn.Module], hidden: Tensor, n_frames: Tensor) -> Iterator[Tensor]:
        """The same, layer by layer."""
        for layer in layers:
            hidden = self.through([layer], hidden, n_frames)
            yield hidden

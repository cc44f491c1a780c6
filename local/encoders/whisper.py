"""Whisper's encoder: two convolutions and a transformer on log-mel spectra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from local.audio.header import SAMPLE_RATE
from local.encoders.base import each_kept, length_mask
from local.encoders.kernels.graphs import use_graphs
from local.encoders.packing import PackingEncoder, one_by_one, side_by_side
from local.encoders.spectral import SpectralEncoder


class WhisperEncoder(PackingEncoder, SpectralEncoder):
    """Whisper's encoder: one frame per 20 ms, from log-mel spectra over the utterance's true length (30 s at most)."""

    rows_per_frame = 2  # spectra
    norms_last_state = True

    def __init__(self, model: PreTrainedModel, extractor, freeze: bool = False, freeze_cnn: bool = False) -> None:
        super().__init__(model, nn.ModuleList([model.conv1, model.conv2]), freeze, freeze_cnn)
        use_graphs(self.layers())
        model.embed_positions.requires_grad_(False)  # fixed sinusoids; transformers forgets that on loading
        self.preprocessor = {name: getattr(extractor, name) for name in ("feature_size", "hop_length", "n_fft")}
        self.n_fft, self.hop = extractor.n_fft, extractor.hop_length
        self.max_samples = model.config.max_source_positions * 2 * self.hop
        mel = torch.as_tensor(extractor.mel_filters, dtype=torch.float32)
        self.register_buffer("mel", mel if mel.shape[1] == self.n_fft // 2 + 1 else mel.T, persistent=False)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    def _masked(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute spectra, and mask some (SpecAugment); as `spectra`."""
        spectra, n_spectra = self.spectra(wavs, lengths)
        masked = self._spec_augment_mask(n_spectra, spectra.shape[2])
        if masked is not None:
            spectra = spectra.masked_fill(masked.to(spectra.device, non_blocking=True)[:, None], 0.0)
        return spectra, n_spectra

    def log_mels(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N], [B] samples -> [B, M, mels], [B]."""
        spectra, n_spectra = self.spectra(wavs, lengths)
        return spectra.transpose(1, 2), n_spectra

    def of_log_mels(self, log_mels: Tensor, n_spectra: Tensor) -> tuple[Tensor, Tensor]:
        """[B, M, mels], zero beyond the end, [B] -> [B, T, d], [B]."""
        hidden, n_frames = self._begun(log_mels.transpose(1, 2), n_spectra)
        return self.leave(self.through(self.layers(), hidden, n_frames)), n_frames

    def start(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As `enter`, with SpecAugment and dropout in training."""
        if not self.is_packed(wavs):
            return self._begun(*self._masked(wavs, lengths))
        return side_by_side([self._begun(*self._masked(*one)) for one in one_by_one(wavs, lengths)])

    def _begun(self, spectra: Tensor, n_spectra: Tensor) -> tuple[Tensor, Tensor]:
        """Of spectra, [B, mels, M], [B]."""
        hidden, n_frames = self._placed(spectra, n_spectra)
        return F.dropout(hidden, p=self.model.config.dropout, training=self.training), n_frames

    def _placed(self, spectra: Tensor, n_spectra: Tensor) -> tuple[Tensor, Tensor]:
        """Run the two convolutions and add positions."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_cnn):
            hidden = F.gelu(self.model.conv1(spectra))
            # Beyond its end, an utterance alone is padded with zeros by the second convolution.
            hidden = hidden.masked_fill(~length_mask(n_spectra, hidden.shape[2], hidden.device)[:, None], 0.0)
            hidden = F.gelu(self.model.conv2(hidden)).transpose(1, 2)
        return hidden + self.model.embed_positions.weight[: hidden.shape[1]], (n_spectra - 1) // 2 + 1

    def layers(self) -> nn.ModuleList:
        """The model's."""
        return self.model.layers

    def after_layers(self) -> list[nn.Module]:
        """The layer norm."""
        return [self.model.layer_norm]

    def enter(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute spectra, run the two convolutions and add positions."""
        return self._placed(*self.spectra(wavs, lengths))

    def run(self, layers: Sequence[nn.Module], hidden: Tensor, mask: Tensor | None, longest: int) -> Iterator[Tensor]:
        """As transformers' encoder."""
        return each_kept(layers, self.model.config.encoder_layerdrop, hidden, lambda layer, hidden: layer(hidden, mask))

    def spectra(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel spectra as of Whisper's feature extractor, each over its own true length.

        [B, N] waveforms, [B] samples -> [B, mels, M] spectra, zero beyond the end, and [B] spectra.
        Clamped 8 decades below the utterance's own maximum, then (x + 4) / 4.
        """
        # An exported graph must work for any lengths: there, N counts.
        longest = wavs.shape[1] if torch.compiler.is_exporting() else int(lengths.max())
        if longest > self.max_samples:
            raise ValueError(
                f"{longest / SAMPLE_RATE:.1f} s of audio: this encoder reads {self.max_samples / SAMPLE_RATE:.0f} s"
            )
        n_spectra = lengths.clamp(min=self.hop) // self.hop
        with torch.autocast(wavs.device.type, enabled=False):
            # Zeros on the right, more than half a window, are reflected: an utterance does not depend on the next one.
            wavs = F.pad(wavs.float(), (0, self.n_fft + self.hop))
            power = torch.stft(wavs, self.n_fft, self.hop, window=self.window, return_complex=True).abs() ** 2
            mel = (self.mel @ power).clamp(min=1e-10).log10()[..., : max(longest, self.hop) // self.hop]
        beyond = ~length_mask(n_spectra, mel.shape[2], mel.device)[:, None]
        loudest = mel.masked_fill(beyond, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return ((torch.maximum(mel, loudest - 8.0) + 4.0) / 4.0).masked_fill(beyond, 0.0), n_spectra

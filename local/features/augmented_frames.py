"""Frames of a frozen encoder: of an utterance, and of copies of it whose log-mel spectra SpecAugment has changed.

SpecAugment's policy "LibriSpeech basic", before the encoder: one mask of up to 27 of 80 bands and one of up to 1 s,
after a warp of time by up to 80 spectra if that is asked for. Computed once and stored, the encoder is not needed in
training (Lu et al. 2020, `local.systems.lu_asr_attention`).
"""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from local.encoders.spectral import SpectralEncoder
from local.features.of_encoder import EncoderFrontEnd
from local.features.spec_augment import mask_bands, mask_time, warp_time

MOST_BANDS, OF_BANDS, MOST_SECONDS, WARP = 27, 80, 1.0, 80  # the widest masks, and the farthest warp in spectra


class AugmentedFrames(EncoderFrontEnd):
    """Waveform -> [T, encodings * d], for frames of size d: first those of the utterance itself, then of each copy.

    What is masked becomes the mean of the utterance's spectra. It is drawn from `seed` and the samples' checksum: an
    utterance always has the same copies, and the number of copies changes none of them.
    """

    def __init__(self, encoder: SpectralEncoder, encodings: int, time_warp: bool = False, seed: int = 0) -> None:
        super().__init__(encoder)
        self.encodings, self.time_warp, self.seed = encodings, time_warp, seed
        self.width = encodings * encoder.dim
        self.seconds_per_row = encoder.seconds_per_frame

    def batch(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N], [B] samples -> [B, T, encodings * d], [B]."""
        rows = [self._encodings(wav[None, :length]) for wav, length in zip(wavs, lengths.tolist(), strict=True)]
        return pad_sequence(rows, batch_first=True), torch.tensor([len(each) for each in rows])

    def _encodings(self, wav: Tensor) -> Tensor:
        """[1, N] -> [T, encodings * d]."""
        length = torch.tensor([wav.shape[1]])
        clean, n_frames = self.encoder(wav, length)
        frames = [clean[:, : int(n_frames)]]  # alone: bit for bit what a store of the frames would have
        if self.encodings > 1:
            log_mels, n_spectra = self.encoder.log_mels(*self.encoder.cut(wav, length))
            chances = [torch.Generator().manual_seed(each) for each in self._seeds(wav)]
            copies = torch.cat([self.augmented(log_mels[:, : int(n_spectra)], chance) for chance in chances])
            made, _ = self.encoder.of_log_mels(copies, n_spectra.expand(len(copies)))
            frames.append(made[:, : int(n_frames)])
        return torch.cat(frames).transpose(0, 1).flatten(1)

    def _seeds(self, wav: Tensor) -> list[int]:
        """A seed for each copy, of 32 bits: torch's generator uses no more of it."""
        checksum = zlib.crc32(wav.cpu().numpy().tobytes())
        return [zlib.crc32(f"{self.seed} {copy}".encode(), checksum) for copy in range(1, self.encodings)]

    def augmented(self, log_mels: Tensor, chance: torch.Generator) -> Tensor:
        """[1, M, bands], all true -> the same, augmented."""
        n_spectra = torch.tensor([log_mels.shape[1]])
        if self.time_warp:
            log_mels = warp_time(log_mels, n_spectra, WARP, chance)
        mean = log_mels.mean()
        centred = mask_bands(log_mels - mean, MOST_BANDS * log_mels.shape[2] // OF_BANDS, chance)
        return mask_time(centred, n_spectra, round(MOST_SECONDS / self.encoder.seconds_per_spectrum), chance) + mean

    def settings(self) -> dict[str, Any]:
        """The encoder's, and the arguments of the constructor."""
        own = {"encodings": self.encodings, "time_warp": self.time_warp, "seed": self.seed}
        return super().settings() | own | {"most_samples": self.encoder.most_samples}

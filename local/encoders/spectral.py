"""Encoders that read log-mel spectra: these can be changed, by SpecAugment for one, before the network sees them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, tensor
from torch.nn.utils.rnn import pad_sequence

from local.encoders.base import Encoder


class SpectralEncoder(Encoder):
    """Base of the families that read log-mel spectra."""

    seconds_per_spectrum = 0.01

    def log_mels(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra as the network reads them: [B, N] waveforms, [B] samples -> [B, M, bands], [B] true spectra."""
        raise NotImplementedError

    def of_log_mels(self, log_mels: Tensor, n_spectra: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network: [B, M, bands], [B] -> frames and their numbers, as `forward`."""
        raise NotImplementedError

    def encode(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute spectra, run the network."""
        return self.of_log_mels(*self.log_mels(wavs, lengths))


def by_length(network: Callable[[Tensor], Tensor], rows: Tensor, n_rows: Tensor) -> tuple[Tensor, Tensor]:
    """Run a network that knows no padding, [B, T, c] -> [B, T', d]: utterances of different lengths one by one.

    Returns [B, T', d] and [B], as of `Encoder.forward`.
    """
    counts = n_rows.tolist()
    if len(set(counts)) == 1:
        frames = network(rows[:, : counts[0]])
        return frames, tensor([frames.shape[1]] * len(rows))
    made = [network(row[None, :count])[0] for row, count in zip(rows, counts, strict=True)]
    return pad_sequence(made, batch_first=True), tensor([len(frames) for frames in made])

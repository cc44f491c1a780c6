"""What encoders and front ends have in common: waveforms become rows of numbers."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


class RowSource(nn.Module):
    """Waveforms to rows of numbers, the same for an utterance alone and in any batch.

    The rows of one that is frozen are computed once for a corpus, see `local.data.feature_store`, and are then given
    to it in place of the waveforms.

    Attributes
    ----------
    width
        c, the numbers of a row.
    seconds_per_row
        About, from one row to the next; 0 where each utterance has `rows_each` rows, whatever its length.
    max_samples
        The longest input in samples; None if there is no limit.
    most_samples
        Of a longer utterance the rest is not read; None: all of it is.
    freeze
        Whether it is never trained.
    """

    width: int
    seconds_per_row: float = 0.0
    rows_each: int = 1
    max_samples: int | None = None
    most_samples: int | None = None
    freeze: bool = True

    def forward(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the rows of a batch.

        Parameters
        ----------
        wavs
            [B, N] float, 16 kHz, zero beyond each utterance's end. Or, of one that is frozen, its rows, [B, T, c] of
            any type, which are returned as they are, in single precision.
        lengths
            [B] int, true samples, or rows, per utterance, at least 1; always on the CPU, since reading them from a GPU
            would wait for it.

        Returns
        -------
        rows
            [B, T, c], undefined beyond an utterance's last true row.
        n_rows
            [B] int, true rows per utterance, at least 1; on the CPU.
        """
        if self.freeze and wavs.ndim == 3:
            return wavs.float(), lengths
        return self.compute(wavs, lengths)

    def compute(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Implement `forward` for what is to be computed; same shapes."""
        raise NotImplementedError

    def signature(self) -> str:
        """What the rows depend on besides the weights."""
        raise NotImplementedError

    def weights(self) -> Iterable[Tensor]:
        """The weights that the rows depend on, as its modules hold them."""
        raise NotImplementedError

"""Frames of a frozen speech recogniser's encoder, a BiLSTM and multi-head attention, of Lu et al.

Z. Lu, L. Cao, Y. Zhang, C.-C. Chiu and J. Fan: Speech Sentiment Analysis via Pre-trained Features from End-to-end ASR
Models, ICASSP 2020, arXiv 1911.09762.

    layer                                                      output         certainty
    f: encoder, frozen                                         T x D          known, but its weights were never public
    BiLSTM, 64 per direction                                   T x 128        known
    8 heads of 32: a = softmax over time(q K h / sqrt(32)),    8 x 32         known; no bias, no dropout: chosen
        v = sum of a V h
    linear                                                     C              known
    cross-entropy; Adam, rate 1e-4, norm clipped at 4                         known; batch, epochs, patience: chosen

Parameters of the head for 4 emotions: 512 (D + 64) + 1,024 of the BiLSTM, 65,792 of the attention, 1,028 of the output;
887,044 for the paper's D = 1,536.

The encoder is a substitute, any of `local.encoders.load_encoder`: nearest to the paper's are torchaudio's Emformer, a
transducer as well (D = 1,024, 624,900 parameters), and SpeechBrain's conformers (D = 512, 362,756). Without one, f is
80 log-mel energies stacked by three, 240 numbers every 30 ms (223,492 parameters), and the row is marked `no ASR`; they
are standardised by the training set, since what SpecAugment masks, 0, is meant to be their mean (chosen).

In training SpecAugment's "LibriSpeech basic" on the log-mel energies: one mask of up to 27 bands, one of up to 1 s
(known), and with `time_warp` a warp of up to 80 energies (known, but off: its authors find that it hardly helps). Of an
encoder that reads spectra the frames of 7 such copies of an utterance are stored beside those of the utterance, and one
of the 8 is drawn at each use (`encodings`; chosen: so the encoder is needed once). One that reads the waveform, or
`encodings: 1`, has one mask of up to 1 s on its stored frames instead (chosen).

`pooling` has the paper's ablation: `mean` or `max` over the frames of the BiLSTM (known), or `mlp`, the mean over f,
a layer of 256 and ReLU (its size: chosen).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from local.core.errors import UserError
from local.encoders import Encoder, length_mask, load_encoder
from local.encoders.spectral import SpectralEncoder
from local.features.augmented_frames import MOST_BANDS, MOST_SECONDS, WARP, AugmentedFrames
from local.features.logmel import LogMel
from local.features.spec_augment import mask_bands, mask_time, warp_time
from local.systems import Outputs, System
from local.systems.layers import recurrent
from local.systems.layers.query_attention import QueryAttention
from local.systems.layers.sequences import fit, mask_rows
from local.systems.layers.standardise import Standardise
from local.systems.layers.upstream import frozen

BANDS, STACKED = 80, 3
POOLINGS = {"attention": 256, "mean": 128, "max": 128, "mlp": 256}  # and the sizes of what they make


class AsrAttentionSystem(System):
    """A BiLSTM and attention over the frames of a frozen encoder.

    `asr_encoder` is the `source` of `load_encoder`; or `encoder` is the encoder itself. None: log-mel energies.
    `bias` is that of the attention, `layer_norm` and `dropout` are of the head's inputs, the latter also of the pooled
    vector; `masks` is whether inputs are masked in training, `time_warp` whether their time is warped as well;
    `encodings` how many of an utterance are stored, see above; `pretrained` what tables call the encoder.
    """

    title = "Lu et al. 2020: ASR encoder and attention"
    certainty = "known (head), substitute encoder"

    def __init__(
        self,
        n_labels: int,
        encoder: Encoder | None = None,
        asr_encoder: str | dict[str, Any] | None = None,
        pooling: str = "attention",
        bias: bool = False,
        layer_norm: bool = False,
        dropout: float = 0.0,
        masks: bool = True,
        pretrained: str = "",
        encodings: int = 1,
        time_warp: bool = False,
    ) -> None:
        if pooling not in POOLINGS:
            raise UserError(f"pooling is '{pooling}'", f"set pooling to one of: {' '.join(POOLINGS)}")
        if asr_encoder is not None:
            encoder = load_encoder(asr_encoder, freeze=True)
        if not isinstance(encodings, int) or encodings < 1:
            raise UserError(f"encodings is {encodings}", "set encodings to a whole number from 1")
        has_copies = masks and encodings > 1 and isinstance(encoder, SpectralEncoder)
        if time_warp and not (masks and (encoder is None or has_copies)):
            raise UserError(
                "time_warp: there are no spectra in training whose time could be warped",
                "set time_warp to False; or masks to True, and with an encoder that reads spectra encodings to 8",
            )
        front_end = LogMel(BANDS) if encoder is None else None
        super().__init__(encoder, AugmentedFrames(frozen(encoder), encodings, time_warp) if has_copies else front_end)
        self.weights = "no ASR" if encoder is None else pretrained or _name(asr_encoder)
        self.shape = {"pooling": pooling, "bias": bias, "layer_norm": layer_norm}
        self.pooling, self.masks, self.time_warp = pooling, masks, time_warp
        dim = BANDS * STACKED if encoder is None else encoder.dim
        self.standardise = Standardise(BANDS) if encoder is None else None
        self.norm = nn.LayerNorm(dim) if layer_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        if pooling == "mlp":
            self.hidden = nn.Linear(dim, POOLINGS["mlp"])
        else:
            self.lstm = nn.LSTM(dim, 64, bidirectional=True, batch_first=True)
        if pooling == "attention":
            self.attention = QueryAttention(128, bias=bias)
        self.emotion_head = nn.Linear(POOLINGS[pooling], n_labels)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, or stored frames or log-mel energies -> logits of the emotions."""
        frames, n_frames = self.frames(wavs, lengths)
        pooled = self.pooled(self.dropout(self.norm(frames)), n_frames)
        return Outputs(self.emotion_head(self.dropout(pooled)))

    def frames(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """f, in training augmented: [B, T, D], [B] true frames."""
        masked = self.training and self.masks
        if self.encoder is None:
            return self.stacked(*self.front_end(wavs, lengths), masked)
        if self.front_end is not None and (self.training or wavs.ndim == 3):
            rows, n_frames = self.front_end(wavs, lengths)
            return self.drawn(rows), n_frames
        frames, n_frames = self.encoder(wavs, lengths)
        most = round(MOST_SECONDS / self.encoder.seconds_per_frame)
        return (mask_time(frames, n_frames, most) if masked else frames), n_frames

    def stacked(self, rows: Tensor, n_rows: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
        """[B, M, 80] log-mel energies, [B] -> [B, T, 240], standardised, [B]."""
        rows = self.standardise(rows)
        if masked:
            rows = warp_time(rows, n_rows, WARP) if self.time_warp else rows
            rows = mask_time(mask_bands(rows, MOST_BANDS), n_rows, round(MOST_SECONDS / self.front_end.seconds_per_row))
        rows, n_rows = fit(rows, n_rows, multiple=STACKED)
        return rows.reshape(len(rows), -1, BANDS * STACKED), n_rows // STACKED

    def drawn(self, rows: Tensor) -> Tensor:
        """[B, T, encodings * D] -> [B, T, D]: of the utterance; in training one of the encodings, drawn for each."""
        encodings = rows.unflatten(2, (self.front_end.encodings, -1))
        if not self.training:
            return encodings[:, :, 0]
        drawn = torch.randint(self.front_end.encodings, (len(rows),)).to(rows.device, non_blocking=True)
        return encodings[torch.arange(len(rows), device=rows.device), :, drawn]

    def pooled(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """[B, T, D], [B] -> [B, `POOLINGS[pooling]`]."""
        if self.pooling == "mlp":
            return self.hidden(_mean(frames, n_frames)).relu()
        states, _ = recurrent.run(self.lstm, frames, n_frames)
        if self.pooling == "attention":
            return self.attention(states, n_frames)
        if self.pooling == "mean":
            return _mean(states, n_frames)
        beyond = ~length_mask(n_frames, states.shape[1], states.device)[:, :, None]
        return states.masked_fill(beyond, -torch.inf).amax(1)

    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take mean and deviation of each log-mel energy over the training set."""
        if self.standardise is not None:
            self.standardise.measure(self.front_end(*batch) for batch in batches)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor that matter to a model in use."""
        return self.shape | {"pretrained": self.weights if self.encoder is not None else ""}


def _mean(rows: Tensor, n_rows: Tensor) -> Tensor:
    """The mean of the true rows: [B, T, c], [B] -> [B, c]."""
    return mask_rows(rows, n_rows).sum(1) / n_rows.to(rows.device, non_blocking=True)[:, None]


def _name(source: str | dict[str, Any] | None) -> str:
    """What tables call an encoder: the last part of its folder or name, or its family if its weights are random."""
    if isinstance(source, dict):
        return f"random {source['model_type']}"
    return "" if source is None else Path(source).name


SYSTEM = AsrAttentionSystem

"""Key segments, pictures of them for a ResNet-101, and a deep BiLSTM: own choices after Sajjad et al., no reproduction.

Mustaqeem, M. Sajjad and S. Kwon: Clustering-Based Speech Emotion Recognition by Incorporating Learned Features and Deep
BiLSTM, IEEE Access 8, 2020. Not read: the pipeline's order is known from its abstract, some of the rest is recalled.

    step                                                             per utterance     certainty
    segments of 0.5 s, 0.25 s apart                                  S x 8,000         recalled; the shift: chosen
    descriptor: mean and deviation of 40 log-mels, standardised      S x 80            chosen
    radial-basis similarities inside clusters, key segments          K, at most 12     known; every number: chosen
    the clusters are k-means', with one key segment of each                            recalled
    log spectrogram of a key segment, 257 x 48, as a picture         K x 3 x 224 x 224 known; rendering: chosen
    ResNet-101 of ImageNet, frozen, its last layer's output          K x 1,000         recalled
    standardised by the training set                                 K x 1,000         known
    BiLSTM, 2 layers of 256 per direction, dropout 0.5               512               layers: recalled; sizes: chosen
    linear, of the forward last and the backward first state         C                 chosen

Parameters for 4 emotions: 4,155,396 trained, and 44,549,160 of the ResNet-101.

Without its weights a segment's feature is its 40 log-mel energies x 48 frames, 1,920 numbers (6,039,556 parameters),
and the row is marked `no ImageNet`: a ResNet-101 of random weights would be no substitute. The features are
standardised by all segments of the training set, key segments or not: so they are known before any choice.

The training is chosen: cross-entropy, Adam at 1e-3, halved after three epochs without a better validation UA, batches
of 128 (the paper's 512: recalled), 50 epochs, an end after 10 without a better one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from local.core import hub
from local.features.key_segments import (
    BANDS,
    DESCRIPTOR,
    FRAMES,
    KeySegments,
    SegmentFeatures,
    SegmentFrames,
    cut,
    descriptors,
)
from local.systems import Outputs, System
from local.systems.layers import recurrent
from local.systems.layers.standardise import Standardise


class KeySegmentSystem(System):
    """A BiLSTM over the features of an utterance's key segments.

    `resnet101_weights` is the `weights` of `SegmentFeatures`; None: log-mel energies instead of it, unless `pretrained`
    names weights that are to be loaded into the system. `output` and `colormap` as in `SegmentFeatures`.
    """

    title = "Sajjad et al. 2020: key segments"
    certainty = "own choice"

    def __init__(
        self,
        n_labels: int,
        resnet101_weights: str | None = None,
        output: str = "logits",
        colormap: str = "grey",
        dropout: float = 0.5,
        pretrained: str = "",
    ) -> None:
        pretrained = pretrained if resnet101_weights is None else _name(resnet101_weights)
        pictures = SegmentFeatures(resnet101_weights, output, colormap) if pretrained else None
        super().__init__(front_end=pictures or SegmentFrames())
        self.pretrained, self.output, self.colormap = pretrained, output, colormap
        self.weights = pretrained or "no ImageNet"
        width = self.front_end.width - DESCRIPTOR if pretrained else BANDS * FRAMES
        self.key_segments = KeySegments()
        self.standardise = Standardise(DESCRIPTOR + width)
        # Two, with a dropout between them: the one within an LSTM has on a GPU random numbers of its own, which follow
        # from no seed, so that a run that was resumed would be another.
        self.lstms = nn.ModuleList(nn.LSTM(size, 256, bidirectional=True, batch_first=True) for size in (width, 512))
        self.dropout = nn.Dropout(dropout)
        self.emotion_head = nn.Linear(512, n_labels)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, or the front end's rows -> logits of the emotions."""
        points, features, n_segments = self._segments(*self.front_end(wavs, lengths))
        kept, n_kept = self._kept(points, n_segments)
        batch = torch.arange(len(kept))[:, None].to(features.device, non_blocking=True)
        features = features[batch, kept.to(features.device, non_blocking=True)].flatten(2)
        mean, deviation = self.standardise.mean[DESCRIPTOR:], self.standardise.deviation[DESCRIPTOR:]
        states, _ = recurrent.run(self.lstms[0], (features - mean) / deviation, n_kept)
        _, last = recurrent.run(self.lstms[1], self.dropout(states), n_kept)
        return Outputs(self.emotion_head(self.dropout(last)))

    def _segments(self, rows: Tensor, n_rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows -> descriptors [B, S, 80] in double precision, features [B, S, ...], and [B] true segments."""
        if self.pretrained:
            return rows[..., :DESCRIPTOR].double(), rows[..., DESCRIPTOR:], n_rows
        segments, n_segments = cut(rows, n_rows)
        return descriptors(segments), segments, n_segments

    def _kept(self, points: Tensor, n_segments: Tensor) -> tuple[Tensor, Tensor]:
        """The key segments of each utterance, [B, K] indices, and [B] their numbers.

        K-means runs on the CPU, for which a GPU is waited for: once in a step, of which little is left to compute.
        """
        mean, deviation = self.standardise.mean[:DESCRIPTOR], self.standardise.deviation[:DESCRIPTOR]
        points = ((points - mean) / deviation).cpu()
        kept = [self.key_segments(each[:count]) for each, count in zip(points, n_segments.tolist(), strict=True)]
        return pad_sequence(kept, batch_first=True), torch.tensor([len(each) for each in kept])

    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take mean and deviation of descriptors and features over the segments of the training set."""

        def rows() -> Iterable[tuple[Tensor, Tensor]]:
            for batch in batches:
                points, features, n_segments = self._segments(*self.front_end(*batch))
                yield torch.cat([points, features.flatten(2).double()], dim=2), n_segments

        self.standardise.measure(rows())

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor that matter to a model in use; its weights are those of the system."""
        return {"pretrained": self.pretrained, "output": self.output, "colormap": self.colormap}


def _name(weights: str) -> str:
    """What tables call weights: the last part of their name on the hub, or the file's name without its ending."""
    return weights.rpartition("/")[2] if hub.is_name(weights) else Path(weights).stem


SYSTEM = KeySegmentSystem

"""The probe of emotion2vec: one hidden layer per frame of a frozen encoder, and a mean.

Z. Ma et al.: emotion2vec: Self-Supervised Pre-Training for Speech Emotion Representation. Findings of ACL 2024.

z = encoder(x)                      last layer                        [B, T, d]
y = mean_t relu(W_1 z_t + b_1)      over the true frames              [B, 256]
emotion = W_2 y + b_2                                                 [B, C]

For d = 768 and four emotions, 197,892 trained parameters: 196,864 + 1,028.

Known, from the authors' code for IEMOCAP: all of the above, RMSprop at 5e-4 with momentum 0.9 and without weight decay,
128 utterances an update, 100 epochs, rates from 5e-4 to 1e-3 and back in 20 epochs while the momentum goes from 0.9 to
0.8 and back, selection by accuracy. Chosen: clipping at 5; and that the folds with their
validation sets are those of all rows: the test set, which one of the authors' settings validates on, never is one.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from local.encoders import Encoder
from local.systems import Outputs, System
from local.systems.layers.pooling import Pooling
from local.systems.layers.upstream import frozen, pretraining


class Emotion2vecProbe(System):
    """The probe of `n_labels` emotions on an encoder, which is frozen; `size` is that of y."""

    title = "Ma et al. 2024: emotion2vec probe"
    certainty = "known"

    def __init__(self, encoder: Encoder, n_labels: int, size: int = 256) -> None:
        super().__init__(frozen(encoder))
        self.weights = pretraining(encoder)
        self.projection = nn.Linear(encoder.dim, size)
        self.pooling = Pooling("mean", size)
        self.emotion_head = nn.Linear(size, n_labels)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, [B] samples; or [B, T, d] frames -> logits of the emotions."""
        frames, n_frames = self.encoder(wavs, lengths)
        return Outputs(self.emotion_head(self.pooling(self.projection(frames).relu(), n_frames)))

    def settings(self) -> dict[str, Any]:
        """The argument of the constructor besides encoder and `n_labels`."""
        return {"size": self.projection.out_features}


SYSTEM = Emotion2vecProbe

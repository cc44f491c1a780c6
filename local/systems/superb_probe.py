"""The emotion probe of SUPERB: a learned mean of a frozen encoder's layers, and two linear layers.

S. Yang et al.: SUPERB: Speech processing Universal PERformance Benchmark. Interspeech 2021.

h_lt, l = 0 .. L    hidden states, l = 0 the input of block 1         [B, L + 1, T, d]
x = sum_l softmax(w)_l h_lt         w begins at 0                     [B, T, d]
y = mean_t (W_1 x + b_1)            over the true frames              [B, 256]
emotion = W_2 y + b_2               no activation, no layer norm      [B, C]

All of it is linear in h, so y needs no more of an utterance than mean_t h_lt, [L + 1, d]: `HiddenStates` stores that,
and the logits are the same. For L = 12, d = 768 and four emotions, 197,905 trained parameters: 13 + 196,864 + 1,028.

Known, from s3prl's code: all of the above, Adam at 1e-4, 4 x 8 utterances an update, 30,000 updates, clipping at 1,
selection by accuracy. Chosen: the true frames are those of the encoder, where s3prl counts round(samples / 320), which
may be one more, of padding; the folds with their validation sets are those of all rows; and it is validated after each
epoch, not every 1,000 updates, and trained for epochs that are about so many updates on IEMOCAP.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from local.encoders import Encoder
from local.features.hidden_states import HiddenStates
from local.systems import Outputs, System
from local.systems.layers.upstream import frozen, pretraining


class SuperbProbe(System):
    """The probe of `n_labels` emotions on an encoder, which is frozen; `size` is that of y."""

    title = "Yang et al. 2021: SUPERB probe"
    certainty = "known"

    def __init__(self, encoder: Encoder, n_labels: int, size: int = 256) -> None:
        super().__init__(frozen(encoder), HiddenStates(encoder))
        self.weights = pretraining(encoder)
        self.layer_weights = nn.Parameter(torch.zeros(self.front_end.rows_each))
        self.projection = nn.Linear(encoder.dim, size)
        self.emotion_head = nn.Linear(size, n_labels)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, [B] samples; or [B, L + 1, d] means of the states -> logits of the emotions."""
        states, _ = self.front_end(wavs, lengths)
        states = states[:, : len(self.layer_weights)]  # a batch may have a row more, of padding
        mixed = torch.einsum("l,bld->bd", self.layer_weights.softmax(0), states)
        return Outputs(self.emotion_head(self.projection(mixed)))

    def settings(self) -> dict[str, Any]:
        """The argument of the constructor besides encoder and `n_labels`."""
        return {"size": self.projection.out_features}


SYSTEM = SuperbProbe

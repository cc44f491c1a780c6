"""The ResNet-34 of `local.systems.pappagari_xvector`, trained to tell speakers apart: what that system begins with.

Pappagari et al. 2020 trained it on some 12,000 speakers (second-hand) with an angular softmax (recalled). Chosen: the
additive angular margin of SpeechBrain (J. Deng et al.: ArcFace, CVPR 2019; for speakers X. Xiang et al., arXiv
1906.07317), its margin of 0.2 and scale of 30, and that the classes have a direction each in place of the emotions'
linear layer: the cosine is that of batch norm and ReLU of the embedding, which the emotions' layer will read.

    loss = -log softmax(s c)_y    with c_y replaced by cos(arccos(c_y) + m), or by c_y - m sin m where c_y <= -cos m
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from speechbrain.nnet.losses import AdditiveAngularMargin
from torch import Tensor, nn

from local.core.errors import UserError
from local.systems import Losses, Outputs, Targets, cross_entropy
from local.systems.pappagari_xvector import XVectorSystem


class SpeakerSystem(XVectorSystem):
    """The network, and a direction for each of `n_labels` speakers.

    Parameters
    ----------
    margin, scale
        m in radians, from 0 to pi / 2, and s above 0.
    **front
        `pool`, `sample_rate`, `noise`, `noise_csv` and `reverb_csv` of `XVectorSystem`.
    """

    title = "ResNet x-vector for speakers"

    def __init__(self, n_labels: int, margin: float = 0.2, scale: float = 30.0, **front: Any) -> None:
        super().__init__(n_labels, **front)
        if not (0 <= margin < 1.57 and scale > 0):
            raise UserError(f"margin is {margin}, scale {scale}", "set margin from 0 to 1.57, and scale above 0")
        self.emotion_head = nn.Linear(self.net.size, n_labels, bias=False)
        self.margin = AdditiveAngularMargin(margin, scale)
        self.values |= {"margin": margin, "scale": scale}

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, or rows of the front end -> s times the cosine to each speaker."""
        inner = self.norm(self.embeddings(wavs, lengths)).relu()
        with torch.autocast(inner.device.type, enabled=False):  # 8 bits are too few for a cosine near 1
            cosines = F.linear(F.normalize(inner.float()), F.normalize(self.emotion_head.weight))
        return Outputs(self.margin.scale * cosines, further=(cosines,))

    def losses(self, outputs: Outputs, targets: Targets) -> Losses:
        """Cross-entropy with the margin."""
        (cosines,) = outputs.further
        of_speaker = F.one_hot(targets.emotion, cosines.shape[1]).float()
        ce = cross_entropy(outputs._replace(emotion=self.margin(cosines, of_speaker)), targets)
        return Losses(ce, ce.detach())


SYSTEM = SpeakerSystem

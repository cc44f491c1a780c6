"""Pooling by a learned dictionary: an utterance's frames to one vector for each of its words.

d_h,t = |x_t - mu_h|
e_h   = sum_t w_h,t (x_t - mu_h)

How the weights w are shared out:
    attention   w_h = softmax over t of -s_h d_h,t          each word looks at all frames
    lde         a_t = softmax over h of -(s_h d_h,t)^2      each frame belongs to the words near it (Cai et al. 2018:
                w_h,t = a_h,t / sum_t a_h,t                 learnable dictionary encoding)

Known from the code of N. Chen, a co-author of Pappagari et al. 2020, where both of them are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from local.core.errors import UserError
from local.encoders import length_mask

NAMES = ("attention", "lde")


class DictionaryPooling(nn.Module):
    """[B, T, d], [B] true frames on the CPU -> [B, words, d]; `how` is one of `NAMES`."""

    def __init__(self, size: int, words: int, how: str = "attention") -> None:
        super().__init__()
        if how not in NAMES:
            raise UserError(f"pool is '{how}'", f"set pool to one of: {' '.join(NAMES)}")
        self.how = how
        self.words = nn.Parameter(torch.empty(words, size).uniform_(-1, 1))
        self.scales = nn.Parameter(torch.ones(words))

    def forward(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """What is beyond an utterance's last frame must be finite."""
        # As sum x (w) - mu, since the weights of a word sum to 1.
        return torch.einsum("bth,btd->bhd", self.weights(frames, n_frames), frames) - self.words

    def weights(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """[B, T, words], 0 beyond an utterance's last frame; over time they sum to 1."""
        true = length_mask(n_frames, frames.shape[1], frames.device)[:, :, None]
        # Not by products of matrices, as for many frames by default: an utterance would differ alone and in a batch.
        distances = torch.cdist(frames, self.words, compute_mode="donot_use_mm_for_euclid_dist")
        if self.how == "attention":
            scores = -self.scales * distances
        else:
            # Of logarithms, softmax over time is the share of the sum, also for a word that is far from all frames.
            scores = (-(self.scales * distances).square()).log_softmax(2)
        return scores.masked_fill(~true, -torch.inf).softmax(1)

"""Which frames are speech, by their energy, and the mean of the frames around each, as Kaldi's programs have them.

Speech is what `compute-vad-energy` keeps, the mean is that of `apply-cmvn-sliding --center`; the values are those of
Kaldi's recipes for speaker recognition (known from the code of a co-author of Pappagari et al. 2020).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

THRESHOLD, MEAN_SCALE = 5.5, 0.5  # of log energies at the scale of 16-bit samples
CONTEXT, PROPORTION = 2, 0.12  # frames on each side, and the share of these that must be loud
AROUND = 300  # rows of a sliding mean


def is_speech(energies: Tensor) -> Tensor:
    """Whether each frame is speech: [T] log energies -> [T] bool.

    A frame is loud if its log energy exceeds 5.5 + 0.5 * mean; it is speech if at least 12 % of the frames within two
    of it, of those that exist, are loud.
    """
    loud = (energies > THRESHOLD + MEAN_SCALE * energies.mean()).double()
    window = torch.ones(1, 1, 2 * CONTEXT + 1, dtype=loud.dtype, device=loud.device)
    near, there = (F.conv1d(each[None, None], window, padding=CONTEXT) for each in (loud, torch.ones_like(loud)))
    return (near >= PROPORTION * there)[0, 0]


def subtract_sliding_mean(rows: Tensor) -> Tensor:
    """Subtract from each row the mean of the `AROUND` rows around it: [T, c] -> [T, c].

    Near an end the window is moved inwards; it is cut only where there are fewer rows than that.
    """
    places = torch.arange(len(rows), device=rows.device)
    starts = (places - AROUND // 2).clamp(min=0, max=max(0, len(rows) - AROUND))
    ends = (starts + AROUND).clamp(max=len(rows))
    sums = F.pad(rows.double().cumsum(0), (0, 0, 1, 0))
    means = (sums[ends] - sums[starts]) / (ends - starts)[:, None]
    return rows - means.to(rows.dtype)

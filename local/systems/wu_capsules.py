"""Capsules on a spectrogram, beside a recurrent net: after Wu et al. 2019 (CNN_GRU-SeqCap).

Wu, Liu, Cao, Li, Yu, Dai, Ma, Hu, Wu, Liu, Meng: Speech emotion recognition using capsule networks. ICASSP 2019.

T frames at 10 ms, a multiple of 4, 160 to 1500; L = T / 4 steps of 40 ms; K windows of steps; for 4 emotions:

| layer | output | parameters |
|---|---|---|
| log power, 40 ms Hamming, DFT of 800, to 3,980 Hz; each bin standardised | 200 x T | |
| 8 maps of 2 x 8 beside 8 of 8 x 2, batch norm, ReLU, maximum of 2 x 1 | 16 x 100 x T | 304 |
| 16 maps of 5 x 5, batch norm, ReLU, maximum of 2 x 2 | 16 x 50 x T/2 | 6,448 |
| 16 maps of 5 x 5, batch norm, ReLU, maximum of 2 x 2, then of 4 x 1 | 16 x 6 x L | 6,448 |
| windows of 40 steps every 20, the last flush with the end | K x 16 x 6 x 40 | |
| primary capsules, 256 maps of 3 x 3 with stride 2 | K x 1,216 x 8 | 37,120 |
| capsules of the window, routed | K x 4 x 16 | 622,592 |
| these, and their lengths | K x 68 | |
| capsules of the utterance, routed; one set of matrices for all windows | 4 x 16 | 4,352 |
| linear | 4 | 260 |
| beside: GRU of 64 both ways over the L x 96 steps, last states | 128 | 62,208 |
| linear 64, ReLU, dropout 0.5, linear | 4 | 8,516 |

748,248 parameters. Loss: the sum of both cross-entropies. Score: 0.6 of the capsules' posterior, 0.4 of the GRU's.
With `recurrent` (RecCaps) a window's predictions have W^o_j o + b_j added, o the vector of the window before.

Certainty. Known: the printed results, 10 folds. Second-hand (a reader's notes, a student's code): the kernels of the
trunk, that a first pair of convolutions lies side by side, windows of 40 and 20, number and size of the primary
capsules, the emotion capsules' size of 16, the vector of capsules and lengths, the linear layer, the GRU branch, 0.6
and 0.4, optimizer, rates and their rule, 20 epochs. Recalled: 40 ms, 10 ms and 4 kHz of the spectrogram. Chosen: that
a step of a window is one of the trunk; batch norm; the primary convolution's kernel; a matrix per pair within a
window and one for all windows; that W^o and b are shared by all inputs; equal weights of the two losses; with
`length`, that the posterior is the lengths' share of their sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.core.errors import UserError
from local.encoders import length_mask
from local.features.spectra import Spectra
from local.systems import Losses, Outputs, System, Targets, cross_entropy
from local.systems.layers.capsules import Capsules, PrimaryCapsules, cost_of_truth, emotion_vector, margin_costs
from local.systems.layers.few_sizes import in_steps
from local.systems.layers.gru import last_states
from local.systems.layers.sequences import fit, join, joined_mask, separate, windows
from local.systems.layers.standardise import Standardise

BINS, MAPS, BANDS = 200, 16, 6  # of the spectrogram; of the trunk: its maps, and their frequencies at the end
LEAST, MOST, STRIDE = 160, 1500, 4  # frames: 1.6 s, 15 s, and those of a step
TYPES, PRIMARY, EMOTION = 32, 8, 16  # primary capsules: their types and size; the size of emotion capsules
STEP = MAPS * BANDS
CAPSULES, GRU = 0.6, 0.4  # weights of the two posteriors in the score
ROWS, WINDOWS = 1024, 32  # see `in_steps`
HEADS = ("dense", "length")


class WuCapsules(System):
    """Wu et al. 2019.

    Parameters
    ----------
    n_labels
        Emotions.
    window, shift
        Of the windows, in steps of 40 ms.
    capsule_head
        `dense`: a linear layer on the utterance's capsules; `length`: their lengths are the scores, with a margin loss.
    recurrent
        Whether a window's predictions depend on the one before it.
    """

    title = "Wu et al. 2019: capsules"
    certainty = "partly known"
    most_seconds = MOST / 100

    def __init__(
        self, n_labels: int, window: int = 40, shift: int = 20, capsule_head: str = "dense", recurrent: bool = False
    ) -> None:
        super().__init__(front_end=Spectra(window=640, hop=160, n_fft=800, bins=BINS))
        if not (3 <= window <= MOST // STRIDE and shift >= 1 and capsule_head in HEADS):
            raise UserError(
                f"window is {window}, shift {shift}, capsule_head {capsule_head}",
                f"set window to 3 to {MOST // STRIDE}, shift to at least 1, capsule_head to {' or '.join(HEADS)}",
            )
        self.window, self.shift, self.capsule_head, self.recurrent = window, shift, capsule_head, recurrent
        self.standardise = Standardise(BINS)
        self.trunk = Trunk()
        self.primary = PrimaryCapsules(MAPS, TYPES, PRIMARY)
        positions = ((BANDS - 1) // 2) * ((window - 1) // 2)
        self.window_capsules = Capsules(TYPES * positions, PRIMARY, n_labels, EMOTION)
        vector = n_labels * (EMOTION + 1)
        self.utterance_capsules = Capsules(1, vector, n_labels, EMOTION)
        if recurrent:
            self.carry = nn.Linear(vector, n_labels * EMOTION)
        if capsule_head == "dense":
            self.capsule_linear = nn.Linear(n_labels * EMOTION, n_labels)
        self.gru = nn.GRU(STEP, 64, batch_first=True, bidirectional=True)
        self.gru_head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, n_labels))
        self._initialise()

    def _initialise(self) -> None:
        """Xavier's first weights, but for the capsules' matrices; biases of 0."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias") or "bias_" in name:
                nn.init.zeros_(parameter)
            elif parameter.ndim > 1 and not name.endswith("capsules.weight"):
                nn.init.xavier_uniform_(parameter)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms or [B, T, 200] rows, [B] -> logits; `further` has the logits of the two branches.

        With `capsule_head: length`, those of the capsules are the logarithms of their lengths.
        """
        rows, n_rows = self.front_end(wavs, lengths)
        least = max(LEAST, STRIDE * self.window)
        rows, n_rows = fit(self.standardise(rows), n_rows, least, MOST, STRIDE)
        steps, n_steps = self.trunk(rows, n_rows), n_rows // STRIDE
        capsules = self._from_capsules(steps, n_steps)
        gru = self.gru_head(last_states(self.gru, steps, n_steps))
        both = [math.log(share) + branch.float().log_softmax(1) for share, branch in ((CAPSULES, capsules), (GRU, gru))]
        return Outputs(torch.logaddexp(*both), further=(capsules, gru))

    def _from_capsules(self, steps: Tensor, n_steps: Tensor) -> Tensor:
        """[B, L, 96], [B] -> [B, C] logits."""
        by_window, counts = windows(steps, n_steps, self.window, self.shift)
        by_window, starts = join(by_window, counts)
        primary = in_steps(self.primary, by_window.unflatten(2, (MAPS, BANDS)).permute(0, 2, 3, 1), 0, WINDOWS)
        predictions = self.window_capsules.predictions(primary.flatten(1, 2)[:, :, None])
        if self.recurrent:
            vectors = self._one_after_another(separate(predictions, starts, counts))
        else:
            vectors = separate(emotion_vector(self.window_capsules.route(predictions)), starts, counts)
        true = length_mask(counts, vectors.shape[1], vectors.device)
        capsules = self.utterance_capsules(vectors[:, None], true)
        if self.capsule_head == "dense":
            return self.capsule_linear(capsules.flatten(1))
        return torch.linalg.vector_norm(capsules, dim=2).clamp(min=1e-6).log()

    def _one_after_another(self, predictions: Tensor) -> Tensor:
        """[B, K, C, I, 16], what the windows' primary capsules predict -> [B, K, 17 C], each from the one before."""
        batch, count, classes = predictions.shape[:3]
        vectors, vector = [], predictions.new_zeros(batch, classes * (EMOTION + 1))
        for number in range(count):
            carried = self.carry(vector).view(batch, classes, 1, EMOTION)
            vector = emotion_vector(self.window_capsules.route(predictions[:, number] + carried))
            vectors.append(vector)
        return torch.stack(vectors, dim=1)

    def losses(self, outputs: Outputs, targets: Targets) -> Losses:
        """The sum of both branches' cross-entropies; with `length` the margin loss is that of the capsules."""
        capsules, gru = outputs.further
        if self.capsule_head == "dense":
            of_capsules = cross_entropy(Outputs(capsules), targets)
        else:
            of_capsules = cost_of_truth(margin_costs(capsules.float().exp()), targets.emotion, targets.weights)
        ce = cross_entropy(outputs, targets).detach()  # of the score, for the log
        return Losses(of_capsules + cross_entropy(Outputs(gru), targets), ce)

    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take mean and standard deviation of each bin over the training set."""
        self.standardise.measure(self.front_end(*batch) for batch in batches)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor besides `n_labels`."""
        return {
            **{"window": self.window, "shift": self.shift},
            **{"capsule_head": self.capsule_head, "recurrent": self.recurrent},
        }


class Trunk(nn.Module):
    """The convolutions: [B, T, 200] and [B] true rows, multiples of 4 -> [B, T/4, 96].

    The utterances lie one after another, with zeros between, as many as a convolution reaches: little is computed in
    vain, and batch norm counts nearly true frames alone. What is between is set to zero again after each block.
    """

    def __init__(self) -> None:
        super().__init__()
        # Frequency x time. Zeros as PyTorch's padding "same" has them, which warns of an even kernel.
        self.wide = nn.Sequential(nn.ZeroPad2d((3, 4, 0, 1)), nn.Conv2d(1, MAPS // 2, (2, 8)))
        self.high = nn.Sequential(nn.ZeroPad2d((0, 1, 3, 4)), nn.Conv2d(1, MAPS // 2, (8, 2)))
        self.first_norm = nn.BatchNorm2d(MAPS)
        self.second, self.second_norm = nn.Conv2d(MAPS, MAPS, 5, padding="same"), nn.BatchNorm2d(MAPS)
        self.third, self.third_norm = nn.Conv2d(MAPS, MAPS, 5, padding="same"), nn.BatchNorm2d(MAPS)

    def forward(self, rows: Tensor, n_rows: Tensor) -> Tensor:
        """[B, T, 200], [B] -> [B, T/4, 96], zero beyond each utterance's last step."""
        joined, starts = join(rows, n_rows, STRIDE)
        maps = joined.T[None, None]
        # The maximum comes before ReLU, which gives the same with fewer numbers. No maximum spans two utterances.
        maps = self.first_norm(in_steps(self._first, maps, 3, ROWS))
        true = joined_mask(starts, n_rows, len(joined), rows.device).to(maps.dtype)  # 16 bits stay 16 bits
        maps = F.max_pool2d(maps, (2, 1)).relu() * true
        maps = self.second_norm(in_steps(self.second, maps, 3, ROWS))
        maps = F.max_pool2d(maps, 2).relu() * true[::2]
        maps = self.third_norm(in_steps(self.third, maps, 3, ROWS // 2))
        maps = F.max_pool2d(F.max_pool2d(maps, 2), (4, 1)).relu()
        return separate(maps[0].permute(2, 0, 1).flatten(1), starts // STRIDE, n_rows // STRIDE)

    def _first(self, maps: Tensor) -> Tensor:
        return torch.cat([self.wide(maps), self.high(maps)], dim=1)


SYSTEM = WuCapsules

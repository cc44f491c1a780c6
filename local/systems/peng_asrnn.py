"""Auditory modulations, 3-D convolutions, a recurrent network that slides with attention: after Peng, no reproduction.

Z. Peng, X. Li, Z. Zhu, M. Unoki, J. Dang and M. Akagi: Speech emotion recognition using 3D convolutions and
attention-based sliding recurrent networks with auditory front-ends. IEEE Access 8, 2020.

| layer | output | parameters |
|---|---|---|
| front end (`local.features.auditory`), each of the 192 numbers standardised | 1 x 6 x 32 x T, 100 per second | |
| conv 3x3x5, batch norm, leaky ReLU 0.01, max-pool 1x2x2 | 16 x 6 x 16 x T/2 | 768 |
| conv 3x3x3, the same, max-pool 2x2x2 | 32 x 3 x 8 x T/4 | 13,920 |
| conv 3x3x3, the same, max-pool 3x2x1, dropout 0.3 | 64 x 1 x 4 x T/4: 256 numbers per 40 ms | 55,488 |
| windows of 25 steps every 12, the last flush with the end; both final states of a BLSTM, 2 x 128 | K x 256 | 395,264 |
| LSTM over the windows, its last output | 256 | 526,336 |
| beside it: sum_k softmax_k(v . tanh(W s_k + b)) s_k, 128 in between | 256 | 33,024 |
| both joined: linear, leaky ReLU, batch norm, dropout 0.5, linear | 64, then C | 33,220 |

1,058,020 parameters with four emotions. T is a multiple of 4 from 100 (shorter utterances are filled with zeros, that
is with the training set's means) to 1,000; 3.00 s have 296 rows, 74 steps and 6 windows.

Known: what the title names, the UA of 62.6 on IEMOCAP in five folds. Second-hand, from a drawing and a re-build of the
network by others: the order of filters, envelopes, modulations, three stages of convolution and pooling, overlapping
windows with a BLSTM each, LSTM beside attention, and what follows; 128 states; that the drawing, but not the re-build,
hands the state of a window to the next (`carry_state`). Recalled: 32 channels, six modulations. Chosen: all other
sizes, the form of the attention, dropout, and the training but for Adam. No reproduction of the paper's result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from local.encoders import length_mask
from local.features.auditory import Auditory, by_channel
from local.systems import Outputs, System
from local.systems.layers import recurrent
from local.systems.layers.batch_norm import VectorNorm
from local.systems.layers.few_sizes import in_steps, laid_out
from local.systems.layers.sequences import fit, windows
from local.systems.layers.shelves import Shelves
from local.systems.layers.standardise import Standardise

LEAST, MOST, STRIDE = 100, 1000, 4  # rows of the front end; rows per step of the recurrent networks
WINDOW, SHIFT = 25, 12  # steps: 1 s every 0.48 s
SLOPE = 0.01  # of the leaky ReLUs
STATE, ATTENTION, HIDDEN = 128, 128, 64
ROWS = 128  # see `in_steps`


class PengAsrnn(System):
    """The classifier of `n_labels` emotions.

    `front_end` is one of `local.features.auditory.KINDS`. With `carry_state` the BLSTM of a window begins, in both of
    its directions, with the final states of the window before.
    """

    title = "Peng et al. 2020: 3-D convolutions + ASRNN"
    certainty = "partly known (topology)"
    most_seconds = MOST / 100

    def __init__(self, n_labels: int, front_end: str = "gammachirp", carry_state: bool = False) -> None:
        super().__init__(front_end=Auditory(front_end))
        self.carry_state = carry_state
        self.standardise = Standardise(self.front_end.width)
        self.convolutions = nn.ModuleList(
            [
                _block(1, 16, (3, 3, 5), (1, 2, 2), ROWS),
                _block(16, 32, (3, 3, 3), (2, 2, 2), ROWS // 2),
                _block(32, 64, (3, 3, 3), (3, 2, 1), ROWS // STRIDE),
            ]
        )
        self.dropout = nn.Dropout(0.3)
        self.blstm = nn.LSTM(256, STATE, batch_first=True, bidirectional=True)
        self.lstm = nn.LSTM(2 * STATE, 2 * STATE, batch_first=True)
        self.attention = nn.Sequential(nn.Linear(2 * STATE, ATTENTION), nn.Tanh(), nn.Linear(ATTENTION, 1, bias=False))
        self.hidden = nn.Sequential(
            nn.Linear(4 * STATE, HIDDEN), nn.LeakyReLU(SLOPE), VectorNorm(HIDDEN), nn.Dropout(0.5)
        )
        self.emotion_head = nn.Linear(HIDDEN, n_labels)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, [B] samples; or [B, T, 192] rows -> logits of the emotions."""
        steps, n_steps = self.steps(*self.front_end(wavs, lengths))
        windows, n_windows = self.slide(self.dropout(steps), n_steps)
        _, last = recurrent.run(self.lstm, windows, n_windows)
        salient = torch.einsum("bk,bkd->bd", self.weights_of(windows, n_windows), windows)
        return Outputs(self.emotion_head(self.hidden(torch.cat([last, salient], dim=1))))

    def steps(self, rows: Tensor, n_rows: Tensor) -> tuple[Tensor, Tensor]:
        """The convolutions: [B, T, 192], [B] true rows -> [B, T / 4, 256], [B] true steps, at least 25."""
        rows, n_rows = fit(self.standardise(rows), n_rows, LEAST, MOST, STRIDE)
        shelves = Shelves(n_rows, gap=STRIDE)  # no convolution reaches further: 2 rows, then 1 of 2, then 1 of 4
        planes, stride = by_channel(shelves.lay(rows)).permute(0, 2, 3, 1)[:, None], 1  # [S, 1, 6, 32, T]
        for block in self.convolutions:
            planes = block(planes)
            stride *= block[2].kernel_size[-1]
            planes = shelves.mask(planes, dim=4, stride=stride)
        return shelves.take(planes.flatten(1, 3).transpose(1, 2), stride)

    def slide(self, steps: Tensor, n_steps: Tensor) -> tuple[Tensor, Tensor]:
        """Both final states of the BLSTM on each window: [B, T, 256], [B] -> [B, K, 256], [B] windows."""
        cuts, counts = windows(steps, n_steps, WINDOW, SHIFT)
        if self.carry_state:
            states, found = None, []
            for cut in cuts.unbind(1):
                _, states = recurrent.run_whole(self.blstm, cut, states)
                found.append(states[0].transpose(0, 1).flatten(1))
            return torch.stack(found, dim=1), counts
        true = length_mask(counts, cuts.shape[1]).flatten().nonzero()[:, 0]  # an index: a mask would wait for a GPU
        _, (states, _) = recurrent.run_whole(self.blstm, cuts.flatten(0, 1)[true.to(cuts.device, non_blocking=True)])
        return pad_sequence(states.transpose(0, 1).flatten(1).split(counts.tolist()), batch_first=True), counts

    def weights_of(self, windows: Tensor, n_windows: Tensor) -> Tensor:
        """The attention, 0 beyond an utterance's last window: [B, K, 256], [B] -> [B, K]."""
        true = length_mask(n_windows, windows.shape[1], windows.device)
        return self.attention(windows)[..., 0].float().masked_fill(~true, -torch.inf).softmax(1).to(windows.dtype)

    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take mean and deviation of each of the 192 numbers over the training set."""
        self.standardise.measure(self.front_end(*batch) for batch in batches)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor besides `n_labels`."""
        return {"front_end": self.front_end.kind, "carry_state": self.carry_state}


class Convolution(nn.Conv3d):
    """Over modulation x channel x time, of as many rows as there are: [S, width, 6, 32, T] -> [S, maps, 6, 32, T]."""

    def __init__(self, width: int, maps: int, kernel: tuple[int, int, int], step: int) -> None:
        super().__init__(width, maps, kernel, padding="same")
        self.step = step

    def forward(self, planes: Tensor) -> Tensor:
        """As `nn.Conv3d`, of few sizes."""
        return in_steps(self._convolve, planes, 4, self.step)

    def _convolve(self, planes: Tensor) -> Tensor:
        return laid_out(F.conv3d(planes, laid_out(self.weight), self.bias, padding=self.padding))


def _block(width: int, maps: int, kernel: tuple[int, int, int], pool: tuple[int, int, int], step: int) -> nn.Sequential:
    """A stage over modulation x channel x time. The leaky ReLU, which rises, gives the same before the pooling."""
    convolution = Convolution(width, maps, kernel, step)
    return nn.Sequential(convolution, nn.BatchNorm3d(maps), nn.MaxPool3d(pool), nn.LeakyReLU(SLOPE))


SYSTEM = PengAsrnn

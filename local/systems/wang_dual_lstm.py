"""Dual-sequence LSTM on two mel spectrograms, beside an LSTM on MFCC.

J. Wang, M. Xue, R. Culhane, E. Diao, J. Ding, V. Tarokh: Speech emotion recognition with dual-sequence LSTM
architecture. ICASSP 2020. Certainty: known. The layers, their sizes, the losses and the training are those of the
authors' code and logs, the MFCC those of openSMILE's file that they name; recalled are librosa's defaults of 2019,
chosen is the floor of the logarithm. Left out of the original: random folds, and the best epoch of the test set.

    input                               (`local.features.mel_pairs`)            A 128 x 230, B 256 x 120, MFCC T x 39
    twice, for A and for B              conv 4x4, padding 1, 64 then 32 maps,   A 32 x 31 x 56 = 992 x 56
                                        batch norm, ReLU, max-pool 2x2          B 32 x 63 x 29 = 2,016 x 29
    alignment                           x_t = mean of A's 2t, 2t + 1, 2t + 2    x 27 x 992
                                        y_t = B's t                             y 27 x 2,016
    dual LSTM                           (`local.systems.layers.dual_lstm`)      27 x 200
    dual LSTM                           of that for x, and of y                 27 x 200
    mean over steps, linear                                                     4
    LSTM, two layers, on the MFCC                                               T x 200
    mean over true frames, linear                                               4
    logits = (those of the mels + those of the MFCC) / 2; loss = (CE of the mels + CE of the MFCC) / 2

Parameters: 6,294,568 = 68,160 CNN + 3,251,200 and 2,459,200 dual LSTM + 514,400 LSTM + 1,608 linear.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from local.features.mel_pairs import MelPairs, unpack
from local.features.mfcc import HTK_NUMBERS
from local.systems import Losses, Outputs, System, Targets, cross_entropy
from local.systems.layers import recurrent
from local.systems.layers.conv_pool import ConvPool
from local.systems.layers.dual_lstm import DualLstm

HIDDEN, STEPS = 200, 27
X_SIZE, Y_SIZE = 992, 2016  # maps times bands, of A and B after the CNN


class DualSequenceSystem(System):
    """Wang et al.'s system for `n_labels` emotions."""

    title = "Wang et al. 2020: dual-sequence LSTM"
    certainty = "known"

    def __init__(self, n_labels: int) -> None:
        super().__init__(front_end=MelPairs())
        self.cnn_a, self.cnn_b = _cnn(), _cnn()
        self.dual = nn.ModuleList(DualLstm(size, Y_SIZE, HIDDEN, STEPS) for size in (X_SIZE, HIDDEN))
        self.lstm = nn.LSTM(HTK_NUMBERS, HIDDEN, num_layers=2, batch_first=True)
        self.mel_head = nn.Linear(HIDDEN, n_labels)
        self.mfcc_head = nn.Linear(HIDDEN, n_labels)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, or the rows of the front end -> logits; `further` are those of the mels and of the MFCC."""
        a, b, mfcc, n_frames = unpack(*self.front_end(wavs, lengths))
        x, y = align(self.cnn_a(a).flatten(1, 2), self.cnn_b(b).flatten(1, 2))
        for layer in self.dual:
            x = layer(x, y)
        of_mels = self.mel_head(x.mean(1))
        of_mfcc = self.mfcc_head(self._mean_states(mfcc, n_frames))
        return Outputs(0.5 * of_mels + 0.5 * of_mfcc, further=(of_mels, of_mfcc))

    def _mean_states(self, mfcc: Tensor, n_frames: Tensor) -> Tensor:
        """Of the LSTM over the true frames: [B, T, 39], [B] on the CPU -> [B, 200]."""
        states, _ = recurrent.run(self.lstm, mfcc, n_frames)
        return states.sum(1) / n_frames.to(states.device, non_blocking=True)[:, None]

    def losses(self, outputs: Outputs, targets: Targets) -> Losses:
        """The mean of the cross-entropies of both branches; the part for the log is that of their mean logits."""
        branches = [cross_entropy(outputs._replace(emotion=logits), targets) for logits in outputs.further]
        return Losses(0.5 * branches[0] + 0.5 * branches[1], cross_entropy(outputs, targets).detach())


def align(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """[B, 992, 56], [B, 2016, 29] -> x [B, 27, 992], the mean of three steps every two, and y [B, 27, 2016]."""
    x = nn.functional.avg_pool1d(a, kernel_size=3, stride=2)
    return x.transpose(1, 2), b[:, :, : x.shape[2]].transpose(1, 2)


def _cnn() -> nn.Sequential:
    """[B, 1, bands, frames] -> [B, 32, bands / 4, frames / 4], about."""
    second = nn.Conv2d(64, 32, 4, padding=1), nn.BatchNorm2d(32), nn.ReLU(inplace=True), nn.MaxPool2d(2)
    layers = nn.Sequential(ConvPool(64, size=4), *second)
    return layers.to(memory_format=torch.channels_last)  # pooled twice as fast on a CPU


SYSTEM = DualSequenceSystem

"""Local cues by convolutions, global ones by densely connected capsules: after the idea of Liu et al. 2020.

Liu, Liu, Wang, Guo, Dang: Speech emotion recognition with local-global aware deep representation learning. ICASSP 2020.

Segments of 32 frames (264 ms), every 32 in training and every 16 in use; a shorter utterance is repeated. With 4
emotions:

| layer | output of a segment | parameters |
|---|---|---|
| log power, 16 ms Hamming every 8 ms; each bin standardised | 129 x 32 | |
| 16 maps each of 9 x 1, 1 x 9, 3 x 3, batch norm, ReLU, maximum of 2 x 2 | 48 x 64 x 16 | 576 |
| local: 32 maps each of 9 x 1, 1 x 9, 3 x 3, batch norm, ReLU, maximum of 2 x 2 | 96 x 32 x 8 | 41,760 |
| 128 maps of 3 x 3, batch norm, ReLU, maximum of 2 x 2 | 128 x 16 x 4 | 110,976 |
| 128 maps of 3 x 3, batch norm, ReLU; mean and maximum of each | 256 | 147,840 |
| global, from the first row: 64 maps of 5 x 5 with stride 2, batch norm, ReLU: F0 | 64 x 32 x 8 | 76,992 |
| three blocks b: 64 maps of 3 x 3 on all F before, batch norm, ReLU: Fb | 64 x 32 x 8 | 221,760 |
| on each Fb: primary capsules, 128 maps of 3 x 3 with stride 4 x 2 | 512 x 8 | 221,568 |
| on these: capsules, routed; a matrix for each of 16 types | 4 x 16, in all 192 | 24,576 |
| both: linear 128, ReLU, dropout 0.5, linear | 4 | 57,988 |
| mean, deviation and maximum of the 448 numbers over the utterance's segments | 1,344 | |
| extreme learning machine of 2,000 units | 4 | (10,688,000 fixed, 8,000 solved) |

904,036 trained parameters. Loss of a segment, with the utterance's emotion: cross-entropy + 0.5 of the mean of the
blocks' margin losses. The loss of an utterance is the mean over its segments, so that all utterances count alike. The
network alone scores by the mean of the segments' posteriors, and so it does in the epochs' validation; after the last
step the learning machine's output, about +1 for one emotion and -1 for the others, are the logits.

Certainty. Known: UA 70.78. Recalled: WA 70.34, leave-one-session-out, segments of 265 ms. Second-hand: that there are a
time-frequency CNN, densely connected capsule nets and a learning machine. Chosen: every layer, size and rule. The
paper's routing rule is not known: `standard`, or `cosine`, are those of `local.systems.layers.capsules`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.core.errors import UserError
from local.encoders import length_mask
from local.features.spectra import Spectra
from local.systems import Labelled, Losses, Outputs, System, Targets
from local.systems.layers.capsules import Capsules, PrimaryCapsules, cost_of_truth, margin_costs
from local.systems.layers.elm import ExtremeLearningMachine
from local.systems.layers.few_sizes import in_steps, laid_out
from local.systems.layers.sequences import join, repeat, separate, windows
from local.systems.layers.standardise import Standardise

logger = logging.getLogger(__name__)

RATE, WINDOW, HOP, BINS = 16_000, 256, 128, 129
STRIDE = 8  # frames that become one in the local module
LONGEST = 10.0  # seconds of a segment
MAPS, ENTRY, DEEP, BLOCKS = 64, 48, 128, 3
TYPES, PRIMARY, EMOTION = 16, 8, 16  # capsules: types, and size, of the primary ones; size of the others
MARGIN = 0.5  # weight of the margin losses
AT_ONCE = 256  # frames of 32 x segments in use, at a time: bounds the memory
STEP = 32  # segments: see `in_steps`


class LiuLocalGlobal(System):
    """Liu et al. 2020.

    Parameters
    ----------
    n_labels
        Emotions.
    segment_s
        Seconds of a segment; it has as many frames as fit, a multiple of 8.
    routing
        `standard` or `cosine`.
    elm
        Whether the extreme learning machine scores, or the network alone.
    """

    title = "Liu et al. 2020: local-global"
    certainty = "own choice"

    def __init__(self, n_labels: int, segment_s: float = 0.264, routing: str = "standard", elm: bool = True) -> None:
        super().__init__(front_end=Spectra(window=WINDOW, hop=HOP, n_fft=WINDOW))
        self.segment_s, self.routing, self.solves = segment_s, routing, elm
        self.size = ((round(min(segment_s, LONGEST) * RATE) - WINDOW) // HOP + 1) // STRIDE * STRIDE
        if self.size < STRIDE or segment_s > LONGEST:
            raise UserError(f"segment_s is {segment_s}", f"set segment_s to 0.072 to {LONGEST:g}")
        self.standardise = Standardise(BINS)
        self.network = Network(n_labels, routing)
        self.elm = ExtremeLearningMachine(3 * self.network.size, n_labels) if elm else None
        if not elm:  # the weights may be those of epochs with it, see `local.training.last_step`
            self.register_load_state_dict_pre_hook(_leave_out_elm)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms or [B, T, 129] rows, [B] -> logits.

        `further`: [B, C] each, by the class were it the true one: the means over the segments of the cross-entropy and
        of the margin losses.
        """
        segments, counts, starts = self._segments(*self.front_end(wavs, lengths))
        of_segments = self._run(segments)
        logs = separate(of_segments.logits.float().log_softmax(1), starts, counts)
        margins = separate(margin_costs(of_segments.lengths.float()).mean(1), starts, counts)
        true = length_mask(counts, logs.shape[1], logs.device)[:, :, None]
        numbers = counts.to(logs.device, non_blocking=True)[:, None]
        emotion = logs.masked_fill(~true, -torch.inf).logsumexp(1) - numbers.log()
        if self.elm is not None and not self.training:
            scores = self.elm(pool(separate(of_segments.vectors, starts, counts), counts))
            emotion = torch.where(self.elm.solved > 0, scores, emotion)
        return Outputs(emotion, further=(-logs.sum(1) / numbers, margins.sum(1) / numbers))

    def _segments(self, rows: Tensor, n_rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, 129], [B] -> [S, size, 129] of all utterances, and [B] how many each has, and its first."""
        hop = self.size if self.training else self.size // 2
        rows, n_rows = repeat(self.standardise(rows), n_rows, self.size)
        whole = self.size + (n_rows - self.size) // hop * hop  # frames after the last segment are left out
        by_utterance, counts = windows(rows, whole, self.size, hop)
        segments, starts = join(by_utterance, counts)
        return segments, counts, starts

    def _run(self, segments: Tensor) -> OfSegments:
        """The network on all segments; in evaluation some at a time, as none depends on another."""
        if self.training:
            return self.network(segments)
        parts = [self.network(part) for part in segments.split(max(1, AT_ONCE * 32 // self.size))]
        return OfSegments(*map(torch.cat, zip(*parts, strict=True)))

    def losses(self, outputs: Outputs, targets: Targets) -> Losses:
        """Cross-entropy and margin losses of the segments, each the mean over an utterance's."""
        ce, margin = (cost_of_truth(costs, targets.emotion, targets.weights) for costs in outputs.further)
        return Losses(ce + MARGIN * margin, ce.detach())

    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take mean and standard deviation of each bin over the training set."""
        self.standardise.measure(self.front_end(*batch) for batch in batches)

    def vectors(self, wavs: Tensor, lengths: Tensor) -> Tensor:
        """[B, N] or [B, T, 129], [B] -> [B, 1344], what the learning machine takes."""
        segments, counts, starts = self._segments(*self.front_end(wavs, lengths))
        return pool(separate(self._run(segments).vectors, starts, counts), counts)

    def solve(self, training: Labelled, validation: Labelled | None) -> None:
        """Solve the learning machine; the validation set chooses its C."""
        held_out = None if validation is None else self._gather(validation)
        choice = self.elm.solve(*self._gather(training), held_out)
        logger.info("extreme learning machine: C is %g", choice)

    def _gather(self, batches: Labelled) -> tuple[Tensor, Tensor]:
        """Vectors and classes of all utterances."""
        pairs = [(self.vectors(wavs, lengths), emotions) for wavs, lengths, emotions in batches]
        vectors, emotions = zip(*pairs, strict=True)
        return torch.cat(vectors), torch.cat(emotions)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor besides `n_labels`."""
        return {"segment_s": self.segment_s, "routing": self.routing, "elm": self.solves}


class OfSegments(NamedTuple):
    """What the network makes of S segments."""

    logits: Tensor  # [S, C]
    vectors: Tensor  # [S, 448]
    lengths: Tensor  # [S, blocks, C], of the emotion capsules


class Network(nn.Module):
    """The network of stage 1: [S, T, 129] segments, T a multiple of 8 -> `OfSegments`."""

    def __init__(self, n_labels: int, routing: str) -> None:
        super().__init__()
        self.first = Parallel(1, ENTRY)
        self.local_module = Local()
        self.global_module = DenseCapsules(n_labels, routing)
        self.size = 2 * DEEP + BLOCKS * n_labels * EMOTION
        self.head = nn.Sequential(nn.Linear(self.size, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, n_labels))

    def forward(self, segments: Tensor) -> OfSegments:
        """[S, T, 129] -> `OfSegments`."""
        maps = self.first(segments.transpose(1, 2)[:, None])
        capsules = self.global_module(maps)
        vectors = torch.cat([self.local_module(maps), capsules.flatten(1)], dim=1)
        return OfSegments(self.head(vectors), vectors, torch.linalg.vector_norm(capsules, dim=3))


class Convolution(nn.Conv2d):
    """A convolution of segments, as many as there are: [S, inputs, F, T] -> [S, outputs, F', T']."""

    def forward(self, maps: Tensor) -> Tensor:
        """As `nn.Conv2d`, of few sizes."""
        return in_steps(self._convolve, maps, 0, STEP)

    def _convolve(self, maps: Tensor) -> Tensor:
        return laid_out(F.conv2d(maps, laid_out(self.weight), self.bias, self.stride, self.padding))


class Parallel(nn.Module):
    """Convolutions over frequency, over time and over both, side by side, then the maximum of 2 x 2.

    [S, inputs, F, T] -> [S, outputs, F/2, T/2].
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        kernels = ((9, 1), (1, 9), (3, 3))
        self.convolutions = nn.ModuleList(Convolution(inputs, outputs // 3, each, padding="same") for each in kernels)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """[S, inputs, F, T] -> [S, outputs, F/2, T/2]."""
        maps = self.norm(torch.cat([convolution(maps) for convolution in self.convolutions], dim=1))
        return F.max_pool2d(maps, 2).relu()  # the same as ReLU first, with fewer numbers


class Local(nn.Module):
    """Local cues, after the first maps: [S, 48, 64, T/2] -> [S, 256]."""

    def __init__(self) -> None:
        super().__init__()
        self.second = Parallel(ENTRY, 2 * ENTRY)
        self.third, self.third_norm = Convolution(2 * ENTRY, DEEP, 3, padding="same"), nn.BatchNorm2d(DEEP)
        self.fourth, self.fourth_norm = Convolution(DEEP, DEEP, 3, padding="same"), nn.BatchNorm2d(DEEP)

    def forward(self, maps: Tensor) -> Tensor:
        """[S, 48, 64, T/2] -> [S, 256], means and maxima."""
        maps = F.max_pool2d(self.third_norm(self.third(self.second(maps))), 2).relu()
        maps = self.fourth_norm(self.fourth(maps)).relu().flatten(2)
        return torch.cat([maps.mean(2), maps.amax(2)], dim=1)


class DenseCapsules(nn.Module):
    """Global cues: three capsule nets, on maps that are made of all maps before: [S, 48, 64, T/2] -> [S, 3, C, 16]."""

    def __init__(self, n_labels: int, routing: str) -> None:
        super().__init__()
        self.entry = nn.Sequential(Convolution(ENTRY, MAPS, 5, stride=2, padding=2), nn.BatchNorm2d(MAPS), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(Convolution((b + 1) * MAPS, MAPS, 3, padding="same"), nn.BatchNorm2d(MAPS), nn.ReLU())
            for b in range(BLOCKS)
        )
        self.primary = nn.ModuleList(
            PrimaryCapsules(MAPS, TYPES, PRIMARY, stride=(4, 2), padding=1) for _ in range(BLOCKS)
        )
        self.emotions = nn.ModuleList(Capsules(TYPES, PRIMARY, n_labels, EMOTION, rule=routing) for _ in range(BLOCKS))

    def forward(self, maps: Tensor) -> Tensor:
        """[S, 48, 64, T/2] -> [S, 3, C, 16]."""
        return torch.stack(list(self._capsules(self.entry(maps))), dim=1)

    def _capsules(self, entry: Tensor) -> Iterator[Tensor]:
        """Of each block, [S, C, 16]."""
        before = [entry]
        for block, primary, emotions in zip(self.blocks, self.primary, self.emotions, strict=True):
            before.append(block(torch.cat(before, dim=1)))
            yield emotions(in_steps(primary, before[-1], 0, STEP))


def _leave_out_elm(_: nn.Module, state: dict[str, Tensor], prefix: str, *__: Any) -> None:
    """Leave the learning machine out of the weights that are to be loaded."""
    for name in [name for name in state if name.startswith(f"{prefix}elm.")]:
        del state[name]


def pool(vectors: Tensor, counts: Tensor) -> Tensor:
    """Mean, standard deviation and maximum over an utterance's segments: [B, K, d], zero beyond, [B] -> [B, 3 d]."""
    padding = ~length_mask(counts, vectors.shape[1], vectors.device)[:, :, None]
    numbers = counts.to(vectors.device, non_blocking=True)[:, None]
    mean = vectors.sum(1) / numbers
    squares = (vectors - mean[:, None]).masked_fill(padding, 0.0).square().sum(1)
    most = vectors.masked_fill(padding, -torch.inf).amax(1)
    return torch.cat([mean, (squares / numbers).sqrt(), most], dim=1)


SYSTEM = LiuLocalGlobal

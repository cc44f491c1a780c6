"""Segments of half a second, what describes them, their pictures, and which of them are an utterance's key segments.

The key segments depend on descriptors that are standardised by a training set, and a front end has no statistics of
one. So the front ends here give the rows of *all* segments, which are stored once for all folds and seeds, and a system
chooses among them by `KeySegments`. For pictures that takes more passes of ResNet-101 than the key segments alone
would, but once instead of once per fold.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor

from local.audio.header import SAMPLE_RATE
from local.core import hub
from local.core.errors import UserError
from local.encoders.weight_file import load_weights
from local.features.base import FrontEnd
from local.features.logmel import LogMel
from local.features.resnet import ResNet101

SEGMENT, HOP = 8000, 4000  # samples
FRAMES, STEP = 48, 25  # log-mel frames of a segment, and from one segment's first to the next one's
BANDS = 40
DESCRIPTOR = 2 * BANDS
MOST = 12  # key segments
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours
OUTPUTS = {"logits": 1000, "pooled": 2048}
COLORMAPS = ("grey", "viridis")
FILES = ("model.safetensors", "pytorch_model.bin")  # of a repository of the hub
PASS = 16  # pictures at a time
CHOICES = 1_000_000  # kept at most
NOISE = 1e-9  # differences of similarities below this are of rounding


def n_segments(lengths: Tensor) -> Tensor:
    """[B] samples -> [B] segments; a shorter utterance is filled to one, and what is left after the last is dropped."""
    return (lengths - SEGMENT).clamp(min=0) // HOP + 1


class SegmentFrames(LogMel):
    """40 log-mel energies of the frames of an utterance's S segments: [N] -> [25 S + 23, 40].

    A segment begins every 25 frames and has 48; see `cut`.
    """

    def __init__(self) -> None:
        super().__init__(BANDS)

    def batch(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N], [B] samples -> [B, T, 40], [B] frames."""
        wavs = F.pad(wavs, (0, max(0, SEGMENT - wavs.shape[1])))
        return super().batch(wavs, SEGMENT + HOP * (n_segments(lengths) - 1))


def cut(frames: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of `SegmentFrames`, [B, T, 40], to segments: a view [B, S, 40, 48], and [B] true segments."""
    return frames.unfold(1, FRAMES, STEP), (n_frames - (FRAMES - STEP)) // STEP


def descriptors(segments: Tensor) -> Tensor:
    """Mean and standard deviation of each energy: [..., 40, 48] -> [..., 80], in double precision.

    So they are the same to the last of the digits that count, whatever batch they are computed in.
    """
    segments = segments.double()
    return torch.cat([segments.mean(-1), segments.std(-1, correction=0)], dim=-1)


class SegmentFeatures(FrontEnd):
    """Each segment's descriptor and the output of a frozen ResNet-101 for its picture: [N] -> [S, 80 + 1000].

    `weights` is a file of torchvision's (IMAGENET1K_V1 or V2), or the name of a repository of the hub with one of
    `FILES`, in which the tensors have torchvision's names, as in timm's; None: random weights, to be loaded later.
    `output` is `logits`, the 1,000 of the last layer before their softmax, or `pooled`, the 2,048 numbers before it.
    `colormap` is `grey` (three equal channels) or `viridis`. A `UserError` for other values, or another network's
    weights.
    """

    seconds_per_row = HOP / SAMPLE_RATE

    def __init__(self, weights: str | None = None, output: str = "logits", colormap: str = "grey") -> None:
        super().__init__()
        for name, value, known in (("output", output, OUTPUTS), ("colormap", colormap, COLORMAPS)):
            if value not in known:
                raise UserError(f"{name} is '{value}'", f"set {name} to {' or '.join(known)}")
        self.output, self.colormap, self.width = output, colormap, DESCRIPTOR + OUTPUTS[output]
        self.frames = SegmentFrames()
        self.network = ResNet101()
        if weights is not None:
            load_weights(self.network, _file(weights), "resnet101_weights")
        if output == "pooled":
            self.network.fc = torch.nn.Identity()
        self.network.requires_grad_(False)
        self.register_buffer("taper", torch.hamming_window(400), persistent=False)
        self.register_buffer("colours", _viridis() if colormap == "viridis" else None, persistent=False)
        normal = torch.tensor([MEAN, DEVIATION])[:, :, None, None]
        self.register_buffer("normal", normal, persistent=False)  # [2, 3, 1, 1]

    def rows(self, wav: Tensor) -> Tensor:
        """[N] -> [S, 80 + 1000], some pictures at a time."""
        count = n_segments(torch.tensor([len(wav)]))
        frames, n_frames = self.frames(wav[None], torch.tensor([len(wav)]))
        segments, _ = cut(frames[:, : int(n_frames)], n_frames)
        waves = F.pad(wav, (0, max(0, SEGMENT - len(wav)))).unfold(0, SEGMENT, HOP)[: int(count)]
        made = [self.network(self.pictures(some)) for some in waves.split(PASS)]
        return torch.cat([descriptors(segments[0]).float(), torch.cat(made)], dim=1)

    def pictures(self, waves: Tensor) -> Tensor:
        """Spectrograms as ImageNet's pictures, low frequencies first: [S, 8000] samples -> [S, 3, 224, 224].

        Magnitudes of 48 frames at 257 frequencies, log(|X| + 1e-6), from 0 to 1 over the segment, bilinearly resized.
        """
        spectra = torch.fft.rfft(waves.unfold(1, 400, 160) * self.taper, 512).abs().transpose(1, 2)  # [S, 257, 48]
        values = (spectra + 1e-6).log()
        low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
        values = (values - low) / (high - low).clamp(min=1e-6)  # silence is black
        values = F.interpolate(values[:, None], (224, 224), mode="bilinear", align_corners=False)
        if self.colours is None:
            values = values.expand(-1, 3, -1, -1)
        else:
            values = self.colours[(values[:, 0] * 255).round().long()].permute(0, 3, 1, 2)
        return (values - self.normal[0]) / self.normal[1]

    def train(self, mode: bool = True) -> SegmentFeatures:
        """It stays in evaluation mode: its batch norm has the statistics of ImageNet."""
        return super().train(False)

    def settings(self) -> dict[str, Any]:
        """What its rows depend on besides the weights."""
        return {"output": self.output, "colormap": self.colormap}


def _file(weights: str) -> str | Path:
    """The file of weights that are given by a path, or by a name of the hub."""
    if not hub.is_name(weights):
        return weights
    where = f"resnet101_weights {weights}"
    if (file := hub.fetch(weights, FILES, where)) is None:
        raise UserError(f"{where}: the repository has no {' or '.join(FILES)}", "give a file, or a name of timm's")
    return file


def _viridis() -> Tensor:
    """Red, green and blue of the colormap, from its lowest to its highest: [256, 3]."""
    import matplotlib

    return torch.tensor(matplotlib.colormaps["viridis"].colors)


def scale(points: NDArray) -> float:
    """The median of the distances between each two points, [S, c]; 1 if it is 0."""
    distances = cdist(points, points)[np.triu_indices(len(points), 1)]
    return float(np.median(distances)) or 1.0 if len(distances) else 1.0


def similarities(points: NDArray, others: NDArray, sigma: float) -> NDArray:
    """exp(-|a - b|^2 / (2 sigma^2)) of each of the points, [S, c], and each of the others, [R, c]: [S, R], above 0."""
    return np.exp(-np.minimum(cdist(points, others, "sqeuclidean") / (2 * sigma**2), 700.0))


def key_segments(points: NDArray) -> NDArray[np.intp]:
    """Which of an utterance's segments are its key segments, in order: [S, 80] standardised descriptors -> [K] indices.

    As many clusters as there are stretches between falls of the similarity from one segment to the next, 12 at most.
    K-means makes them of the rows of all similarities; the member most like a cluster's mean descriptor is kept.
    """
    sigma = scale(points)
    alike = similarities(points, points, sigma)
    next_ones = alike.diagonal(1)
    clusters = 1
    if len(points) > 2:
        falls = next_ones < next_ones.mean() - 0.5 * next_ones.std() - NOISE
        clusters = min(1 + int(falls.sum()), len(points), MOST)
    # By one thread: of so few numbers, several wait for each other most of the time.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer distinct rows than clusters: then fewer are made
        found = KMeans(clusters, n_init=10, random_state=0).fit(alike).labels_
    kept = []
    for cluster in np.unique(found):
        members = np.flatnonzero(found == cluster)
        to_mean = similarities(points[members], points[members].mean(0, keepdims=True), sigma)[:, 0]
        kept.append(members[np.argmax(to_mean > to_mean.max() - NOISE)])  # of equal ones the earliest
    return np.sort(kept)


class KeySegments:
    """The key segments of utterances, found once for the same descriptors and kept in memory, some 150 bytes each."""

    def __init__(self) -> None:
        self.known: dict[bytes, Tensor] = {}

    def __call__(self, points: Tensor) -> Tensor:
        """[S, 80] standardised descriptors, on the CPU -> [K] indices."""
        # To four digits, below which they depend on the machine.
        points = points.double().mul(1e4).round().div(1e4).numpy()
        content = hashlib.blake2b(points.tobytes(), digest_size=16).digest()
        if content not in self.known:
            if len(self.known) >= CHOICES:
                self.known.clear()
            self.known[content] = torch.from_numpy(key_segments(points))
        return self.known[content]

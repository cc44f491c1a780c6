"""The output of what does not learn, computed once for the corpus and shared by every fold, seed and alpha.

Of a front end it is its rows; of a frozen encoder, of any family, its last hidden state, or all that the heads read;
where its lowest layers alone are frozen, what the highest of these makes, and what the heads read of those below; where
the CNN alone is, the CNN's output. `manifests/<corpus>/<what>-<fingerprint>.f32`, or `.f16`, holds [rows, c] numbers
per utterance, one after the other; the JSON file beside it, written last, holds their numbers of rows. The first job
that needs it computes it, in evaluation mode, in single precision, each utterance alone: what is frozen is in
evaluation mode in training too, without dropout and SpecAugment. The other jobs of the run wait for it, so that on a
CPU it has all of their cores, an utterance on each: the bytes do not depend on how many there are. It may take hours: a
job that is killed leaves what it has computed, and the next goes on there (see `local.core.partial`).

Rows and frames are kept in 32 bits, as they are, what is below others in 16. A float16 has 11 significant bits, so a
feature changes by up to 2^-11 of itself (0.05 %), eight times less than in bfloat16, and by up to 3e-8 where it is
below 6e-5. Of the CNN's the projection's layer norm, which follows, enlarges the latter by 316 at most (its epsilon is
1e-5). Measured of three of Whisper tiny.en's four layers, on 60 utterances of nEMO: a posterior changes by 4e-4 at
most, by 2e-5 in the mean, no emotion, and the token of 2 of 7,635 frames; with bfloat16 by 2e-3, by 2e-4, and 10.
Layers may have a few channels of very large values. An utterance with one beyond 65,504, the largest of 16 bits, is
kept in 32 instead, and nothing of it is cut: each one for itself, so that what was computed before is not lost, and
only those take twice the room. Such a store gives all of its utterances in 32 bits.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.core.files import digest
from local.core.free_memory import room
from local.core.partial import Parts
from local.core.threads import in_order, one_thread_each
from local.data.device import use_precision
from local.data.store import AudioStore, Store, refuse_too_long
from local.encoders import Encoder
from local.encoders.row_source import RowSource
from local.encoders.waveform import WaveformEncoder
from local.systems import System

if TYPE_CHECKING:
    from typing import Self  # from Python 3.11 on

logger = logging.getLogger(__name__)

Watch = Callable[[int, int, float], None]
MOST_BYTES = 2e9  # of memory that an utterance may need: one of 35 s in all layers of wav2vec2-large takes 1.2e9
VERSION = 1  # of the files' contents: a store of another version is rebuilt


class FeatureStore(Store):
    """Features of a corpus's utterances: `store[ID]`, [T, c]."""

    what: str  # what they are, in the name of the file
    suffix: str  # of the file
    owner: str  # whose output they are
    # Where they do not fit 32 bits.
    remedy = "set freeze_cnn and freeze to False and freeze_layers to 0, or use another --encoder"
    in_parts = True

    @classmethod
    def of(
        cls, audio: AudioStore, source: RowSource, device: str | torch.device, watch: Watch = lambda *_: None
    ) -> Self:
        """Open the store of a corpus and of what computes the features; compute it first if there is none.

        `watch` is that of `model_inputs`.

        `UserError` when the disk is full, or an utterance is too long for an encoder or has features that do not fit
        32 bits.
        """
        sources = cls.fingerprint(audio, source)
        path = audio.path.with_name(f"{cls.what}-{sources}.{cls.suffix}")
        width, rows = cls.width(source), len(audio) * source.rows_each
        if source.seconds_per_row:
            rows = sum(len(audio.rows(name)) for name in audio) / SAMPLE_RATE / source.seconds_per_row
        expected = int(rows) * width * np.dtype(cls.dtype).itemsize

        def write(parts: Parts) -> dict[str, Any]:
            done = f", of which {len(parts.sizes)} are done" if parts.sizes else ""
            size = f"{expected / 1e9:.1f} GB, {path}"
            logger.info("computing the %s output for %d utterances%s: %s", cls.owner, len(audio), done, size)
            cls._compute_all(audio, source.to(device), torch.device(device), parts, watch)
            return {"rows": parts.sizes, "faults": audio.facts["faults"], "width": width, "floats": parts.marked}

        store = cls.make(path, sources, expected, write)
        if store.floats:
            counts = len(store.floats), len(store)
            logger.info("of %d of %d utterances the %s output passes 16 bits: kept in 32", *counts, cls.owner)
        return store

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self.rows(name), dtype=np.float32 if self.floats else None))

    @classmethod
    def _compute_all(
        cls, audio: AudioStore, source: RowSource, device: torch.device, parts: Parts, watch: Watch
    ) -> None:
        """Write the features of the utterances that are not done yet; the sizes of parts are numbers of rows."""
        was_training, left = source.training, [name for name in audio if name not in parts.sizes]
        source.eval()
        use_precision("fp32")
        bar = tqdm(left, desc=cls.what, unit="utterance", leave=False, disable=not sys.stderr.isatty())
        with _at_a_time(device) as count:
            compute = partial(cls._features, audio, _copies(source, count), device)
            with in_order(compute, left, count) as computed:
                for done, (name, features) in enumerate(zip(bar, computed, strict=True), start=1):
                    cls._add(parts, name, features)
                    if done == 1:  # which takes longer than others
                        began = time.monotonic()
                        continue
                    seconds_left = (time.monotonic() - began) / (done - 1) * (len(left) - done)
                    watch(len(audio) - len(left) + done, len(audio), seconds_left)
        source.train(was_training)

    @classmethod
    @torch.no_grad()
    def _features(cls, audio: AudioStore, idle: SimpleQueue[RowSource], device: torch.device, name: str) -> Tensor:
        """[T, c] of an utterance, on the CPU, by one of the sources that are idle."""
        wav = audio[name][None].to(device)
        source = idle.get()
        try:
            refuse_too_long(name, wav.shape[1], source.max_samples)
            with torch.autocast(device.type, enabled=False):
                return cls.compute(source, wav, torch.tensor([wav.shape[1]])).cpu()
        finally:
            idle.put(source)

    @classmethod
    def _add(cls, parts: Parts, name: str, features: Tensor) -> None:
        """Write the features of an utterance, in 32 bits where they need them; a `UserError` where that is too few."""
        if not math.isfinite(highest := float(features.abs().max())):
            raise UserError(f"utterance {name}: the {cls.owner} output does not fit 32-bit floats", cls.remedy)
        wide = highest > float(np.finfo(cls.dtype).max)
        stored = features.numpy().astype("<f4" if wide else cls.dtype)
        parts.add(name, stored.tobytes(), len(stored) * (2 if wide else 1), mark=wide)

    @staticmethod
    def fingerprint(audio: AudioStore, source: RowSource) -> str:
        """Hash the sources of features: the audio, and what computes them, with its weights."""
        weights = map(digest, _bytes(source.weights()))
        return digest(f"{VERSION}\t{_what_is_read(audio, source)}\t{source.signature()}", *weights)

    @staticmethod
    def width(source: RowSource) -> int:
        """Numbers in a row."""
        return source.width

    @staticmethod
    def compute(source: RowSource, wav: Tensor, length: Tensor) -> Tensor:
        """The features of an utterance: [1, N], [1] samples -> [T, c]."""
        rows, n_rows = source(wav, length)
        return rows[0, : int(n_rows)]


class RowStore(FeatureStore):
    """The rows of a front end, in 32 bits."""

    dtype, what, suffix, owner = "<f4", "features", "f32", "front end's"
    remedy = "correct the audio of this utterance, or leave it out of the corpus"


class FrameStore(FeatureStore):
    """The frames of an encoder, in 32 bits."""

    dtype, what, suffix, owner = "<f4", "frames", "f32", "encoder's"


class LayerStore(FeatureStore):
    """The output of an encoder's lowest layers, in 16 bits where it fits."""

    dtype, what, suffix, owner = "<f2", "layers", "f16", "lowest layers'"

    @staticmethod
    def fingerprint(audio: AudioStore, encoder: Encoder) -> str:
        """Hash the audio, the number of the layers, and what they and all before them are, with its weights."""
        read = _what_is_read(audio, encoder)
        weights = map(digest, _bytes(encoder.lowest_weights()))
        return digest(f"{VERSION}\t{read}\t{encoder.lowest_signature()}", *weights)

    @staticmethod
    def compute(encoder: Encoder, wav: Tensor, length: Tensor) -> Tensor:
        """[1, N], [1] -> [T, d]."""
        hidden, n_frames = encoder.lowest(*encoder.cut(wav, length))
        return hidden[0, : int(n_frames)]


class StateStore(FeatureStore):
    """The hidden states of a frozen encoder that are taken, one after another, in 16 bits where they fit."""

    dtype, what, suffix, owner = "<f2", "states", "f16", "layers'"

    @staticmethod
    def compute(encoder: Encoder, wav: Tensor, length: Tensor) -> Tensor:
        """[1, N], [1] -> [T, n d]."""
        states, n_frames = encoder.states(wav, length)
        return torch.cat([state[0, : int(n_frames)] for state in states.values()], 1)


class CnnStore(FeatureStore):
    """The output of a waveform encoder's CNN, in 16 bits where it fits."""

    dtype, what, suffix, owner = "<f2", "cnn", "f16", "CNN's"

    @staticmethod
    def fingerprint(audio: AudioStore, encoder: WaveformEncoder) -> str:
        """Hash the audio, the CNN with its weights, and whether waveforms are normalised."""
        cnn = encoder.model.feature_extractor
        # The `repr` of a module has its layers with sizes, strides, norms and activations.
        read = _what_is_read(audio, encoder)
        return digest(f"{VERSION}\t{read}\t{encoder.normalise}\t{cnn}", *_bytes(cnn.state_dict().values()))

    @staticmethod
    def width(encoder: WaveformEncoder) -> int:
        """Channels of the last convolution."""
        return encoder.model.config.conv_dim[-1]

    @staticmethod
    def compute(encoder: WaveformEncoder, wav: Tensor, length: Tensor) -> Tensor:
        """[1, N], [1] -> [T, c]."""
        return encoder.features(*encoder.cut(wav, length))[0][0]


def model_inputs(
    audio: AudioStore, system: System, device: str | torch.device, watch: Watch = lambda *_: None
) -> Store:
    """The store that a job's batches are read from: waveforms, or the output of what does not learn of the system.

    `watch` is told how far the latter is where it is computed first: how many utterances are done, and how many there
    are, and about how many seconds are left; before, as another job may do it, that none is done.
    """
    kind = kind_of_store(system)
    if kind is None:
        return audio
    watch(0, len(audio), math.inf)
    return kind.of(audio, system.front_end if kind is RowStore else system.encoder, device, watch)


def kind_of_store(system: System) -> type[FeatureStore] | None:
    """The store of what does not learn of a system; None where waveforms are its inputs."""
    if system.front_end is not None:
        return RowStore
    encoder = system.encoder
    if encoder is not None and encoder.freeze:
        return StateStore if encoder.taken else FrameStore
    if encoder is not None and encoder.frozen_layers:
        return LayerStore
    return CnnStore if isinstance(encoder, WaveformEncoder) and encoder.freeze_cnn else None


def refuse_augmented(system: System) -> None:
    """`UserError` for a system whose encoder is given what was stored of it, so that no waveform reaches it."""
    if system.encoder is not None and kind_of_store(system) is not None:
        raise UserError(
            "augment: what does not learn is computed once for all epochs, so waveforms cannot differ",
            "remove augment, or set freeze and freeze_cnn to False and freeze_layers to 0",
        )


@contextlib.contextmanager
def _at_a_time(device: torch.device) -> Iterator[int]:
    """How many utterances are computed at a time: on a CPU, each by one thread, as many as cores and memory allow."""
    if device.type != "cpu":
        yield 1
        return
    with one_thread_each() as threads:
        yield max(1, min(threads, int(room("cpu").free / MOST_BYTES)))


def _copies(source: RowSource, count: int) -> SimpleQueue[RowSource]:
    """So many copies with the same weights in memory: a module may keep something from one line to the next."""
    weights = {id(weight): weight for weight in (*source.weights(), *source.parameters(), *source.buffers())}
    idle: SimpleQueue[RowSource] = SimpleQueue()
    for _ in range(count):
        idle.put(copy.deepcopy(source, dict(weights)) if count > 1 else source)
    return idle


def _what_is_read(audio: AudioStore, source: RowSource) -> str:
    """The audio, and how much of an utterance where that is not all: see `RowSource.most_samples`."""
    return audio.fingerprint if source.most_samples is None else f"{audio.fingerprint} {source.most_samples}"


def _bytes(weights: Iterable[Tensor]) -> Iterator[bytes]:
    return (weight.detach().float().cpu().numpy().tobytes() for weight in weights)

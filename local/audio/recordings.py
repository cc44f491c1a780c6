"""Read recordings of any format, rate and channels as 16 kHz mono, for training and for use.

Samples are the mean of the channels, or the loudest channel where they cancel each other, resampled with torchaudio's
default filter. None is cut at full scale, beyond which floating point goes. A rate whose ratio to 16 kHz has no
denominator up to 1000, such as the 22,254 Hz of old computers, is replaced by the nearest one that has: within
0.05 %, a hundredth of a semitone. The filter for the exact ratio would take gigabytes.

libsndfile guesses the length of an MP3 of variable bit rate that lacks its Xing header: such a file is read too short,
or refused as cut short.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from local.audio import header
from local.audio.header import SAMPLE_RATE
from local.audio.survey import OF_FILE, Survey, in_order, mono, own_flags
from local.core.errors import UserError

UNBOUNDED = ("FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")  # pass full scale
FLOATS = ("float16", "float32", "float64")
SCALES = {"uint8": (2**7, 2**7), "int16": (0, 2**15), "int32": (0, 2**31)} | dict.fromkeys(FLOATS, (0, 1))  # zero, one
# The resampling filter reaches 6 zero crossings of a low pass at 0.99 of the lower rate, that is no more than
# ceil(6 / 0.99) periods of the reduced ratio, to either side.
REACH = 7
REMEDY = "give a recording that can be played; `ffmpeg -i IN OUT.wav` converts most formats"


class Unreadable(UserError):
    """What is wrong with a file: it is missing, no audio, damaged, or too long. The next file may be read."""


@dataclass(frozen=True)
class Recording:
    """[N] float32 samples at 16 kHz with full scale at 1, and those of `local.audio.survey.FLAGS` that apply."""

    wav: Tensor
    flags: tuple[str, ...]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.wav) / SAMPLE_RATE


@dataclass(frozen=True)
class Blocks:
    """A recording as blocks of [n] float32 samples at 16 kHz, to be read once, and the flags of all of it."""

    wavs: Iterator[Tensor]
    flags: tuple[str, ...]

    def __iter__(self) -> Iterator[Tensor]:
        return self.wavs


def load(path: Path | str, longest: float = math.inf) -> Recording:
    """Read a file; samples that are NaN or infinite are set to 0.

    `OSError` when it is missing, not audio, without samples, damaged, or what it holds are no samples; its `str` says
    which, without the path.
    `Unreadable` when it lasts more than `longest` seconds.
    """
    return _recording(*_decode(path, longest))


def read(path: Path | str, longest: float = math.inf) -> Recording:
    """Read a file as `load`; each error is `Unreadable`, which names it."""
    with _naming(path):
        return load(path, longest)


def refuse_longer(what: Path | str, duration: float, longest: float) -> None:
    """Raise `Unreadable` if a recording, named `what`, is longer than `longest` seconds."""
    if duration > longest:
        raise Unreadable(
            f"{what}: lasts {duration:.1f} s, longer than the {longest:.0f} s that fit at once (--segments cuts it)",
            "cut it into windows: --segments, or EmotionRecognizer.follow",
        )


def of_array(array: np.ndarray | Tensor, sample_rate: float) -> Recording:
    """Make a recording of samples in memory.

    Parameters
    ----------
    array
        [N], [channels, N] or [N, channels]: the shorter axis holds the channels. Floating point with full scale at 1,
        or int16, int32 or uint8, whose full scale becomes 1.
    sample_rate
        In Hz.

    Raises
    ------
    UserError
        It is no array or tensor, its shape, type or rate is another, there are no samples, or these are none.
    """
    if not isinstance(array, np.ndarray | Tensor):
        what = f"a recording is a file's path, or an array or tensor and its rate, and not {type(array).__name__}"
        raise UserError(what, "give np.asarray(SAMPLES) and its rate in Hz; soundfile.read gives both of an open file")
    try:
        ratio = header.rate_ratio(float(sample_rate))
    except (TypeError, ValueError, OSError):
        least, most = header.RATES
        raise UserError(
            f"array: the sample rate is {sample_rate}", f"give it in Hz, from {least:,} to {most:,}"
        ) from None
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()  # NumPy has no bfloat16
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[0] == array.shape[1]):
        raise UserError(
            f"array has the shape {tuple(array.shape)}, which does not show its time axis",
            "give one recording, [N], [channels, N] or [N, channels] with fewer channels than samples",
        )
    kind = array.dtype.name
    if kind not in SCALES:
        raise UserError(f"array holds {kind}, whose full scale is not known", f"convert it to {', '.join(SCALES)}")
    if array.size == 0:
        raise UserError("array holds no samples", "give one sample or more")
    zero, one = SCALES[kind]
    with np.errstate(over="ignore"):  # what does not fit single precision is infinite there
        samples = ((np.atleast_2d(array) - np.float64(zero)) / one).astype(np.float32)
    try:
        return _recording(torch.from_numpy(samples if len(samples) > samples.shape[1] else samples.T), ratio)
    except OSError as error:
        raise UserError(f"array: {error}", "give samples with full scale at 1") from None


def blocks(path: Path | str, seconds: float = 30.0) -> Blocks:
    """Read a file of any length in blocks of about `seconds`, in bounded memory.

    Together they are `read(path).wav` to within 1e-5. (Its length can differ by a sample: torchaudio computes it in
    single precision.) Samples that are NaN or infinite are set to 0.

    Whether channels cancel each other, and which is the loudest, only all samples tell. So a file of several channels,
    or one whose samples can pass full scale, is decoded twice: first for this, and then for the blocks.

    Raises
    ------
    Unreadable
        As `read`, at once; but for damage within a file that is decoded once, when decoding comes to it. (Of Ogg,
        libsndfile may pass over it.)
    """
    with _naming(path):
        found = header.examine(path)
        ratio = header.rate_ratio(found.rate)
        survey = Survey(found.channels)
        with header.open_audio(path) as file:
            twice = found.channels > 1 or file.subtype in UNBOUNDED
        for samples in _parts(path, found.frames, header.BLOCK) if twice else ():
            survey.add(samples)
        survey.refuse_unbelievable()
    periods = max(round(seconds * found.rate / ratio.numerator), REACH + 1)
    return Blocks(_blocks(path, found.frames, ratio, periods * ratio.numerator, survey.channel), survey.flags)


def window(wav: Tensor, flags: tuple[str, ...]) -> Recording:
    """A part, [N] samples at 16 kHz, of a recording with these flags: those of `OF_FILE` hold for it, too."""
    return Recording(wav, in_order({*own_flags(wav, wav[:, None]), *(set(flags) & set(OF_FILE))}))


def _blocks(path: Path | str, left: int, ratio: Fraction, size: int, channel: int | None) -> Iterator[Tensor]:
    """Resample each block with the filter's reach on both sides, and yield the samples that have both."""
    before, after = ratio.numerator, ratio.denominator  # samples in a period of the ratio
    held, done = torch.zeros(0), 0  # samples that are kept, and the periods of them that have been yielded
    with _naming(path):
        for new in _parts(path, left, size):
            left -= len(new)
            held = torch.cat([held, mono(new, channel)])
            resampled = _resample(held, ratio)
            ready = len(held) // before - REACH
            yield resampled[done * after : ready * after if left else None]
            kept = min(REACH, ready)
            held, done = held[(ready - kept) * before :], kept


@contextlib.contextmanager
def _naming(path: Path | str) -> Iterator[None]:
    """Turn an OSError about a file into an error that names it."""
    try:
        yield
    except OSError as error:
        raise Unreadable(f"{path}: {error}", REMEDY) from None


def _decode(path: Path | str, longest: float = math.inf) -> tuple[Tensor, Fraction]:
    """[n, channels] samples as they are in a file, and the ratio of its rate to 16 kHz."""
    found = header.examine(path)  # libsndfile reads a file cut short without an error
    ratio = header.rate_ratio(found.rate)  # first: a wrong rate makes a wrong length
    refuse_longer(path, found.duration, longest)
    (samples,) = _parts(path, found.frames, found.frames)
    return samples, ratio


def _parts(path: Path | str, left: int, size: int) -> Iterator[Tensor]:
    """Read the [n, channels] samples of a file, of which `left` are to be read, `size` at a time."""
    with header.open_audio(path) as file:
        if file.seekable():
            file.seek(0)  # as `soundfile.read` does: without it the samples of some MP3 differ in their last bit
        while left:
            samples = _next_samples(file, min(size, left))
            left -= len(samples)
            yield samples


def _next_samples(file: soundfile.SoundFile, count: int) -> Tensor:
    """Read the next [count, channels] samples of a file."""
    samples = file.read(count, "float32", always_2d=True)
    if len(samples) < count:
        raise OSError(f"{count - len(samples)} of its samples cannot be decoded")
    return torch.from_numpy(samples)


def _resample(wav: Tensor, ratio: Fraction) -> Tensor:
    if ratio == 1:
        return wav
    from torchaudio.functional import resample  # takes time to load, and most recordings have 16 kHz

    return resample(wav, ratio.numerator, ratio.denominator)


def _recording(samples: Tensor, ratio: Fraction) -> Recording:
    """[n, channels] at any rate -> the recording; an `OSError` where they are no samples."""
    survey = Survey(samples.shape[1])
    survey.add(samples)
    survey.refuse_unbelievable()
    wav = _resample(mono(samples, survey.channel), ratio)
    return Recording(wav, in_order({*own_flags(wav, samples), *survey.flags}))

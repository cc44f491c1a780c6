"""Recordings of any kind, from a file or an array, as 16 kHz mono; and what is wrong with them.

The samples are those that training saw: the mean of the channels, resampled with torchaudio's default filter
(see `load_wav`). A rate whose ratio to 16 kHz has no denominator up to 1000, such as the 22,254 Hz of
old computers, is taken to be the nearest one that has: within 0.05 %, a hundredth of a semitone. The filter for the
exact ratio would take gigabytes.

libsndfile guesses the length of an MP3 of variable bit rate that lacks its Xing header: such a file is read too short,
or refused as cut short.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from speechbrain.dataio import audio_io
from torch import Tensor

from local.audio import header
from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError

SILENT = 1e-3  # -60 dBFS
FULL_SCALE = 0.98  # the top of 8-bit mu-law, the coarsest scale in use, lies at 0.9803
CLIPPED = 1e-3
SHORT = 0.1
FLAGS = {
    "silent": f"no sample is further than {SILENT:g} of full scale (-60 dB) from the mean",
    "clipped": f"in a channel, {CLIPPED:.1%} of the samples or more lie within 2 % of full scale or above it "
    "and repeat the two before them; clipping that was turned down later is not found",
    "short": f"it lasts less than {SHORT} s",
    "not finite": "some samples were NaN or infinite; they were set to 0",
}

FLOATS = ("float16", "float32", "float64")
SCALES = {"uint8": (2**7, 2**7), "int16": (0, 2**15), "int32": (0, 2**31)} | dict.fromkeys(FLOATS, (0, 1))  # zero, one
RATES = (1_000, 1_000_000)  # Hz, the lowest and the highest
MOST = 1000  # denominator of a rate's ratio to 16 kHz
# The resampling filter reaches 6 zero crossings of a low pass at 0.99 of the lower rate, that is no more than
# ceil(6 / 0.99) periods of the reduced ratio, to either side.
REACH = 7
REMEDY = "give a recording that can be played; `ffmpeg -i IN OUT.wav` converts most formats"


def load_wav(path: str | Path) -> Tensor:
    """Read an audio file of any rate and channel count: [N] float samples at 16 kHz, the mean of its channels.

    Raises
    ------
    UserError
        It is absent or cannot be decoded.
    """
    try:
        wav, rate = audio_io.load(str(path), dtype=torch.float32)
    except RuntimeError as error:
        raise UserError(str(error), "mend or remove the file, then run stage 0 again") from None
    if wav.shape[1] == 0:
        raise UserError(f"{path} holds no samples", "mend or remove the file, then run stage 0 again")
    wav = wav.mean(0)
    return wav if rate == SAMPLE_RATE else torchaudio.functional.resample(wav, rate, SAMPLE_RATE)


@dataclass(frozen=True)
class Recording:
    """A recording.

    Attributes
    ----------
    wav
        [N] float32 samples at 16 kHz, full scale being 1.
    flags
        Those of `FLAGS` that hold.
    """

    wav: Tensor
    flags: tuple[str, ...]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.wav) / SAMPLE_RATE


def read(path: Path | str, longest: float = math.inf) -> Recording:
    """Read a file.

    Raises
    ------
    UserError
        It is absent, not audio, without samples or damaged, or lasts more than `longest` seconds.
    """
    found = _examined(path)
    refuse_longer(path, found.duration, longest)
    with _opened(path) as file:
        return _recording(_decoded(file, found.frames), _ratio(found.rate, path))


def refuse_longer(what: Path | str, duration: float, longest: float) -> None:
    """Refuse a recording that is too long to be taken at once; `what` names it.

    Raises
    ------
    UserError
        It lasts more than `longest` seconds.
    """
    if duration > longest:
        raise UserError(
            f"{what}: lasts {duration:.1f} s, longer than the {longest:.0f} s taken at once without --segments",
            "take it in windows: --segments, or EmotionRecognizer.follow",
        )


def of_array(array: np.ndarray | Tensor, sample_rate: float) -> Recording:
    """Take samples from memory.

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
        Another shape or type, no samples, or a rate out of range.
    """
    ratio = _ratio(sample_rate, "array")
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()  # NumPy has no bfloat16
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[0] == array.shape[1]):
        raise UserError(
            f"array has the shape {tuple(array.shape)}: which axis is time?",
            "give one recording, [N], [channels, N] or [N, channels] with fewer channels than samples",
        )
    kind = array.dtype.name
    if kind not in SCALES:
        raise UserError(f"array holds {kind}: its full scale is not known", f"convert it to one of {', '.join(SCALES)}")
    if array.size == 0:
        raise UserError("array holds no samples", "give one sample or more")
    zero, one = SCALES[kind]
    samples = ((np.atleast_2d(array) - np.float64(zero)) / one).astype(np.float32)
    return _recording(torch.from_numpy(samples if len(samples) > samples.shape[1] else samples.T), ratio)


def blocks(path: Path | str, seconds: float = 30.0) -> Iterator[Tensor]:
    """Read a file of any length in blocks of about `seconds`, in bounded memory.

    Together they are `read(path).wav` to within 1e-5. (Its length can differ by a sample: torchaudio computes it in
    single precision.) Samples that are NaN or infinite are set to 0.

    Yields
    ------
    [n] float32 samples at 16 kHz.

    Raises
    ------
    UserError
        As `read`, at once; but for damage within the file when decoding comes to it. (Of Ogg, libsndfile may pass
        over it.)
    """
    found = _examined(path)
    ratio = _ratio(found.rate, path)
    periods = max(round(seconds * found.rate / ratio.numerator), REACH + 1)
    return _blocks(path, found.frames, ratio, periods * ratio.numerator)


def _blocks(path: Path | str, left: int, ratio: Fraction, size: int) -> Iterator[Tensor]:
    """Resample each block with what the filter reaches to on both sides, and yield what has both."""
    before, after = ratio.numerator, ratio.denominator  # samples in a period of the ratio
    held, done = torch.zeros(0), 0  # periods of what is held that have been given out
    with _opened(path) as file:
        while left:
            new = _decoded(file, min(size, left))
            left -= len(new)
            held = torch.cat([held, _mono(new)])
            resampled = _resampled(held, ratio)
            ready = len(held) // before - REACH
            yield resampled[done * after : ready * after if left else None]
            kept = min(REACH, ready)
            held, done = held[(ready - kept) * before :], kept


def _examined(path: Path | str) -> header.Header:
    try:
        return header.examine(path)
    except OSError as error:
        raise UserError(f"{path}: {error}", REMEDY) from None


@contextlib.contextmanager
def _opened(path: Path | str) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            yield file
    except soundfile.SoundFileError as error:
        raise UserError(f"{path}: {error}", REMEDY) from None


def _decoded(file: soundfile.SoundFile, count: int) -> Tensor:
    """[count, channels] samples from where the file stands."""
    samples = file.read(count, "float32", always_2d=True)
    if len(samples) < count:
        raise UserError(f"{os.fsdecode(file.name)}: {count - len(samples)} samples of it cannot be decoded", REMEDY)
    return torch.from_numpy(samples)


def _ratio(rate: float, where: Path | str) -> Fraction:
    """The rate over 16 kHz; samples in numerator and denominator last equally long."""
    try:
        known = RATES[0] <= float(rate) <= RATES[1]
    except (TypeError, ValueError):
        known = False
    if not known:
        raise UserError(f"{where}: the sample rate is {rate}", f"give it in Hz, from {RATES[0]:,} to {RATES[1]:,}")
    return (Fraction(float(rate)) / SAMPLE_RATE).limit_denominator(MOST)


def _mono(samples: Tensor) -> Tensor:
    """[n, channels] -> [n], the mean of the channels; what is not finite counts as 0."""
    return samples.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).mean(1)


def _resampled(wav: Tensor, ratio: Fraction) -> Tensor:
    return torchaudio.functional.resample(wav, ratio.numerator, ratio.denominator)


def _recording(samples: Tensor, ratio: Fraction) -> Recording:
    """[n, channels] at any rate -> the recording."""
    wav = _resampled(_mono(samples), ratio)
    holds = {
        "silent": (wav - wav.mean()).abs().max() < SILENT,
        "clipped": _clipped(samples) >= CLIPPED,
        "short": len(wav) < SHORT * SAMPLE_RATE,
        "not finite": not samples.isfinite().all(),
    }
    return Recording(wav, tuple(flag for flag in FLAGS if holds[flag]))


def _clipped(samples: Tensor) -> float:
    """The largest share, of all channels, of samples at full scale that equal the two before them."""
    last, middle, first = samples[2:], samples[1:-1], samples[:-2]
    stuck = (last == middle) & (middle == first) & (last.abs() >= FULL_SCALE)
    return stuck.sum(0).max().item() / len(samples)

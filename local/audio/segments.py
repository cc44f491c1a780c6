"""Cut long recordings into windows of speech: silence is left out, long speech is cut where it is quietest.

1. The level of a frame of 20 ms is its standard deviation in dB below full scale, so that an offset has no effect.
2. The noise floor is the 10th percentile of the levels of the past and the next minute. The peak is the level of the
   loudest second up to a minute ahead: its 75th percentile, so that a click has no effect.
3. A frame is silence under -90 dBFS; or less than 10 dB above the floor or more than 60 dB below the peak, but not
   within 15 dB of the peak: so steady noise or music counts as speech throughout.
4. Frames of speech with at most 0.5 s of silence between them are a stretch, which gets 0.2 s more on both sides.
5. A stretch longer than `longest` is cut where 0.1 s is quietest: in its middle third; or, if it is more than twice as
   long, in the later half of `longest`. Of places that are equal to 1 dB, the most central or the latest is taken.
6. A stretch shorter than `shortest` joins its neighbour up to 1 s away, if both together are not too long.

Decisions are made second by second, a minute behind the input; they do not depend on how it is cut into blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError

FRAME = 320  # samples
FRAMES_A_SECOND = SAMPLE_RATE // FRAME
HORIZON = 60  # seconds before and after, over which the floor is measured
ABOVE_FLOOR, BELOW_PEAK, NEAR_PEAK, LEAST = 10.0, 60.0, 15.0, -90.0  # dB, of rule 3; -90 is 16 bit's last
GAP, MARGIN, NEAR, PAUSE = 25, 10, 50, 5  # frames: the 0.5, 0.2, 1 and 0.1 s of rules 4, 6 and 5


class Segment(NamedTuple):
    """A window: its bounds in the recording, in seconds, and its [N] samples at 16 kHz."""

    start: float
    end: float
    wav: Tensor


class _Second(NamedTuple):
    """[n] samples, n <= 16,000; the level of every frame in dB, and whether it is speech."""

    wav: Tensor
    levels: np.ndarray
    speech: np.ndarray


def segments(blocks: Iterable[Tensor], longest: float, shortest: float = 1.0) -> Iterator[Segment]:
    """Cut a recording of any length, in blocks of [n] samples at 16 kHz, into windows, in bounded memory.

    None exceeds `longest` seconds, such as the longest utterance of training; a `UserError` if that is under 1. A
    stretch of speech below `shortest` seconds joins its neighbour, if it can. The windows come in their order, without
    overlap; together they hold every frame of speech.
    """
    if not longest >= 1.0:
        raise UserError(f"segments of at most {longest} s are too short to cut at pauses", "allow 1 s or more")
    return _segments(blocks, int(longest * FRAMES_A_SECOND), round(shortest * FRAMES_A_SECOND))


def _segments(blocks: Iterable[Tensor], longest: int, shortest: int) -> Iterator[Segment]:
    pending = _Pending()
    for second in _detect_speech(_seconds(blocks)):
        pending.append(second)
        while bounds := _first(pending.levels, pending.speech, longest, shortest, ended=False):
            yield pending.take(*bounds)
        pending.drop_silence()
    while bounds := _first(pending.levels, pending.speech, longest, shortest, ended=True):
        yield pending.take(*bounds)


def _seconds(blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same samples in blocks of a second; the last can be shorter."""
    held = torch.zeros(0)
    for block in blocks:
        *whole, held = torch.cat([held, block]).split(SAMPLE_RATE)
        yield from whole
    if len(held):
        yield held


def _levels(wav: Tensor) -> np.ndarray:
    """[n] samples -> dB per frame; digital silence is -120."""
    frames = F.pad(wav[None], (0, -len(wav) % FRAME), mode="replicate").reshape(-1, FRAME)  # zeros would be a step
    return 10 * torch.log10(frames.var(1, correction=0) + 1e-12).numpy()


def _detect_speech(seconds: Iterable[Tensor]) -> Iterator[_Second]:
    """Find the frames of speech, a minute behind; over the last minute the floor is that of the last two."""
    peak = -np.inf
    around: deque[np.ndarray] = deque(maxlen=2 * HORIZON + 1)
    waiting: deque[tuple[Tensor, np.ndarray]] = deque()

    def detect() -> _Second:
        wav, levels = waiting.popleft()
        floor = np.percentile(np.concatenate(around), 10)
        threshold = max(np.clip(floor + ABOVE_FLOOR, peak - BELOW_PEAK, peak - NEAR_PEAK), LEAST)
        return _Second(wav, levels, levels >= threshold)

    for wav in seconds:
        levels = _levels(wav)
        peak = max(peak, np.percentile(levels, 75))
        around.append(levels)
        waiting.append((wav, levels))
        if len(waiting) > HORIZON:
            yield detect()
    while waiting:
        yield detect()


class _Pending:
    """Seconds that are not yet in a window; `origin` is the number of their first frame."""

    def __init__(self) -> None:
        self.origin = 0
        self.wavs: list[Tensor] = []
        self.levels, self.speech = np.zeros(0, np.float32), np.zeros(0, bool)

    def append(self, second: _Second) -> None:
        self.wavs.append(second.wav)
        self.levels = np.concatenate([self.levels, second.levels])
        self.speech = np.concatenate([self.speech, second.speech])

    def take(self, start: int, end: int) -> Segment:
        """Return the frames from `start` to `end`, and drop all up to there."""
        wav = torch.cat(self.wavs)[start * FRAME : end * FRAME].clone()  # a view would keep the rest in memory
        begin = (self.origin + start) * FRAME
        self._drop(end)
        return Segment(begin / SAMPLE_RATE, (begin + len(wav)) / SAMPLE_RATE, wav)

    def drop_silence(self) -> None:
        """Drop the silence that is too far from speech, also from speech to come, to be its margin."""
        silent = int(self.speech.argmax()) if self.speech.any() else len(self.speech)
        if silent > MARGIN:
            self._drop(silent - MARGIN)

    def _drop(self, end: int) -> None:
        self.origin += end
        self.wavs = [torch.cat(self.wavs)[end * FRAME :]]
        self.levels, self.speech = self.levels[end:], self.speech[end:]


def _first(levels: np.ndarray, speech: np.ndarray, longest: int, shortest: int, ended: bool) -> tuple[int, int] | None:
    """Bounds, first and last + 1, of the first segment of the pending frames; None if it may change with more input."""
    stretches = _stretches(speech)
    if not stretches:
        return None
    first, last = stretches.pop(0)
    start = max(first - MARGIN, 0)
    while True:
        end = min(last + MARGIN, len(speech))
        if end - start > 2 * longest:
            return start, _quietest(levels, start + longest // 2, start + longest, near=start + longest)
        if not stretches:
            if not ended and len(speech) - last <= NEAR:  # more speech or a neighbour may follow
                return None
            break
        begin, stop = stretches[0]
        too_long = min(stop + MARGIN, len(speech)) - start > longest
        if too_long or begin - last > NEAR or min(last - first, stop - begin) >= shortest:
            break
        last = stop
        stretches.pop(0)
    length = end - start
    if length > longest:
        low, high = max(-(-length // 3), length - longest), min(2 * length // 3, longest)
        end = _quietest(levels, start + low, start + high, near=start + length / 2)
    return start, end


def _stretches(speech: np.ndarray) -> list[tuple[int, int]]:
    """Bounds, first and last + 1, of the stretches of speech: frames no further than `GAP` from each other."""
    frames = np.flatnonzero(speech)
    if not len(frames):
        return []
    breaks = np.flatnonzero(np.diff(frames) - 1 > GAP)
    firsts, lasts = frames[np.r_[0, breaks + 1]], frames[np.r_[breaks, -1]] + 1
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def _quietest(levels: np.ndarray, low: int, high: int, near: float) -> int:
    """The frame from `low` to `high` around which it is quietest; of equal ones that closest to `near`."""
    powers = np.convolve(10 ** (levels / 10), np.full(PAUSE, 1 / PAUSE), "same")  # its ends are not from low to high
    around = (10 * np.log10(powers[low : high + 1])).round()
    places = low + np.flatnonzero(around == around.min())
    return int(places[np.abs(places - near).argmin()])

"""Audio files: what their headers say, and their samples at 16 kHz mono."""

from __future__ import annotations

import contextlib
import math
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import soundfile

SAMPLE_RATE = 16_000
UNTOLD = 2**63 - 1  # frames that libsndfile gives where a header leaves its length open (a streamed FLAC)
STREAMED = 0x7FFFF000  # bytes from which on a WAV leaves its length open: so much, or 0xFFFFFFFF, sox and ffmpeg write
MOST_CHUNKS = 1000  # before the samples of a WAV
RATES = (1000, 1_000_000)  # Hz, the lowest and the highest
MOST_PHASES = 1000  # of the filter that resamples: more would need gigabytes


@dataclass(frozen=True)
class Header:
    """What the header of an audio file says."""

    frames: int
    rate: int
    channels: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate


def read_header(path: Path | str) -> Header:
    """Read the header of an audio file.

    Raises
    ------
    OSError
        The file is absent, not readable or not audio that libsndfile knows; the message says which.
    """
    with _opened(path) as audio:
        return Header(audio.frames, audio.samplerate, audio.channels)


def examine(path: Path | str) -> Header:
    """Read the header of an audio file, and its last sample to see that all the header promises is there.

    A file cut short is found out if it is WAV, FLAC or MP3; of others, such as Ogg, libsndfile counts the
    frames that are left, which is what every later reading will see. Sample values are not looked at.

    Raises
    ------
    OSError
        The file is absent, not readable, not audio, empty or cut short. `str` of the error says
        which in a few words, without the path.
    """
    try:
        with _opened(path) as audio:
            found = Header(audio.frames, audio.samplerate, audio.channels)
            if found.frames == 0:
                raise OSError("holds no samples")
            if found.frames == UNTOLD:
                raise OSError("its header does not tell its length")
            if not _reaches(audio, found.frames - 1):
                raise OSError("is cut short")
        with open(path, "rb") as file:
            size, end = os.fstat(file.fileno()).st_size, _end_of_samples(file)
            if end is not None and end > size:
                raise OSError(f"is cut short: its header tells of {end} bytes, it has {size}")
    except OSError as error:
        raise OSError(error.strerror or str(error)) from None
    return found


def refuse_rate(rate: int) -> None:
    """Refuse a rate that no recording has, and that it would take gigabytes to resample: a header's lie.

    Raises
    ------
    OSError
        `rate` (Hz) is outside `RATES`, or its ratio to 16 kHz has a denominator above `MOST_PHASES`.
    """
    if not RATES[0] <= rate <= RATES[1] or SAMPLE_RATE // math.gcd(SAMPLE_RATE, rate) > MOST_PHASES:
        raise OSError(f"its rate of {rate} Hz cannot be brought to {SAMPLE_RATE}")


@contextlib.contextmanager
def _opened(path: Path | str) -> Iterator[soundfile.SoundFile]:
    status = os.stat(path)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise OSError("is no file but a pipe or a device")  # which would be waited for
    if status.st_size == 0:
        raise OSError("not audio, the file is empty")
    with open(path, "rb"):  # tells absent and forbidden apart, which libsndfile does not
        pass
    try:
        audio = soundfile.SoundFile(os.fsencode(path))
    except soundfile.LibsndfileError as error:
        raise OSError(f"not audio that libsndfile reads ({error.error_string})") from None
    except TypeError:  # soundfile takes the suffix .raw for samples without a header
        raise OSError("not audio that libsndfile reads (it has no header)") from None
    with audio:
        yield audio


def _end_of_samples(file: BinaryIO) -> int | None:
    """Find the byte at which a WAV's samples end by its own account; None if it is no such file, or does not say.

    libsndfile quietly shortens a truncated file to what is there, hence this look at the chunks.
    """
    if file.read(12)[:4] != b"RIFF":
        return None
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        chunk, length = struct.unpack("<4sI", head)
        if chunk == b"data":
            return None if length >= STREAMED else file.tell() + length
        file.seek(length + length % 2, os.SEEK_CUR)
    return None


def _reaches(audio: soundfile.SoundFile, frame: int) -> bool:
    try:
        audio.seek(frame)
        return len(audio.read(1)) == 1
    except soundfile.LibsndfileError:
        return False

"""Open audio files and read their headers."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import soundfile

from local.audio.lengths import find_samples
from local.core.errors import UserError
from local.core.files import POINTER, POINTER_REMEDY, POINTER_WORDS

SAMPLE_RATE = 16_000
RATES = (1000, 1_000_000)  # Hz, the lowest and the highest that are read
# Hz, of Tucker-Davis processors, with which TESS was recorded: read at the nearest ratio, within 1 in a million.
LABORATORY_RATES = (12_207, 24_414, 48_828, 97_656)
MAX_PHASES = 1000  # of the filter that resamples: it would take gigabytes for more
UNKNOWN_LENGTH = 2**63 - 1  # frames that libsndfile gives where a header leaves its length open (a streamed FLAC)
BLOCK = 2**16  # frames that are read at a time
OF_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # no more open files, no memory


@dataclass(frozen=True)
class Header:
    """The header of an audio file."""

    frames: int
    rate: int
    channels: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate


@contextlib.contextmanager
def open_audio(path: Path | str) -> Iterator[soundfile.SoundFile]:
    """Open an audio file.

    `OSError` when it is missing, not readable, not audio or, while samples are read, damaged; `str` of the error
    says which, without the path. `UserError` where the machine opens no more files, which says nothing of this one.
    """
    try:
        status = os.stat(path)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise OSError("is no file but a pipe or a device")  # which would be waited for
        if status.st_size == 0:
            raise OSError("not audio, the file is empty")
        with open(path, "rb") as file:  # libsndfile gives one error for missing and forbidden files
            if file.read(len(POINTER)) == POINTER:
                raise OSError(f"{POINTER_WORDS}: {POINTER_REMEDY}")
        if os.path.splitext(os.fspath(path))[1].lower() == ".raw":
            raise OSError("not audio that libsndfile reads (it has no header)")
        try:
            audio = soundfile.SoundFile(os.fsencode(path))
        except soundfile.LibsndfileError as error:
            raise OSError(f"not audio that libsndfile reads ({error.error_string})") from None
        with audio:
            yield audio
    except soundfile.LibsndfileError as error:
        raise OSError(f"cannot be decoded ({error.error_string})") from None
    except OSError as error:
        if error.errno in OF_MACHINE:
            raise UserError(f"{path} cannot be opened: {error.strerror}", "end other programs, and run again") from None
        raise OSError(error.strerror or str(error)) from None


def read_header(path: Path | str) -> Header:
    """Read the header of an audio file; errors are those of `open_audio`."""
    with open_audio(path) as audio:
        return Header(audio.frames, audio.samplerate, audio.channels)


def examine(path: Path | str) -> Header:
    """Read the header of an audio file, and its last sample to check that all the header promises is there.

    Truncation is detected in FLAC, MP3 and the containers of `local.audio.lengths`; of others, such as MAT or PVF,
    libsndfile counts the frames that are left, which is what every later reading will give. Of a codec that cannot
    seek, such as GSM 6.10, all samples are read. Sample values are not checked.

    Errors are those of `open_audio`; the file may be empty or cut short, too.
    """
    with open_audio(path) as audio, open(path, "rb") as file:
        header = Header(audio.frames, audio.samplerate, audio.channels)
        size, samples = os.fstat(file.fileno()).st_size, find_samples(file)
        if samples and samples.end is not None and samples.end > size:
            raise OSError(f"is cut short: its header promises {samples.end} bytes, it has {size}")
        if header.frames == 0 and samples and not samples.length and samples.start < size:
            promised = "an unknown number of" if samples.length is None else 0
            raise OSError(
                f"its header promises {promised} bytes of samples, {size - samples.start} follow: "
                "its recorder did not close it"
            )
        if header.frames == 0:
            raise OSError("holds no samples")
        if header.frames == UNKNOWN_LENGTH:
            raise OSError("its header does not give its length")
        reached = _reaches(audio, header.frames - 1)
    if not reached and _count_frames(path) < header.frames:
        # Of a container that is whole, it is the decoder that fails.
        raise OSError("cannot be decoded to its end" if samples and samples.end else "is cut short")
    return header


def rate_ratio(rate: float) -> Fraction:
    """`rate` (Hz) over 16 kHz, or the nearest ratio for a filter of `MAX_PHASES`; OSError outside `RATES`."""
    if not RATES[0] <= rate <= RATES[1]:
        raise _unusable(rate)
    return (Fraction(rate) / SAMPLE_RATE).limit_denominator(MAX_PHASES)


def refuse_rate(rate: int) -> None:
    """Raise an OSError for a rate (Hz) that cannot be resampled exactly: the header is probably wrong.

    `LABORATORY_RATES` are those of real recordings.
    """
    if rate not in LABORATORY_RATES and rate_ratio(rate) * SAMPLE_RATE != rate:
        raise _unusable(rate)


def _unusable(rate: float) -> OSError:
    return OSError(f"its sample rate of {rate} Hz cannot be converted to {SAMPLE_RATE}")


def _reaches(audio: soundfile.SoundFile, frame: int) -> bool:
    """Whether a frame can be sought and read."""
    try:
        audio.seek(frame)
        return len(audio.read(1)) == 1
    except soundfile.LibsndfileError:
        return False


def _count_frames(path: Path | str) -> int:
    """Read all frames that can be read, one after the other."""
    count = 0
    with contextlib.suppress(OSError), open_audio(path) as audio:
        while read := len(audio.read(BLOCK, "float32", always_2d=True)):
            count += read
    return count

"""Audio files: what their headers say, and their samples at 16 kHz mono."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile

SAMPLE_RATE = 16_000
UNTOLD = 2**63 - 1  # frames that libsndfile gives where a header leaves its length open (a streamed FLAC)


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


def header(path: Path | str) -> Header:
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

    A file cut short is found out if it is FLAC or MP3; of WAV and Ogg libsndfile counts the frames
    that are left, which is what every later reading will see. Sample values are not looked at.

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
    except OSError as error:
        raise OSError(error.strerror or str(error)) from None
    return found


@contextlib.contextmanager
def _opened(path: Path | str) -> Iterator[soundfile.SoundFile]:
    with open(path, "rb") as file:  # tells absent and forbidden apart, which libsndfile does not
        try:
            audio = soundfile.SoundFile(file)
        except soundfile.LibsndfileError as error:
            raise OSError(f"not audio that libsndfile reads ({error.error_string})") from None
        except TypeError:  # soundfile takes the suffix .raw for samples without a header
            raise OSError("not audio that libsndfile reads (it has no header)") from None
        with audio:
            yield audio


def _reaches(audio: soundfile.SoundFile, frame: int) -> bool:
    try:
        audio.seek(frame)
        return len(audio.read(1)) == 1
    except soundfile.LibsndfileError:
        return False

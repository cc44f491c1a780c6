"""Where the samples of an audio file end by its header: of a file cut short, libsndfile counts what is left.

Each container has its own function. FLAC and MP3 have none: they give their number of samples, which libsndfile keeps.
An Ogg is a chain of pages that each give their length. Its last page should be marked as the end of the stream, which
some recorders (Android's) leave out: an Ogg is cut short only where it ends within a page.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

MAX_CHUNKS = 1000  # before the samples
PAGE = 27 + 255 + 255 * 255  # bytes of the longest page of an Ogg: its head, the lengths of its parts, the parts


class Samples(NamedTuple):
    """The bytes of a file that hold its samples, by its header."""

    start: int
    length: int | None  # None where the header leaves it open, as a recorder does that cannot go back to write it

    @property
    def end(self) -> int | None:
        """The byte behind the last, where the length is known."""
        return None if self.length is None else self.start + self.length


def find_samples(file: BinaryIO) -> Samples | None:
    """Find the samples of an open file, at its beginning; None of a container that is not known here, or is damaged."""
    magic = file.read(4)
    file.seek(0)
    try:
        return CONTAINERS[magic](file) if magic in CONTAINERS else None
    except (struct.error, ValueError, OverflowError):  # the file ends within its header, or its numbers are impossible
        return None


def _length(number: int) -> int | None:
    """A length of 32 bits, or None for the numbers of open ones.

    sox writes 0x7FFFF000 into a WAV and 0x7F000000 less a few bytes into an AIFF, GStreamer 0x7FFF0000, others
    0x7FFFFFFF, 0x80000000 or 0xFFFFFFFF, with or without the bytes of the header.
    """
    return None if 0x7EFF0000 <= number <= 0x80000000 or number >= 0xFFFF0000 else number


def _long_length(number: int) -> int | None:
    """A length of 64 bits, or None for one that no disk has room for."""
    return number if 0 <= number < 2**48 else None


def _chunks(file: BinaryIO, head: str, padded_to: int = 2, counted: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yield the name and the length of each chunk, with the file at its contents.

    `head` is the format of both; `counted` are the bytes of the head that the length includes.
    """
    for _ in range(MAX_CHUNKS):
        name, length = struct.unpack(head, file.read(struct.calcsize(head)))
        length -= counted
        start = file.tell()
        yield name, length
        if length < 0:
            return
        file.seek(start + length + -length % padded_to)


def _riff(order: str) -> Callable[[BinaryIO], Samples | None]:
    """WAV; `order` is that of the bytes. In RF64 a chunk `ds64` has the lengths that 32 bits cannot hold."""

    def find(file: BinaryIO) -> Samples | None:
        file.seek(12)
        long = None
        for name, length in _chunks(file, f"{order}4sI"):
            if name == b"ds64":
                _, long = struct.unpack("<QQ", file.read(16))
            elif name == b"data":
                is_long = length == 0xFFFFFFFF and long is not None
                return Samples(file.tell(), _long_length(long) if is_long else _length(length))
        return None

    return find


def _wave64(file: BinaryIO) -> Samples | None:
    file.seek(40)
    for name, length in _chunks(file, "<16sQ", padded_to=8, counted=24):
        if name[:4] == b"data":
            return Samples(file.tell(), _long_length(length))
    return None


def _iff(file: BinaryIO) -> Samples | None:
    """AIFF, AIFF-C and the Amiga's 8SVX."""
    file.seek(12)
    for name, length in _chunks(file, ">4sI"):
        if name in (b"SSND", b"BODY"):
            return Samples(file.tell(), _length(length))
    return None


def _caf(file: BinaryIO) -> Samples | None:
    file.seek(8)
    for name, length in _chunks(file, ">4sq", padded_to=1):
        if name == b"data":
            return Samples(file.tell(), _long_length(length))
    return None


def _au(order: str) -> Callable[[BinaryIO], Samples]:
    def find(file: BinaryIO) -> Samples:
        _, start, length = struct.unpack(f"{order}4sII", file.read(12))
        return Samples(start, _length(length))

    return find


def _sphere(file: BinaryIO) -> Samples | None:
    """NIST SPHERE, a header of text: its length in line 2, then lines such as `sample_count -i 46797`."""
    start = int(file.read(16)[8:])
    lines = (line.split(None, 2) for line in file.read(min(start, 2**16)).decode("latin-1").splitlines())
    fields = {line[0]: line[2] for line in lines if len(line) == 3}
    if "shorten" in fields.get("sample_coding", ""):
        return None
    sizes = (fields.get(name, "") for name in ("sample_count", "channel_count", "sample_n_bytes"))
    samples, channels, width = map(int, sizes)
    return Samples(start, samples * channels * width)


def _voc(file: BinaryIO) -> Samples:
    """Creative Voice: blocks of a kind and a length of 24 bits, to the one of kind 0, or to the end."""
    file.seek(20)
    start = end = struct.unpack("<H", file.read(2))[0]
    while head := file.seek(end) and file.read(4):
        if head[0] == 0:
            break
        end += 4 + int.from_bytes(head[1:].ljust(3, b"\1"), "little")
    return Samples(start, end - start)


def _ogg(file: BinaryIO) -> Samples | None:
    """The whole file, to the end of the last page."""
    behind = file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * PAGE))
    tail = file.read()
    at = tail.rfind(b"OggS\0")
    if at < 0:
        return None
    page = tail[at:]
    end = 27 + (page[26] + sum(page[27 : 27 + page[26]]) if len(page) > 26 else 0)
    rest = page[end : end + 5]
    if rest and b"OggS\0".startswith(rest):  # a further page of less than 5 bytes
        end += 27
    return Samples(0, behind + at + end)


CONTAINERS = {
    b"RIFF": _riff("<"),
    b"RIFX": _riff(">"),
    b"RF64": _riff("<"),
    b"BW64": _riff("<"),
    b"riff": _wave64,
    b"FORM": _iff,
    b"caff": _caf,
    b".snd": _au(">"),
    b"dns.": _au("<"),
    b"NIST": _sphere,
    b"Crea": _voc,
    b"OggS": _ogg,
}

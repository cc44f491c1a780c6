"""What the command line names, as recordings: a file or a window of one at a time, in bounded memory."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import soundfile

from local.audio import recordings
from local.audio.header import SAMPLE_RATE
from local.audio.recordings import Recording
from local.audio.segments import segments
from local.core.errors import UserError

SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"}
SUFFIXES |= {".aif", ".aifc", ".oga", ".opus", ".snd"}
AHEAD = 16  # files that are read ahead


class Item(NamedTuple):
    """What becomes one line: a file or a window of it, from `start` to `end` seconds, or why it cannot be taken."""

    file: str
    start: float | None = None
    end: float | None = None
    recording: Recording | None = None
    error: str = ""


def files(words: Iterable[str]) -> Iterator[Item]:
    """The files that words name, one by one: of a folder those with a suffix of audio, by name; `-`: lines of stdin."""
    for word in words:
        if word == "-":
            yield from files(line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif os.path.isdir(word):
            yield from _of_folder(word)
        elif os.path.exists(word) and not os.path.isfile(word):
            yield Item(word, error="no regular file")  # a pipe would be waited for
        else:
            yield Item(word)


def _of_folder(top: str) -> Iterator[Item]:
    none = True
    refused: list[OSError] = []
    for folder, folders, names in os.walk(top, onerror=refused.append):
        folders.sort()
        for name in sorted(name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES):
            none = False
            yield Item(os.path.join(folder, name))
    yield from (Item(error.filename, error=error.strerror) for error in refused)
    if none and not refused:
        yield Item(top, error="a folder without audio")


def whole_items(found: Iterable[Item], longest: float) -> Iterator[Item]:
    """Read files of at most `longest` seconds, a few ahead of what is asked for."""

    def read(item: Item) -> Item:
        try:
            return item if item.error else item._replace(recording=recordings.read(item.file, longest=longest))
        except UserError as error:
            return _refused(item, error)

    with ThreadPoolExecutor(2) as pool:
        waiting: deque = deque()
        for item in found:
            waiting.append(pool.submit(read, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def window_items(found: Iterable[Item], longest: float) -> Iterator[Item]:
    """Cut files into windows of at most `longest` seconds; where nothing is heard, a line says so."""
    for item in found:
        if item.error:
            yield item
            continue
        silent = True
        try:
            for start, end, wav in segments(recordings.blocks(item.file), longest):
                silent = False
                yield Item(item.file, start, end, recordings.of_array(wav, SAMPLE_RATE))
        except UserError as error:
            yield _refused(item, error)
        else:
            if silent:
                yield item._replace(error="silent throughout")


def _refused(item: Item, error: UserError) -> Item:
    """The error in a line that begins with the file's name already."""
    return item._replace(error=error.what.removeprefix(f"{item.file}").lstrip(": "))

"""The inputs of `local.predict`: files, or windows of them, read in bounded memory and analyzed in batches."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import soundfile

from local.audio import recordings
from local.audio.recordings import Recording
from local.audio.segments import segments
from local.core.errors import UserError
from local.data.batches import Limits, cut
from local.data.device import overhead
from local.inference.recognizer import Analysis, EmotionRecognizer

SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats() if name != "RAW"}
SUFFIXES |= {".aif", ".aifc", ".oga", ".opus", ".snd"}
AHEAD = 16  # files that are read ahead
GATHERED = 4  # batches that are collected before they are formed, so that each holds similar lengths


class Item(NamedTuple):
    """One line of output: a file, or a window of it from `start` to `end` seconds; or the error of a file."""

    file: str
    start: float | None = None
    end: float | None = None
    recording: Recording | None = None
    error: str = ""


def files(words: Iterable[str]) -> Iterator[Item]:
    """Items of file names, folders (their audio files, by name) and `-` (file names from stdin, one a line)."""
    for word in words:
        if word == "-":
            yield from files(line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif os.path.isdir(word):
            yield from _files_of_folder(word)
        elif os.path.exists(word) and not os.path.isfile(word):
            yield Item(word, error="no regular file")  # reading from a pipe could wait forever
        else:
            yield Item(word)


def _files_of_folder(top: str) -> Iterator[Item]:
    empty = True
    errors: list[OSError] = []
    for folder, folders, names in os.walk(top, onerror=errors.append):
        folders.sort()
        for name in sorted(name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES):
            empty = False
            yield Item(os.path.join(folder, name))
    yield from (Item(error.filename, error=error.strerror) for error in errors)
    if empty and not errors:
        yield Item(top, error="a folder without audio")


def whole_items(items: Iterable[Item], longest: float) -> Iterator[Item]:
    """Read files of at most `longest` seconds, in two threads that are a few files ahead."""

    def read(item: Item) -> Item:
        try:
            return item if item.error else item._replace(recording=recordings.read(item.file, longest=longest))
        except UserError as error:
            return _with_error(item, error)

    with ThreadPoolExecutor(2) as pool:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def window_items(items: Iterable[Item], longest: float) -> Iterator[Item]:
    """Cut files into windows of at most `longest` seconds; a file without speech becomes an error."""
    for item in items:
        if item.error:
            yield item
            continue
        silent = True
        try:
            blocks = recordings.blocks(item.file)
            for start, end, wav in segments(blocks, longest):
                silent = False
                yield Item(item.file, start, end, recordings.window(wav, blocks.flags))
        except UserError as error:
            yield _with_error(item, error)
        else:
            if silent:
                yield item._replace(error="silent throughout")


def _with_error(item: Item, error: UserError) -> Item:
    """The item with the error, without the file's name: the line of output begins with it."""
    return item._replace(error=error.what.removeprefix(f"{item.file}").lstrip(": "))


def analyze_items(
    items: Iterable[Item], recognizer: EmotionRecognizer, seconds: float, words: bool
) -> Iterator[tuple[Item, Analysis | None]]:
    """Analyze items in batches of similar lengths, of at most `seconds` with padding; yield them in their order.

    An item with an error has no analysis. `words` asks for the times of words.
    """
    limits = Limits(sys.maxsize, seconds, overhead(recognizer.device, recognizer.mods["system"]))
    gathered: list[Item] = []
    total = 0.0
    for item in items:
        gathered.append(item)
        total += item.recording.duration if item.recording else 0.0
        if total >= GATHERED * seconds or len(gathered) == 1000:
            yield from _analyze_gathered(gathered, recognizer, limits, words)
            gathered, total = [], 0.0
    yield from _analyze_gathered(gathered, recognizer, limits, words)


def _analyze_gathered(
    gathered: list[Item], recognizer: EmotionRecognizer, limits: Limits, words: bool
) -> list[tuple[Item, Analysis | None]]:
    durations = {index: item.recording.duration for index, item in enumerate(gathered) if item.recording}
    order = sorted(durations, key=durations.get)
    analyses: dict[int, Analysis] = {}
    for part in cut(np.array([durations[index] for index in order]), limits):
        batch = [gathered[index].recording for index in order[part]]
        analyses |= zip(order[part], recognizer.analyze_batch(batch, words), strict=True)
    return [(item, analyses.get(index)) for index, item in enumerate(gathered)]

"""The inputs of `local.predict`: files, or windows of them, read in bounded memory and analyzed in batches."""

from __future__ import annotations

import codecs
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from local.audio import recordings
from local.audio.recordings import Recording, Unreadable
from local.audio.segments import segments
from local.core.errors import UserError
from local.core.threads import in_order
from local.data.batches import Limits, cut
from local.data.device import batch_limits
from local.inference.analyzer import Analysis, Analyzer, NotFinite

# Of folders, the files with these suffixes are taken: what libsndfile reads, under its other names, too;
READ = {name.lower() for name in soundfile.available_formats()}
READ |= {"aif", "aifc", "oga", "opus", "snd", "sph", "wave", "bwf", "mpga", "mp1", "mp2", "8svx", "iff", "sf"}
# and other audio and video, for which a line says that it cannot be read.
UNREAD = {"m4a", "m4b", "m4r", "m4v", "mp4", "mov", "3gp", "3gpp", "3g2", "webm", "weba", "mkv", "mka", "aac", "adts"}
UNREAD |= {"ac3", "eac3", "dts", "amr", "awb", "wma", "wmv", "asf", "avi", "flv", "mpg", "mpeg", "m2ts", "mts", "ogv"}
UNREAD |= {"ogx", "spx", "ape", "wv", "tta", "tak", "mpc", "dsf", "dff", "ra", "rm", "qcp", "gsm", "vox", "g722", "pcm"}
UNREAD |= {"dss", "ds2", "ulaw", "alaw"}
SUFFIXES = {f".{name}" for name in READ | UNREAD}
MACS = "__MACOSX"  # a folder of what macOS notes about files, which are called `._NAME` on other disks
AHEAD = 16  # files that are read ahead
# How audio begins: of names on standard input, none does.
AUDIO = re.compile(rb"RIFF.{4}WAVE|FORM.{4}AIF|fLaC\0\0|OggS\0[\0-\7]|ID3[\2-\4]\0", re.DOTALL)
GATHERED = 4  # batches that are collected before they are formed, so that each holds similar lengths


class Item(NamedTuple):
    """One line of output: a file, or a window of it from `start` to `end` seconds; or the error of a file."""

    file: str
    start: float | None = None
    end: float | None = None
    recording: Recording | None = None
    error: str = ""


def path_of(file: str | os.PathLike) -> str:
    """The path of a file or folder; a `UserError` for anything else, such as samples, whose rate nobody says."""
    if isinstance(file, str | os.PathLike):
        return os.fsdecode(file)
    what = f"a file or folder is given by its path, and not as {type(file).__name__}"
    raise UserError(what, "give samples and their rate to the recognizer's `analyze`")


def files(words: Iterable[str]) -> Iterator[Item]:
    """Items of file names, folders (their audio files, by name) and `-` (file names from stdin, see `listed`)."""
    for word in words:
        if word == "-":
            if sys.stdin is None:
                raise UserError("the standard input is closed, and - reads file names from it", "leave out <&-")
            yield from files(listed(sys.stdin.buffer))
        elif os.path.isdir(word):
            yield from _files_of_folder(word)
        elif os.path.exists(word) and not os.path.isfile(word):
            yield Item(word, error="no regular file")  # reading from a pipe could wait forever
        else:
            yield Item(word)


def listed(file: BinaryIO) -> Iterator[str]:
    """The names in a list: one a line, or separated by zero bytes (`find -print0`); in UTF-8 or UTF-16.

    A list in UTF-8 is read as it comes; bytes outside UTF-8 are kept, as in names on the disk. A `UserError` for audio.
    """
    first = file.readline()
    if AUDIO.match(first):
        raise UserError("- reads file names from the standard input, and this is audio", "give the name of its file")
    encoding = _utf16(first)
    if encoding:
        text = (first + file.read()).decode(encoding, errors="replace")
        names: Iterable[str] = re.split("\r?\n|\0", text.removeprefix("\ufeff"))
    elif b"\0" in first:
        names = map(os.fsdecode, (first + file.read()).removeprefix(codecs.BOM_UTF8).split(b"\0"))
    else:
        lines = itertools.chain([first.removeprefix(codecs.BOM_UTF8)], file)
        names = (os.fsdecode(name).rstrip("\r\n") for line in lines for name in line.split(b"\0"))
    yield from (name for name in names if name.strip("\0 \t\r\n"))


def _utf16(start: bytes) -> str | None:
    """The encoding of a list that begins so, if it is UTF-16.

    That is one with a byte order mark, or with three characters in a row that are ASCII beside a zero byte.
    """
    if b"\0" not in start:
        return None
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16-le" if start.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    found = re.search(rb"(?:[ -~]\0){3}|(?:\0[ -~]){3}", start)
    if not found:
        return None
    return "utf-16-le" if start.index(b"\0", found.start()) % 2 else "utf-16-be"


def _files_of_folder(top: str) -> Iterator[Item]:
    """The audio files of a folder and those below it. Links to other folders are followed, each folder once."""
    empty = True
    errors: list[OSError] = []
    seen: set[str] = set()
    for folder, folders, names in os.walk(top, onerror=errors.append, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name != MACS and not _is_loop(os.path.join(folder, name), top))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("._"):
                empty = False
                yield Item(path)
            elif os.path.islink(path) and not os.path.exists(path) and not name.startswith("."):
                empty = False
                yield Item(path, error="a link to what is not there")
    yield from (Item(error.filename, error=error.strerror) for error in errors)
    if empty and not errors:
        yield Item(top, error="a folder without audio")


def _is_loop(path: str, top: str) -> bool:
    """Whether a folder is a link to a folder that it lies in, or to one that is walked anyhow as it lies in `top`."""
    if not os.path.islink(path):
        return False
    target, above = os.path.realpath(path), os.path.realpath(os.path.dirname(path))
    return _lies_in(above, target) or _lies_in(target, os.path.realpath(top))


def _lies_in(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def whole_items(items: Iterable[Item], longest: float) -> Iterator[Item]:
    """Read files of at most `longest` seconds, in two threads that are a few files ahead.

    What is wrong with a file becomes the error of its item; any other error is one of this program, and ends all.
    """

    def read(item: Item) -> Item:
        try:
            return item if item.error else item._replace(recording=recordings.read(item.file, longest=longest))
        except Unreadable as error:
            return _with_error(item, error)

    with in_order(read, items, 2, AHEAD) as whole:
        yield from whole


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
        except Unreadable as error:
            yield _with_error(item, error)
        else:
            if silent:
                yield item._replace(error="silent throughout")


def _with_error(item: Item, error: Unreadable) -> Item:
    """The item with the error, without the file's name: the line of output begins with it."""
    return item._replace(error=error.what.removeprefix(f"{item.file}").lstrip(": "))


def analyze_items(
    items: Iterable[Item], recognizer: Analyzer, seconds: float, words: bool
) -> Iterator[tuple[Item, Analysis | None]]:
    """Analyze items in batches of at most `seconds` (see `batch_limits`); yield them in their order.

    An item with an error has no analysis. `words` asks for the times of words. A `UserError` unless
    `seconds` is above 0.
    """
    if not seconds > 0:
        raise UserError(f"batches of {seconds} seconds hold nothing", "give a number above 0")
    limits = batch_limits(recognizer.device, recognizer.model.system, seconds)
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
    gathered: list[Item], recognizer: Analyzer, limits: Limits, words: bool
) -> list[tuple[Item, Analysis | None]]:
    durations = {index: item.recording.duration for index, item in enumerate(gathered) if item.recording}
    order = sorted(durations, key=durations.get)
    results = {index: (item, None) for index, item in enumerate(gathered)}
    for part in cut(np.array([durations[index] for index in order]), limits):
        items = [gathered[index] for index in order[part]]
        results |= zip(order[part], _analyze_batch(items, recognizer, words), strict=True)
    return [results[index] for index in range(len(gathered))]


def _analyze_batch(items: list[Item], recognizer: Analyzer, words: bool) -> list[tuple[Item, Analysis | None]]:
    try:
        analyses = recognizer.analyze_batch([item.recording for item in items], words)
        return list(zip(items, analyses, strict=True))
    except NotFinite as error:
        if len(items) == 1:
            return [(items[0]._replace(error=error.what), None)]
        return [result for item in items for result in _analyze_batch([item], recognizer, words)]

"""Writing files so that they are whole or absent, whatever happens, and digests of their contents."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock._identity import host_name  # this host's name in a lease, with the container

from local.core.errors import FULL, MAKE_ROOM, UserError

DIGITS = 16  # of a digest
POINTER = b"version https://git-lfs.github.com/spec/"  # the start of what Git LFS leaves in place of a large file
POINTER_WORDS = "is a Git LFS pointer, not the file itself"
STREAMS = {"stdout": 1, "stderr": 2}  # of /dev
POINTER_REMEDY = "`git lfs pull` in the folder of its repository"


@contextlib.contextmanager
def atomic(path: Path | str, mode: str = "w", wanted: int = 0, lasting: bool = True) -> Iterator[IO]:
    """Open a temporary file beside `path`; on success flush it to disk and rename it to `path`.

    A reader sees the old file or the new one, never half of one, also after a power cut, unless it need not be
    `lasting`: then nothing waits for the disk. On an exception the old file stays. Text is UTF-8 with newlines as
    written. A full disk is a UserError, which names the bytes `wanted`, where they are known. What is no file, such as
    a device or a pipe, is written to as it is.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    as_it_is = _written_as_it_is(path)
    replaces = as_it_is is None
    temporary = temporary_of(path) if replaces else as_it_is
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    file, written = None, 0
    try:
        try:
            file = open(temporary, mode, closefd=not isinstance(temporary, int), **text)  # noqa: SIM115
            yield file
            file.flush()
            if lasting and replaces:
                os.fsync(file.fileno())
        finally:
            if file:
                with contextlib.suppress(OSError):  # a pipe has no place, and a full disk the error of the last flush
                    written = getattr(file, "buffer", file).tell()
                with contextlib.suppress(OSError):
                    file.close()
        if replaces:
            temporary.replace(path)
        if lasting and replaces:
            flush_file(path.parent)
    except BaseException as error:
        if replaces:
            temporary.unlink(missing_ok=True)
        if getattr(error, "errno", None) in FULL:
            raise disk_full(path, wanted, written) from None
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file of text, as with `atomic`."""
    with atomic(path) as file:
        file.write(text)


def _written_as_it_is(path: Path) -> Path | int | None:
    """What is written to and not replaced: a stream of this process by its number, a device, a pipe; None of a file."""
    place = os.path.realpath(path.parent)
    if place == f"/proc/{os.getpid()}/fd" and path.name.isdecimal():
        return int(path.name)
    if place == "/dev" or place.startswith("/proc/"):
        return STREAMS.get(path.name, path)
    return path if path.exists() and not path.is_file() else None


def disk_full(path: Path, wanted: int, written: int = 0) -> UserError:
    """The error to raise when there is no room for a file of about `wanted` bytes, of which some were written."""
    status = os.statvfs(next(folder for folder in path.absolute().parents if folder.exists()))
    # Some disks are full by their number of files.
    free = "0 files" if status.f_files and not status.f_favail else f"{status.f_bavail * status.f_frsize:,}"
    needs = f"it needs {wanted:,} bytes, " if wanted > written else f"it needs at least {written:,} bytes, "
    needs = needs if wanted or written else ""
    return UserError(f"{path} cannot be written, the disk is full: {needs}{free} are free", MAKE_ROOM)


def flush_file(path: Path) -> None:
    """Write a file to disk; of a folder the names in it, so that a renamed file has its new name after a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def where() -> str:
    """Where a process number is that process: this host, or this container, which may have the host's name."""
    return host_name().replace("?", "-")  # which some disks do not take in a name


def temporary_of(path: Path) -> Path:
    """The path at which a process makes a file or a folder; what killed ones left beside it goes."""
    _remove_orphans(path.parent)
    return path.with_name(f".{path.name}.{where()}.{os.getpid()}.tmp")


def replace_folder(path: Path, new: Path) -> None:
    """Rename a folder to `path`; what is there goes after it, and is back on an exception."""
    old = new.with_suffix(".old")
    try:
        if path.exists():
            path.rename(old)
        new.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    for each in path.parent.glob(f"{glob.escape(f'.{path.name}.{where()}')}.*.old"):  # of killed processes, too
        shutil.rmtree(each, ignore_errors=True)


def _remove_orphans(folder: Path) -> None:
    """Remove what is temporary in a folder whose processes, here, were killed; not what is another user's."""
    for temporary in folder.glob(f".*.{glob.escape(where())}.*.tmp"):
        pid = temporary.name.split(".")[-2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            with contextlib.suppress(OSError):  # another process may be removing it, too
                shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
        except (ValueError, OverflowError, PermissionError):  # not ours
            continue


def digest(*parts: Path | bytes | str) -> str:
    """Hash the contents of files (`Path`) and of texts (`str`, `bytes`) in order, to `DIGITS` hex digits.

    >>> digest("a", "b") == digest("ab")
    False
    """
    total = hashlib.sha256()
    for part in parts:
        with open(part, "rb") if isinstance(part, Path) else io.BytesIO(_bytes(part)) as content:
            total.update(content.seek(0, os.SEEK_END).to_bytes(8, "big"))
            content.seek(0)
            while chunk := content.read(1 << 20):  # a file need not fit in memory
                total.update(chunk)
    return total.hexdigest()[:DIGITS]


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text

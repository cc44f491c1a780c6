"""Writing files so that they are whole or absent, whatever happens, and telling their contents apart."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from local.core.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def atomic(path: Path | str, mode: str = "w", wanted: int = 0) -> Iterator[IO]:
    """Open a temporary file beside `path`; on success flush it to disk and rename it to `path`.

    A reader sees the old file or the new one, never half of one, also after a power cut; on an
    exception the old file stays. Text is UTF-8 with newlines as written.

    Parameters
    ----------
    path, mode
        As for `open`.
    wanted
        About how many bytes it will have, where that is known, to be named when the disk is full.

    Raises
    ------
    UserError
        The disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_forsaken(path.parent)
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    file, written = None, 0
    try:
        try:
            file = open(temporary, mode, **text)  # noqa: SIM115
            yield file
            file.flush()
            os.fsync(file.fileno())
        finally:
            if file:
                written = getattr(file, "buffer", file).tell()
                with contextlib.suppress(OSError):  # of what could not be flushed: it has been raised already
                    file.close()
        temporary.replace(path)
        flush_file(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if getattr(error, "errno", None) in FULL:
            raise disk_full(path, wanted, written) from None
        raise


def disk_full(path: Path, wanted: int, written: int = 0) -> UserError:
    """What to raise when there is no room for a file of about `wanted` bytes, of which so many were written."""
    status = os.statvfs(next(folder for folder in path.absolute().parents if folder.exists()))
    # Some disks hold no more than so many files.
    free = "0 files" if status.f_files and not status.f_favail else f"{status.f_bavail * status.f_frsize:,}"
    needed = f"{wanted:,}" if wanted > written else f"at least {written:,}"
    return UserError(
        f"{path} cannot be written, the disk is full: it needs {needed} bytes, {free} are free",
        "make room and run again: what was done is kept",
    )


def flush_file(path: Path) -> None:
    """Write a file to disk; of a folder the names in it, so that a renamed file has its new name after a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_forsaken(folder: Path) -> None:
    """Remove the temporary files of processes of this host that were killed while writing some file of a folder."""
    for temporary in folder.glob(f".*.{glob.escape(platform.node())}.*.tmp"):
        pid = temporary.name.split(".")[-2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            temporary.unlink(missing_ok=True)
        except (ValueError, PermissionError):  # not ours
            continue


def digest(*parts: Path | bytes | str) -> str:
    """Hash the contents of files (`Path`) and of texts (`str`, `bytes`) in order, to 16 hex digits.

    >>> digest("a", "b") == digest("ab")
    False
    """
    total = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part
        content = content.encode() if isinstance(content, str) else content
        total.update(len(content).to_bytes(8, "big") + content)
    return total.hexdigest()[:16]

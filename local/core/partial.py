"""A large file that takes hours to make, part by part: whoever is killed goes on where the latest sealed part ended.

Beside `path`, until it is whole, `<path>.part` holds what has been written, and `<path>.part.json`, its journal, what
of it is sealed: names and sizes of the parts, which of them are marked, how many bytes they have, and a checksum of all
this. The journal is written when these bytes are on the disk. Nothing beyond it is trusted, and nothing at all if the
checksum differs.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from local.core.errors import FULL, UserError
from local.core.files import atomic, disk_full, flush_file

SECONDS = 10.0  # between two seals: as much work may be lost


class Parts:
    """The file while it is made.

    `sizes` are those of its parts by name, in their order, of the earlier starts, too; `marked` the names of those that
    its maker has marked.
    """

    def __init__(self, path: Path, journal: Path) -> None:
        self.journal = journal
        known = _sealed(path, journal)
        self.sizes: dict[str, int] = known.get("sizes", {})
        self.marked: list[str] = known.get("marked", [])
        self.bytes: int = known.get("bytes", 0)
        self.total = known.get("total", hashlib.sha256())
        self.file: IO[bytes] = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115
        self.file.truncate(self.bytes)
        self.file.seek(self.bytes)
        self.sealed_at = time.monotonic()

    def add(self, name: str, data: bytes, size: int, mark: bool = False) -> None:
        """Write a part; its `size` is in the units of whoever makes the file."""
        self.file.write(data)
        self.total.update(data)
        self.bytes += len(data)
        self.sizes[name] = size
        self.marked += [name] * mark
        if time.monotonic() - self.sealed_at >= SECONDS:
            self.seal()

    def seal(self) -> None:
        """Write the journal of what is on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        try:
            with atomic(self.journal) as file:
                known = {"sizes": self.sizes, "marked": self.marked, "bytes": self.bytes}
                json.dump(known | {"checksum": _checksum(self.total, self.sizes, self.marked)}, file)
        except UserError as error:  # it names the journal, and the user knows of the file
            raise OSError(errno.ENOSPC, error.what) from None
        self.sealed_at = time.monotonic()


@contextlib.contextmanager
def resumed(path: Path, wanted: int) -> Iterator[Parts]:
    """Make a file in parts, and rename it to `path` when it is whole; `forget` is to be called when that is known.

    What is sealed stays for the next start, also where an error ends this one, but for a `UserError`, which it would
    meet again. A full disk is one, as of `local.core.files.atomic`: it names the bytes `wanted`, and its room is given
    back.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, journal = _part(path), _journal(path)
    if path.exists() and not part.exists():  # it was whole, and nobody has learnt of it
        path.rename(part)
    path.unlink(missing_ok=True)
    parts = None
    try:
        try:
            parts = Parts(part, journal)
            yield parts
            parts.seal()
        finally:
            if parts:
                with contextlib.suppress(OSError):  # the error of the last flush again
                    parts.file.close()
        part.rename(path)
        flush_file(path.parent)
    except BaseException as error:
        full = getattr(error, "errno", None) in FULL
        if full or isinstance(error, UserError):
            forget(path)
        if full:
            what = disk_full(path, wanted, parts.bytes if parts else 0).what
            raise UserError(what, "make room and run again: this file is then made from its beginning") from None
        raise


def forget(path: Path) -> None:
    """Remove what is left of the making of a file."""
    _journal(path).unlink(missing_ok=True)
    _part(path).unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def _checksum(total: Any, sizes: dict[str, int], marked: list[str]) -> str:
    """That of a journal: of the bytes, whose hash is `total`, of the names and sizes of their parts, and of marks."""
    whole = total.copy()
    whole.update(json.dumps([sizes, marked] if marked else sizes).encode())
    return whole.hexdigest()


def _sealed(part: Path, journal: Path) -> dict[str, Any]:
    """What the journal says of a file, with the checksum so far as `total`; empty where it is not true."""
    try:
        known = json.loads(journal.read_text(encoding="utf-8"))
        total, left = hashlib.sha256(), known["bytes"]
        with open(part, "rb") as file:
            while left and (chunk := file.read(min(left, 1 << 20))):
                total.update(chunk)
                left -= len(chunk)
        is_true = not left and known["checksum"] == _checksum(total, known["sizes"], known.get("marked", []))
        return known | {"total": total} if is_true else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}

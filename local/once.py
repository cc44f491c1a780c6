"""Files that many processes need and one of them makes: large, derived, and made anew when their origin changes.

Beside each stands a JSON file in the manner of `local.markers`, written last: `inputs` (the
fingerprint of what the file was made of), `outputs` (its size; it is too large to be hashed at each
start) and `facts`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from local.errors import UserError
from local.files import atomic

logger = logging.getLogger(__name__)


def make_once(path: Path, made_of: str, expected: int, make: Callable[[IO[bytes]], dict[str, Any]]) -> dict[str, Any]:
    """Make a file and the JSON file beside it, unless they stand there; of several processes one makes them.

    Parameters
    ----------
    path
        The file; it is whole when the JSON file, which is written last, says so.
    made_of
        The fingerprint of what it is made of; with another one, it is made anew.
    expected
        About how many bytes it will have, to be named when the disk is full.
    make
        Writes it, and returns what is to be known of it.

    Returns
    -------
    What `make` returned, now or then.

    Raises
    ------
    UserError
        The disk is full.
    """
    if (facts := standing(path, made_of)) is not None:
        return facts
    with _alone(path):
        # Another process may have made it while this one waited.
        if (facts := standing(path, made_of)) is not None:
            return facts
        try:
            return _make(path, made_of, make)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"{path} cannot be written, the disk is full: it needs {expected:,} bytes", "make room and run again"
            ) from None


def standing(path: Path, made_of: str) -> dict[str, Any] | None:
    """The facts of a file that stands whole and was made of just this; None where there is none."""
    try:
        marker = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        same = marker["inputs"] == {"fingerprint": made_of} and marker["outputs"] == {path.name: path.stat().st_size}
        return marker["facts"] if same else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # absent or damaged
        return None


def _make(path: Path, made_of: str, make: Callable[[IO[bytes]], dict[str, Any]]) -> dict[str, Any]:
    path.with_suffix(".json").unlink(missing_ok=True)  # first: it must never stand beside another file
    path.unlink(missing_ok=True)
    for left in path.parent.glob(f".{path.name}.*.tmp"):  # by a process that was killed
        left.unlink()
    with atomic(path, "wb") as file:
        facts = make(file)
    marker = {"inputs": {"fingerprint": made_of}, "outputs": {path.name: path.stat().st_size}, "facts": facts}
    with atomic(path.with_suffix(".json")) as file:
        json.dump(marker, file, indent=1, ensure_ascii=False)
        file.write("\n")
    return facts


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time through; the lock of one that dies is free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("waiting for another process, which makes %s", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

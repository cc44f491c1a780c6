"""One process at a time in a folder, on one machine or on several that share it.

The lock is a file that names the holder's host, process and its start. A contender on the same
host takes it when that process is gone; one on another host (or in another container), which cannot
see processes there, when it has seen no heartbeat for `STALE` seconds of its own clock. The file
needs exclusive creation of names and nothing else of the file system: NFS has it since version 3.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from filelock import LeaseCompromise, SoftFileLease, Timeout
from filelock._identity import host_name, owner_is_stale  # as a lease names this host, container included

from local.core.errors import UserError
from local.core.files import FULL, disk_full

logger = logging.getLogger(__name__)

STALE = 60.0  # seconds without a heartbeat after which a holder on another host counts as gone
ENDING = 10.0  # seconds that a holder on this host is given, which may be about to end
POLL = 0.2
SIZE = 1024  # bytes that a lock file may have


@contextlib.contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Hold a lock file; wait as long as another process does, and say for whom.

    Parameters
    ----------
    path
        The lock file.
    doing
        What the holder does, for the log: `makes manifests/x/audio.i16`.
    """
    lock = _lease(path)
    if not _acquired(lock, 0):
        logger.info("waiting for %s, which %s", _words(path), doing)
        _acquired(lock, -1)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def locked_or_refused(path: Path, doing: str) -> Iterator[None]:
    """Hold a lock file, or refuse when another process holds it and lives.

    Raises
    ------
    UserError
        Another process holds it: its number and its host.
    """
    lock = _lease(path)
    # Of what does not run on this host, as far as it can see, the heartbeat alone tells whether it lives.
    if not _acquired(lock, ENDING) and (_runs_here(holder(path)) or not _acquired(lock, STALE + 1)):
        raise UserError(f"{_words(path)} {doing}", "wait until it has ended, or end it")
    try:
        yield
    finally:
        lock.release()


def holder(path: Path) -> tuple[int, str] | None:
    """Process and host that a lock file names; None where there is no lock, or nobody on this host who holds it."""
    owner = SoftFileLease(path).owner
    if owner is None or owner_is_stale(owner.pid, owner.hostname, owner.start):
        return None
    return owner.pid, owner.hostname


def _runs_here(held: tuple[int, str] | None) -> bool:
    """Whether a holder runs on this host; one that was killed, but that nothing in a container waits for, does not."""
    if held is None or held[1] != host_name():
        return False
    try:
        return psutil.Process(held[0]).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _lease(path: Path) -> SoftFileLease:
    path.parent.mkdir(parents=True, exist_ok=True)
    return SoftFileLease(path, lease_duration=STALE, poll_interval=POLL, on_compromise=_end)


def _acquired(lock: SoftFileLease, seconds: float) -> bool:
    """Try to take a lock for so many seconds (-1: for ever), and say whether it is taken."""
    path = Path(lock.lock_file)
    try:
        lock.acquire(timeout=seconds, cancel_check=lambda: _give_up_empty(path))
    except Timeout:
        return False
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise disk_full(path, SIZE) from None
    return True


def _give_up_empty(path: Path) -> bool:
    """Let a lock be taken whose holder was killed, or lost power, before it had written its name; never cancel.

    filelock takes a damaged lock file, but leaves an empty one alone for ever. A line makes it a damaged
    one; a holder that lives after all writes over it, or has written before it and is named still.
    """
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        if status.st_size == 0 and time.time() - status.st_mtime > ENDING:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, b"\n")
            os.close(descriptor)
    return False


def _end(loss: LeaseCompromise) -> None:
    """End at once, as if killed: another process may have taken what this one worked on."""
    print(f"error: the lock {loss.lock_file} was lost ({loss.reason}): ending", file=sys.stderr, flush=True)
    os._exit(1)


def _words(path: Path) -> str:
    held = holder(path)
    # A container's name follows after a question mark.
    return f"process {held[0]} on {held[1].partition('?')[0]}" if held else "another process"

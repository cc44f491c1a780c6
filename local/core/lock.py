"""One process at a time in a folder, on one machine or on several that share it.

The lock is a file with the holder's host, process number and start time. Another process on the same
host takes it when the holder is gone; one on another host (or in another container), which cannot
see the holder, when it has seen no heartbeat for `STALE` seconds of its own clock. The file system
only needs to create names exclusively, which NFS does since version 3.
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
from filelock._identity import host_name, owner_is_stale  # this host's name in a lease, with the container

from local.core.errors import FULL, UserError
from local.core.files import disk_full

logger = logging.getLogger(__name__)

STALE = 60.0  # seconds without a heartbeat after which a holder on another host counts as gone
ENDING = 10.0  # seconds to wait for a holder on this host, which may be about to end
POLL = 0.2
SIZE = 1024  # bytes that a lock file has at most


@contextlib.contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Hold a lock file; wait as long as another process holds it, and log for whom.

    `doing` says what a holder does: `makes manifests/x/audio.i16`.
    """
    lock = _lease(path)
    if not _acquired(lock, 0):
        logger.info("waiting for %s, which %s", _describe_holder(path), doing)
        _acquired(lock, -1)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def locked_or_refused(path: Path, doing: str) -> Iterator[None]:
    """Hold a lock file, or raise a UserError that names the running process that holds it."""
    lock = _lease(path)
    # Whether a holder lives that is not seen on this host is known by its heartbeat alone.
    if not _acquired(lock, ENDING) and (_runs_here(holder(path)) or not _acquired(lock, STALE + 1)):
        raise UserError(f"{_describe_holder(path)} {doing}", "wait until it has ended, or end it")
    try:
        yield
    finally:
        lock.release()


def holder(path: Path) -> tuple[int, str] | None:
    """Process and host of a lock file; None where there is no lock, or its process on this host is gone."""
    owner = SoftFileLease(path).owner
    if owner is None or owner_is_stale(owner.pid, owner.hostname, owner.start):
        return None
    return owner.pid, owner.hostname


def is_of_this_host(held: tuple[int, str]) -> bool:
    """Whether a holder is a process of this host, and of this container, so that its process number means one here."""
    return held[1] == host_name()


def describe(held: tuple[int, str]) -> str:
    """A holder in words; after a question mark its host has the container's name, which is left out."""
    return f"process {held[0]} on {held[1].partition('?')[0]}"


def _runs_here(held: tuple[int, str] | None) -> bool:
    """Whether a holder runs on this host; a zombie, which a container may leave of a killed process, does not."""
    if held is None or not is_of_this_host(held):
        return False
    try:
        return psutil.Process(held[0]).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _lease(path: Path) -> SoftFileLease:
    path.parent.mkdir(parents=True, exist_ok=True)
    return SoftFileLease(path, lease_duration=STALE, poll_interval=POLL, on_compromise=_end)


def _acquired(lock: SoftFileLease, seconds: float) -> bool:
    """Try to take a lock for some seconds (-1: for ever); return whether it is taken."""
    path = Path(lock.lock_file)
    try:
        lock.acquire(timeout=seconds, cancel_check=lambda: _damage_if_empty(path))
    except Timeout:
        return False
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise disk_full(path, SIZE) from None
    return True


def _damage_if_empty(path: Path) -> bool:
    """Make an empty lock file a damaged one, which filelock takes: it would wait for an empty one for ever.

    Its holder was killed, or lost power, before it had written its name. One that lives after all writes over the
    added line, or has written before it and can still be read. Returns False: the waiting is never cancelled.
    """
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        if status.st_size == 0 and time.time() - status.st_mtime > ENDING:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, b"\n")
            os.close(descriptor)
    return False


def _end(loss: LeaseCompromise) -> None:
    """End at once, as if killed: another process may work in the folder now."""
    print(f"error: the lock {loss.lock_file} was lost ({loss.reason}): ending", file=sys.stderr, flush=True)
    os._exit(1)


def _describe_holder(path: Path) -> str:
    held = holder(path)
    return describe(held) if held else "another process"

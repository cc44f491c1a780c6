"""How a process ends: orderly on a signal, and not later than the process that started it.

run.sh, the launcher, torchrun and the jobs form a chain, each waiting for the next. When one of
them is killed, those after it would run on unnoticed; on Linux the kernel sends them SIGTERM.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator

PARENT = "SER_MTL_PARENT"  # environment variable: the number of the process with which this one is to end
ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def exit_code(number: int) -> int:
    """The exit code of a process that a signal ended, as shells count.

    >>> exit_code(signal.SIGTERM)
    143
    """
    return 128 + number


@contextlib.contextmanager
def raise_as_exceptions() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and SIGINT end the process by an exception, so that it can clean up.

    SIGINT also where it was ignored, as a shell starts its background jobs; an ignored SIGHUP (`nohup`) stays so.
    """

    def leave(number: int, _) -> None:
        sys.exit(exit_code(number))

    with _handled(leave, (signal.SIGTERM, *ENDINGS[2:])), _handled(signal.default_int_handler, (signal.SIGINT,)):
        end_with_parent()
        yield


class DeferredSignal:
    """The first signal that asked the process to end: its `number`, 0 while none has."""

    number = 0


@contextlib.contextmanager
def defer() -> Iterator[DeferredSignal]:
    """Record the first signal that asks for the end instead of ending; a second Ctrl-C ends at once."""
    deferred = DeferredSignal()

    def note(number: int, _) -> None:
        if deferred.number and number == signal.SIGINT:
            sys.exit(exit_code(number))
        deferred.number = deferred.number or number

    with _handled(note, ENDINGS):
        yield deferred


@contextlib.contextmanager
def hold() -> Iterator[None]:
    """Keep signals back until the end, for what must not be cut, or loses exceptions, as C's callbacks do."""
    if threading.current_thread() is not threading.main_thread():  # to which alone signals come
        yield
        return
    with defer() as held:
        yield
    if held.number:
        signal.raise_signal(held.number)


@contextlib.contextmanager
def _handled(handler, numbers: tuple[int, ...]) -> Iterator[None]:
    ignored = {number for number in numbers if signal.getsignal(number) == signal.SIG_IGN} - {signal.SIGINT}
    before = {number: signal.signal(number, handler) for number in numbers if number not in ignored}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def parent_variable() -> dict[str, str]:
    """The environment variable for processes that are to end with this one."""
    return {PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the process that started this one dies, if `PARENT` names it (Linux)."""
    if sys.platform != "linux" or os.environ.get(PARENT) != str(os.getppid()):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.environ[PARENT] != str(os.getppid()):  # it died just now
        os.kill(os.getpid(), signal.SIGTERM)

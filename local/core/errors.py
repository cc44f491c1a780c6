"""Errors that a user can correct, printed in two lines without a traceback."""

from __future__ import annotations

import argparse
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from local.core import signals

FULL, FORBIDDEN = (errno.ENOSPC, errno.EDQUOT), (errno.EROFS, errno.EACCES, errno.EPERM)  # of OSErrors
MAKE_ROOM = "make room and run again: what was done is kept"
INSTALLED = "ser-mtl-"  # how the names of the commands in pyproject.toml begin


class UserError(Exception):
    """Something the user can correct: what is wrong and where (file, line, turn), and what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __reduce__(self) -> tuple:
        """Both words: without, a pool of processes waits forever for an error that it cannot read."""
        return type(self), (self.what, self.remedy)


class Parser(argparse.ArgumentParser):
    """Reads a command line without abbreviations; an error is a UserError that shows the usage.

    `prog` is the name of the command, unless it was called by a name that `pip install` gave it: `ser-mtl-...`.
    """

    def __init__(self, prog: str, **words: Any) -> None:
        called = os.path.basename(sys.argv[0])
        super().__init__(prog=called if called.startswith(INSTALLED) else prog, allow_abbrev=False, **words)

    def error(self, message: str) -> NoReturn:
        """Raise a UserError."""
        raise UserError(message, " ".join(self.format_usage().removeprefix("usage: ").split()))


def as_command(main: Callable[..., None]) -> Callable[..., None]:
    """Let `main` end without a traceback.

    A UserError becomes two lines on stderr and exit code 2, a full disk and a closed folder too; Ctrl-C is 130, SIGTERM
    143, and a closed pipe (`... | head`) 141, as in a shell. Where stderr is closed (`2>&-`), messages are lost.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        try:
            with signals.raise_as_exceptions():
                main(*args, **kwargs)
        except UserError as error:
            _exit(error)
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the final flush would fail
            sys.exit(141)
        except OSError as error:
            if error.errno not in FULL + FORBIDDEN:
                raise
            name = error.filename or "the standard output, or a log,"
            if error.errno in FORBIDDEN:
                _exit(UserError(f"{name}: {error.strerror}", "let your account read it, and write where results go"))
            _exit(UserError(f"{name} cannot be written, the disk is full", MAKE_ROOM))

    return wrapped


def _exit(error: UserError) -> NoReturn:
    print(f"error: {error.what}\n  try: {error.remedy}", file=sys.stderr)
    sys.exit(2)

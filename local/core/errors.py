"""Mistakes that a user can mend, told in two lines and without a traceback."""

from __future__ import annotations

import argparse
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from local.core import signals


class UserError(Exception):
    """Something the user can mend.

    Parameters
    ----------
    what
        What is wrong, and where: file, line, turn.
    remedy
        What to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Parser(argparse.ArgumentParser):
    """Reads a command line, options in full; a mistake is a UserError that shows the usage."""

    def __init__(self, **words: str) -> None:
        super().__init__(allow_abbrev=False, **words)

    def error(self, message: str) -> NoReturn:
        """Tell a mistake."""
        raise UserError(message, " ".join(self.format_usage().removeprefix("usage: ").split()))


def as_command(main: Callable[..., None]) -> Callable[..., None]:
    """Let `main` end without a traceback.

    A UserError becomes two lines on stderr and exit code 2, Ctrl-C 130, SIGTERM 143, and a reader
    that has gone away (`... | head`) 141, as in a shell.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        try:
            with signals.raise_as_exceptions():
                main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error.what}", file=sys.stderr)
            print(f"  try: {error.remedy}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor at the final flush
            sys.exit(141)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            print(f"error: {error.filename or 'a log'} cannot be written, the disk is full", file=sys.stderr)
            print("  try: make room and run again: what was done is kept", file=sys.stderr)
            sys.exit(2)

    return wrapped

"""Mistakes that a user can mend, told in two lines and without a traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable


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


def exits(main: Callable[..., None]) -> Callable[..., None]:
    """Let `main` answer a UserError with two lines on stderr and exit code 2, and Ctrl-C with 130."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> None:
        try:
            main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error.what}", file=sys.stderr)
            print(f"  try: {error.remedy}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)

    return wrapped

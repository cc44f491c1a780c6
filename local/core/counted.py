"""How many of a thing there are, for messages and pages."""

from __future__ import annotations


def counted(n: int, thing: str) -> str:
    """A number of things, of which one has no s.

    >>> counted(1, "epoch"), counted(2400, "audio file"), counted(0, "row")
    ('1 epoch', '2400 audio files', '0 rows')
    """
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"

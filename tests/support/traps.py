"""Traps that a hole would spring: see the fixture `trap`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def springs(trap: Path, act: Callable[[], object]) -> None:
    """See that a trap is one."""
    act()
    assert trap.exists()
    trap.unlink()

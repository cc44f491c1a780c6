"""env.json of a run folder: what each start of its training was made with, the first and those that resumed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from local.core.errors import UserError

NAME = "env.json"


def read(run: Path) -> dict[str, Any]:
    """Read the first start of a run, with the later ones in `resumed`; a `UserError` if it is missing or damaged."""
    path = run / NAME
    try:
        first = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(first, dict) and all("commit" in start for start in starts(first)):
            return first
        reason: object = "it names no commit"
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = error
    raise UserError(f"{path} cannot be read: {reason}", "restore it, or run stage 2 for it again with --force true")


def starts(first: dict[str, Any]) -> list[dict[str, Any]]:
    """All starts of a run, in their order."""
    return [first, *first.get("resumed", [])]


def commit_of(first: dict[str, Any]) -> str:
    """The commit of a run: that of its first start, with `+` behind it if it was resumed with another."""
    return first["commit"] + "+" * (len({start["commit"] for start in starts(first)}) > 1)

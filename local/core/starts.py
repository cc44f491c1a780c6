"""env.json of a run folder: what each start of its training was made with, the first and those that resumed it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.core.errors import UserError

NAME = "env.json"
TRAINED_AS = "trained_as"  # in `job`: the fold whose training the run has taken, see `local.experiment.shared`
TRAINED_IN = "trained_in"  # in `job`: the experiment whose epochs it has taken, see `local.training.last_step`


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
    if isinstance(reason, FileNotFoundError) and run.is_dir() and not (run / "train.json").exists():
        raise UserError(f"{run}: its training has not begun", "run stage 2 for it: the same command goes on with it")
    raise UserError(f"{path} cannot be read: {reason}", "restore it, or run stage 2 for it again with --force true")


def command() -> list[str]:
    """The words of the command that the user typed, as run.sh passes it on, or those of this process."""
    typed = os.environ.get("SER_MTL_COMMAND", "")
    try:
        words = shlex.split(typed)
    except ValueError:  # bash quotes a control character in its own way
        return [typed]
    return words or ["python", "-m", f"local.{Path(sys.argv[0]).stem}", *sys.argv[1:]]


def command_line(words: Sequence[str]) -> str:
    """The words of `command` as one line."""
    return words[0] if len(words) == 1 else shlex.join(words)


def starts(first: dict[str, Any]) -> list[dict[str, Any]]:
    """All starts of a run, in their order."""
    return [first, *first.get("resumed", [])]


def commit_of(first: dict[str, Any]) -> str:
    """The commit of a run: that of its first start, with `+` behind it if it was resumed with another."""
    return first["commit"] + "+" * (len({start["commit"] for start in starts(first)}) > 1)

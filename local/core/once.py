"""Files that many processes need and one of them makes: large, derived, and made anew when their origin changes.

Beside each stands a JSON file in the manner of `local.core.markers`, written last: `inputs` (the
fingerprint of what the file was made of), `outputs` (its size; it is too large to be hashed at each
start) and `facts`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from local.core.files import atomic
from local.core.lock import locked


def make_once(path: Path, made_of: str, expected: int, make: Callable[[IO[bytes]], dict[str, Any]]) -> dict[str, Any]:
    """Make a file and the JSON file beside it, unless they stand there; of several processes one makes them.

    Parameters
    ----------
    path
        The file; it is whole when the JSON file, which is written last, says so.
    made_of
        The fingerprint of what it is made of; with another one, it is made anew.
    expected
        About how many bytes it will have, to be named when the disk is full.
    make
        Writes it, and returns what is to be known of it.

    Returns
    -------
    What `make` returned, now or then.

    Raises
    ------
    UserError
        The disk is full.
    """
    if (facts := standing(path, made_of)) is not None:
        return facts
    with locked(path.with_name(f".{path.name}.lock"), f"makes {path}"):
        # Another process may have made it while this one waited.
        if (facts := standing(path, made_of)) is not None:
            return facts
        return _make(path, made_of, expected, make)


def standing(path: Path, made_of: str) -> dict[str, Any] | None:
    """The facts of a file that stands whole and was made of just this; None where there is none."""
    try:
        marker = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        same = marker["inputs"] == {"fingerprint": made_of} and marker["outputs"] == {path.name: path.stat().st_size}
        return marker["facts"] if same else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # absent or damaged
        return None


def _make(path: Path, made_of: str, expected: int, make: Callable[[IO[bytes]], dict[str, Any]]) -> dict[str, Any]:
    path.with_suffix(".json").unlink(missing_ok=True)  # first: it must never stand beside another file
    path.unlink(missing_ok=True)
    with atomic(path, "wb", wanted=expected) as file:
        facts = make(file)
    marker = {"inputs": {"fingerprint": made_of}, "outputs": {path.name: path.stat().st_size}, "facts": facts}
    with atomic(path.with_suffix(".json")) as file:
        json.dump(marker, file, indent=1, ensure_ascii=False)
        file.write("\n")
    return facts

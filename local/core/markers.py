"""Markers: what a finished step was made from, and whether it would be made the same today.

A marker is a JSON file, written last and atomically: `inputs` (what the step was given, by name),
`outputs` (the files that it made, with the digests of their contents) and `facts` (what later
steps want to know of it). A step is done when the inputs are the same and the outputs are whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from local.core.errors import UserError
from local.core.files import atomic, digest


class Marker:
    """The marker of one step.

    Parameters
    ----------
    path
        The JSON file; the outputs are named relative to its folder.
    inputs
        What the step is given: names and plain values or digests.
    """

    def __init__(self, path: Path, inputs: dict[str, Any]) -> None:
        self.path = path
        self.inputs = json.loads(json.dumps(inputs))

    def is_done(self, step: str, force: bool = False, redo: bool = False) -> bool:
        """Tell whether the step is done with these inputs.

        Raises
        ------
        UserError
            It is done with other inputs, and neither `force` (the user's word) nor `redo` (the
            step costs little) is given; the difference is named.
        """
        if force or not self.path.exists():
            return False
        old = read(self.path)
        changed = [
            f"{name} ({old['inputs'].get(name)} -> {self.inputs.get(name)})"
            for name in {**old["inputs"], **self.inputs}
            if old["inputs"].get(name) != self.inputs.get(name)
        ]
        if changed and redo:
            return False
        if changed:
            raise UserError(
                f"{step}: {self.path.parent} was made with other inputs: {', '.join(changed)}",
                "--name NAME for another experiment, or --force true to make it anew",
            )
        folder = self.path.parent
        return all(
            (folder / name).exists() and digest(folder / name) == old["outputs"][name] for name in old["outputs"]
        )

    def write(self, outputs: Iterable[Path], **facts: Any) -> None:
        """Mark the step as done."""
        folder = self.path.parent
        made = {str(path.relative_to(folder)): digest(path) for path in outputs}
        with atomic(self.path) as file:
            json.dump({"inputs": self.inputs, "outputs": made, "facts": facts}, file, indent=1, ensure_ascii=False)
            file.write("\n")


def read(path: Path) -> dict[str, Any]:
    """Read a marker.

    Raises
    ------
    UserError
        It is absent or damaged.
    """
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(marker[key], dict) for key in ("inputs", "outputs", "facts")):
            raise TypeError("it is no marker")
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: an earlier stage has not ended", "run the stages before this one"
        ) from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}", "remove it and run the stage again") from None
    return marker

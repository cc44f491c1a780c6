"""Markers: what a step was made from, and whether it would be made the same today.

A marker is a JSON file, written atomically: `inputs` (what the step was given, by name), `outputs`
(the files that it made, with the digests of their contents) and `facts` (what later steps want to
know of it). Written last, it says that the step is done: the inputs are the same and the outputs
are whole. What a training was begun with is a marker without outputs, written first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from local.core import partial
from local.core.errors import UserError
from local.core.files import atomic, digest, write_text
from local.core.lock import locked

OF_RUNS = "--name NAME for another experiment, or --force true to overwrite this one"


class Marker:
    """The marker of one step.

    Parameters
    ----------
    path
        The JSON file; the outputs are named relative to its folder.
    inputs
        What the step is given: names and plain values or digests.
    fingerprint
        What is recorded of an output, to see whether it has changed.
    if_known
        Inputs that are not always known, now or when a marker was written: they differ only where both are.
    """

    def __init__(
        self,
        path: Path,
        inputs: dict[str, Any],
        fingerprint: Callable[[Path], str | int] = digest,
        if_known: Collection[str] = (),
    ) -> None:
        self.path, self.fingerprint, self.if_known = path, fingerprint, if_known
        self.inputs: dict[str, Any] = json.loads(json.dumps(inputs))  # as it will be read: a tuple is a list

    def is_done(self, step: str, force: bool = False, redo: bool = False, remedy: str = OF_RUNS) -> bool:
        """Whether the step is done with these inputs.

        `UserError` names the inputs that differ, and the remedy, unless `force` (by the user) or `redo` (the step is
        quick).
        """
        if force or not self.path.exists():
            return False
        old = read(self.path)
        if not redo:
            self.refuse_changes(old["inputs"], f"{step}: {self.path.parent} was made", remedy)
        return self._is_current(old)

    def changes(self, old: dict[str, Any], but: Collection[str] = ()) -> list[str]:
        """Name the earlier inputs, `but` some, that differ from these: `alpha (0.1 -> 0.01)`."""
        return [
            f"{name} ({old.get(name)} -> {self.inputs.get(name)})"
            for name in {**old, **self.inputs}
            if name not in but
            and old.get(name) != self.inputs.get(name)
            and not (name in self.if_known and None in (old.get(name), self.inputs.get(name)))
        ]

    def refuse_changes(self, old: dict[str, Any], what: str, remedy: str = OF_RUNS) -> None:
        """Refuse earlier inputs that differ from these; `what` begins the message."""
        if changed := self.changes(old):
            raise UserError(f"{what} with other inputs: {', '.join(changed)}", remedy)

    def facts(self) -> dict[str, Any] | None:
        """The facts of a step that is done with these inputs; None where it is not, or its marker is damaged."""
        try:
            old = read(self.path)
        except UserError:
            return None
        return old["facts"] if self._is_current(old) else None

    def write(self, outputs: Iterable[Path] = (), **facts: Any) -> None:
        """Write the marker: the step is done."""
        folder = self.path.parent
        made = {str(path.relative_to(folder)): self.fingerprint(path) for path in outputs}
        whole = {"inputs": self.inputs, "outputs": made, "facts": facts}
        write_text(self.path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")

    def _is_current(self, old: dict[str, Any]) -> bool:
        paths = {self.path.parent / name: made for name, made in old["outputs"].items()}
        return not self.changes(old["inputs"]) and all(
            path.exists() and self.fingerprint(path) == made for path, made in paths.items()
        )


def read(path: Path) -> dict[str, Any]:
    """Read a marker; `UserError` when it is missing or damaged."""
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


def shared_file(path: Path, made_of: str) -> Marker:
    """The marker, beside it, of a large file that many processes need: its size suffices, hashing would take long.

    Parameters
    ----------
    path
        The file.
    made_of
        The fingerprint of what it is made of.
    """
    return Marker(path.with_suffix(".json"), {"fingerprint": made_of}, lambda file: file.stat().st_size)


def make_once(
    path: Path, made_of: str, expected: int, make: Callable[[Any], dict[str, Any]], in_parts: bool = False
) -> dict[str, Any]:
    """Make a shared file unless it is made already; of several processes one makes it, and the others wait.

    Parameters
    ----------
    path, made_of
        As of `shared_file`; a file that was made of something else is made again.
    expected
        About how many bytes it will have, to be named when the disk is full.
    make
        Writes it, an open file, and returns its facts.
    in_parts
        It takes long: `make` is given `local.core.partial.Parts` instead, with what an earlier start has left. The name
        of the file must say what it is made of.

    Returns
    -------
    The facts.

    Raises
    ------
    UserError
        The disk is full.
    """
    marker = shared_file(path, made_of)
    if (facts := marker.facts()) is not None:
        return facts
    with locked(path.with_name(f".{path.name}.lock"), f"makes {path}"):
        # Another process may have made it while this one waited.
        if (facts := marker.facts()) is not None:
            return facts
        marker.path.unlink(missing_ok=True)  # first: it must never describe another file
        if in_parts:
            with partial.resumed(path, expected) as parts:
                facts = make(parts)
        else:
            path.unlink(missing_ok=True)
            with atomic(path, "wb", wanted=expected) as file:
                facts = make(file)
        marker.write([path], **facts)
        partial.forget(path)
        return facts

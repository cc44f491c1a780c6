"""Faults of a corpus: all named in one message, or written to rejected.csv."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from local.core.counted import counted
from local.core.errors import UserError
from local.core.files import write_text

SHOWN = 20  # of a kind: enough to see the pattern, few enough to see the other kinds
EXAMPLES = 3  # names in a sentence
REMEDY = "fix them, or go on without them: --partial true"


@dataclass(frozen=True)
class Fault:
    """One thing that is missing or broken."""

    file: str  # path relative to the corpus's root; empty for a wrong count
    line: int | None  # in that file, from 1; None for the whole file
    ID: str  # the utterance; empty for several, none, or an unknown one
    reason: str  # in a few words; reasons that differ only in numbers and quoted words are of one kind

    def __str__(self) -> str:
        place = printable(self.file) + (f":{self.line}" if self.line else "")
        return f"{place}: {self.reason}" if place else self.reason

    @property
    def kind(self) -> str:
        """The reason without quoted words and numbers.

        >>> Fault("data.tsv", 7, "", "emotion 'joy' is unknown").kind
        'emotion  is unknown'
        """
        return re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "", self.reason)


def printable(name: str) -> str:
    """Escape what cannot be printed in a file's name: newlines, bytes outside UTF-8."""
    return name if name.isprintable() else repr(name)[1:-1]


def examples(names: Sequence[str]) -> str:
    """The first of some names, for a sentence.

    >>> examples(["a", "b", "c"]), examples(["a", "b", "c", "d"])
    ('a, b, c', 'a, b, c, ...')
    """
    return ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")


def raise_faults(corpus: str, faults: Sequence[Fault], partial: bool = False, remedy: str = REMEDY) -> None:
    """Refuse the corpus of a name if it has faults, unless `partial`; the `UserError` has their `listing`."""
    if faults and not partial:
        raise UserError(listing(f"corpus {corpus}", faults), remedy)


def listing(of: str, faults: Sequence[Fault]) -> str:
    """The faults `of` something as lines: each kind in the order of its first, with at most `SHOWN` of it."""
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault.kind, []).append(fault)
    lines = [f"{of}: {counted(len(faults), 'fault')}"]
    for same_kind in kinds.values():
        lines += [f"  {fault}" for fault in same_kind[:SHOWN]]
        if len(same_kind) > SHOWN:
            lines.append(f"  ... and {len(same_kind) - SHOWN} more like these")
    return "\n".join(lines)


def rejected_rows(faults: Sequence[Fault]) -> int:
    """How many rows have faults, of all files that these are of."""
    return len({(fault.file, fault.line) for fault in faults if fault.line})


def write(path: Path, faults: Sequence[Fault]) -> None:
    """Write rejected.csv: `file,line,ID,reason`, a row a fault, whole or not at all."""
    from local.core.typed_csv import frame  # pandas takes half a second to load

    table = frame(map(astuple, faults), ["file", "line", "ID", "reason"])
    table[["file", "ID"]] = table[["file", "ID"]].map(printable)
    write_text(path, table.astype({"line": "Int64"}).to_csv(index=False, lineterminator="\n"))

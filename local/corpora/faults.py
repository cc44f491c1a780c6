"""What is broken in a corpus, told in one go."""

from __future__ import annotations

import re

from local.errors import UserError

SHOWN = 20  # of a kind: enough to see the pattern, few enough to see the other kinds


def settle(corpus: str, faults: list[str], partial: bool) -> None:
    """Refuse a corpus that has faults, naming them; let it pass if it has none, or if `partial`.

    Parameters
    ----------
    corpus
        Name of the corpus, for the heading.
    faults
        One line each, `<place>: <what is wrong>`, the place being a file, `file:line` or a turn.
        Faults whose second half differs only in numbers and quoted words are of one kind.
    partial
        The user wants to go on without what is broken.

    Raises
    ------
    UserError
        There are faults. Kinds stand in the order of their first fault, with at most `SHOWN` of each.
    """
    if not faults or partial:
        return
    kinds: dict[str, list[str]] = {}
    for fault in faults:
        kinds.setdefault(_kind(fault), []).append(fault)
    lines = [f"corpus {corpus}: {len(faults)} fault{'s' if len(faults) > 1 else ''}"]
    for alike in kinds.values():
        lines += [f"  {fault}" for fault in alike[:SHOWN]]
        if len(alike) > SHOWN:
            lines.append(f"  ... and {len(alike) - SHOWN} more like these")
    raise UserError("\n".join(lines), "mend them, or go on without them: --partial true")


def _kind(fault: str) -> str:
    """Strip a fault of its place, quoted words and numbers.

    >>> _kind("data.tsv:7: emotion 'joy' is unknown") == _kind("data.tsv:12: emotion 'awe' is unknown")
    True
    """
    wrong = fault.partition(": ")[2]
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "", wrong)

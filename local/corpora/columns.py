"""Columns of the user's own data that are not called as here: `--columns "wav=path emo=emotion spk_id=speaker"`."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence

from local.core.errors import UserError

FORM = '--columns "wav=path emo=emotion": a column as it is called here, =, its name in your data'
IN_SHELL = re.compile(r"[\"$`\\!]")  # what a shell does not leave as it is within double quotes


def parse(text: str, known: Collection[str]) -> dict[str, str]:
    """Read the pairs `ours=theirs` of the option: their columns by ours, which are `known`.

    >>> parse("wav=path wrd='Spoken text'", ("wav", "emo", "wrd"))
    {'wav': 'path', 'wrd': 'Spoken text'}
    """
    try:
        pairs = shlex.split(text)
    except ValueError:
        raise UserError(f"--columns {text!r}: a quotation mark is not closed", FORM) from None
    given: dict[str, str] = {}
    for pair in pairs:
        here, _, theirs = pair.partition("=")
        if not (here and theirs):
            raise UserError(f"--columns: {pair!r} is no pair of names", FORM)
        if here not in known:
            close = [theirs] if theirs in known else difflib.get_close_matches(here, known, 1)
            hint = f"; did you mean {option({close[0]: here if theirs in known else theirs})}?" if close else ""
            raise UserError(f"--columns: {here!r} is no column here", f"take one of: {' '.join(known)}{hint}")
        if here in given:
            raise UserError(f"--columns: {here} is named twice, as {given[here]!r} and {theirs!r}", FORM)
        if theirs in given.values():
            first = next(name for name, other in given.items() if other == theirs)
            raise UserError(f"--columns: column {theirs!r} is named twice, for {first} and for {here}", FORM)
        given[here] = theirs
    return given


def option(pairs: Mapping[str, str]) -> str:
    """The option for a command line, of their columns by ours, to be copied.

    >>> print(option({"wav": "path", "wrd": "Spoken text"}))
    --columns "wav=path wrd='Spoken text'"
    """
    inner = " ".join(f"{here}={shlex.quote(theirs)}" for here, theirs in pairs.items())
    return f"--columns {shlex.quote(inner) if IN_SHELL.search(inner) else chr(34) + inner + chr(34)}"


def rename(columns: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """The columns as they are called here; one that has a name of ours for which another is given has none.

    >>> rename(["path", "ID", "utt"], {"wav": "Path", "ID": "utt"})
    ['wav', '', 'ID']
    """
    ours = {_find(theirs, columns): here for here, theirs in given.items()}
    return [ours.get(name, "" if name in given else name) for name in columns]


def refuse_absent(where: str, columns: Sequence[str], given: Mapping[str, str]) -> None:
    """Raise a UserError for a column of the option that the data has not."""
    for here, theirs in given.items():
        if _find(theirs, columns) is None:
            close = difflib.get_close_matches(theirs.casefold(), [name.casefold() for name in columns], 1)
            meant = [name for name in columns if close and name.casefold() == close[0]]
            remedy = option({**given, here: meant[0]}) if meant else "name one that it has"
            has = ", ".join(filter(None, columns)) or "none"
            raise UserError(
                f"{where}: --columns says {here}={theirs}, and there is no column {theirs!r} ({has})", remedy
            )


def _find(theirs: str, columns: Sequence[str]) -> str | None:
    """The column of a name, or the only one that differs from it in case alone."""
    if theirs in columns:
        return theirs
    alike = [name for name in columns if name.casefold() == theirs.casefold()]
    return alike[0] if len(alike) == 1 else None


def other_names(columns: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
    """Which columns probably have, under another name, what the table lacks, and what that is called here."""
    known = {name: names.get(re.sub(r"[\s.-]+", "_", name.casefold())) for name in columns}
    return {name: here for name, here in known.items() if here and here not in known}


def proposal(columns: Iterable[str], names: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """What `--columns` should say: what it says, and the first column of each other known name."""
    pairs = dict(given)
    for name, here in other_names(columns, names).items():
        pairs.setdefault(here, name)
    return pairs


def taken(
    where: str,
    columns: Sequence[str],
    required: Collection[str],
    names: Mapping[str, str],
    given: Mapping[str, str],
) -> dict[str, str]:
    """The columns of data whose format has names of its own, by ours: those that are given, and those of known names.

    A name is known by itself, in any case, or as one of `names`. Two that may be one of ours are not taken: of a
    required one it is a `UserError`, as it is where none is found.
    """
    refuse_absent(where, columns, given)
    lower = {name.casefold(): name for name in names.values()}
    found = {here: _find(theirs, columns) or theirs for here, theirs in given.items()}
    free = [name for name in columns if name and name not in found.values()]
    for name in free:
        if here := lower.get(name.casefold()):
            found.setdefault(here, name)
    likely: dict[str, list[str]] = {}
    for name in free:
        here = names.get(re.sub(r"[\s.-]+", "_", name.casefold()))
        if here and here not in found and name not in found.values():
            likely.setdefault(here, []).append(name)
    found |= {here: those[0] for here, those in likely.items() if len(those) == 1}
    lost = [here for here in required if here not in found]
    if lost:
        several = {here: those for here, those in likely.items() if here in lost}
        why = "".join(f"; {' and '.join(map(repr, those))} may be the {here}" for here, those in several.items())
        pairs = {here: likely.get(here, ["COLUMN"])[0] for here in lost}
        has = ", ".join(filter(None, columns)) or "none"
        what = f"{where}: there is no {' and no '.join(lost)} among the columns ({has}){why}"
        raise UserError(what, f"say which columns they are: {option({**given, **pairs})}")
    return found

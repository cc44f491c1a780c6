"""Lists in JSON lines: an object a line, its keys the columns, as NeMo's manifests and many data sets have them.

A nested object is read as columns of its own: `{"audio": {"path": "a.wav"}}` has the column `audio.path`. Numbers are
read as they are written, null as empty. A manifest of NeMo may give a part of a longer recording, by `offset` and
`duration`: that is a fault, as whole files are read here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.core.errors import UserError
from local.corpora.columns import taken
from local.corpora.faults import Fault

Row = dict[str, str]
SUFFIXES = (".jsonl", ".ndjson", ".json")
OF_NEMO = "audio_filepath"  # what its manifests call `wav`
NOT_TEXT = re.compile("[\0\ud800-\udfff]")  # what JSON can write and no file should have
SHORTER = 0.5  # seconds that a file may be longer than its list says


class Nested(str):
    """A value that is no text and no number, by what it is: `a list`."""


def records(
    path: Path,
    required: tuple[str, ...],
    names: Mapping[str, str],
    given: Mapping[str, str],
    faults: list[Fault],
    rejected: list[Row],
) -> tuple[list[tuple[int, Row]], dict[str, str]]:
    """Read a list: the line of each object, and its values by column; and what the columns are called in it, by ours.

    `faults` receives one for each line that is left out, `rejected` what can be told of it. Columns are found as in
    `local.corpora.columns.taken`. A `UserError` if it cannot be read, or has no column that is required.
    """
    objects = _objects(path, faults)
    keys = list(dict.fromkeys(key for _, values in objects for key in values))
    plain = {key for _, values in objects for key, value in values.items() if not isinstance(value, Nested)}
    outer = {key[:at] for key in keys for at, sign in enumerate(key) if sign == "."}
    useful = [key for key in keys if key in plain or (key in required and key not in outer)]
    found = taken(str(path), useful, required, names, given)
    ours = {theirs: here for here, theirs in found.items()}
    good = []
    for line, values in objects:
        row = {ours.get(key, "" if key in found else key): value for key, value in values.items()}
        wrong = unusable(row, found, required)
        if found["wav"] == OF_NEMO and _is_part(row):
            wrong.append(f"it is a part of a longer recording, from {row['offset']} s on: cut it out")
        faults += [Fault(path.name, line, row.get("ID", ""), each) for each in wrong]
        if wrong:
            rejected.append({key: value for key, value in row.items() if not isinstance(value, Nested)})
        else:
            good.append((line, row))
    return good, found


def unusable(row: Row, found: Mapping[str, str], required: tuple[str, ...]) -> list[str]:
    """What is wrong with the values of a row whose columns are called as here, and in the data as `found` says."""
    wrong = [f"it has no {found[here]!r}" for here in required if here not in row]
    for here, theirs in found.items():
        value = row.get(here, "")
        if isinstance(value, Nested):
            inner = ", ".join(key for key in row if key.startswith(f"{theirs}."))
            wrong.append(f"{theirs!r} is {value}" + (f", which --columns can take apart: {inner}" if inner else ""))
        elif NOT_TEXT.search(value):
            wrong.append(f"{theirs!r} has a character that is no text")
    return wrong


def _objects(path: Path, faults: list[Fault]) -> list[tuple[int, dict[str, str]]]:
    """The flat values of each line that is an object."""
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    if content.lstrip()[:1] == b"[":
        raise UserError(f"{path} is one list, not an object a line", "write it so: jq -c '.[]' LIST.json > LIST.jsonl")
    objects = []
    for line, text in enumerate(content.split(b"\n"), 1):
        try:
            if text.strip():
                objects.append((line, _read(text)))
        except UnicodeDecodeError as error:
            faults.append(Fault(path.name, line, "", f"byte '0x{text[error.start]:02X}' is not UTF-8 text"))
        except json.JSONDecodeError as error:
            faults.append(Fault(path.name, line, "", f"is not JSON: {error.msg}, at character {error.colno}"))
        except RecursionError:
            faults.append(Fault(path.name, line, "", "is nested too deeply"))
        except ValueError as error:
            faults.append(Fault(path.name, line, "", str(error)))
    return objects


def _read(text: bytes) -> dict[str, str]:
    """The flat values of an object; a `ValueError` says why it is none."""
    value = json.loads(text.decode(), object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=str)
    if not isinstance(value, dict):
        raise ValueError(f"is {_kind(value)}, not an object")
    return flat(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [key for key, n in Counter(key for key, _ in pairs).items() if n > 1]
    if twice:
        raise ValueError(f"has the key {twice[0]!r} twice")
    return dict(pairs)


def flat(value: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """The values of an object as text, with those of nested objects.

    >>> flat({"audio": {"path": "a.wav"}, "ok": True, "age": None})
    {'audio': 'an object', 'audio.path': 'a.wav', 'ok': 'true', 'age': ''}
    """
    values: dict[str, str] = {}
    for key, each in value.items():
        if isinstance(each, Mapping):
            values[before + key] = Nested(_kind(each))
            values |= flat(each, f"{before}{key}.")
        elif isinstance(each, (list, bytes)):
            values[before + key] = Nested(_kind(each))
        elif isinstance(each, bool):
            values[before + key] = str(each).lower()
        else:
            values[before + key] = "" if each is None else str(each).strip()
    return values


def _kind(value: Any) -> str:
    kinds = {list: "a list", dict: "an object", bytes: "bytes", type(None): "null", bool: "a truth value"}
    return kinds.get(type(value), "a word")


def _is_part(row: Row) -> bool:
    """Whether a row of a list of NeMo is a part of its file."""
    try:
        return float(row.get("offset") or 0) > 0
    except (TypeError, ValueError):
        return False


def refuse_parts(file: str, records: list[tuple[int, Row]], utterances: dict[int, dict], faults: list[Fault]) -> None:
    """Remove the utterances whose list says that they are shorter than their files, with a fault for each."""
    for line, row in records:
        try:
            said = float(row["duration"])
        except (KeyError, ValueError):
            continue
        if line in utterances and utterances[line]["duration"] > said + SHORTER:
            whole = utterances[line]["duration"]
            reason = f"its file has {whole:g} s, of which the list takes {said:g} s: cut them out"
            faults.append(Fault(file, line, utterances.pop(line)["ID"], reason))

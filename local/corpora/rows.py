"""Tables with a row an utterance: reading them with every fault named, and making utterances of the rows."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from local.audio import examine
from local.errors import UserError
from local.manifest import DATA_ROOT

NOT_TEXT = re.compile("[\0\udc80-\udcff]")  # a zero byte, and what surrogateescape makes of bytes outside UTF-8

Row = dict[str, str]


def rows(path: Path, required: Iterable[str], faults: list[str], **dialect) -> list[tuple[int, Row]]:
    """Read a table with a header: the line in which each row begins, and its fields by column.

    Fields are stripped of blanks around them; empty rows are passed over.

    Parameters
    ----------
    path
        A text file in UTF-8, with or without byte order mark.
    required
        Columns that must be there.
    faults
        Empty; takes a line for each row that is left out: not UTF-8, a zero byte, wrong quotes or
        number of fields.
    dialect
        What Python's csv.reader takes.

    Raises
    ------
    UserError
        The header is absent, broken, or lacks a column or has it twice.
    """
    records = _records(path, faults, **dialect)
    line, header = next(records, (1, []))
    if faults:  # the true header is among them
        raise UserError(f"the header of the table cannot be read: {faults[0]}", "save the table anew, as UTF-8")
    wrong = [f"lacks {column}" for column in required if column not in header]
    wrong += [f"repeats {column}" for column, n in Counter(filter(None, header)).items() if n > 1]
    if wrong:
        has = f"it has {', '.join(header)}" if header else "it is empty"
        raise UserError(f"{path}:{line}: the header {' and '.join(wrong)} ({has})", "name each column once in line 1")
    found = []
    for line, fields in records:
        if len(fields) == len(header):
            found.append((line, dict(zip(header, fields, strict=True))))
        else:
            faults.append(f"{path.name}:{line}: {len(fields)} fields where the header has {len(header)}")
    return found


def gather(
    path: Path,
    found: Iterable[tuple[int, Row]],
    utterance: Callable[[Path, Row], tuple[Row, list[str]]],
    faults: list[str],
) -> list[dict]:
    """Make utterances of rows: durations from the audio files, IDs and files unique.

    Parameters
    ----------
    path
        The table; its folder becomes `$data_root`.
    found
        What `rows` returned.
    utterance
        Turns (folder, row) into the columns of `local.manifest` but `duration`, with `wav`
        relative to the folder, and says what is wrong with the row.
    faults
        Takes every fault of every row.

    Returns
    -------
    list of dict
        The utterances that have no fault, in the order of the table.
    """
    good, lines = [], {}
    for line, row in found:
        columns, wrong = utterance(path.parent, row)
        wav = columns["wav"]
        for column in ("ID", "wav"):
            first = lines.setdefault((column, columns[column]), line)
            if columns[column] and first != line:
                wrong.append(f"{column} {columns[column]!r} is in line {first} already")
                break
        if wav:
            try:
                columns |= {"duration": round(examine(path.parent / wav).duration, 6), "wav": f"{DATA_ROOT}/{wav}"}
            except OSError as error:
                wrong.append(f"{wav!r}: {error}")
        if wrong:
            faults += [f"{path.name}:{line}: {each}" for each in wrong]
        else:
            good.append(columns)
    return good


def _records(path: Path, faults: list[str], **dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the fields of each record that is not empty; unreadable ones become faults."""
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "see to its permissions") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **dialect)
    while True:
        line = reader.line_num + 1  # a quoted field may hold newlines: the record begins here and ends further down
        try:
            fields = [field.strip() for field in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            faults.append(f"{path.name}:{line}: {error}")
            continue
        stray = NOT_TEXT.search("".join(fields))
        if stray:
            faults.append(f"{path.name}:{line}: byte '0x{ord(stray[0]) & 0xFF:02X}' is not UTF-8 text")
        elif any(fields):
            yield line, fields

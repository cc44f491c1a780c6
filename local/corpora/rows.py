"""Tables of a corpus with a row an utterance: read with every fault named, and made into utterances."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from local.audio.header import examine, refuse_rate
from local.core.errors import UserError
from local.corpora.faults import Fault
from local.corpora.manifest import DATA_ROOT

NOT_TEXT = re.compile("[\0\udc80-\udcff]")  # a zero byte, and what surrogateescape makes of bytes outside UTF-8

# No two values of these may differ in case alone: folders are named after the first three, and disks of a Mac or of
# Windows ignore case; and `Ann` beside `ann` is one person, or one emotion, spelled in two ways.
SPELLED = ("spk_id", "session", "recording", "emo", "ID", "wav")
UNIQUE = ("ID", "wav")

Row = dict[str, str]


def rows(path: Path, required: Iterable[str], faults: list[Fault], **dialect) -> list[tuple[int, Row]]:
    """Read a table with a header: the line in which each row begins, and its fields by column.

    The file is text in UTF-8, with or without byte order mark; `dialect` are options of Python's csv.reader. Fields
    lose the blanks around them; empty rows are skipped. `faults`, empty before, receives one for each row that is left
    out: not UTF-8, a zero byte, wrong quotes or number of fields. A `UserError` if the header is missing, broken, lacks
    a `required` column, or has a column twice.
    """
    records = _records(path, faults, **dialect)
    line, header = next(records, (1, []))
    if faults:  # the true header is among them
        raise UserError(f"the header of the table cannot be read: {faults[0]}", "save the table again, as UTF-8")
    wrong = [f"lacks {column}" for column in required if column not in header]
    wrong += [f"repeats {column}" for column, n in Counter(filter(None, header)).items() if n > 1]
    if wrong:
        has = f"it has {', '.join(header)}" if header else "it is empty"
        raise UserError(f"{path}:{line}: the header {' and '.join(wrong)} ({has})", "name each column once in line 1")
    good = []
    for line, fields in records:
        if len(fields) == len(header):
            good.append((line, dict(zip(header, fields, strict=True))))
        else:
            faults.append(Fault(path.name, line, "", f"{len(fields)} fields where the header has {len(header)}"))
    return good


def gather(
    path: Path,
    records: Iterable[tuple[int, Row]],
    utterance: Callable[[Path, Row], tuple[Row, list[str]]],
    faults: list[Fault],
) -> dict[int, dict]:
    """Make utterances of rows: with durations from the audio files, unique IDs and files, names spelled in one way.

    `path` is that of the table, whose folder becomes `$data_root`, `records` are as from `rows`. `utterance` turns
    (folder, row) into the columns of `local.corpora.manifest` except `duration`, with `wav` relative to the folder, and
    a list of what is wrong with the row. `faults` receives every fault of every row. Returns the utterances without a
    fault, by line, in the order of the table.
    """
    good, first = {}, {}
    for line, row in records:
        columns, wrong = utterance(path.parent, row)
        wrong += _clashes(columns, line, first)
        wav = columns["wav"]
        if wav:
            try:
                header = examine(path.parent / wav)
                refuse_rate(header.rate)
                columns |= {"duration": round(header.duration, 6), "wav": f"{DATA_ROOT}/{wav}"}
            except OSError as error:
                wrong.append(f"{wav!r}: {error}")
        if wrong:
            faults += [Fault(path.name, line, columns["ID"], each) for each in wrong]
        else:
            good[line] = columns
    return good


def _clashes(columns: Row, line: int, first: dict[tuple[str, str], tuple[str, int]]) -> list[str]:
    """Say which values of a row are those of an earlier one; `first` receives each value and its first line."""
    wrong = []
    for column in SPELLED:
        value = columns[column]
        folded = unicodedata.normalize("NFC", value).casefold()
        earlier, where = first.setdefault((column, folded), (value, line))
        if value and earlier != value:
            wrong.append(f"{column} {value!r} is {earlier!r} of line {where} in another spelling")
        elif value and column in UNIQUE and where != line:
            wrong.append(f"{column} {value!r} is in line {where} already")
            break  # two rows of one file have the same default ID, too
    return wrong


def _records(path: Path, faults: list[Fault], **dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the fields of each record that is not empty; what cannot be read becomes a fault."""
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **dialect)
    while True:
        line = reader.line_num + 1  # where the record begins: a quoted field may have newlines
        try:
            fields = [field.strip() for field in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            faults.append(Fault(path.name, line, "", str(error)))
            continue
        stray = NOT_TEXT.search("".join(fields))
        if stray:
            byte = f"0x{ord(stray[0]) & 0xFF:02X}"
            faults.append(Fault(path.name, line, "", f"byte '{byte}' is not UTF-8 text"))
        elif any(fields):
            yield line, fields

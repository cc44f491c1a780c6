"""Tables of a corpus with a row an utterance: read with every fault named, and made into utterances."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from local.audio.header import examine, refuse_rate
from local.core.errors import UserError
from local.core.files import POINTER, POINTER_REMEDY, POINTER_WORDS
from local.corpora.columns import option, proposal, refuse_absent, rename
from local.corpora.faults import Fault, printable
from local.corpora.manifest import DATA_ROOT
from local.corpora.names import Disk, same_file, same_name

# A zero byte, which csv refuses before Python 3.11, in the form that surrogateescape gives to bytes outside UTF-8.
ZERO = "\udc00"
NOT_TEXT = re.compile("[\udc00-\udcff]")
NOT_UTF8 = "is not UTF-8 text"
ZIP = b"PK\x03\x04"  # how a zip file begins, .xlsx and .ods too
SEP_LINE = re.compile(r"\"?sep=([,;:|\t])\"?", re.IGNORECASE)  # which Excel writes and reads before the header
SUFFIX = re.compile(r"\.[A-Za-z]\w{0,4}")
WINDOWS = re.compile(r"[A-Za-z]:[/\\]")

# No two values of these may be one in two spellings: folders are named after the first three, and disks of a Mac or of
# Windows ignore case; and `Ann` beside `ann`, or `1` beside `01`, is one person, spelled in two ways.
SPELLED = {"spk_id": same_name, "session": same_name, "recording": same_name, "ID": same_file, "wav": same_file}
UNIQUE = ("ID", "wav")

Row = dict[str, str]


class Record(NamedTuple):
    """A record of a table: more than one line where a quoted field has newlines."""

    first: int  # line, from 1
    last: int
    fields: list[str]
    wrong: str  # why it cannot be read, or empty


def rows(
    path: Path,
    required: tuple[str, ...],
    faults: list[Fault],
    separators: str = ",",
    names: Mapping[str, str] | None = None,
    rejected: list[Row] | None = None,
    given: Mapping[str, str] | None = None,
    **dialect,
) -> list[tuple[int, Row]]:
    """Read a table with a header: the line in which each row begins, and its fields by column.

    The file is text in UTF-8, with or without byte order mark. Fields lose the blanks around them; empty rows are
    skipped. `faults`, empty before, receives one for each row that is left out: not UTF-8, a zero byte, wrong quotes
    or number of fields; also for each row that a quotation mark in an earlier one has made part of a field.

    Parameters
    ----------
    path
        The table.
    required
        Columns that it must have, the first with the audio files.
    faults
        Receives what is wrong.
    separators
        What may separate the fields: the first of them with which the header has the required columns.
    names
        Other names of columns, in lower case, and what these are called here: read where only the case differs,
        otherwise named in the error of a header that lacks a required one.
    rejected
        Receives the fields of the rows that are left out, as far as they can be told.
    given
        What the user says that columns are called in the table, by what they are called here.
    dialect
        Options of Python's csv.reader; and `errors`, the handler (see Python's codecs) of bytes that are not UTF-8,
        where they are text in another encoding.

    Raises
    ------
    UserError
        The header is missing, broken, lacks a required column or one of `given`, or has a column twice.
    """
    names, given = names or {}, given or {}
    table = _Table(path, required, separators, names, given, dialect)
    records = table.records()
    header = next(records, Record(1, 1, [], ""))
    table.refuse_unreadable(header)
    where = f"{path}:{header.first}"
    refuse_absent(where, header.fields, given)
    _refuse_header(where, header.fields, table.columns, required, names, given)
    good = []
    for record in records:
        if wrong := table.wrong(record):
            faults.append(Fault(path.name, record.first, "", wrong))
            inside = f"is inside the quotation marks that open in line {record.first}"
            faults += [Fault(path.name, line, "", inside) for line in table.swallowed(record)]
            if rejected is not None:
                inner = [table.fields(line) for line in table.swallowed(record)]
                whole = record.fields and record.first == record.last
                own = record.fields if whole else table.fields(record.first, marks=False)
                rejected += [dict(zip(table.columns, fields, strict=False)) for fields in (own, *inner)]
        else:
            good.append((record.first, dict(zip(table.columns, record.fields, strict=True))))
    return good


def header_of(path: Path, separators: str) -> list[str]:
    """The columns of a table as they are called there, by the separator with which it has most; empty without any."""
    table = _Table(path, ("",), separators, {}, {}, {"skipinitialspace": True})
    table.refuse_unreadable(next(table.records(), Record(1, 1, [], "")))
    return [name for name in table.columns if name]


def as_utf8(encoding: str) -> str:
    """What to do about a table in another encoding, or probably in that one."""
    return f"save the table again, as UTF-8, or convert it: iconv -f {encoding} -t UTF-8 TABLE.csv > NEW.csv"


class _Table:
    """The lines of a table, its columns, and how its fields are separated."""

    def __init__(
        self,
        path: Path,
        required: tuple[str, ...],
        separators: str,
        names: Mapping[str, str],
        given: Mapping[str, str],
        dialect: dict,
    ) -> None:
        errors = dialect.pop("errors", "surrogateescape")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
        if content.startswith(POINTER):
            raise UserError(f"{path} {POINTER_WORDS}", POINTER_REMEDY)
        if content.startswith(ZIP):
            raise UserError(f"{path} is no text but a workbook of Excel, or another archive", "save it as CSV in UTF-8")
        text = content.decode("utf-8-sig", errors).replace("\0", ZERO)
        self.path, self.file_column = path, required[0]
        self.is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]
        self.lines = list(io.StringIO(text, newline=""))
        if sep := SEP_LINE.fullmatch(self.lines[0].rstrip("\r\n")) if self.lines else None:
            self.lines[0], separators = "\n", sep[1]

        def found(separator: str) -> list[str]:
            self.dialect = {**dialect, "delimiter": separator}
            return _columns(rename(next(self.records(), Record(1, 1, [], "")).fields, given), names)

        def fits(separator: str) -> tuple[bool, int]:
            return set(required) <= set(found(separator)), len(found(separator))

        self.columns = found(max(separators, key=fits))

    def records(self) -> Iterator[Record]:
        """Yield each record that is not empty, the header first."""
        reader = csv.reader(self.lines, strict=True, **self.dialect)
        while True:
            first, fields, wrong = reader.line_num + 1, [], ""
            try:
                fields = [field.strip() for field in next(reader)]
            except StopIteration:
                return
            except csv.Error as error:
                wrong = f"wrong quotation marks ({error})"
            if stray := NOT_TEXT.search("".join(fields)):
                wrong = f"byte '0x{ord(stray[0]) & 0xFF:02X}' {NOT_UTF8}"
            if wrong or any(fields):
                yield Record(first, reader.line_num, fields, wrong)

    def refuse_unreadable(self, header: Record) -> None:
        """Raise a UserError for a header that cannot be used."""
        if wrong := self.wrong(header):
            what = f"the header of the table cannot be read: {self.path.name}:{header.first}: {wrong}"
            if self.is_utf16:
                raise UserError(f"{what}: the file is in UTF-16", as_utf8("UTF-16"))
            if NOT_UTF8 in wrong:
                raise UserError(what, as_utf8("WINDOWS-1252"))
            raise UserError(what, "save the table again, as UTF-8 and with quotation marks in pairs")

    def wrong(self, record: Record) -> str:
        """Why a record cannot be used, or an empty string."""
        if self.swallowed(record):
            return f"unmatched quotation mark: its field runs from line {record.first} to line {record.last}"
        n, expected = len(record.fields), len(self.columns)
        return record.wrong or (f"{n} fields where the header has {expected}" if n != expected else "")

    def swallowed(self, record: Record) -> list[int]:
        """The lines of a record that are rows of the table: a quotation mark has made them part of a field."""
        return [line for line in range(record.first + 1, record.last + 1) if self._is_row(line)]

    def fields(self, line: int, marks: bool = True) -> list[str]:
        """The fields of a line by itself, also as it is without its quotation marks; none where they are not clear."""
        text = self.lines[line - 1] if marks else self.lines[line - 1].replace('"', "")
        try:
            return [field.strip() for field in next(csv.reader([text], **self.dialect), [])]
        except csv.Error:
            return []

    def _is_row(self, line: int) -> bool:
        """Whether a line has the fields of a row, with the name of a file where it belongs."""
        fields = self.fields(line)
        if len(fields) != len(self.columns) or self.file_column not in self.columns:
            return False
        name = fields[self.columns.index(self.file_column)]
        return bool(SUFFIX.fullmatch(os.path.splitext(name)[1])) or os.path.isfile(self.path.parent / name)


def _columns(header: list[str], names: Mapping[str, str]) -> list[str]:
    """The columns of a header, by the names that they have here where only the case differs."""
    known = {here.casefold(): here for here in names.values()}
    return [here if (here := known.get(name.casefold(), name)) not in header else name for name in header]


def _refuse_header(
    where: str,
    header: list[str],
    found: list[str],
    required: Iterable[str],
    names: Mapping[str, str],
    given: Mapping[str, str],
) -> None:
    """Raise a UserError for a header that lacks a column or has one twice."""
    lost = [column for column in required if column not in found]
    wrong = [f"lacks {column}" for column in lost]
    wrong += [f"repeats {column}" for column, n in Counter(filter(None, found)).items() if n > 1]
    if wrong:
        has = f"it has {', '.join(header)}" if header else "it is empty"
        remedy = f"name its columns: {', '.join(required)} are required; each column once"
        if names and header:  # the user's own table
            pairs = proposal(found, names, given)
            asked = pairs | {column: "COLUMN" for column in lost if column not in pairs}
            remedy = f"say what they are called: {option(asked)}" if lost else "name each column once"
        raise UserError(f"{where}: the header {' and '.join(wrong)} ({has})", remedy)


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
    good, first, disk = {}, {}, Disk(path.parent)
    for line, row in records:
        columns, wrong = utterance(path.parent, row)
        wrong += _clashes(columns, line, first)
        wav = columns["wav"]
        if wav:
            wav, hint = _on_disk(disk, wav)
            try:
                header = examine(path.parent / wav)
                refuse_rate(header.rate)
                columns |= {"duration": round(header.duration, 6), "wav": f"{DATA_ROOT}/{wav}"}
            except OSError as error:
                wrong.append(f"'{printable(wav)}': {error}{hint}")
        if wrong:
            faults += [Fault(path.name, line, columns["ID"], each) for each in wrong]
        else:
            good[line] = columns
    return good


def _on_disk(disk: Disk, wav: str) -> tuple[str, str]:
    """The path of an audio file as the disk has it, and what to say besides if it is missing."""
    if os.path.lexists(disk.root / wav):
        return wav, ""
    found = disk.find(wav)
    if found and unicodedata.normalize("NFC", found) == unicodedata.normalize("NFC", wav):
        return found, ""
    return wav, " (a path of Windows: give one relative to the table)" if WINDOWS.match(wav) else disk.other_case(wav)


def _clashes(columns: Row, line: int, first: dict[tuple[str, str], tuple[str, int]]) -> list[str]:
    """Say which values of a row are those of an earlier one; `first` receives each value and its first line."""
    wrong = []
    for column, same in SPELLED.items():
        value = columns[column]
        earlier, where = first.setdefault((column, same(value)), (value, line))
        if value and earlier != value:
            wrong.append(f"{column} {value!r} is {earlier!r} of line {where} in another spelling")
        elif value and column in UNIQUE and where != line:
            wrong.append(f"{column} {value!r} is in line {where} already")
            break  # two rows of one file have the same default ID, too
    return wrong

"""The forms in which users have their own data: which one a path is, and its rows, whatever the form.

========================== ===========================================================================
table                      CSV with commas, semicolons, tabs or `|`
list                       `.jsonl`: an object a line; also NeMo's manifests
parquet                    a file, or a folder with some, as the Hugging Face hub has them
dataset                    a folder that `datasets` wrote with `save_to_disk`
folder with metadata       `metadata.csv` or `metadata.jsonl` with `file_name`, as `audiofolder` of
                           `datasets` reads it; one in the folder or one for each split
tree                       a folder for each emotion; see `local.corpora.emotion_folders`
========================== ===========================================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from local.corpora import arrow, jsonl, lists
from local.corpora.columns import option, taken
from local.corpora.faults import Fault
from local.corpora.rows import Row, header_of, rows

METADATA = ("metadata.csv", "metadata.jsonl")  # of an audiofolder
PLACE = re.compile(r"\bline (\d+)")


@dataclass
class Listed:
    """The rows of a user's data.

    Attributes
    ----------
    where
        A path in the folder that becomes `$data_root`, with the name that faults give the data.
    records
        The number of each row and its values: in a file its line.
    notes
        What the user should know of how it was read.
    places
        Where rows are numbered through several files: the file of each, and its number there.
    is_nemo
        Whether it is a manifest of NeMo, which may give parts of files.
    """

    where: Path
    records: list[tuple[int, Row]]
    notes: list[str] = field(default_factory=list)
    places: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    is_nemo: bool = False

    def placed(self, fault: Fault) -> Fault:
        """A fault with the file and the number of its row there."""
        if fault.line not in self.places:
            return fault
        file, number = self.places[fault.line]
        return replace(fault, file=file, line=number, reason=PLACE.sub(self._of_row, fault.reason))

    def _of_row(self, found: re.Match[str]) -> str:
        file, number = self.places.get(int(found[1]), ("", None))
        return (f"'{file}'" + (f" line {number}" if number else "")) if file else found[0]


@dataclass(frozen=True)
class Form:
    """How columns are found: which are required, names that they may have, names that the user gives; of CSV, signs."""

    required: tuple[str, ...]
    names: Mapping[str, str]
    given: Mapping[str, str]
    separators: str


def is_tree(path: Path) -> bool:
    """Whether a path is a folder without any list of its utterances."""
    return os.path.isdir(path) and not arrow.is_dataset(Path(path)) and not any(_metadata(Path(path)))


def read(path: Path, form: Form, faults: list[Fault], rejected: list[Row], store: Path) -> Listed:
    """Read the rows of a user's file or folder.

    `faults` receives one for each row that is left out, `rejected` what can be told of it; audio that is in a table
    becomes files below `store`. The column `split` has the words of the data.
    """
    if path.is_dir() and not arrow.is_dataset(path):
        return _audiofolder(path, form, faults, rejected)
    if path.is_dir() or path.suffix.lower() == ".parquet":
        data = arrow.read(path, form.required, form.names, form.given, faults, store)
        return Listed(data.root / path.name, data.records, [*_said(data.found), *data.notes], data.places)
    if path.suffix.lower() in jsonl.SUFFIXES:
        records, found = jsonl.records(path, form.required, form.names, form.given, faults, rejected)
        return Listed(path, records, _said(found), is_nemo=found["wav"] == jsonl.OF_NEMO)
    return Listed(path, _table(path, form, faults, rejected))


def _table(path: Path, form: Form, faults: list[Fault], rejected: list[Row]) -> list[tuple[int, Row]]:
    return rows(
        path, form.required, faults, form.separators, form.names, rejected, given=form.given, skipinitialspace=True
    )


def _said(found: Mapping[str, str]) -> list[str]:
    """How columns were taken whose names are not ours, for a note."""
    other = {here: theirs for here, theirs in found.items() if here != theirs}
    return [f"columns are taken as {option(other)} says"] if other else []


def _metadata(folder: Path) -> Iterator[Path]:
    """The lists of an audiofolder: in the folder itself, or in folders in it."""
    own = [folder / name for name in METADATA if (folder / name).is_file()]
    yield from own or (path for name in METADATA for path in sorted(folder.glob(f"*/{name}")))


def _audiofolder(folder: Path, form: Form, faults: list[Fault], rejected: list[Row]) -> Listed:
    """Read the lists of an audiofolder, with files relative to each, and its splits."""
    listed = Listed(folder / folder.name, [])
    for path in _metadata(folder):
        found: dict[str, str] = {}
        own_faults: list[Fault] = []
        if path.suffix == ".csv":
            found = taken(str(path), header_of(path, form.separators), form.required, form.names, form.given)
            records = _table(path, replace(form, given=found), own_faults, rejected)
        else:
            records, found = jsonl.records(path, form.required, form.names, form.given, own_faults, rejected)
        label = str(path.relative_to(folder))
        faults += [replace(fault, file=label) for fault in own_faults]
        for line, row in records:
            number = len(listed.places) + 1
            listed.places[number] = (label, line)
            if row.get("wav"):
                row["wav"] = os.path.join(path.parent.relative_to(folder), row["wav"])
            listed.records.append((number, row))
        listed.notes += [note for note in _said(found) if note not in listed.notes]
    _add_splits(listed.records)
    return listed


def _add_splits(records: list[tuple[int, Row]]) -> None:
    """Fill the column `split` from the first folder of each file, where these are splits and it is not given."""
    above = [Path(row["wav"]).parts[0] if row.get("wav") else "" for _, row in records]
    if len({lists.find(word) for word in above} - {""}) > 1 and not any(lists.COLUMN in row for _, row in records):
        for (_, row), word in zip(records, above, strict=True):
            row[lists.COLUMN] = word if lists.find(word) else ""

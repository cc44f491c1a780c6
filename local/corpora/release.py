"""Releases of a file for each utterance, whose names say who speaks and how: listed, examined, compared with the facts.

Files are found at any depth below the folder, whatever the case of their suffix; names that begin with a dot, as the
AppleDouble files that a Mac leaves, and the folders `__MACOSX` and `lost+found` are none of the release. A second file
of the same ID with the same bytes, as where an archive was unpacked twice, is left out with a note; with other bytes it
is a fault.
"""

from __future__ import annotations

import filecmp
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from local.audio.header import examine, refuse_rate
from local.core.counted import counted
from local.core.errors import UserError
from local.corpora import About, Corpus, labels
from local.corpora.faults import Fault, examples, printable, raise_faults
from local.corpora.manifest import COLUMNS, DATA_ROOT, FURTHER

Row = dict[str, str]
WORDS = {"emo": "emotion", "spk_id": "speaker"}  # for columns in messages
NOT_OURS = ("__MACOSX", "lost+found")  # folders; the second, of a whole disk, none but root may read
AUDIO = (".wav", ".flac", ".ogg", ".mp3")  # suffixes that a release may have been converted to
ALIKE = 20  # files that may have the same number of seconds by chance


@dataclass(frozen=True)
class Release:
    """What is known of a release.

    Attributes
    ----------
    name
        Of the corpus, as in `local.corpora.NAMES`.
    about
        What a model card says of it.
    describe
        Makes of the path of an audio file, relative to the release, the columns of `local.corpora.manifest` that it
        tells, at least `emo` (`ID` is the file's name without suffix, unless it gives one); or in a few words why it
        is left out though nothing is wrong with it: `a song`. A `ValueError` says what is wrong with its name.
    example
        The path of one of its files.
    expected
        How many utterances a whole release has: by column, then by value; an empty mapping is not compared.
    names
        The IDs of all its utterances, where they are known: those without a file are named.
    suffixes
        Of its audio files, in lower case.
    """

    name: str
    about: About
    describe: Callable[[str], Row | str]
    example: str
    expected: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    names: Collection[str] = ()
    suffixes: tuple[str, ...] = (".wav",)

    def read(self, data: Path | None, partial: bool = False, known: Iterable[Fault] = ()) -> Corpus:
        """Examine the release in the folder `data`; see `local.corpora`. `known` are faults of its tables."""
        root = self.root(data)
        faults, rows = list(known), _Rows(root)
        for file in audio_files(root, self.suffixes):
            try:
                row = self.describe(file)
            except ValueError as error:
                faults.append(Fault(file, None, "", str(error)))
            else:
                rows.add(file, row, faults)
        if not rows.found:
            what = f"{data} is not {self.about.source.split(',')[0]}: it has no file like {self.example}"
            others = [fault for fault in faults if fault.file.lower().endswith(self.suffixes)]
            raise UserError(what + (f", but {len(others)} others; {others[0]}" if others else ""), self.remedy)
        faults += self._differences(rows.found)
        good = [row for row in rows.found.values() if "duration" in row]
        left = [row["emo"] for row in good]
        lost = labels.lost((row["emo"] for row in rows.found.values()), left)
        raise_faults(f"{self.name} in {root}", faults, partial, labels.remedy(lost, left))
        if not good:
            raise UserError(f"no utterance in {root} can be used: {faults[0]}", self.remedy)
        from local.core.typed_csv import frame  # pandas takes half a second to load

        table = frame(good, [*COLUMNS, *FURTHER])
        whole = max(sum(counts.values()) for counts in self.expected.values()) if self.expected else len(self.names)
        rejected = max(whole or len(rows.found), len(rows.found)) - len(good)
        faults = labels.lost_faults("", lost) + faults
        warnings = _warnings(table["duration"].unique(), len(table))
        return Corpus(self.name, root, table, self.about.source, faults, rejected, warnings, notes=rows.notes())

    @property
    def remedy(self) -> str:
        """How to give the right folder."""
        return f"--data /path/to/the/release; ./run.sh --corpus {self.name} --help says what it must look like"

    def root(self, data: Path | None) -> Path:
        """The folder of the release; a `UserError` where none is given, or it is not a folder."""
        if data is None:
            raise UserError(f"corpus {self.name} needs its folder", self.remedy)
        if not os.path.isdir(data):
            raise UserError(f"{data} is not a folder", self.remedy)
        return Path(data).resolve()

    def _differences(self, found: Mapping[str, Row]) -> list[Fault]:
        """Name what a whole release has and this one has not, and every count that differs from the expected."""
        absent = [
            Fault(name, None, name, "no audio file of this name") for name in sorted(set(self.names) - set(found))
        ]
        faults = []
        for column, expected in self.expected.items():
            counts = Counter(row.get(column, "") for row in found.values())
            for value in sorted({*counts, *expected}) if expected else ():
                if counts[value] != expected.get(value, 0):
                    what = f"{WORDS.get(column, column)} {value}: {counted(counts[value], 'utterance')}"
                    faults.append(Fault("", None, "", f"{what}, {expected.get(value, 0)} expected"))
        return absent or faults  # what is named need not be counted


def _warnings(durations: Sequence[float], n: int) -> list[str]:
    """What shows that a copy of the release was changed: files cut or padded to one length, as for a network."""
    if n > ALIKE and len(durations) == 1:
        return [f"all {n} files have {durations[0]} seconds: this copy was cut or padded; take the release itself"]
    return []


class _Rows:
    """The utterances of a release by ID, with or without a duration, which a file that cannot be used has not."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: dict[str, Row] = {}
        self.files: dict[str, str] = {}  # by ID
        self.left_out: dict[str, list[str]] = {}  # by reason

    def add(self, file: str, row: Row | str, faults: list[Fault]) -> None:
        """Add the utterance of a file, whose columns are `row`, or what is wrong with it to `faults`."""
        if isinstance(row, str):
            self.left_out.setdefault(row, []).append(file)
            return
        name = row.get("ID") or Path(file).stem
        if name in self.found:
            if filecmp.cmp(self.root / file, self.root / self.files[name], shallow=False):
                self.left_out.setdefault("with the name and the bytes of another", []).append(file)
            else:
                faults.append(
                    Fault(file, None, name, f"ID {name!r} is that of '{self.files[name]}' already, of other bytes")
                )
            return
        self.files[name] = file
        columns = dict.fromkeys({*COLUMNS, *FURTHER} - {"duration"}, "")
        self.found[name] = columns | row | {"ID": name, "wav": f"{DATA_ROOT}/{file}"}
        try:
            header = examine(self.root / file)
            refuse_rate(header.rate)
            self.found[name]["duration"] = round(header.duration, 6)
        except OSError as error:
            faults.append(Fault(file, None, name, str(error)))

    def notes(self) -> list[str]:
        """What was left out without being a fault."""
        return [left_out(reason, files) for reason, files in self.left_out.items()]


def left_out(reason: str, files: Collection[str]) -> str:
    """The note on audio files that are left out."""
    return f"left out, {reason}: {counted(len(files), 'audio file')}: {examples([*map(printable, files)])}"


def audio_files(root: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """The files of a folder with one of the suffixes; see `files_below`."""
    return (file for file in files_below(root) if file.lower().endswith(suffixes))


def unlisted(root: Path, folder: str, known: Collection[str], table: str) -> list[str]:
    """The note on audio of a folder that is in no readable row of a table; `known` are the files of its rows."""
    there = audio_files(root / folder, AUDIO) if os.path.isdir(root / folder) else ()
    files = sorted({f"{folder}/{file}" for file in there} - {*known})
    return [left_out(f"in no readable row of {table}", files)] if files else []


def files_below(root: Path) -> Iterator[str]:
    """The paths, relative to a folder, of all files below it, in order, but for hidden ones.

    A `UserError` names a folder that cannot be read: nobody knows what is in it.
    """

    def refuse(error: OSError) -> NoReturn:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}", "check its permissions") from None

    seen: set[str] = set()  # a link may lead to a folder above it
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name not in NOT_OURS and not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.relpath(os.path.join(folder, name), root)

"""Tables in parquet, and folders that the library `datasets` of Hugging Face wrote (`save_to_disk`) or its hub has.

Read with pyarrow, in small batches. A class (ClassLabel) is read by its name. Audio is a path, or bytes, which are
written once to a file below the folder of the corpus's manifests: `audio/<2 digits>/<name>-<digest>.<suffix>`. The name
has the digest of the bytes, so that what is there already is right, whoever wrote it, and is not written again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from local.core.errors import UserError
from local.core.files import POINTER, POINTER_REMEDY, POINTER_WORDS, atomic, digest
from local.corpora import lists
from local.corpora.columns import taken
from local.corpora.faults import Fault
from local.corpora.jsonl import flat, unusable
from local.corpora.release import files_below

Row = dict[str, str]
BATCH = 64  # rows, with their audio, that are in memory at a time
WRITTEN = ("dataset_dict.json", "state.json")  # by save_to_disk, of several splits or of one
MAGIC = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"FORM": ".aiff", b"ID3": ".mp3", b"\xff": ".mp3"}
UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)
LONGEST = 60  # characters of a file's name before the digest, and of a suffix after it


class Part(NamedTuple):
    """A file of a dataset, and the split that it is of, as the dataset calls it."""

    file: Path
    label: str


class Dataset(NamedTuple):
    """The rows of a dataset, numbered from 1 through all its files."""

    records: list[tuple[int, Row]]
    found: dict[str, str]  # what its columns are called, by ours
    places: dict[int, tuple[str, int | None]]  # by number: the file of a row, and its number there
    notes: list[str]
    root: Path  # a folder of its audio files


def is_dataset(path: Path) -> bool:
    """Whether a folder is one that `datasets` wrote, or has parquet in it."""
    return any((path / name).is_file() for name in WRITTEN) or any(_parquet(path))


def _parquet(folder: Path) -> Iterator[Path]:
    return (folder / file for file in files_below(folder) if file.endswith(".parquet"))


def read(
    path: Path,
    required: tuple[str, ...],
    names: Mapping[str, str],
    given: Mapping[str, str],
    faults: list[Fault],
    store: Path,
) -> Dataset:
    """Read a parquet file or a folder; audio that is bytes becomes files below `store`.

    `faults` receives one for each row that is left out. The only column of audio is `wav`, the others are found as in
    `local.corpora.columns.taken`. A `UserError` if pyarrow is not installed, a file cannot be read, or there is no
    column that is required.
    """
    if find_spec("pyarrow") is None:
        what = f"pyarrow, which reads parquet and folders of datasets, is not installed: {path} needs it"
        raise UserError(what, "install it: . ./path.sh && python -m pip install pyarrow")
    parts = _parts(path)
    columns, audio = _columns(parts)
    given = {**({"wav": audio[0]} if len(audio) == 1 else {}), **given}
    found = taken(str(path), columns, required, names, given)
    splits = {part.label: lists.find(part.label) for part in parts}
    several = len({*splits.values()} - {""}) > 1
    places: dict[int, tuple[str, int | None]] = {}
    records: list[tuple[int, Row]] = []
    written = False
    for part in parts:
        where = part.file.name if part.file == path else str(part.file.relative_to(path))
        for at, values in enumerate(_rows(part.file), 1):
            number = len(places) + 1
            places[number] = (where, at)
            objects = [(key, value) for key, value in values.items() if isinstance(value, dict)]
            inner = {f"{key}.{name}": each for key, value in objects for name, each in value.items()}
            content, name = _audio((inner | values).get(found["wav"]))
            wav = _locate(name, part.file, path) if content is None else _write(store, name, content)
            written |= content is not None
            row = _renamed(flat(values) | flat({found["wav"]: wav}), found)
            row |= (
                {lists.COLUMN: part.label if splits[part.label] else ""}
                if several and lists.COLUMN not in found
                else {}
            )
            if content is not None and not row.get("ID"):
                row["ID"] = _plain(name) or f"{part.label or part.file.stem}-{at:06d}"
            wrong = unusable(row, found, required)
            faults += [Fault(where, at, row.get("ID", ""), each) for each in wrong]
            if not wrong:
                records.append((number, row))
    if "ID" not in found:
        _make_unique(records, places)
    notes = [f"split {label!r} is none of train, valid and test" for label in splits if label and not splits[label]]
    notes += [f"audio that {path.name} holds as bytes is in files in {store.parent.name}/{store.name}"] * written
    folder = path if path.is_dir() else path.parent
    return Dataset(records, found, places, notes, store if written else folder)


def _renamed(row: Row, found: Mapping[str, str]) -> Row:
    ours = {theirs: here for here, theirs in found.items()}
    return {ours.get(key, "" if key in found else key): value for key, value in row.items()}


def _parts(path: Path) -> list[Part]:
    """The files of a dataset, in order, with their splits; a `UserError` for what is no single dataset."""
    if path.is_file():
        return [Part(path, "")]
    if (path / WRITTEN[0]).is_file():
        labels = _json(path / WRITTEN[0])["splits"]
        return [Part(file, label) for label in labels for file in _written(path / label)]
    if (path / WRITTEN[1]).is_file():
        return [Part(file, "") for file in _written(path)]
    parts, folders = [], set()
    for file in sorted(_parquet(path)):
        labels = [word for word in re.split(r"[-_.]", file.stem) if lists.find(word)]
        above = file.parent.name if file.parent != path and lists.find(file.parent.name) else ""
        parts.append(Part(file, labels[0] if labels else above))
        folders.add(file.parent.parent if above and not labels else file.parent)
    if len(folders) > 1:
        several = ", ".join(str(folder.relative_to(path)) for folder in sorted(folders))
        raise UserError(f"{path} has parquet in several folders: {several}", "give one of them with --data")
    return parts


def _written(folder: Path) -> list[Path]:
    """The files of a split that save_to_disk wrote."""
    state = _json(folder / WRITTEN[1])
    if state.get("_indices_data_files"):
        raise UserError(f"{folder} is a selection of rows", "save it with ds.flatten_indices().save_to_disk(FOLDER)")
    return [folder / each["filename"] for each in state["_data_files"]]


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", "save the dataset again") from None


def _open(file: Path) -> tuple[Any, Iterator[Any]]:
    """The schema of a file, and its batches of rows; a `UserError` if it cannot be read."""
    import pyarrow
    from pyarrow import ipc, parquet

    try:
        with open(file, "rb") as start:
            if start.read(len(POINTER)) == POINTER:
                raise UserError(f"{file} {POINTER_WORDS}", POINTER_REMEDY)
        if file.suffix == ".parquet":
            table = parquet.ParquetFile(file)
            return table.schema_arrow, table.iter_batches(BATCH)
        stream = ipc.open_stream(pyarrow.memory_map(str(file)))
        return stream.schema, (batch.slice(at, BATCH) for batch in stream for at in range(0, len(batch), BATCH))
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> UserError:
    return UserError(f"{file} cannot be read: {' '.join(str(error).split())}", "fetch it, or save it, again")


def _features(schema: Any) -> dict[str, Any]:
    """What the library `datasets` notes of the columns, by name."""
    noted = (schema.metadata or {}).get(b"huggingface", b"{}")
    return json.loads(noted).get("info", {}).get("features") or {}


def _columns(parts: list[Part]) -> tuple[list[str], list[str]]:
    """The columns of a dataset, and those that hold audio."""
    columns: dict[str, bool] = {}
    for part in parts:
        schema, _ = _open(part.file)
        features = _features(schema)
        for field in schema:
            inner = {field.type.field(i).name for i in range(field.type.num_fields)}
            noted = isinstance(features.get(field.name), dict) and features[field.name].get("_type") == "Audio"
            audio = noted or {"bytes", "path"} <= inner
            columns[field.name] = columns.get(field.name, False) or audio
            columns |= {} if audio else {f"{field.name}.{name}": False for name in sorted(inner)}
    return list(columns), [name for name, audio in columns.items() if audio]


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, with classes by name."""
    import pyarrow

    schema, batches = _open(file)
    features = _features(schema)
    classes = {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }
    try:
        for batch in batches:
            for row in batch.to_pylist():
                for name, words in classes.items():
                    at = row.get(name)
                    row[name] = words[at] if isinstance(at, int) and 0 <= at < len(words) else None
                yield row
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(file, error) from None


def _audio(value: Any) -> tuple[bytes | None, Any]:
    """The bytes of an audio file, where a row has them, and its name or path; or what is there in place of a file."""
    if isinstance(value, dict) and {"bytes", "path"} & value.keys():
        return value.get("bytes"), value.get("path") or ""
    return (value, "") if isinstance(value, bytes) else (None, value)


def _locate(name: Any, file: Path, dataset: Path) -> Any:
    """The path of an audio file that is given from the folder of its table or of the dataset; other things stay."""
    if not name or not isinstance(name, str):
        return name
    beside = file.parent / name
    return str(beside if beside.exists() or dataset.is_file() else dataset / name)


def _write(store: Path, name: str, content: bytes) -> str:
    """Write an audio file, whole or not at all, unless it is there; return its path."""
    stem, own = (UNSAFE.sub("_", each)[:LONGEST] for each in (Path(name).stem, Path(name).suffix))
    suffix = next((suffix for magic, suffix in MAGIC.items() if content.startswith(magic)), own)
    code = digest(content)
    path = store / code[:2] / f"{stem}-{code}{suffix}".lstrip("-.")
    if not path.is_file() or path.stat().st_size != len(content):
        with atomic(path, "wb", wanted=len(content), lasting=False) as file:
            file.write(content)
    return str(path)


def _plain(name: str) -> str:
    """The ID that a file's path gives: without suffix, with `-` for `/`; an absolute one, of elsewhere, gives its name.

    >>> _plain("happy/1.wav"), _plain("/home/ann/1.wav"), _plain("")
    ('happy-1', '1', '')
    """
    path = Path(name).with_suffix("") if Path(name).name else Path()
    return path.name if path.is_absolute() else "-".join(part for part in path.parts if part != "..")


def _make_unique(records: list[tuple[int, Row]], places: Mapping[int, tuple[str, int | None]]) -> None:
    """Put the split, or the file and the number of the row, before an ID that several rows have."""
    counts = Counter(row.get("ID") for _, row in records)
    pairs = Counter((row.get("split"), row.get("ID")) for _, row in records)
    for number, row in records:
        name, split = row.get("ID"), row.get("split", "")
        if name and counts[name] > 1:
            file, at = places[number]
            alone = split and pairs[split, name] == 1
            row["ID"] = f"{split}-{name}" if alone else f"{UNSAFE.sub('-', file)}-{at:06d}-{name}"

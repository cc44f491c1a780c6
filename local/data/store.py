"""The corpus's audio, decoded once: one memory-mapped file that every fold, seed and job shares.

`AudioStore.of` writes `manifests/<corpus>/audio.i16`, little-endian samples at 16 kHz mono, utterance after utterance
in the order of all.csv; and, last, `audio.json`: the fingerprint of its sources, the length of each utterance, and
every file whose samples are odd, or unsound (see `local.corpora.unsound`).
A model in use hears what training heard: 16-bit audio at 16 kHz mono is kept as it is. Other audio is rounded to the
nearest 16-bit number where that loses less than 1e-4 of it, and kept in 32-bit floating point otherwise: where it
passes full scale, is quiet, or was resampled or averaged. torch is imported only when a file is decoded or a tensor is
read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from local.audio.header import SAMPLE_RATE
from local.core import markers
from local.core.errors import UserError
from local.core.files import DIGITS, digest
from local.core.markers import make_once, shared_file
from local.core.threads import in_order
from local.corpora import manifest, unsound
from local.corpora.faults import raise_faults

if TYPE_CHECKING:
    from typing import Self  # from Python 3.11 on

    from torch import Tensor

logger = logging.getLogger(__name__)

VERSION = 3  # of the file's contents: a store of another version is rebuilt
SCALE = 2**15  # a sample of 1.0
LOST = 1e-4  # of the root mean square, that of the rounding error
ODD = {  # flags of `local.audio.survey` that are counted: what such files have
    "over full scale": "samples past full scale, which are used as they are",
    "opposite phase": "channels in opposite phase, of which the loudest is used instead of their mean",
}


class Store(Mapping[str, "Tensor"]):
    """The model's input for each utterance of a corpus, by its ID, read from one memory-mapped file.

    Parameters
    ----------
    path
        The file: rows of numbers of type `dtype`, utterance after utterance.
    fingerprint
        Of its sources, 16 hex digits.
    facts
        `rows`, the number of rows of each utterance, in order; `faults`, file and reason of those whose samples
        are unsound; `width`, numbers in a row, where rows are not single numbers; `floats`, the IDs of those that do
        not fit a `dtype` of 16 bits and are stored in 32-bit floating point, which takes the place of two rows a row.
    """

    dtype: str
    in_parts: bool = False  # whether it is made in parts: see `make_once`

    def __init__(self, path: Path, fingerprint: str, facts: dict[str, Any]) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.facts = facts
        ends = np.cumsum([0, *facts["rows"].values()]).tolist()
        self.spans = {name: slice(*ends[i : i + 2]) for i, name in enumerate(facts["rows"])}
        self._map = self._open_map()

    @classmethod
    def make(cls, path: Path, fingerprint: str, expected: int, write: Callable[[Any], dict[str, Any]]) -> Self:
        """Open a store, which `write` fills first where there is none of these sources; see `make_once`."""
        return cls(path, fingerprint, make_once(path, fingerprint, expected, write, cls.in_parts))

    def __iter__(self) -> Iterator[str]:
        return iter(self.spans)

    def __len__(self) -> int:
        return len(self.spans)

    def __reduce__(self) -> tuple:
        """Pickle without the map: another process maps the file for itself."""
        return type(self), (self.path, self.fingerprint, self.facts)

    def _open_map(self) -> np.ndarray:
        if not self.spans:  # an empty file cannot be mapped
            return np.empty(0, self.dtype)
        flat = np.memmap(self.path, self.dtype, mode="r")
        return flat.reshape(-1, self.facts["width"]) if "width" in self.facts else flat

    @cached_property
    def floats(self) -> frozenset[str]:
        """The IDs of the utterances that are stored in 32-bit floating point, though `dtype` has 16 bits."""
        return frozenset(self.facts.get("floats", ()))

    def rows(self, name: str) -> np.ndarray:
        """The rows of an utterance as they are stored, [N] or [N, width]: of `dtype`, or in floating point."""
        rows = self._map[self.spans[name]]
        return rows.reshape(-1).view("<f4").reshape(-1, *rows.shape[1:]) if name in self.floats else rows

    def refuse_missing(self, names: Iterable[str]) -> None:
        """`UserError` for all utterances with unsound samples, or for one that is not in the corpus."""
        missing = dict.fromkeys(name for name in names if name not in self.spans)
        refuse_unsound(self.path.parent, {name: why for name, why in self.facts["faults"].items() if name in missing})
        if missing:
            name = next(iter(missing))
            raise UserError(f"utterance {name} is not in {self.path.parent / 'all.csv'}", "run stages 0 and 1 again")


class AudioStore(Store):
    """The samples of a corpus's utterances: `store[ID]`, [N] float at 16 kHz.

    Its facts have `odd`, the IDs for each of `ODD`, and `contents`, a digest of the samples.
    """

    dtype = "<i2"

    @classmethod
    def of(cls, folder: Path, table: pd.DataFrame, data_root: Path) -> Self:
        """Open the store of a corpus; build it first if there is none, or its audio files have changed.

        `folder` is that of the corpus's manifests, `table` has all of its utterances, `data_root` is the folder that
        `$data_root` means. A file whose samples are unsound is an error only where it is used.
        """

        def write(file: IO[bytes]) -> dict[str, Any]:
            delete_stores(folder)  # the features of the old audio, too
            facts = _decode_all(table, data_root, file)
            unsound.save(folder, table, data_root, facts["faults"])
            return facts

        expected = round(table["duration"].sum() * SAMPLE_RATE) * 2
        return cls.make(folder / "audio.i16", fingerprint(table, data_root), expected, write)

    def __getitem__(self, name: str) -> Tensor:
        import torch

        one = 1 if name in self.floats else SCALE
        return torch.from_numpy(np.multiply(self.rows(name), np.float32(1 / one), dtype=np.float32))


def is_built(folder: Path, table: pd.DataFrame, data_root: Path) -> bool:
    """Whether the audio store of a corpus is complete; parameters as of `AudioStore.of`.

    `UserError` when it is, and some samples are unsound.
    """
    facts = shared_file(folder / "audio.i16", fingerprint(table, data_root)).facts()
    refuse_unsound(folder, facts["faults"] if facts else {})
    return facts is not None


def contents(folder: Path, name: str) -> dict[str, str]:
    """By its name, of a corpus, a digest of the samples in `folder`; empty where the store there does not say."""
    try:
        known = markers.read(folder / "audio.json")["facts"].get("contents")
    except UserError:
        return {}
    return {name: known} if known else {}


def remarks(folder: Path) -> list[str]:
    """Say how many files of a corpus (its folder of manifests) are odd, by its store; nothing where there is none."""
    try:
        odd = markers.read(folder / "audio.json")["facts"].get("odd", {})
    except UserError:
        return []
    return _count_odd(odd)


def _count_odd(odd: Mapping[str, list[str]]) -> list[str]:
    return [
        f"{len(names)} file{'s have' if len(names) > 1 else ' has'} {ODD[flag]}" for flag, names in odd.items() if names
    ]


def refuse_unsound(folder: Path, reasons: Mapping[str, list[str]]) -> None:
    """Raise a UserError that names the utterances of a corpus (its folder of manifests) that are unsound."""
    raise_faults(folder.name, unsound.to_faults(reasons), remedy=unsound.REMEDY)


def refuse_too_long(name: str, samples: float, most: int | None) -> None:
    """Raise a UserError for an utterance of more samples than what reads it can read, if it has a limit."""
    if most is not None and samples > most:
        raise UserError(
            f"utterance {name} lasts {samples / SAMPLE_RATE:.1f} s: the encoder reads {most / SAMPLE_RATE:.0f} s",
            "use another --encoder, or cut the utterance",
        )


def delete_stores(folder: Path) -> None:
    """Remove a corpus's stores; jobs that have them open can still read them."""
    kinds, ends = ("cnn", "layers", "states", "frames", "features"), (".json", ".f16", ".f32", ".part")
    features = [f"{name}-*{end}" for name in kinds for end in ends]
    for path in [path for name in ("audio.json", "audio.i16", *features) for path in folder.glob(name)]:
        path.unlink(missing_ok=True)


def fingerprint(table: pd.DataFrame, data_root: Path) -> str:
    """Hash the sources of a store: the file of each utterance, and its size and time of change.

    The contents are not read: ten thousand files take a tenth of a second.
    """
    lines = [f"{VERSION}\t{data_root}"]
    for name, wav, path in zip(table["ID"], table["wav"], manifest.resolve(table["wav"], data_root), strict=True):
        try:
            stat = os.stat(path)
            state = f"{stat.st_size}\t{stat.st_mtime_ns}\t{os.access(path, os.R_OK)}"
        except OSError as error:
            state = str(error.errno)
        lines.append(f"{name}\t{wav}\t{state}")
    return digest("\n".join(lines))


def _decode_all(table: pd.DataFrame, data_root: Path, file: IO[bytes]) -> dict[str, Any]:
    """Write the samples of all utterances; return the facts: `rows`, `floats`, `odd`, `faults` and `contents`."""
    import torch

    rows, floats, odd, faults, contents = {}, [], {flag: [] for flag in ODD}, {}, hashlib.sha256()
    files = table["wav"].str.removeprefix(f"{manifest.DATA_ROOT}/")
    paths = manifest.resolve(table["wav"], data_root)
    bar = tqdm(table["ID"], desc="audio", unit="file", leave=False, disable=not sys.stderr.isatty())
    with in_order(_decode_or_fault, paths, torch.get_num_threads()) as decoded:
        for name, file_name, made in zip(bar, files, decoded, strict=True):
            if isinstance(made, OSError):
                faults[name] = [file_name, str(made)]
                continue
            samples, flags = made
            file.write(content := samples.tobytes())
            contents.update(f"{name} {len(content)} ".encode())
            contents.update(content)
            rows[name] = samples.nbytes // 2
            if samples.dtype.kind == "f":
                floats.append(name)
            for flag in ODD.keys() & flags:
                odd[flag].append(name)
    for line, names in zip(_count_odd(odd), filter(None, odd.values()), strict=True):
        logger.warning("%s; the first is %s", line, names[0])
    facts = {"rows": rows, "floats": floats, "odd": odd, "faults": faults}
    return facts | {"contents": contents.hexdigest()[:DIGITS]}


def _decode_or_fault(path: str) -> tuple[np.ndarray, tuple[str, ...]] | OSError:
    """What `_decode` makes of a file, or what it raises."""
    try:
        return _decode(path)
    except OSError as error:
        return error


def _decode(path: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """[N] samples of a file at 16 kHz mono, as they are to be stored, and its flags.

    `OSError` when it cannot be read, or its samples are not all finite, or all zero (no emotion can be learnt).
    """
    from local.audio.recordings import load  # and torch with it

    recording = load(path)
    if "not finite" in recording.flags:
        raise OSError("holds samples that are not finite")
    if not recording.wav.any():
        raise OSError("is silent: all samples are zero")
    return to_stored(recording.wav.numpy()), recording.flags


def to_stored(wav: np.ndarray) -> np.ndarray:
    """[N] samples as 16-bit numbers, or as they are if those would lose more than `LOST` of them or cut them."""
    scaled = wav.astype(np.float64) * SCALE
    rounded = scaled.round()
    fits = rounded.min() >= -SCALE and rounded.max() < SCALE
    if fits and np.linalg.norm(rounded - scaled) <= LOST * np.linalg.norm(scaled):
        return rounded.astype("<i2")
    return wav.astype("<f4", copy=False)

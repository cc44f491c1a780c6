"""The corpus's audio, decoded once: one memory-mapped file that every fold, seed and job shares.

`AudioStore.of` writes `manifests/<corpus>/audio.i16`, 16-bit little-endian samples at 16 kHz mono, utterance after
utterance in the order of all.csv; and, last, `audio.json`: what it was made of, and how long each
utterance is. It ends in an error that names every file whose samples are unsound (see `local.corpora.unsound`).
16-bit audio at 16 kHz mono is kept as it is; other audio is resampled, rounded to the nearest 16-bit
number and clipped. Without torch until a file is decoded or a tensor is asked for.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from local.audio import header
from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.core.files import digest
from local.core.markers import make_once, shared_file
from local.corpora import manifest, unsound
from local.corpora.faults import raise_faults

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

VERSION = 2  # of what the file holds: a store of another version is made anew
SCALE = 2**15  # a sample of 1.0


class Store(Mapping[str, "Tensor"]):
    """What stands for each utterance of a corpus, by its ID, read from one memory-mapped file.

    Parameters
    ----------
    path
        The file: rows of numbers, utterance after utterance.
    dtype
        Of a number.
    fingerprint
        What the file was made of, in 16 hex digits.
    facts
        `rows`, how many each utterance has, in order; `faults`, of those whose samples are unsound,
        file and reason; `width`, numbers in a row, where rows are not single numbers.
    """

    def __init__(self, path: Path, dtype: str, fingerprint: str, facts: dict[str, Any]) -> None:
        self.path = path
        self.dtype = np.dtype(dtype)
        self.fingerprint = fingerprint
        self.facts = facts
        ends = np.cumsum([0, *facts["rows"].values()]).tolist()
        self.spans = {name: slice(*ends[i : i + 2]) for i, name in enumerate(facts["rows"])}
        self._map = self._opened()

    def __iter__(self) -> Iterator[str]:
        return iter(self.spans)

    def __len__(self) -> int:
        return len(self.spans)

    def __getstate__(self) -> dict[str, Any]:
        """All but the map: another process maps the file for itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_map"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map = self._opened()

    def _opened(self) -> np.ndarray:
        if not self.spans:  # an empty file cannot be mapped
            return np.empty(0, self.dtype)
        flat = np.memmap(self.path, self.dtype, mode="r")
        return flat.reshape(-1, self.facts["width"]) if "width" in self.facts else flat

    def rows(self, name: str) -> np.ndarray:
        """The utterance's rows as they are stored: [N], or [N, width]."""
        return self._map[self.spans[name]]

    def refuse_lacking(self, names: Iterable[str]) -> None:
        """Refuse, before the first step, utterances that are not in the store.

        Raises
        ------
        UserError
            All whose samples are unsound, and why; or the first that the corpus has not.
        """
        lacking = dict.fromkeys(name for name in names if name not in self.spans)
        refuse_unsound(self.path.parent, {name: why for name, why in self.facts["faults"].items() if name in lacking})
        if lacking:
            name = next(iter(lacking))
            raise UserError(f"utterance {name} is not in {self.path.parent / 'all.csv'}", "run stages 0 and 1 again")


class AudioStore(Store):
    """The samples of a corpus's utterances: `store[ID]`, [N] float at 16 kHz."""

    @classmethod
    def of(cls, folder: Path, table: pd.DataFrame, data_root: Path) -> AudioStore:
        """Open the store of a corpus; make it first where it is absent or made of other files.

        Parameters
        ----------
        folder
            The corpus's folder of manifests.
        table
            All of its utterances.
        data_root
            What `$data_root` stands for.

        Raises
        ------
        UserError
            The disk is full. A file whose samples are unsound is noted in the store, and refused where it is needed.
        """
        path, made_of = folder / "audio.i16", fingerprint(table, data_root)
        expected = round(table["duration"].sum() * SAMPLE_RATE) * 2

        def make(file: IO[bytes]) -> dict[str, Any]:
            delete_stores(folder)  # what was made of the old audio goes with it
            facts = _decode_all(table, data_root, file)
            unsound.save(folder, table, data_root, facts["faults"])
            return facts

        return cls(path, "<i2", made_of, make_once(path, made_of, expected, make))

    def __getitem__(self, name: str) -> Tensor:
        import torch

        return torch.from_numpy(np.multiply(self.rows(name), np.float32(1 / SCALE), dtype=np.float32))


def is_built(folder: Path, table: pd.DataFrame, data_root: Path) -> bool:
    """Tell, without torch, whether the audio store of a corpus is made; parameters as of `AudioStore.of`.

    Raises
    ------
    UserError
        It is, and samples are unsound.
    """
    facts = shared_file(folder / "audio.i16", fingerprint(table, data_root)).facts()
    refuse_unsound(folder, facts["faults"] if facts else {})
    return facts is not None


def refuse_unsound(folder: Path, reasons: Mapping[str, list[str]]) -> None:
    """Refuse utterances of a corpus (its folder of manifests) whose samples are unsound."""
    raise_faults(folder.name, unsound.to_faults(reasons), remedy=unsound.REMEDY)


def delete_stores(folder: Path) -> None:
    """Remove a corpus's stores; jobs that have them open go on with what they have."""
    for path in (folder / "audio.json", folder / "audio.i16", *folder.glob("cnn-*.json"), *folder.glob("cnn-*.f16")):
        path.unlink(missing_ok=True)


def fingerprint(table: pd.DataFrame, data_root: Path) -> str:
    """Hash what a store is made of: which utterances are in which files, and each file's size and time of change.

    The contents are not read: ten thousand files take a tenth of a second.
    """
    lines = [f"{VERSION}\t{data_root}"]
    for name, wav, path in zip(table["ID"], table["wav"], manifest.resolve(table["wav"], data_root), strict=True):
        try:
            stat = os.stat(path)
            found = f"{stat.st_size}\t{stat.st_mtime_ns}\t{os.access(path, os.R_OK)}"
        except OSError as error:
            found = str(error.errno)
        lines.append(f"{name}\t{wav}\t{found}")
    return digest("\n".join(lines))


def _decode_all(table: pd.DataFrame, data_root: Path, file: IO[bytes]) -> dict[str, Any]:
    """Write the samples of all utterances; return their lengths, which are clipped, and which are unsound."""
    rows, clipped, faults = {}, [], {}
    files = table["wav"].str.removeprefix(f"{manifest.DATA_ROOT}/")
    reading = _in_order(_decode, manifest.resolve(table["wav"], data_root))
    bar = tqdm(table["ID"], desc="audio", unit="file", leave=False, disable=not sys.stderr.isatty())
    for name, file_name, future in zip(bar, files, reading, strict=True):
        try:
            samples, is_clipped = future.result()
        except UserError as error:
            faults[name] = [file_name, error.what]
            continue
        file.write(samples.tobytes())
        rows[name] = len(samples)
        clipped += [name] if is_clipped else []
    if clipped:
        logger.warning("%d utterances are clipped at 16 bits, the first %s", len(clipped), clipped[0])
    return {"rows": rows, "clipped": clipped, "faults": faults}


def _decode(path: str) -> tuple[np.ndarray, bool]:
    """Read a file: its samples at 16 kHz mono, [N] 16-bit, and whether some were clipped.

    Raises
    ------
    UserError
        It has changed for the worse since stage 0, or its samples are unsound: not finite; or all zero, in
        which there is no emotion to learn.
    """
    from local.audio.recordings import load_wav  # and torch with it

    try:
        header.examine(path)  # a decoder takes a file cut short for a shorter one
    except OSError as error:
        raise UserError(str(error), unsound.REMEDY) from None
    scaled = (load_wav(path) * SCALE).round()
    if not scaled.isfinite().all():
        raise UserError("holds samples that are not finite", unsound.REMEDY)
    if not scaled.any():
        raise UserError("is silent: all samples are zero", unsound.REMEDY)
    samples = scaled.clamp(-SCALE, SCALE - 1)
    return samples.short().numpy().astype("<i2", copy=False), bool((samples != scaled).any())


def _in_order(function: Callable[[str], Any], items: Iterable[str]) -> Iterator[Future]:
    """Call a function on items, in as many threads as torch would take, and only a few items ahead."""
    import torch

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 4 * threads:
                yield waiting.popleft()
        yield from waiting

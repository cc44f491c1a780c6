"""Faults that only the samples of audio files show: NaN, silence, what cannot be decoded.

Stage 0 reads headers. The audio store (see `local.data.store`), which reads all samples, writes such
faults to `manifests/<corpus>/unsound.json`; stage 0 counts them among the faults of the corpus as long
as the files have the same size and time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from local.core.errors import UserError
from local.core.files import write_text
from local.corpora import Corpus, labels, manifest
from local.corpora.faults import Fault, raise_faults

NAME = "unsound.json"
REMEDY = "fix them, or go on without them (--partial true); then run again from stage 0, with --force true"


def to_faults(reasons: Mapping[str, list[str]]) -> list[Fault]:
    """Make faults of the store's: by ID, file and reason."""
    return [Fault(file, None, name, reason) for name, (file, reason) in reasons.items()]


def save(folder: Path, table: pd.DataFrame, data_root: Path, reasons: Mapping[str, list[str]]) -> None:
    """Write what is wrong with the samples of a table's utterances; keep what is known of others."""
    ours = set(table["ID"])
    known = {name: fault for name, fault in _read(folder).items() if name not in ours}
    for name, (wav, reason) in reasons.items():
        known[name] = {"file": wav, "reason": reason, "seen": _size_and_time(data_root / wav)}
    if known:
        write_text(folder / NAME, json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    else:
        (folder / NAME).unlink(missing_ok=True)


def load(folder: Path, table: pd.DataFrame, data_root: Path) -> list[Fault]:
    """The known faults of a table's utterances whose files have not changed since."""
    known = _read(folder)
    files = table["wav"].str.removeprefix(f"{manifest.DATA_ROOT}/")
    return [
        Fault(file, None, name, known[name]["reason"])
        for name, file in zip(table["ID"], files, strict=True)
        if name in known and known[name]["file"] == file and known[name]["seen"] == _size_and_time(data_root / file)
    ]


def leave_out(corpus: Corpus, folder: Path, partial: bool) -> Corpus:
    """Leave out the utterances that `folder` knows to have unsound samples.

    A `UserError` if there are any, unless `partial`; or if no other is left.
    """
    faults = load(folder, corpus.table, corpus.root)
    raise_faults(corpus.name, faults, partial)
    sound = corpus.table[~corpus.table["ID"].isin([fault.ID for fault in faults])]
    if sound.empty:
        raise UserError(f"no utterance of {corpus.name} can be used: {faults[0]}", "replace its audio files")
    lost = labels.lost_faults("", labels.lost(corpus.table["emo"], sound["emo"]))
    return replace(corpus, table=sound, faults=lost + corpus.faults + faults, rejected=corpus.rejected + len(faults))


def _read(folder: Path) -> dict[str, dict]:
    try:
        return json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # missing or damaged: the store will find the faults again
        return {}


def _size_and_time(path: Path) -> list[int]:
    """Size and time of change of a file; nothing of one that is missing."""
    try:
        stat = os.stat(path)
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]

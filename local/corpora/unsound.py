"""What only the samples of audio files tell, told once and remembered: NaN, silence, what cannot be decoded.

Stage 0 reads headers. The audio store (see `local.data.store`) is the first to read all samples; what it
finds goes to `manifests/<corpus>/unsound.json`, and stage 0, run again, counts it among the faults of
the corpus as long as the files are the same by size and time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from local.core.files import atomic
from local.corpora import manifest
from local.corpora.faults import Fault

NAME = "unsound.json"
REMEDY = "mend them, or go on without them (--partial true); then run again from stage 0, with --force true"


def to_faults(reasons: Mapping[str, list[str]]) -> list[Fault]:
    """Make faults of what the store says: by ID, file and reason."""
    return [Fault(file, None, name, reason) for name, (file, reason) in reasons.items()]


def save(folder: Path, table: pd.DataFrame, data_root: Path, reasons: Mapping[str, list[str]]) -> None:
    """Write down what is wrong with the samples of a table's utterances; keep what is known of others."""
    ours = set(table["ID"])
    known = {name: each for name, each in _read(folder).items() if name not in ours}
    for name, (file, reason) in reasons.items():
        known[name] = {"file": file, "reason": reason, "seen": _seen(data_root / file)}
    if known:
        with atomic(folder / NAME) as file:
            json.dump(known, file, indent=1, ensure_ascii=False)
            file.write("\n")
    else:
        (folder / NAME).unlink(missing_ok=True)


def load(folder: Path, table: pd.DataFrame, data_root: Path) -> list[Fault]:
    """Name the utterances of a table that are known to be unsound, and whose files have not changed since."""
    known = _read(folder)
    relative = table["wav"].str.removeprefix(f"{manifest.DATA_ROOT}/")
    return [
        Fault(file, None, name, known[name]["reason"])
        for name, file in zip(table["ID"], relative, strict=True)
        if name in known and known[name]["file"] == file and known[name]["seen"] == _seen(data_root / file)
    ]


def _read(folder: Path) -> dict[str, dict]:
    try:
        return json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # absent or damaged: the store will find them again
        return {}


def _seen(path: Path) -> list[int]:
    """Size and time of change of a file; nothing of one that is gone."""
    try:
        stat = os.stat(path)
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]

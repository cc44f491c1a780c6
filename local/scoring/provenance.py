"""What the runs of an experiment were trained with.

Runs whose values differ are different experiments: no table pools them. Where only commits, devices or what changes
no more than rounding differ, the table says so.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from local.config.hparams import ROUNDING
from local.core import markers, starts
from local.core.errors import UserError

OF_FOLD = ("train.csv", "valid.csv", "tokenizer.model")  # inputs of a training in which the folds differ
VERSION = "encoder_version"  # an input of a training, of the encoder's weights; earlier versions did not record it
MOST_RUNS = 3  # to name one by one
LONGEST = 60  # characters of a value in a message


def refuse_mixed(runs: Iterable[Path]) -> None:
    """Raise a UserError where runs were trained with different values, or build different systems.

    Compared is what stage 2 compares, by train.json, but for the files of the fold and `ROUNDING`, and the encoder's
    folder where its weights are known to be the same.
    """
    runs = list(runs)
    values = {run: _compared(run) for run in runs}
    versions = [each[VERSION] for each in values.values() if VERSION in each]
    if len(set(versions)) == 1:  # in all that recorded it
        same = (VERSION, "encoder") if len(versions) == len(runs) else (VERSION,)  # its folder may be another elsewhere
        values = {run: {key: value for key, value in each.items() if key not in same} for run, each in values.items()}
    if differing := _differing(values):
        raise UserError(
            f"the runs of {runs[0].parents[1]} were not trained with the same values: {'; '.join(differing)}",
            "--name NAME for runs with other values, or train runs again with --force true, --folds and --seeds",
        )


def warnings(runs: Iterable[Path]) -> list[str]:
    """Say what differs between runs of the same values: commits, devices, `ROUNDING`; unknown where not recorded."""
    differing = _differing({run: _recorded(run) for run in runs}, missing="unknown")
    return [f"the runs differ in how they were trained: {'; '.join(differing)}"] if differing else []


def _compared(run: Path) -> dict[str, Any]:
    inputs = markers.read(run / "train.json")["inputs"]
    # Of the objects in a YAML only the classes: among their values may be the number of the fold's tokens. Optimizers,
    # schedulers, poolings and augmentations are among the inputs, if they are not those of earlier versions.
    classes = r"(?!torch\.|transformers\.|speechbrain\.)\S+"
    built = re.findall(rf"^[^#\n]*?!(?:new|apply|name):({classes})", _text(run / "hyperparams.yaml"), re.MULTILINE)
    values = {key: value for key, value in inputs.items() if key not in (*OF_FOLD, *ROUNDING)}
    return _flat(values) | {"system": " ".join(built)}


def _recorded(run: Path) -> dict[str, Any]:
    first, inputs = starts.read(run), markers.read(run / "train.json")["inputs"]
    devices = [
        start.get("accelerator") or start.get("processor") or start.get("device") for start in starts.starts(first)
    ]
    known = {"commit": starts.commit_of(first), "device": ", then ".join(dict.fromkeys(filter(None, devices)))}
    known |= {key: inputs.get(key) for key in ROUNDING}
    known["precision"] = first.get("precision")  # the YAML may say `auto`
    return {key: value for key, value in known.items() if value}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with those of a mapping named one by one: `encoder.hidden_size`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = _flat(value) if isinstance(value, dict) else None
        flat |= {key: value} if inner is None else {f"{key}.{name}": each for name, each in inner.items()}
    return flat


def _differing(of_runs: Mapping[Path, Mapping[str, Any]], missing: str = "missing") -> list[str]:
    """Name the keys whose values differ: `alpha is 0 in seed 1 fold 1A, 0.1 in the other 3 runs`."""
    lines = []
    for key in dict.fromkeys(key for values in of_runs.values() for key in values):
        runs_by_value: dict[Hashable, list[Path]] = {}
        for run, values in of_runs.items():
            value = values.get(key, missing)
            runs_by_value.setdefault(value if isinstance(value, int | float) else str(value), []).append(run)
        *few, (most_common, others) = sorted(runs_by_value.items(), key=lambda group: len(group[1]))
        if few:
            spread = [f"{_short(value)} in {_named(runs)}" for value, runs in few]
            rest = f"the other {len(others)} runs" if len(others) > 1 else _named(others)
            lines.append(f"{key} is {', '.join(spread)}, {_short(most_common)} in {rest}")
    return lines


def _named(runs: list[Path]) -> str:
    names = [f"seed {run.parent.name.removeprefix('seed')} fold {run.name}" for run in runs[:MOST_RUNS]]
    return " and ".join(names + ([f"{len(runs) - MOST_RUNS} more"] if len(runs) > MOST_RUNS else []))


def _short(value: Hashable) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _unreadable(path, error.strerror) from None


def _unreadable(path: Path, reason: object) -> UserError:
    return UserError(f"{path} cannot be read: {reason}", "restore it, or run stage 2 for this run with --force true")

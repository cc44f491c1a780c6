"""What the runs of an experiment were trained with.

Runs whose values differ are different experiments: no table pools them. Where only commits, devices or what changes
no more than rounding differ, the table says so. What they were trained with in all is `local.scoring.set_up`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from local.config import pretrained
from local.config.hparams import ROUNDING
from local.core import markers, starts
from local.core.errors import UserError

# Inputs of a training in which the folds differ.
OF_FOLD = ("train.csv", "valid.csv", "tokenizer.model")
OF_FOLD += ("speaker_net_of_fold", "ctc_run_of_fold", "emotion_run_of_fold")
MOST_RUNS = 3  # to name one by one
LONGEST = 60  # characters of a value in a message


def refuse_mixed(runs: Iterable[Path]) -> None:
    """Raise a UserError where runs were trained with different values, or build different systems.

    Compared is what stage 2 compares, by train.json, but for the files of the fold and `ROUNDING`, and paths of
    pretrained weights that are known to be the same.
    """
    runs = list(runs)
    values = {run: _compared(run) for run in runs}
    for weights, version in pretrained.VERSIONS.items():  # which earlier versions did not record
        versions = [each[version] for each in values.values() if version in each]
        if len(set(versions)) == 1:  # in all that recorded it; its folder may be another elsewhere
            same = (version, weights) if len(versions) == len(runs) else (version,)
            values = {run: {k: value for k, value in each.items() if k not in same} for run, each in values.items()}
    if differing := _differing(values):
        raise UserError(
            f"the runs of {runs[0].parents[1]} were not trained with the same values: {'; '.join(differing)}",
            "--name NAME for runs with other values, or train runs again with --force true, --folds and --seeds",
        )


def warnings(runs: Iterable[Path]) -> list[str]:
    """Say what differs between runs of the same values: commits, devices, `ROUNDING`; unknown where not recorded.

    And whether audio files were changed in between, and which of them continue from a model that was trained on
    speakers of their test set.
    """
    runs = list(runs)
    differing = _differing({run: _recorded(run) for run in runs}, missing="unknown")
    said = [f"the runs differ in how they were trained: {'; '.join(differing)}"] if differing else []
    said += _of_changed_audio(runs)
    heard = filter(None, (markers.read(run / "train.json")["facts"].get("heard") for run in runs))
    first, *others = [*dict.fromkeys(heard)] or [""]
    return said + [first + f" (and the like in {len(others)} more runs)" * bool(others)] * bool(first)


def audio_of(runs: Iterable[Path]) -> dict[str, dict[str, dict[Path, None]]]:
    """The runs by the digest of the audio that they were trained or decoded with, and that by corpus."""
    found: dict[str, dict[str, dict[Path, None]]] = {}
    for run in runs:
        decoding = [markers.read(run / "decode.json")["facts"]] if (run / "decode.json").exists() else []
        for facts in (*starts.starts(starts.read(run)), *decoding):
            for corpus, contents in (facts.get("audio") or {}).items():
                found.setdefault(corpus, {}).setdefault(contents, {})[run] = None
    return found


def _of_changed_audio(runs: list[Path]) -> list[str]:
    return [
        f"audio files of {corpus} were changed between these trainings and decodings: their digest is "
        f"{', '.join(f'{contents} in {_named([*of])}' for contents, of in of_contents.items())}; --force true trains "
        "and decodes again"
        for corpus, of_contents in audio_of(runs).items()
        if len(of_contents) > 1
    ]


def device_name(start: Mapping[str, Any]) -> str:
    """The name of the device that a start was on; empty where it was not recorded."""
    return next(filter(None, map(start.get, ("device_name", "accelerator", "processor", "device"))), "")


def _compared(run: Path) -> dict[str, Any]:
    inputs = markers.read(run / "train.json")["inputs"]
    # Of the objects in a YAML only the classes: among their values may be the number of the fold's tokens. Optimizers,
    # schedulers, poolings and augmentations are among the inputs, if they are not those of earlier versions.
    classes = r"(?!torch\.|transformers\.|speechbrain\.)\S+"
    built = re.findall(rf"^[^#\n]*?!(?:new|apply|name):({classes})", text_of(run / "hyperparams.yaml"), re.MULTILINE)
    values = {key: value for key, value in inputs.items() if key not in (*OF_FOLD, *ROUNDING)}
    values = {key: value for key, value in values.items() if value is not None or key not in pretrained.KEYS}
    return _flat(values) | {"system": " ".join(built)}


def _recorded(run: Path) -> dict[str, Any]:
    first, inputs = starts.read(run), markers.read(run / "train.json")["inputs"]
    devices = filter(None, map(device_name, starts.starts(first)))
    known = {"commit": starts.commit_of(first), "device": ", then ".join(dict.fromkeys(devices))}
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


def text_of(path: Path) -> str:
    """Read a file of a run folder; a `UserError` where it cannot be."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "restore it, or run stage 2 for this run with --force true"
        raise UserError(f"{path} cannot be read: {error.strerror}", remedy) from None

"""The set-up of an experiment, as its pages show it: what was trained, and how, on what, when and by which command."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from local.config import pretrained
from local.core import markers, starts
from local.core.counted import counted
from local.scoring.provenance import device_name, text_of

MOST_VALUES = 4  # of whole numbers that differ, to list; more are shown as a range
VERSION_LENGTH = 12  # characters of a digest or commit of the hub, as of our own commits
COMMAND = "command"  # the name in a set-up of a command that trained


def of_runs(runs: Iterable[Path], epochs: pd.DataFrame) -> list[tuple[str, str]]:
    """Say what was trained, and how, on what, when and by which command, as names and values to show.

    `epochs` are the epochs.csv of all runs, see `local.scoring.scored.epochs`. Values that differ between runs are
    listed, each once, and every command has a pair of its own. What no run has recorded is left out, as earlier
    versions recorded less.
    """
    runs = list(runs)
    firsts = [starts.read(run) for run in runs]
    trainings = [markers.read(run / "train.json") for run in runs]
    inputs = [training["inputs"] for training in trainings]
    in_epochs = [values for values in inputs if values.get("epochs") != 0]
    every = [start for first in firsts for start in starts.starts(first)]
    shown = {
        "system": _distinct(map(_system, runs, trainings)),
        "source": _distinct(first.get("title") for first in firsts),
        "certainty": _distinct(first.get("certainty") for first in firsts),
        "pretraining": _distinct(first.get("weights") for first in firsts),
        "encoder": _distinct(map(_encoder, inputs)),
        **{key: _distinct(_weights(each, key) for each in inputs) for key in [*pretrained.KEYS][1:]},
        "parameters": _distinct(map(_parameters, firsts)),
        "alpha": _distinct(map(_number, (values.get("alpha") for values in inputs))),
        "heads": _distinct(map(_heads, inputs)),
        "learning rate": _distinct(map(_rates, in_epochs)),
        "batch": _distinct(f"{values['batch_size']} utterances" for values in in_epochs if "batch_size" in values),
        "epochs": _epochs(trainings, epochs),
        "trained once": _shared(runs, firsts),
        "precision": _distinct(first.get("precision") for first in firsts),
        "device": _distinct(map(_device, every)),
        "time": _hours(runs, firsts, epochs),
        "dates": _dates([start["started"][:10] for start in every if start.get("started")]),
        "commits": _distinct(start["commit"] for start in every),
    }
    commands = dict.fromkeys(filter(None, map(_command, every)))
    return [*((name, text) for name, text in shown.items() if text), *((COMMAND, command) for command in commands)]


def _distinct(values: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(filter(None, values)))


def _system(run: Path, training: Mapping[str, Any]) -> str:
    """The class of the system, and the YAML that built it."""
    found = re.search(r"^system:\s*!\w+:(\S+)", text_of(run / "hyperparams.yaml"), re.MULTILINE)
    config = training["facts"].get("config")
    return (found[1].rpartition(".")[2] if found else "") + (f" ({config})" if config else "")


def _encoder(inputs: Mapping[str, Any]) -> str:
    """Name the encoder, and what of it is frozen."""
    encoder = inputs.get("encoder")
    if isinstance(encoder, Mapping):
        words = [str(encoder.get("model_type", "")), "random weights"]
    elif not (words := [_weights(inputs, "encoder")])[0]:
        return ""
    layers = f"frozen up to layer {inputs.get('freeze_layers')}"
    frozen = {"freeze": "frozen", "freeze_layers": layers, "freeze_cnn": "its CNN frozen"}
    return ", ".join([*filter(None, words), *[text for key, text in frozen.items() if inputs.get(key)][:1]])


def _weights(inputs: Mapping[str, Any], key: str) -> str:
    """Name the weights of a key: file or folder without the path, which is of one machine, or the name on the hub."""
    source, version = inputs.get(key), inputs.get(pretrained.VERSIONS[key])
    if not isinstance(source, str) or (key != "encoder" and source == inputs.get("encoder")):
        return ""
    name = str(pretrained.without_folder(key, source))
    return name + (f", version {version[:VERSION_LENGTH]}" if version else "")


def _parameters(first: Mapping[str, Any]) -> str:
    number, trained = first.get("parameters"), first.get("trained_parameters")
    if not number:
        return ""
    return f"{number:,}" + (f" ({trained:,} trained)" if trained not in (None, number) else "")


def _heads(inputs: Mapping[str, Any]) -> str:
    """The weights of further heads, and that of the emotions where it is not 1."""
    weights = {"emotion": inputs.get("emotion_weight", 1)} | dict(inputs.get("heads") or {})
    told = {name: weight for name, weight in weights.items() if (name, weight) != ("emotion", 1)}
    return ", ".join(f"{name} {_number(weight)}" for name, weight in told.items())


def _rates(inputs: Mapping[str, Any]) -> str:
    rate, heads = (_number(inputs.get(key)) for key in ("lr", "head_lr"))
    return f"{rate}, heads {heads}" if rate and heads and heads != rate else rate


def _number(value: Any) -> str:
    """Show a number in full, 0.00005 rather than 5e-05; empty where there is none."""
    if isinstance(value, int | float):
        return np.format_float_positional(value, trim="-")
    return "" if value is None else str(value)


def _epochs(trainings: list[Mapping[str, Any]], epochs: pd.DataFrame) -> str:
    """How many epochs were trained of those asked for, and which one was chosen, or that a last step followed."""
    solved = epochs.get("solved", pd.Series(0, epochs.index)).fillna(0)
    trained = _span((epochs["epoch"] - solved).groupby([epochs["seed"], epochs["fold"]]).max())
    asked = _span(training["inputs"].get("epochs") for training in trainings)
    if solved.any():
        return f"{trained} of {asked}, then solved in closed form" if asked != "0" else "none: solved in closed form"
    chosen = _span(training["facts"].get("epoch") for training in trainings)
    return trained + (f" of {asked}" if asked else "") + (f"; chosen: {chosen}" if chosen else "")


def _trained_as(first: Mapping[str, Any]) -> str:
    """The fold that was trained in place of a run's; empty where it was trained itself."""
    return first.get("job", {}).get(starts.TRAINED_AS, "")


def _shared(runs: list[Path], firsts: list[Mapping[str, Any]]) -> str:
    """Name the folds that were tested with the training of another, as they have the same training set.

    And the experiment of whose epochs others are, which differ from it in the last step alone.
    """
    taken: dict[str, list[str]] = {}
    for run, first in zip(runs, firsts, strict=True):
        if fold := _trained_as(first):
            taken.setdefault(fold, []).append(run.name)
    said = [f"fold {fold}, also for {', '.join(dict.fromkeys(others))}" for fold, others in taken.items()]
    names = dict.fromkeys(first.get("job", {}).get(starts.TRAINED_IN) for first in firsts)
    return "; ".join([*said, *(f"in experiment {name}, with its last step" for name in names if name)])


def _span(numbers: Iterable[int | None]) -> str:
    """List whole numbers, or the lowest and the highest of many."""
    known = sorted({int(number) for number in numbers if number is not None})
    return f"{known[0]} to {known[-1]}" if len(known) > MOST_VALUES else ", ".join(map(str, known))


def _device(start: Mapping[str, Any]) -> str:
    """The device of a start, with how many of it; of a CPU the threads."""
    name = device_name(start)
    if not name or _on_gpu(start):
        processes = start.get("processes", 1)
        return f"{processes} x {name}" if processes > 1 and name else name
    threads = start.get("threads")
    return f"{name}, {counted(threads, 'thread')}" if threads else name


def _on_gpu(start: Mapping[str, Any]) -> bool:
    return str(start.get("device", "")).startswith("cuda")


def _hours(runs: list[Path], firsts: list[Mapping[str, Any]], epochs: pd.DataFrame) -> str:
    """The hours of all epochs, on the kind of device that a run began on; each GPU of a run counts."""
    if "seconds" not in epochs:
        return ""
    seconds = epochs.groupby(["seed", "fold"])["seconds"].sum()
    hours: dict[str, float] = {}
    for run, first in zip(runs, firsts, strict=True):
        if _trained_as(first) or first.get("job", {}).get(starts.TRAINED_IN):  # its hours are those of another
            continue
        known = float(seconds.get((int(run.parent.name.removeprefix("seed")), run.name), 0)) / 3600
        kind, number = ("GPU", first.get("processes", 1)) if _on_gpu(first) else ("CPU", 1)
        hours[kind] = hours.get(kind, 0) + known * number
    return ", ".join(f"{_figures(time)} h on a {kind}" for kind, time in hours.items() if time)


def _figures(number: float) -> str:
    """A positive number with three figures from 0.1 on, and with two below.

    >>> _figures(12.345), _figures(0.5), _figures(0.000246)
    ('12.35', '0.500', '0.00025')
    """
    return f"{number:.{2 if number >= 1 else max(3, 1 - math.floor(math.log10(number)))}f}"


def _dates(days: list[str]) -> str:
    return " to ".join(dict.fromkeys([min(days), max(days)])) if days else ""


def _command(start: Mapping[str, Any]) -> str:
    """The command line that trained, as it was typed; of an earlier version, from the options of the job."""
    words = start.get("command")
    if words is None:
        words = start.get("job", {}).get("options")
        if words is None:
            return ""
        # The launcher adds `--folds FOLD --seeds SEED` to what was typed, before the overrides.
        at = words.index("--") if "--" in words else len(words)
        if words[:at][-4::2] == ["--folds", "--seeds"]:
            words = words[: at - 4] + words[at:]
    return starts.command_line(words if words and not words[0].startswith("-") else ["./run.sh", *words])

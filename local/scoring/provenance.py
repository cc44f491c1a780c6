"""What the runs of an experiment were trained with.

Runs whose values differ are different experiments: no table pools them. Where only commits, devices or what changes
no more than rounding differ, the table says so. `setup` says all of it at the top of the pages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from local.config import pretrained
from local.config.hparams import ROUNDING
from local.core import markers, starts
from local.core.errors import UserError

# Inputs of a training in which the folds differ.
OF_FOLD = ("train.csv", "valid.csv", "tokenizer.model")
OF_FOLD += ("speaker_net_of_fold", "ctc_run_of_fold", "emotion_run_of_fold")
MOST_RUNS = 3  # to name one by one
LONGEST = 60  # characters of a value in a message
MOST_VALUES = 4  # of whole numbers that differ, to list; more are shown as a range
VERSION_LENGTH = 12  # characters of a digest or commit of the hub, as of our own commits
COMMAND = "command"  # the name in a set-up of a command that trained


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


def setup(runs: Iterable[Path], epochs: pd.DataFrame) -> list[tuple[str, str]]:
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
    found = re.search(r"^system:\s*!\w+:(\S+)", _text(run / "hyperparams.yaml"), re.MULTILINE)
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
    name = _device_name(start)
    if not name or _on_gpu(start):
        processes = start.get("processes", 1)
        return f"{processes} x {name}" if processes > 1 and name else name
    threads = start.get("threads")
    return f"{name}, {threads} thread{'s' * (threads > 1)}" if threads else name


def _device_name(start: Mapping[str, Any]) -> str:
    return next(filter(None, map(start.get, ("device_name", "accelerator", "processor", "device"))), "")


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


def _compared(run: Path) -> dict[str, Any]:
    inputs = markers.read(run / "train.json")["inputs"]
    # Of the objects in a YAML only the classes: among their values may be the number of the fold's tokens. Optimizers,
    # schedulers, poolings and augmentations are among the inputs, if they are not those of earlier versions.
    classes = r"(?!torch\.|transformers\.|speechbrain\.)\S+"
    built = re.findall(rf"^[^#\n]*?!(?:new|apply|name):({classes})", _text(run / "hyperparams.yaml"), re.MULTILINE)
    values = {key: value for key, value in inputs.items() if key not in (*OF_FOLD, *ROUNDING)}
    values = {key: value for key, value in values.items() if value is not None or key not in pretrained.KEYS}
    return _flat(values) | {"system": " ".join(built)}


def _recorded(run: Path) -> dict[str, Any]:
    first, inputs = starts.read(run), markers.read(run / "train.json")["inputs"]
    devices = filter(None, map(_device_name, starts.starts(first)))
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


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "restore it, or run stage 2 for this run with --force true"
        raise UserError(f"{path} cannot be read: {error.strerror}", remedy) from None

"""Hyperparameters: one HyperPyYAML file per structure, and overrides that must fit it.

A YAML says what is computed. Where and how jobs run is in `hparams/running.yaml`, which completes every
YAML by the keys that it lacks. SpeechBrain's own parser turns `--fold 03` into 3 and a lone `--alpha` into
nothing; here a value must be given, its key must be at the top of the YAML, and its type must be the default's.
"""

from __future__ import annotations

import copy
import functools
import io
import json
import math
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import ruamel.yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references

from local.config import keys
from local.config.objects import located, refusing
from local.config.trust import tags
from local.core import starts
from local.core.errors import UserError

RUNNING = Path(__file__).parents[2] / "hparams" / "running.yaml"
# Keys that the pipeline sets per job; nobody overrides them by hand.
SET_BY_PIPELINE = ("seed", "n_labels", "n_tokens", "head_classes")
SIZES = ("micro_batch_size", "micro_batch_seconds", "eval_batch_seconds")  # how much is computed at a time
# Keys that the pipeline reads besides those of running.yaml; `classes` is in the YAML of a speaker network alone.
READ = ("system", "classes")
# Keys that say where and how a job runs, not what it computes: another value is not another experiment.
RUNTIME = (
    *("device", "threads", "eval_batch_seconds", "num_workers", "tensorboard", "keep_last", "ckpt_interval_minutes"),
    "slurm",
)
# Keys that change how figures are rounded, not what is computed: where the runs of a table differ in them, it says so.
ROUNDING = ("precision", "eval_precision", "micro_batch_size", "micro_batch_seconds")

# Keys that earlier versions had not, and their defaults, if these are plain values: their runs were trained with them.
NEWER = {
    **{"optimizer": ..., "scheduler": ..., "augment": None, "spec_augment": {}, "class_weights": None},
    **{"label_smoothing": 0.0, "dropout": 0.0, "patience": 0, "selection": "valid_ua", "freeze_encoder_epochs": 0},
    **{"freeze_layers": 0, "emotion_layers": "last", "ctc_layer": "last", "lora": {}, "unfreeze": {}},
    **{"emotion_weight": 1.0, "focal_gamma": 0.0, "heads": {}, "head_classes": {}},
    **{"ctc_run": None, "emotion_run": None, "merge_start": 0.5},
}

CALLS = re.compile("!(include|applyref):")  # tags of a YAML with which the same text need not mean the same
_RESOLVED: dict[tuple[str, str], str] = {}


def parse_overrides(words: Sequence[str], file: Path, options: Collection[str] = ()) -> dict[str, Any]:
    """Turn `--key value` and `--key=value` words into typed overrides of a YAML.

    `UserError` for a stray word, a missing value, the key of an object, an unknown key (the known ones are named, and
    what may be meant, also of the `options` of run.sh), a value of another type than the default's, or a YAML with an
    object for a plain value.
    """
    defaults = read_values(file)
    for key, default in plain_values(RUNNING.read_text(encoding="utf-8")).items():
        if key not in defaults and key != "augment":
            raise UserError(f"{file}: {key} is an object", f"give a plain value, as its default is: {default}")
    known = [key for key in defaults if key not in (*SET_BY_PIPELINE, "augment")]
    overrides: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not re.match(r"--[A-Za-z]", word):
            raise UserError(f"stray word '{word}' after --", "write overrides as -- --key value")
        key, equals, value = word[2:].partition("=")
        key = key.replace("-", "_")
        if key not in known:
            texts = [path.read_text(encoding="utf-8") for path in (file, RUNNING)]
            if key not in SET_BY_PIPELINE and any(key in keys.entries(text) for text in texts):
                what = f"override --{key}: {key} of {file} is an object, and an override is a plain value"
                raise UserError(what, "write it into a copy of the YAML, for --hparams: see hparams/SCIENCE.md")
            meant = keys.meant(key, known, keys.below_mappings(texts), options)
            remedy = f"{meant}{'; or ' * bool(meant)}take one of: {' '.join(known)}"
            raise UserError(f"{file} has no key '{key}' that could be overridden", remedy)
        if not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        if not value:
            raise UserError(f"override --{key} has no value", f"write --{key} VALUE")
        if value.startswith(("!", "(")):  # a tag, or a tuple
            raise UserError(f"override --{key} {value}: a value begins with neither ! nor (", "give a plain value")
        overrides[key] = _typed(key, value, defaults[key])
    return overrides


def refuse_unread(file: Path, overrides: Collection[str] = (), options: Collection[str] = ()) -> None:
    """Raise a UserError that names the keys of a YAML, or the overrides of a run folder's, that nothing reads.

    The references of a run folder's YAML are resolved: of its keys, the objects have the values. It was examined when
    it was begun, perhaps by an earlier version. `options` are those of run.sh, one of which may be meant.
    """
    text, running = (path.read_text(encoding="utf-8") for path in (file, RUNNING))
    read = {*READ, *keys.entries(running)}
    if file.name == "hyperparams.yaml" and (file.parent / starts.NAME).exists():
        if unread := [key for key in overrides if key not in read]:
            raise UserError(
                f"nothing reads --{unread[0]} of {file}: its references are resolved, as of any run folder",
                "give the YAML with which it was trained; the run's env.json has its options",
            )
        return
    if "system" not in keys.entries(text):
        raise UserError(f"{file} lacks the key system", "see hparams/mtl_wav2vec2.yaml for what it is")
    if unread := keys.unread(text, running, READ):
        known = {*read, *keys.entries(text)} - {key.path[0] for key in unread}
        texts = [path.read_text(encoding="utf-8") for path in (file, *sorted(RUNNING.parent.glob("*.yaml")))]
        raise UserError(*keys.refusal(file, unread, known, texts, options))


def _typed(key: str, value: str, default: Any) -> Any:
    """Read a value as the type of its default: `1e-5` for a number is a number, whatever YAML thinks."""
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise UserError(f"override --{key} {value}: not true or false", f"the default is {default}")
        return value.lower() == "true"
    try:
        if isinstance(default, int):
            return int(value)
        if isinstance(default, float):
            if not math.isfinite(float(value)):
                raise ValueError
            return float(value)
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise UserError(f"override --{key} {value}: not {kind}", f"the default is {default}") from None
    if key == "encoder" and re.match(r"\{\s*\w+\s*:", value):
        raise UserError(f"override --encoder {value}: it is a folder or a name", "write the mapping in a copied YAML")
    # The only mappings among overrides: an encoder is a name there.
    if key in ("slurm", "spec_augment", "lora", "unfreeze", "heads") or (
        key == "class_weights" and value.startswith("{")
    ):
        return _mapping(key, value, default if isinstance(default, dict) else {})
    return None if default is None and value.lower() in ("none", "null") else value


def _mapping(key: str, text: str, default: dict[str, Any]) -> dict[str, Any]:
    """Read the values of a mapping that replace some of the default's, if it has any: `{partition: gpu}`."""
    try:
        values = None if tags(text) else plain_values(text)
    except ruamel.yaml.constructor.DuplicateKeyError as error:
        raise UserError(f"override --{key} {text}: {_twice(error)}", "give it once") from None
    except (ruamel.yaml.error.YAMLError, ValueError, TypeError):  # the latter two of invalid dates and keys
        values = None
    if values is None:
        raise UserError(f"override --{key} {text}: not keys and values", 'write them as "{key: value, key: value}"')
    if default and (unknown := [name for name in values if name not in default]):
        raise UserError(f"override --{key}: it has no key '{unknown[0]}'", f"take one of: {' '.join(default)}")
    return values


def _twice(error: ruamel.yaml.constructor.DuplicateKeyError) -> str:
    key = re.search('"(.*?)"', error.problem)
    return f"the key {key[1]} is there twice"


def read_values(file: Path, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read a YAML's top-level values with references resolved, without the objects that it would build.

    `!applyref:`, which is a kind of reference, is called; values of `!new:`, `!apply:` and `!name:` are left out.
    """
    values = plain_values(resolve(file, overrides or {}))
    if values is None:
        raise UserError(f"{file} cannot be read: it is not a list of keys and values", "correct it, or give another")
    return values


class _Values(ruamel.yaml.constructor.SafeConstructor):
    """Reads values, with an ellipsis for every object that a tag would build."""


_Values.add_multi_constructor("!", lambda *_: ...)


class _Descriptions(ruamel.yaml.constructor.SafeConstructor):
    """Reads values, with `{tag: arguments}` for every object that a tag would build."""


def _describe(loader: _Descriptions, suffix: str, node: ruamel.yaml.nodes.Node) -> dict[str, Any]:
    if isinstance(node, ruamel.yaml.nodes.MappingNode):
        return {f"!{suffix}": loader.construct_mapping(node, deep=True)}
    arguments = loader.construct_sequence(node, deep=True) if isinstance(node.value, list) else node.value
    return {f"!{suffix}": arguments}


_Descriptions.add_multi_constructor("!", _describe)

for _reader in (_Values, _Descriptions):  # HyperPyYAML makes `(1, 2)` a tag for every reader, once it has built one
    _reader.add_constructor("!tuple", lambda _, node: str(node.value))


def plain_values(text: str) -> dict[str, Any] | None:
    """Top-level values without the objects that would be built; None where the YAML is not a mapping."""
    return copy.deepcopy(_plain_values(text))


@functools.lru_cache(maxsize=256)  # a YAML takes a tenth of a second to read, and a stage reads it for every job
def _plain_values(text: str) -> dict[str, Any] | None:
    values = _read(text, _Values)
    return {key: value for key, value in values.items() if value is not ...} if isinstance(values, dict) else None


def _read(text: str, constructor: type) -> Any:
    reader = ruamel.yaml.YAML(typ="safe", pure=True)
    reader.Constructor = constructor
    return reader.load(text)


def resolve(file: Path, overrides: dict[str, Any]) -> str:
    """Return the text of a YAML with overrides applied and references resolved: it loads by itself."""
    try:
        mappings = tuple(key for key, value in overrides.items() if isinstance(value, dict))
        texts = (path.read_text(encoding="utf-8") for path in (file, RUNNING))
        text = _complete(*texts, mappings)
        if CALLS.search(text):
            return _resolve(text, str(file), overrides)
        known = (text, repr(overrides))  # a stage resolves the same for many jobs, and each takes 30 ms
        if known not in _RESOLVED:
            _RESOLVED[known] = _resolve(text, str(file), overrides)
        return _RESOLVED[known]
    except FileNotFoundError as error:
        if file.exists():
            raise UserError(f"{file} includes {error.filename}, which is not there", "restore it") from None
        raise UserError(f"there is no YAML {error.filename}", "give one of the folder hparams with --hparams") from None
    except ruamel.yaml.constructor.DuplicateKeyError as error:
        line = error.problem_mark.line + 1
        raise UserError(f"{file}, line {line}: {_twice(error)}", "leave one of the two out") from None
    except (ruamel.yaml.error.YAMLError, KeyError, ValueError, OSError) as error:
        raise UserError(
            f"{file} cannot be read: {' '.join(str(error).split())}", "correct it, or give another"
        ) from None


def _resolve(text: str, name: str, overrides: dict[str, Any]) -> str:
    stream = io.StringIO(text)
    stream.name = name  # from which HyperPyYAML takes the folder of what is included
    return resolve_references(stream, overrides, overrides_must_match=True).getvalue()


@functools.lru_cache(maxsize=8)  # a stage resolves the same text for every job
def _complete(text: str, running: str, mappings: tuple[str, ...] = ()) -> str:
    """Add to a YAML the keys of running.yaml that it lacks, and those of the block `slurm`.

    A value of `mappings`, which an override updates, is emptied if it is none.
    """
    yaml = ruamel.yaml.YAML()
    values, defaults = yaml.load(text), yaml.load(running)
    if not isinstance(values, dict):
        return text  # to be refused where it is read
    _fill(values, defaults)
    values.update({key: {} for key in mappings if key in values and not isinstance(values[key], dict)})
    completed = io.StringIO()
    yaml.dump(values, completed)
    return completed.getvalue()


def _fill(values: dict[str, Any], defaults: dict[str, Any]) -> None:
    for key, default in defaults.items():
        # The arguments of one optimizer are not the defaults of another's.
        if _is_plain_mapping(default) and _is_plain_mapping(values.get(key)):
            _fill(values[key], default)
        values.setdefault(key, default)


def _is_plain_mapping(value: Any) -> bool:
    return isinstance(value, dict) and not value.tag.value


class _Loader(ruamel.yaml.Loader):
    """HyperPyYAML's loader, but with plain values in tuples, which it would read with PyYAML's unsafe loader."""

    @classmethod
    def add_constructor(cls, tag: str, constructor: Callable) -> None:
        super().add_constructor(tag, _tuple if tag == "!tuple" else constructor)

    @classmethod
    def add_multi_constructor(cls, prefix: str, constructor: Callable) -> None:
        super().add_multi_constructor(prefix, refusing(prefix, constructor))


def _tuple(loader: _Loader, node: ruamel.yaml.nodes.Node) -> tuple:
    """The values of `(1, a)`."""
    if not isinstance(node.value, str):
        raise UserError("a !tuple of the YAML is no tuple of plain values", "write it as (1, 2)")
    try:
        return tuple(ruamel.yaml.YAML(typ="safe", pure=True).load(f"[{node.value[1:-1]}]"))
    except ruamel.yaml.error.YAMLError:
        raise UserError(f"the YAML's value {node.value} is no tuple of plain values", "correct it") from None


def build(text: str, file: Path | None = None) -> dict[str, Any]:
    """Build the objects that a resolved YAML describes.

    A UserError names one that cannot be built, and why; with its line in `file`, if that is what the user wrote.
    """
    try:
        return load_hyperpyyaml(text, loader=_Loader)
    except UserError as error:
        raise (located(error, file) if file else error) from None


def compared_values(text: str) -> dict[str, Any]:
    """The values of a resolved YAML by which one experiment differs from another: all but `RUNTIME`."""
    return {key: value for key, value in trained_values(text).items() if key not in RUNTIME}


def trained_values(text: str) -> dict[str, Any]:
    """The values of the YAML of a run folder, of this version or an earlier one.

    Keys of `NEWER` are left out where they have their default: a run folder of before them has no such key, and was
    trained with it. An object of them is `{tag: arguments}`, and so is a pooling; other objects are left out.
    """
    values, defaults = plain_values(text) | copy.deepcopy(_objects(text)), NEWER | _objects_of_running(text)
    if isinstance(values.get("selection"), str) and values["selection"] != "last":  # `ua` and `valid_ua` are one figure
        values["selection"] = f"valid_{values['selection'].removeprefix('valid_')}"
    return {key: value for key, value in values.items() if key not in NEWER or value != defaults[key]}


@functools.lru_cache(maxsize=256)
def _objects(text: str) -> dict[str, Any]:
    plain = _plain_values(text)
    described = {key: value for key, value in _read(text, _Descriptions).items() if key in (*NEWER, "pooling")}
    return {key: value for key, value in described.items() if key not in plain}


def _objects_of_running(text: str) -> dict[str, Any]:
    """The objects that running.yaml would give a resolved YAML, had it none of `NEWER`."""
    values, running = plain_values(text), RUNNING.read_text(encoding="utf-8")
    referred = {key: values[key] for key in keys.REFERENCE.findall(running) if key in values}
    return _resolved_objects(running, json.dumps(referred, default=str))


@functools.lru_cache(maxsize=256)  # few runs differ in what running.yaml refers to
def _resolved_objects(text: str, overrides: str) -> dict[str, Any]:
    return _objects(resolve_references(text, overrides).getvalue())

"""The command line of every stage: the options of run.sh, and the overrides of the YAML behind a lone `--`."""

from __future__ import annotations

import argparse
import glob
import os
import re
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from local import corpora
from local.config import pretrained
from local.config.hparams import parse_overrides, refuse_unread
from local.config.limits import refuse_bad_values
from local.core.errors import UserError
from local.experiment.options import MANIFESTS, Options

DEFAULT_HPARAMS = "hparams/mtl_wav2vec2.yaml"  # of a corpus that names no other
STEPS = ("train", "decode", "export", "stress")  # of local.launch
PREPARE = "make each by itself: ./run.sh --corpus {} --data PATH --stop-stage 0"
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
OPTIONS = {f"--{each.name.replace('_', '-')}": each for each in fields(Options) if each.metadata}
ALL_OPTIONS = (*OPTIONS, "--stage", "--stop-stage", "--status", "--help")  # the others are run.sh's own


def parse(words: list[str] | None = None) -> Options:
    """Read the options that run.sh passes to every stage; `UserError` for what is wrong for any corpus."""
    given, overrides = read(sys.argv[1:] if words is None else words)
    values = {
        each.name: each.metadata["read"](option, getattr(given, each.name) or each.metadata["default"])
        for option, each in OPTIONS.items()
    }
    corpus = _corpus_name(values["corpus"], values["data"], values["labels"])
    form = "folder" if corpora.parts(values["corpus"]) == ["folder"] else "csv"
    name = corpora.module_name(corpus)
    module = corpora.module(form if name == "csv" else name)
    if values["columns"] and module is not corpora.module("csv"):
        raise UserError(f"corpus {values['corpus']} has no columns to be named with --columns", "leave it out")
    hparams = values["hparams"] or Path(getattr(module, "DEFAULT_HPARAMS", DEFAULT_HPARAMS))
    typed = _locate_weights(parse_overrides(overrides, hparams, ALL_OPTIONS))
    refuse_unread(hparams, typed, ALL_OPTIONS)
    name = values["name"] or hparams.stem
    if not SAFE_NAME.fullmatch(name):
        what = f"--name '{name}' cannot be a folder's name"
        raise UserError(what, "use letters, digits and . _ + -, a letter or a digit first")
    options = Options(**values | {"corpus": corpus, "hparams": hparams, "name": name, "overrides": typed}, form=form)
    if homes := pretrained.of_home(options.values):  # of the YAML
        options = replace(options, overrides=typed | homes)
    refuse_bad_values(options.values, str(hparams))
    return options


def parse_step() -> tuple[str, list[str], Options]:
    """Read the command line of `local.launch`: its step, the words of the options behind it, and what they mean."""
    step, words = "".join(sys.argv[1:2]), sys.argv[2:]
    if step not in (*STEPS, "--help", "-h"):
        what = f"'{step}' is no step" if step else "no step is given"
        raise UserError(what, f"python -m local.launch {'|'.join(STEPS)} OPTIONS")
    return step, words, parse(words if step in STEPS else [step])


def read(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split the command line into the word of each option, empty where it is not given, and the overrides."""
    options, overrides = split_words(words)
    command = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(
        prog=f"python -m local.{command}" + f" {{{','.join(STEPS)}}}" * (command == "launch"),
        usage="%(prog)s OPTIONS [-- OVERRIDES]",
        description="OPTIONS and OVERRIDES are those of run.sh, whose --help explains them.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    for option in OPTIONS:
        parser.add_argument(option, default="")
    try:
        given, stray = parser.parse_known_args(options)
    except argparse.ArgumentError as error:
        raise UserError(str(error), "see ./run.sh --help") from None
    if stray:
        raise UserError(f"unknown option '{stray[0]}'", "see ./run.sh --help; keys of the YAML come after a lone --")
    return given, overrides[1:]


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Split a command line before the lone `--` with which the overrides begin.

    >>> split_words(["--folds", "01F", "--", "--alpha", "0"])
    (['--folds', '01F'], ['--', '--alpha', '0'])
    """
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at:]


def _corpus_name(words: str, data: Path | None, labels: Path | None) -> str:
    """The corpus as paths name it: of several with `+` between them, and behind `@` the map of labels."""
    names, _, mapped = words.partition(corpora.MAPPED)
    several = names.replace(corpora.JOINED, " ").split() or [names]
    if len(set(several)) < len(several):
        raise UserError(f"--corpus '{words}' names a corpus twice", "name each once")
    if len(several) > 1 and data is not None:
        raise UserError("--data is for one corpus, and --corpus names several", PREPARE.format(several[0]))
    if labels and mapped not in ("", labels.stem):
        raise UserError(f"--corpus {words} has the labels of {mapped}, --labels those of {labels.stem}", "give one")
    of_map = f"{corpora.MAPPED}{labels.stem if labels else mapped}" if labels or mapped else ""
    return corpora.JOINED.join(_one_corpus(each, of_map, data, len(several) > 1) for each in several) + of_map


def _one_corpus(corpus: str, of_map: str, data: Path | None, several: bool) -> str:
    """One corpus, perhaps of several, as paths name it before `of_map`: a user's own table by the name of its file."""
    if data is not None and not os.path.exists(data) and corpus != "mini":
        raise UserError(f"--data {data}: there is no such file or folder", "give the path of the corpus")
    if corpus in corpora.OWN and data is None:
        what, example = ("the table's path", "table.csv") if corpus == "csv" else ("its folder", "ROOT")
        raise UserError(f"corpus {corpus} needs {what}", f"give it with --data {example}")
    made = [MANIFESTS / corpus / "all.csv", *([] if several else [MANIFESTS / f"{corpus}{of_map}" / "all.csv"])]
    if corpus not in corpora.NAMES and not any(map(Path.exists, made)):
        if several and any(MANIFESTS.glob(f"{glob.escape(corpus)}{corpora.MAPPED}*/all.csv")):
            raise UserError(*corpora.module("several").not_there(corpus, MANIFESTS / corpus))
        raise UserError(f"unknown corpus '{corpus}'", f"take one of: {' '.join(corpora.NAMES)}")
    if corpus not in corpora.OWN:
        return corpus
    corpora.module("csv").refuse_name(data)  # before it is read as one of ours, as several, or as mapped
    return corpora.own_name(data)


def _locate_weights(overrides: dict[str, Any]) -> dict[str, Any]:
    """Let paths of pretrained weights count from where the user called run.sh, and check that they exist."""
    overrides |= pretrained.of_home(overrides)
    for key in pretrained.KEYS.keys() & overrides.keys():
        path = Path(os.environ.get("SER_MTL_CALLER", "."), str(word := overrides[key]))
        is_here = isinstance(word, str) and key not in pretrained.ENCODERS and path.exists()
        if is_here or pretrained.is_path(key, word):
            pretrained.refuse_absent(key, path, f"--{key} {word}")
            overrides[key] = str(path)
    return overrides

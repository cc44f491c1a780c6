"""The options of run.sh as every stage reads them, and the paths that follow from them.

Whichever stage runs first checks them all, before it does anything. A new option is a field of `Options`
and a line of the help in run.sh.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local import corpora
from local.config import cluster, pretrained
from local.config.hparams import parse_overrides, read_values, refuse_unread
from local.config.limits import refuse_bad_values
from local.core import conditions, markers
from local.core.errors import UserError
from local.corpora import columns, manifest
from local.splits import protocols

if TYPE_CHECKING:
    import pandas as pd

MANIFESTS = Path("manifests")
RESULTS = Path("results")
DEFAULT_HPARAMS = "hparams/mtl_wav2vec2.yaml"  # of a corpus that names no other
BACKENDS = ("local", "slurm")
STEPS = ("train", "decode", "export", "stress")  # of local.launch
PREPARE = "make each by itself: ./run.sh --corpus {} --data PATH --stop-stage 0"
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def _text(option: str, word: str) -> str:
    return word


def _path(option: str, word: str) -> Path | None:
    return Path(os.path.expanduser(word)) if word else None


def _one_of(*known: str) -> Callable[[str, str], str]:
    def read_choice(option: str, word: str) -> str:
        if word and word not in known:
            raise UserError(f"{option} '{word}' is not known", f"take one of: {' '.join(known)}")
        return word

    return read_choice


def _labels(option: str, word: str) -> Path | None:
    if not word:
        return None
    from local.corpora import label_map  # which loads the reader of audio

    return label_map.locate(word, Path(os.environ.get("SER_MTL_CALLER", ".")))


def _flag(option: str, word: str) -> bool:
    return _one_of("true", "false")(option, word.lower()) == "true"


def _list(option: str, word: str) -> tuple[str, ...]:
    return tuple(word.replace(",", " ").split())


def _conditions(option: str, word: str) -> tuple[str, ...]:
    return tuple(_one_of(*conditions.WORDS)(option, each) for each in _list(option, word))


def _whole(least: int) -> Callable[[str, str], int]:
    def read_number(option: str, word: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", word) or int(word) < least:
            raise UserError(f"{option} '{word}' is not a whole number of at least {least}", f"for example {option} 1")
        return int(word)

    return read_number


def _seeds(option: str, word: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_whole(0)(option, each) for each in _list(option, word))) or (1,)


def _jobs(option: str, word: str) -> int | None:
    return None if word == "auto" else _whole(1)(option, word)


def _columns(option: str, word: str) -> dict[str, str]:
    if not word:
        return {}
    table = corpora.module("csv")
    return columns.parse(word, (*table.REQUIRED, *table.OPTIONAL))


def _option(read: Callable[[str, str], Any], default: str = "") -> dict[str, Any]:
    """What makes a field an option: a function that reads its word, or refuses it, and the default word."""
    return {"read": read, "default": default}


@dataclass(frozen=True)
class Options:
    """One experiment: the options of run.sh as typed values, with defaults where those are known by now."""

    corpus: str = field(metadata=_option(_text, "mini"))
    data: Path | None = field(metadata=_option(_path))
    columns: dict[str, str] = field(metadata=_option(_columns))
    labels: Path | None = field(metadata=_option(_labels))
    partial: bool = field(metadata=_option(_flag, "false"))
    protocol: str = field(metadata=_option(_one_of(*protocols.WORDS)))
    valid: str = field(metadata=_option(_one_of(*protocols.VALID_WORDS)))
    hold_text: bool = field(metadata=_option(_flag, "false"))
    extra_training: str = field(metadata=_option(_one_of(*protocols.EXTRA_WORDS)))
    folds: tuple[str, ...] = field(metadata=_option(_list))
    seeds: tuple[int, ...] = field(metadata=_option(_seeds))
    hparams: Path = field(metadata=_option(_path))
    name: str = field(metadata=_option(_text))
    jobs: int | None = field(metadata=_option(_jobs, "auto"))
    processes: int = field(metadata=_option(_whole(1), "1"))
    backend: str = field(metadata=_option(_one_of(*BACKENDS), "local"))
    force: bool = field(metadata=_option(_flag, "false"))
    test_corpus: str = field(metadata=_option(_text))
    stress: tuple[str, ...] = field(metadata=_option(_conditions))
    overrides: dict[str, Any]  # of the YAML, after a lone --
    form: str = "csv"  # of `corpora.OWN`: what the user's own data is read as
    source: Options | None = None  # of `tested`: the experiment whose models are tested on this corpus

    def tested(self) -> Options:
        """What stages 3 to 5 and 7 work on: this experiment or, with `--test-corpus`, its models on that corpus.

        The labels are then those of the experiment's map, if it has one. A `UserError` where stage 0 has not made the
        corpus.
        """
        if not self.test_corpus:
            return self
        names, at, mapped = self.test_corpus.partition(corpora.MAPPED)
        if not at:
            _, at, mapped = self.corpus.partition(corpora.MAPPED)
        several = names.replace(corpora.JOINED, " ").split() or [names]
        name = corpora.JOINED.join(several) + at + mapped
        if name == self.corpus:
            raise UserError(f"--test-corpus {self.test_corpus} is the corpus that is trained on", "name another")
        if not (MANIFESTS / name / "all.csv").exists():
            data = f'"{" ".join(several)}"' if len(several) > 1 else f"{names} --data PATH"
            remedy = f"./run.sh --corpus {data}{f' --labels {mapped}' if at else ''} --stop-stage 0"
            raise UserError(f"--test-corpus {self.test_corpus}: there is no {MANIFESTS / name / 'all.csv'}", remedy)
        return replace(self, corpus=name, test_corpus="", source=self)

    @property
    def module_name(self) -> str:
        """The corpus module; see `local.corpora.module_name`."""
        name = corpora.module_name(self.corpus)
        return self.form if name == "csv" else name

    @property
    def corpus_folder(self) -> Path:
        """Where stage 0 writes."""
        return MANIFESTS / self.corpus

    @property
    def protocol_name(self) -> str:
        """The protocol as paths and tables name it, which say whether text is held out, and oracle validates."""
        if self.source:
            return protocols.name_of_tested(self.source.corpus, self.source.protocol_name)
        return protocols.path_name(self.chosen_protocol(), self.hold_text, self.valid)

    @property
    def valid_name(self) -> str:
        """The validation as tables name it, which say whether it is optimistic."""
        return protocols.valid_name(self.chosen_valid())

    def folds_folder(self, valid: str) -> Path:
        """Where stage 1 writes: what is not the default, validation, tokens, extra training, is part of the name."""
        if self.source:
            return self.corpus_folder / protocols.name_of_tested(
                self.source.corpus, self.source.folds_folder(valid).name
            )
        variant = [] if valid in (protocols.ORACLE, self._default_valid) else [f"valid_{valid}"]
        if self.values["token_type"] != "char":
            variant.append(f"{self.values['token_type']}_{self.values['vocab_size']}")
        if self.extra_training:
            variant.append(f"extra_{self.extra_training.replace('-', '_')}")
        return self.corpus_folder / "-".join([self.protocol_name, *variant])

    @property
    def experiment_folder(self) -> Path:
        """Where folds.csv, summary.csv and RESULTS.md are written."""
        return RESULTS / self.corpus / self.protocol_name / self.name

    def run_folder(self, seed: int, fold: str) -> Path:
        """The run folder of one job."""
        return self.experiment_folder / f"seed{seed}" / fold

    @cached_property
    def values(self) -> dict[str, Any]:
        """The YAML's plain values with the overrides."""
        return read_values(self.hparams, self.overrides)

    @cached_property  # a large table takes seconds to read
    def table(self) -> pd.DataFrame:
        """The table of utterances that stage 0 wrote."""
        return manifest.read(self.corpus_folder / "all.csv")

    @cached_property
    def used(self) -> pd.DataFrame:
        """The utterances of the table that have a part in the protocol; see `protocols.used`."""
        return self.table if self.source else protocols.used(self.table, self.chosen_protocol())

    @cached_property
    def corpus_facts(self) -> dict[str, Any]:
        """What stage 0 recorded of the corpus: `source`, `root`, `rejected`, `faults`."""
        return markers.read(self.corpus_folder / "all.json")["facts"]

    @property
    def data_root(self) -> Path:
        """The folder that `$data_root` means in the manifests."""
        return Path(self.corpus_facts["root"])

    def audio(self) -> tuple[Path, pd.DataFrame, Path]:
        """The arguments of `local.data.store.AudioStore.of`: folder of the manifests, table, data root."""
        if self.extra_training and not self.source:
            from local.splits import extra  # which loads pandas

            return self.extra_folder, extra.join(self.table, manifest.read(self.extra_file())), self.data_root
        return self.corpus_folder, self.table, self.data_root

    @property
    def extra_folder(self) -> Path:
        """Where stage 0 writes the utterances of `--extra-training`, and where audio is that has them, too."""
        return self.corpus_folder / self.extra_training.replace("-", "_")

    def extra_file(self) -> Path:
        """The table of these utterances, none of which has an emotion; a `UserError` where there is none."""
        path = self.extra_folder / "extra.csv"
        if not path.exists():
            what = f"--extra-training {self.extra_training}: there is no {path}"
            remedy = (
                f"./run.sh --corpus {self.corpus} --data PATH --extra-training {self.extra_training} --stop-stage 0"
            )
            raise UserError(what, remedy)
        return path

    def recording_fold(self) -> protocols.RecordingFold | None:
        """How the corpus assigns recordings to folds, if it does."""
        return getattr(corpora.module(self.module_name), "recording_fold", None)

    def all_folds(self) -> list[str]:
        """Every fold of the protocol, in order."""
        if self.source:
            return self.source.all_folds()
        return protocols.fold_names(self.table, self.chosen_protocol(), self.recording_fold())

    def chosen_folds(self) -> list[str]:
        """The folds of `--folds`, or the corpus's default, or all; `UserError` for one that the protocol has not."""
        if self.source:
            return self.source.chosen_folds()
        default = getattr(corpora.module(self.module_name), "DEFAULT_FOLDS", ())
        known = self.all_folds()
        return pick(self.folds or tuple(fold for fold in default if fold in known), known, self.chosen_protocol())

    def chosen_protocol(self) -> str:
        """The protocol of `--protocol`, or the corpus's default."""
        return self.source.chosen_protocol() if self.source else self.protocol or self._default_protocol

    @cached_property
    def _default_protocol(self) -> str:
        is_known = (self.corpus_folder / "all.csv").exists()
        return self.default_protocol(self.table) if is_known else protocols.DEFAULT

    def default_protocol(self, table: pd.DataFrame) -> str:
        """The protocol of a table unless the user names one: the corpus's own default, or by its columns."""
        own = getattr(corpora.module(self.module_name), "DEFAULT_PROTOCOL", "")
        return own or protocols.default_protocol(table)

    def chosen_valid(self) -> str:
        """The validation of `--valid`, or the protocol's default."""
        return self.source.chosen_valid() if self.source else self.valid or self._default_valid

    @cached_property
    def _default_valid(self) -> str:
        return protocols.default_valid(self.chosen_protocol(), self.table)


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
        raise UserError(f"--name '{name}' cannot be a folder's name", "use letters, digits and . _ + -")
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
    name = corpora.JOINED.join(_one_corpus(each, data, len(several) > 1) for each in several)
    if labels and mapped not in ("", labels.stem):
        raise UserError(f"--corpus {words} has the labels of {mapped}, --labels those of {labels.stem}", "give one")
    return name + (f"{corpora.MAPPED}{labels.stem if labels else mapped}" if labels or mapped else "")


def _one_corpus(corpus: str, data: Path | None, several: bool) -> str:
    """One corpus, perhaps of several, as paths name it: a table of the user's own has the name of its file."""
    if data is not None and not os.path.exists(data) and corpus != "mini":
        raise UserError(f"--data {data}: there is no such file or folder", "give the path of the corpus")
    if corpus in corpora.OWN and data is None:
        what, example = ("the table's path", "table.csv") if corpus == "csv" else ("its folder", "ROOT")
        raise UserError(f"corpus {corpus} needs {what}", f"give it with --data {example}")
    if corpus not in corpora.NAMES and not (MANIFESTS / corpus / "all.csv").exists():
        if several and any(MANIFESTS.glob(f"{glob.escape(corpus)}{corpora.MAPPED}*/all.csv")):
            raise UserError(*corpora.module("several").not_there(corpus, MANIFESTS / corpus))
        raise UserError(f"unknown corpus '{corpus}'", f"take one of: {' '.join(corpora.NAMES)}")
    if corpus not in corpora.OWN:
        return corpus
    name = corpora.own_name(data)
    if corpora.JOINED in name or corpora.MAPPED in name:  # which would be read as several, or as mapped
        corpora.module("csv").refuse_name(data)
    return name


def _locate_weights(overrides: dict[str, Any]) -> dict[str, Any]:
    """Let paths of pretrained weights count from where the user called run.sh, and check that they exist."""
    overrides |= pretrained.of_home(overrides)
    for key in pretrained.KEYS.keys() & overrides.keys():
        if pretrained.is_path(key, word := overrides[key]):
            path = Path(os.environ.get("SER_MTL_CALLER", "."), word)
            pretrained.refuse_absent(key, path, f"--{key} {word}")
            overrides[key] = str(path)
    return overrides


def pick(wanted: tuple[str, ...], known: list[str], protocol: str) -> list[str]:
    """The wanted folds, all for none or `all`, unless a fold has that name; `UserError` for an unknown one."""
    for fold in wanted:
        if fold not in known and fold != "all":
            raise UserError(f"protocol '{protocol}' has no fold '{fold}'", f"take all, or of: {' '.join(known)}")
    every = not wanted or ("all" in wanted and "all" not in known)
    return known if every else list(dict.fromkeys(wanted))


def check(options: Options, table: pd.DataFrame | None = None) -> None:
    """Raise a UserError for a protocol or folds that the corpus has not, or where there is no cluster.

    Before the table of utterances is read, the folds are checked of a corpus whose facts are known.
    """
    if options.source:
        check(options.source, options.source.table)
        return
    options.tested()
    if options.extra_training and len(corpora.parts(options.corpus)) > 1:
        what = f"--extra-training {options.extra_training} is for one corpus, and {options.corpus} is of several"
        raise UserError(what, "leave it out, or train on one of them")
    if options.backend == "slurm":
        cluster.refuse_without_slurm(options.values, options.processes)
    if table is not None:
        protocol = options.protocol or options.default_protocol(table)
        known = protocols.fold_names(table, protocol, options.recording_fold())
    elif facts := getattr(corpora.module(options.module_name), "FACTS", None):
        protocol = options.protocol or protocols.DEFAULT
        if protocol in (protocols.OFFICIAL, protocols.CORPUS):  # that the table alone knows
            return
        known = {"session": [*facts.sessions], "random": [*protocols.RANDOM_FOLDS]}.get(protocol, [*facts.speakers])
    else:
        return
    pick(options.folds, sorted(known), protocol)

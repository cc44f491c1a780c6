"""The options of run.sh as every stage reads them, and the paths that follow from them.

Whichever stage runs first checks them all, before it does anything.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from local import corpora
from local.config import cluster
from local.config.hparams import parse_overrides, read_values, refuse_missing_keys
from local.core import markers
from local.core.errors import UserError
from local.corpora import manifest
from local.splits import protocols

MANIFESTS = Path("manifests")
RESULTS = Path("results")
BACKENDS = ("local", "slurm")
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Options:
    """One experiment: a corpus under a protocol, a YAML with overrides, folds and seeds.

    Attributes hold the words of the command line, typed; an empty `protocol`, `valid`, `folds` or
    `hparams` has been replaced by the corpus's default where that can be known.
    """

    corpus: str
    data: Path | None
    partial: bool
    protocol: str
    valid: str
    hold_text: bool
    folds: tuple[str, ...]
    seeds: tuple[int, ...]
    hparams: Path
    name: str
    jobs: int | None
    processes: int
    backend: str
    force: bool
    overrides: dict[str, Any]

    @property
    def module_name(self) -> str:
        """The corpus module: the user's own tables share one."""
        return self.corpus if self.corpus in corpora.NAMES else "csv"

    @property
    def corpus_folder(self) -> Path:
        """Where stage 0 writes."""
        return MANIFESTS / self.corpus

    @property
    def protocol_name(self) -> str:
        """The protocol as paths and tables name it: folds that hold text out are others."""
        return self.protocol + (protocols.HOLD_TEXT if self.hold_text else "")

    def folds_folder(self, valid: str) -> Path:
        """Where stage 1 writes.

        `manifests/<corpus>/<protocol>` holds the protocol's default validation and character
        tokens; other choices stand beside it under a name that says them.
        """
        variant = [] if valid == self._default_valid else [f"valid_{valid}"]
        if self.values["token_type"] != "char":
            variant.append(f"{self.values['token_type']}_{self.values['vocab_size']}")
        return self.corpus_folder / "-".join([self.protocol_name, *variant])

    @property
    def experiment_folder(self) -> Path:
        """Where folds.csv, summary.csv and RESULTS.md of this experiment stand."""
        return RESULTS / self.corpus / self.protocol_name / self.name

    def run_folder(self, seed: int, fold: str) -> Path:
        """The run folder of one job."""
        return self.experiment_folder / f"seed{seed}" / fold

    @cached_property
    def values(self) -> dict[str, Any]:
        """The YAML's plain values with the overrides."""
        return read_values(self.hparams, self.overrides)

    @cached_property  # as every job and fold asks, and a large table takes seconds to read
    def table(self) -> pd.DataFrame:
        """The table of utterances that stage 0 wrote."""
        return manifest.read(self.corpus_folder / "all.csv")

    @cached_property
    def corpus_facts(self) -> dict[str, Any]:
        """What stage 0 noted of the corpus: `source`, `root`, `rejected`, `faults`."""
        return markers.read(self.corpus_folder / "all.json")["facts"]

    @property
    def data_root(self) -> Path:
        """What `$data_root` stands for in the manifests."""
        return Path(self.corpus_facts["root"])

    def audio(self) -> tuple[Path, pd.DataFrame, Path]:
        """What `local.data.store.AudioStore.of` takes: folder of the manifests, table, data root."""
        return self.corpus_folder, self.table, self.data_root

    def recording_fold(self) -> protocols.RecordingFold | None:
        """How the corpus assigns recordings to folds, if it says."""
        return getattr(corpora.module(self.module_name), "recording_fold", None)

    def all_folds(self) -> list[str]:
        """Every fold of the protocol, in order."""
        return sorted(protocols.test_folds(self.table, self.protocol, self.recording_fold()).unique())

    def chosen_folds(self) -> list[str]:
        """The folds asked for, or the corpus's default, or all.

        Raises
        ------
        UserError
            The protocol has no such fold.
        """
        default = getattr(corpora.module(self.module_name), "DEFAULT_FOLDS", ())
        known = self.all_folds()
        return pick(self.folds or tuple(fold for fold in default if fold in known), known, self.protocol)

    def chosen_valid(self) -> str:
        """The validation asked for, or the protocol's default."""
        return self.valid or self._default_valid

    @cached_property
    def _default_valid(self) -> str:
        return protocols.default_valid(self.protocol, self.table)


def parse(words: list[str] | None = None) -> Options:
    """Read the options that run.sh hands to every stage.

    Raises
    ------
    UserError
        A word that is wrong whatever the corpus holds.
    """
    return _typed(*read(sys.argv[1:] if words is None else words))


def read(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Part the command line into the words of each option, empty where it is not given, and the overrides.

    Raises
    ------
    UserError
        An unknown option.
    """
    given, overrides = _split(words)
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    for option in ("corpus", "data", "partial", "protocol", "valid", "folds", "seeds", "hparams", "name", "jobs"):
        parser.add_argument(f"--{option}", default="")
    parser.add_argument("--processes", default="1")
    parser.add_argument("--backend", default="local")
    parser.add_argument("--hold-text", default="false")
    parser.add_argument("--force", default="false")
    try:
        raw, stray = parser.parse_known_args(given)
    except argparse.ArgumentError as error:
        raise UserError(str(error), "see ./run.sh --help") from None
    if stray:
        raise UserError(f"unknown option '{stray[0]}'", "see ./run.sh --help")
    return raw, overrides


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Part the options from the overrides after a lone `--`."""
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _typed(raw: argparse.Namespace, overrides: list[str]) -> Options:
    module_name = raw.corpus or "mini"
    data = Path(os.path.expanduser(raw.data)) if raw.data else None
    if data is not None and not os.path.exists(data) and module_name != "mini":
        raise UserError(f"--data {data}: there is no such file or folder", "give the path of the corpus")
    if module_name == "csv" and data is None:
        raise UserError("corpus csv needs the table's path", "give it with --data table.csv")
    corpus = data.stem if module_name == "csv" else module_name
    if module_name not in corpora.NAMES and not (MANIFESTS / module_name / "all.csv").exists():
        raise UserError(f"unknown corpus '{module_name}'", f"take one of: {' '.join(corpora.NAMES)}")
    module = corpora.module(module_name if module_name in corpora.NAMES else "csv")
    hparams = Path(raw.hparams or getattr(module, "DEFAULT_HPARAMS", "hparams/mtl_wav2vec2.yaml"))
    refuse_missing_keys(hparams)
    name = raw.name or hparams.stem
    if not SAFE_NAME.fullmatch(name):
        raise UserError(f"--name '{name}' cannot be a folder's name", "use letters, digits and . _ + -")
    return Options(
        corpus=corpus,
        data=data,
        partial=_flag("partial", raw.partial or "false"),
        protocol=_one_of("protocol", raw.protocol or "speaker", protocols.WORDS),
        valid=_one_of("valid", raw.valid, protocols.VALID_WORDS) if raw.valid else "",
        hold_text=_flag("hold-text", raw.hold_text),
        folds=tuple(raw.folds.replace(",", " ").split()),
        seeds=tuple(dict.fromkeys(_whole("seeds", word, 0) for word in raw.seeds.replace(",", " ").split())) or (1,),
        hparams=hparams,
        name=name,
        jobs=_whole("jobs", raw.jobs, 1) if raw.jobs and raw.jobs != "auto" else None,
        processes=_whole("processes", raw.processes, 1),
        backend=_one_of("backend", raw.backend, BACKENDS),
        force=_flag("force", raw.force),
        overrides=_placed(parse_overrides(overrides, hparams)),
    )


def _placed(overrides: dict[str, Any]) -> dict[str, Any]:
    """Let an encoder that is a folder count from where the user stands, as run.sh tells, and see that it is there."""
    encoder = overrides.get("encoder")
    if isinstance(encoder, str) and encoder.startswith(("/", "./", "../", "~")):
        folder = Path(os.environ.get("SER_MTL_CALLER", "."), os.path.expanduser(encoder))
        if not folder.is_dir():
            raise UserError(f"--encoder {encoder}: there is no such folder", "give a folder, or a hub name")
        overrides["encoder"] = str(folder)
    return overrides


def _one_of(option: str, word: str, known) -> str:
    if word not in known:
        raise UserError(f"--{option} '{word}' is not known", f"take one of: {' '.join(known)}")
    return word


def _flag(option: str, word: str) -> bool:
    return _one_of(option, word.lower(), ("true", "false")) == "true"


def _whole(option: str, word: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", word) or int(word) < least:
        raise UserError(f"--{option} '{word}' is not a whole number of at least {least}", f"for example --{option} 1")
    return int(word)


def pick(wanted: tuple[str, ...], known: list[str], protocol: str) -> list[str]:
    """Take the folds wanted (none or `all`: all of them) of those known.

    Raises
    ------
    UserError
        The protocol has no such fold.
    """
    for fold in wanted:
        if fold not in known and fold != "all":
            raise UserError(f"protocol '{protocol}' has no fold '{fold}'", f"take all, or of: {' '.join(known)}")
    return known if not wanted or "all" in wanted else list(dict.fromkeys(wanted))


def check(options: Options, table: pd.DataFrame | None = None) -> None:
    """Refuse a protocol or folds that the corpus has not, and a cluster that is not there.

    Parameters
    ----------
    options
        What is asked for.
    table
        The corpus's utterances; None before they are read, when only the folds of a corpus whose
        facts are known can be checked.

    Raises
    ------
    UserError
        What the corpus has not, and what it has.
    """
    if options.backend == "slurm":
        cluster.refuse_without_slurm(options.values, options.processes)
    if table is not None:
        known = protocols.test_folds(table, options.protocol, options.recording_fold()).unique()
    elif facts := getattr(corpora.module(options.module_name), "FACTS", None):
        known = facts.sessions if options.protocol == "session" else facts.speakers
    else:
        return
    pick(options.folds, sorted(known), options.protocol)

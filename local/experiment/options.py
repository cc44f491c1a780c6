"""One experiment: the options of run.sh as every stage has them, and the paths that follow from them.

Whichever stage runs first checks them all, before it does anything. A new option is a field of `Options`
and a line of the help in run.sh; `local.experiment.command_line` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local import corpora
from local.config import cluster
from local.config.hparams import read_values
from local.core import markers
from local.core.errors import UserError
from local.corpora import manifest
from local.experiment import option_words as words
from local.splits import naming, protocols

if TYPE_CHECKING:
    import pandas as pd

MANIFESTS = Path("manifests")
RESULTS = Path("results")
BACKENDS = ("local", "slurm")


@dataclass(frozen=True)
class Options:
    """One experiment: the options of run.sh as typed values, with defaults where those are known by now."""

    corpus: str = field(metadata=words.option(words.text, "mini"))
    data: Path | None = field(metadata=words.option(words.path))
    columns: dict[str, str] = field(metadata=words.option(words.column_names))
    labels: Path | None = field(metadata=words.option(words.label_file))
    partial: bool = field(metadata=words.option(words.flag, "false"))
    protocol: str = field(metadata=words.option(words.one_of(*naming.WORDS)))
    valid: str = field(metadata=words.option(words.one_of(*naming.VALID_WORDS)))
    hold_text: bool = field(metadata=words.option(words.flag, "false"))
    extra_training: str = field(metadata=words.option(words.one_of(*naming.EXTRA_WORDS)))
    folds: tuple[str, ...] = field(metadata=words.option(words.several))
    seeds: tuple[int, ...] = field(metadata=words.option(words.seed_list))
    hparams: Path = field(metadata=words.option(words.path))
    name: str = field(metadata=words.option(words.text))
    jobs: int | None = field(metadata=words.option(words.job_count, "auto"))
    processes: int = field(metadata=words.option(words.whole(1), "1"))
    backend: str = field(metadata=words.option(words.one_of(*BACKENDS), "local"))
    force: bool = field(metadata=words.option(words.flag, "false"))
    last_epoch: bool = field(metadata=words.option(words.flag, "false"))
    test_corpus: str = field(metadata=words.option(words.text))
    stress: tuple[str, ...] = field(metadata=words.option(words.some_conditions))
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
            word = names if names in corpora.NAMES else "csv"
            data = f'"{" ".join(several)}"' if len(several) > 1 else f"{word} --data PATH"
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
            return naming.name_of_tested(self.source.corpus, self.source.protocol_name)
        return naming.path_name(self.chosen_protocol(), self.hold_text, self.valid)

    @property
    def valid_name(self) -> str:
        """The validation as tables name it, which say whether it is optimistic."""
        return naming.valid_name(self.chosen_valid())

    def folds_folder(self, valid: str) -> Path:
        """Where stage 1 writes: what is not the default, validation, tokens, extra training, is part of the name."""
        if self.source:
            return self.corpus_folder / naming.name_of_tested(self.source.corpus, self.source.folds_folder(valid).name)
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
        """The utterances of the table that the protocol uses; see `protocols.used`."""
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
    def audio_name(self) -> str:
        """What is digested of it: not the corpus alone where the audio of `--extra-training` is with it."""
        with_extra = self.extra_training and not self.source
        return f"{self.corpus} with {self.extra_training}" if with_extra else self.corpus

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
        return self.default_protocol(self.table) if is_known else naming.DEFAULT

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
        protocol = options.protocol or naming.DEFAULT
        if protocol in (naming.OFFICIAL, naming.CORPUS):  # that the table alone knows
            return
        known = {"session": [*facts.sessions], "random": [*protocols.RANDOM_FOLDS]}.get(protocol, [*facts.speakers])
    else:
        return
    pick(options.folds, sorted(known), protocol)

"""Label maps: which label is used for each label of a corpus, so that corpora with other classes can be compared.

A map is a CSV with a header, or a YAML:

=======  ====================================================================================
label    of the corpus, in any case; the codes of `hparams/labels/aliases.csv` have aliases, as `angry` for `ang`
used     what it becomes; empty: its utterances are left out, and stage 0 says how many
corpus   optional: the row is of this corpus alone, and goes before one without
=======  ====================================================================================

A YAML has `label: used` on a line each, `label:` leaves out, and `corpus: {label: used}` is of that corpus alone. Every
label of the corpus must be in the map. The name of a map is that of its file: `nemo@4class` is the name of a corpus in
every path and on every table. Ready maps, `--labels 4class` and so on, are in `hparams/labels`.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from local.core.counted import counted
from local.core.errors import UserError
from local.core.files import digest
from local.corpora import MAPPED, NAMES, Corpus, releases
from local.corpora.aliases import ALIASES, READY, aliases, code_of
from local.corpora.faults import Fault
from local.corpora.labels import SIGNS, fold
from local.corpora.manifest import column, concat
from local.corpora.names import is_name
from local.corpora.rows import rows

SUFFIXES = (".csv", ".yaml", ".yml")
SHOWN = 20

Key = tuple[str, str]  # corpus, or empty for all; label: in a map in lower case, and as `fold` makes it


@dataclass(frozen=True)
class LabelMap:
    """A map of labels.

    Attributes
    ----------
    path
        Its file.
    used
        What a label becomes; empty where it is left out.
    written
        The same by the label as the file has it, of the rows that are for all corpora.
    """

    path: Path
    used: Mapping[Key, str]
    written: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name in paths and on tables."""
        return self.path.stem

    @property
    def is_ready(self) -> bool:
        """Whether it is one of ours, in `hparams/labels`."""
        return self.path.resolve().parent == READY.resolve()

    @classmethod
    def read(cls, path: Path, least: int = 2) -> LabelMap:
        """Read a map.

        A `UserError` names every line that is wrong, or says that fewer than `least` (0 or 2) labels are used.
        """
        read = _read_yaml if path.suffix.lower() != ".csv" else _read_csv
        used, written, spelled, wrong = {}, {}, {}, []
        for where, (corpus, name), label in read(path):
            key = corpus.casefold(), fold(name)
            written |= {} if corpus else {name: label}
            if label and not is_name(label, SIGNS):
                wrong.append(f"{where}: {label!r} has characters other than letters, digits, _ and -")
            if spelled.setdefault(fold(label), label) != label:
                wrong.append(f"{where}: {label!r} here is {spelled[fold(label)]!r} before: spell it in one way")
            if used.setdefault(key, label) != label:
                of = f" of corpus {key[0]}" if key[0] else ""
                wrong.append(f"{where}: label {key[1]!r}{of} becomes {label!r} here and {used[key]!r} before")
        if wrong:
            raise UserError("\n  ".join([f"{path} is no map of labels:", *wrong[:SHOWN]]), "correct its lines")
        if not used or len(set(used.values()) - {""}) < least:
            what = "fewer than two labels are used" if used else "no label is in it"
            raise UserError(f"{path}: {what}", "let labels become two or more" if used else "add a line for each label")
        return cls(path, used, written)

    def label_of(self, label: str, corpus: str) -> str | None:
        """What a corpus's label becomes, empty where it is left out, or None for one that the map has not."""
        code = code_of(label, corpus) or label
        of = corpus.casefold()
        keys = ((of, fold(label)), ("", fold(label)), (of, fold(code)), ("", fold(code)))
        return next((self.used[key] for key in keys if key in self.used), None)

    def apply(self, corpus: Corpus) -> Corpus:
        """The corpus with the labels of the map; those that it had are in the column `label`.

        Utterances that the map leaves out are among its `extra`.

        A `UserError` names, with a suggestion, each label that the map has not, or says that one emotion is left.
        """
        table = corpus.table
        origin = column(table, "corpus").where(column(table, "corpus") != "", corpus.name)
        pairs = Counter(zip(origin, table["emo"], strict=True))
        becomes = {pair: self.label_of(pair[1], pair[0]) for pair in pairs}
        if unknown := {pair: pairs[pair] for pair, used in becomes.items() if used is None}:
            self._refuse(unknown)
        used = [becomes[pair] for pair in zip(origin, table["emo"], strict=True)]
        whole = table.assign(label=table["emo"], emo=used)
        mapped, left = (whole[kept].reset_index(drop=True) for kept in (whole["emo"] != "", whole["emo"] == ""))
        if mapped["emo"].nunique() < 2:
            left = f"only {mapped['emo'].iloc[0]!r} is left" if len(mapped) else "nothing is left"
            raise UserError(f"labels of {self.path} in corpus {corpus.name}: {left}", "take another map")
        words, warnings = self._words(pairs, becomes), [*corpus.warnings, *self._of_no_corpus({*origin})]
        extra = left if corpus.extra is None else concat([left, corpus.extra])
        name = f"{corpus.name}{MAPPED}{self.name}"
        return replace(corpus, name=name, table=mapped, labels=words, warnings=warnings, extra=extra)

    def _of_no_corpus(self, here: Collection[str]) -> list[str]:
        """Say which rows are of a corpus that is neither here nor, under another name, elsewhere: probably mistyped."""
        told = []
        of_here = {name.casefold(): name for name in here}
        others = {name for name in NAMES if releases(name).isdisjoint(set().union(*map(releases, here)))}
        for corpus in sorted({corpus for corpus, _ in self.used} - {"", *of_here, *others}):
            close = difflib.get_close_matches(corpus, [*of_here, *others], 1)
            same = [name for name in of_here if releases(name) & releases(corpus)]
            near = next(iter(same or close), "")
            mean = f": did you mean {of_here.get(near, near)!r}?" if near else ""
            count = sum(of == corpus for of, _ in self.used)
            told.append(f"{self.path}: {counted(count, 'row')} of corpus {corpus!r}, which is not here, not used{mean}")
        return told

    def _words(self, pairs: Mapping[Key, int], becomes: Mapping[Key, str | None]) -> str:
        """Say what each label became, with the number of utterances of each."""
        merged: dict[str, Counter[str]] = {}
        for pair, n in sorted(pairs.items()):
            merged.setdefault(becomes[pair] or "", Counter())[pair[1]] += n
        left_out = merged.pop("", Counter())
        parts = [f"{used} of {_counts(labels)}" for used, labels in sorted(merged.items())]
        left = f"left out: {_counts(left_out)}" if left_out else "none is left out"
        return f"map {self.name} ({digest(self.path)[:8]}): {'; '.join(parts)}; {left}"

    def _refuse(self, unknown: Mapping[Key, int]) -> None:
        words, lines = {alias for _, alias in aliases()}, []
        for (corpus, label), n in unknown.items():
            known = {mapped for _, mapped in self.used} | (set() if fold(label) in words else words)
            near = difflib.get_close_matches(fold(label), sorted(known), 1)
            mean = f": did you mean {near[0]!r}?" if near else ""
            lines.append(f"corpus {corpus}: label {label!r} ({counted(n, 'row')}) is not in it{mean}")
        raise UserError(
            "\n  ".join([f"{self.path} lacks labels:", *lines[:SHOWN]]),
            "add a line for each: `label,used`, or `label,` to leave it out",
        )


def locate(word: str, folder: Path) -> Path:
    """The file of a map: a path, which counts from `folder`, or the name of a ready one; a `UserError` if absent."""
    for path in (folder / Path(word).expanduser(), READY / f"{word}.csv"):
        if path.is_file() and path.suffix.lower() in SUFFIXES and path.stem != ALIASES:
            if not is_name(path.stem, "_.-"):
                raise UserError(
                    f"--labels {word}: {path.stem!r} cannot name a folder", "rename the file: letters, digits"
                )
            return path
    names = " ".join(path.stem for path in sorted(READY.glob("*.csv")) if path.stem != ALIASES)
    raise UserError(f"--labels '{word}' is neither a file in CSV or YAML nor a ready map", f"take one of: {names}")


def _counts(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {n}" for label, n in sorted(labels.items()))


def _read_csv(path: Path) -> Iterable[tuple[str, Key, str]]:
    """Each line of a CSV: where it is, the label with its corpus, and what it becomes."""
    faults: list[Fault] = []
    found = rows(path, ("label", "used"), faults, ",;\t")
    faults += [Fault(path.name, line, "", "label is empty") for line, row in found if not row["label"]]
    if faults:
        raise UserError("\n  ".join([f"{path} is no map of labels:", *map(str, faults[:SHOWN])]), "correct its lines")
    for line, row in found:
        yield f"{path.name}:{line}", (row.get("corpus", ""), row["label"]), row["used"]


def _read_yaml(path: Path) -> Iterable[tuple[str, Key, str]]:
    """The same of a YAML."""
    import ruamel.yaml  # a quarter of a second to load

    try:
        found = ruamel.yaml.YAML(typ="safe").load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, ruamel.yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}", "correct it") from None
    if not isinstance(found, dict):
        raise UserError(
            f"{path} is no map of labels: it has no lines `label: used`", "write `label: used` on each line"
        )
    for label, used in found.items():
        entries = used.items() if isinstance(used, dict) else [(label, used)]
        for each, becomes in entries:
            corpus = str(label) if isinstance(used, dict) else ""
            yield path.name, (corpus, str(each)), "" if becomes is None else str(becomes)

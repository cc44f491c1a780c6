"""Predictions of a model that was not trained here, on our folds: matched to the corpus, in its labels, of every fold.

An utterance without a prediction counts as an error, and so does a class that the corpus lacks. What a file has beyond
the corpus is left out only if that was asked for, and counted.
"""

from __future__ import annotations

import shutil
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from local.core.errors import UserError
from local.corpora import manifest
from local.corpora.faults import Fault, listing
from local.corpora.label_map import LabelMap
from local.corpora.rows import NOT_UTF8, as_utf8
from local.scoring import metrics, stats
from local.scoring.foreign_files import Files, Row
from local.scoring.foreign_labels import ModelLabels, map_labels
from local.scoring.predictions import MISSING, columns, is_class, labels, read, write, writes_text
from local.scoring.summary import write_scores

SEED = 0  # in the paths and columns where a training has its seed
NO_ROW = "no row of the predictions is of it"
SHOWN = 5  # names in a message
REMEDY = "name the utterances as manifests/<corpus>/all.csv does, by ID or wav, each once"
OF_POSTERIORS = "give in each row the probabilities of all labels, with a decimal point, or none at all"


@dataclass(frozen=True)
class Matched:
    """Rows by the fold that tests an utterance and its ID."""

    rows: dict[tuple[str, str], Row]
    left_out: list[Fault] = field(default_factory=list)  # rows that are of no utterance of the corpus, or unreadable
    untested: int = 0  # rows of utterances that none of the folds tests


def match(
    files: Files, utterances: pd.DataFrame, data_root: Path, tests: Mapping[str, pd.DataFrame], partial: bool = False
) -> Matched:
    """Find the utterance of each row; `tests` are the test sets of all folds of the protocol.

    A `UserError` lists the rows that may be of several utterances, are of one that has a row already, or are of a fold
    that does not test theirs; and, unless `partial`, those that are of none, or cannot be read.
    """
    find = _Finder(utterances, data_root)
    folds = defaultdict(list)
    for fold, tested in tests.items():
        for name in tested["ID"]:
            folds[name].append(fold)
    rows: dict[tuple[str, str], Row] = {}
    untested, wrong, unknown = 0, [*files.wrong], [*files.broken]
    for row in files.rows:
        found = find.by_id(row.key) if files.by_id else find.by_wav(row.key)
        if len(found) != 1:
            what = f"{files.taken['key']} {row.key!r}"
            names = ", ".join(found[:SHOWN]) + " ..." * (len(found) > SHOWN)
            reason = f"may be any of {len(found)} utterances: {names}" if found else "is not in the corpus"
            (wrong if found else unknown).append(Fault(row.file, row.line, "", f"{what} {reason}"))
            continue
        (name,) = found
        if not folds[name]:
            untested += 1
            continue
        if row.fold and row.fold not in folds[name]:
            wrong.append(Fault(row.file, row.line, name, f"fold {row.fold!r} does not test {name!r}"))
            continue
        for fold in [row.fold] if row.fold else folds[name]:
            if first := rows.get((fold, name)):
                twice = f"{name!r} has a prediction already, in line {first.line} of '{first.file}'"
                wrong.append(Fault(row.file, row.line, name, twice))
                break
            rows[fold, name] = row
    if wrong or (unknown and not partial):
        hint = "" if wrong else "; or leave these rows out: --partial true"
        remedy = OF_POSTERIORS if wrong and wrong == files.wrong else REMEDY + hint
        if not wrong and any(NOT_UTF8 in fault.reason for fault in unknown):
            remedy = as_utf8("WINDOWS-1252") + hint
        raise UserError(listing("predictions", [*wrong, *(() if partial else unknown)]), remedy)
    return Matched(rows, unknown, untested)


def labels_of(files: Files, classes: Sequence[str], label_map: LabelMap | None = None) -> ModelLabels:
    """The labels of files as those of the corpus; see `map_labels`."""
    found = {*files.labels, *(row.label for row in files.rows if row.label)}
    return map_labels(found, classes, label_map, complete=bool(files.labels))


@dataclass(frozen=True)
class Foreign:
    """Predictions of a model that was not trained here, on our folds."""

    files: Files
    mapped: ModelLabels
    matched: Matched
    tables: dict[str, pd.DataFrame]  # the predictions of each fold
    missing: pd.DataFrame  # what has none: `fold,ID,wav,reason`


def on_folds(
    files: Files,
    mapped: ModelLabels,
    utterances: pd.DataFrame,
    data_root: Path,
    tests: Mapping[str, pd.DataFrame],
    chosen: Sequence[str],
    partial: bool = False,
) -> Foreign:
    """The predictions of the `chosen` folds; see `match`, also for errors.

    A `UserError`, too, where no utterance has a prediction.
    """
    matched = match(files, utterances, data_root, tests, partial)
    tables, missing = predictions_of({fold: tests[fold] for fold in chosen}, matched, files, mapped)
    if len(missing) == sum(map(len, tables.values())):
        raise UserError("no tested utterance has a prediction", "give predictions of this corpus and these folds")
    return Foreign(files, mapped, matched, tables, missing)


class _Finder:
    """Finds the utterances that a name may mean."""

    def __init__(self, utterances: pd.DataFrame, data_root: Path) -> None:
        self.names = set(utterances["ID"])
        self.root = _plain(str(data_root))
        self.of_file: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        for wav, name in zip(utterances["wav"], utterances["ID"], strict=True):
            parts = PurePosixPath(_plain(wav).removeprefix(manifest.DATA_ROOT).lstrip("/")).parts
            self.of_file[parts[-1]].append((parts, name))

    def by_id(self, key: str) -> list[str]:
        """The ID itself, if the corpus has it."""
        return [name for name in [unicodedata.normalize("NFC", key), key] if name in self.names][:1]

    def by_wav(self, key: str) -> list[str]:
        """Those utterances whose path is the given one, ends with it, or is its end: the longest of such ends."""
        path = _plain(key)
        for root in (manifest.DATA_ROOT, self.root):
            if path.startswith(f"{root}/"):
                whole = PurePosixPath(path.removeprefix(root).lstrip("/")).parts
                return [name for parts, name in self.of_file.get(whole[-1] if whole else "", []) if parts == whole]
        given = tuple(part for part in PurePosixPath(path).parts if part not in ("/", ".."))
        if not given:
            return []
        shared = {}
        for whole, name in self.of_file.get(given[-1], []):
            parts = tuple(part for part in whole if part != "..")  # of a table that lies elsewhere than its audio
            length = min(len(parts), len(given))
            if parts[-length:] == given[-length:]:
                shared[name] = length, whole == PurePosixPath(path).parts
        best = max(shared.values(), default=None)
        return [name for name, value in shared.items() if value == best]


def _plain(path: str) -> str:
    return unicodedata.normalize("NFC", path.replace("\\", "/"))


def predictions_of(
    tests: Mapping[str, pd.DataFrame], matched: Matched, files: Files, mapped: ModelLabels
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """The predictions of the folds of `tests`, and what lacks one: `fold,ID,wav,reason`.

    The labels are the corpus's, then what is none of its classes.
    """
    known = {(fold, name): matched.rows.get((fold, name)) for fold, table in tests.items() for name in table["ID"]}
    lacking = {place: row.reason if row else NO_ROW for place, row in known.items() if not (row and row.label)}
    used = [row for row in known.values() if row and row.label]
    found = {mapped.targets[label] for row in used for label in (row.label, *row.posteriors)}
    outside = sorted(target for target in found if not is_class(target))
    names = [*mapped.classes, *outside, *([MISSING] if lacking else [])]
    text = bool(files.taken["text"])
    tables = {}
    for fold, tested in tests.items():
        rows = [
            (name, emo, *_cells(known[fold, name], mapped, names), wrd, *([_text(known[fold, name])] if text else []))
            for name, emo, wrd in zip(tested["ID"], tested["emo"], tested["wrd"], strict=True)
        ]
        tables[fold] = pd.DataFrame(rows, columns=columns(names, text)).sort_values("ID", ignore_index=True)
    paths = {name: wav for table in tests.values() for name, wav in zip(table["ID"], table["wav"], strict=True)}
    missing = [(fold, name, paths[name], reason) for (fold, name), reason in lacking.items()]
    return tables, pd.DataFrame(missing, columns=["fold", "ID", "wav", "reason"])


def _cells(row: Row | None, mapped: ModelLabels, names: list[str]) -> tuple[Any, ...]:
    """Hypothesis and posteriors (nan where there are none) of an utterance."""
    if row is None or not row.label:
        return MISSING, *[np.nan] * len(names)
    if not row.posteriors:
        return mapped.targets[row.label], *[np.nan] * len(names)
    shares = dict.fromkeys(names, 0.0)
    for label, share in row.posteriors.items():
        shares[mapped.targets[label]] += share
    return mapped.targets[row.label], *(min(share, 1.0) for share in shares.values())


def _text(row: Row | None) -> str:
    return row.text if row is not None and row.label else ""


def write_runs(folder: Path, found: Foreign, about: Mapping[str, str]) -> pd.DataFrame:
    """Write predictions.csv and scores.json of every fold, in place of earlier ones; returns the rows of folds.csv.

    `about` are its first columns, see `local.scoring.summary`.
    """
    seed = folder / f"seed{SEED}"
    shutil.rmtree(seed, ignore_errors=True)
    rows = []
    for fold, table in found.tables.items():
        write(seed / fold / "predictions.csv", table)
        scores = write_scores(seed / fold, read(seed / fold / "predictions.csv", may_lack=True))
        rows.append({**about, "seed": SEED, "fold": fold, "epoch": "", "commit": "", "config": "", **scores})
    return pd.DataFrame(rows)


def of_foreign(pooled: pd.DataFrame, mapped: ModelLabels) -> dict[str, Any]:
    """What summary.csv says of a model that was not trained here, besides the scores of all utterances.

    `missing`: utterances without a prediction; `outside`: predictions of no class of the corpus, and `outside_classes`,
    which ones. Where the model lacks classes of the corpus: `fair_classes`, the others, and of the utterances of these,
    `fair_n` in number, each score and its interval as `fair_<score>`, `fair_<score>_low`, `fair_<score>_high`.
    """
    counts = Counter(label for label in pooled["emo_hyp"] if not is_class(label) and label != MISSING)
    classes = ", ".join(f"{label.strip('()')} {count}" for label, count in sorted(counts.items()))
    row = {"missing": int((pooled["emo_hyp"] == MISSING).sum()), "outside": counts.total(), "outside_classes": classes}
    fair = [label for label in labels(pooled) if is_class(label) and label not in mapped.lacking]
    subset = pooled[pooled["emo"].isin(fair)]
    if not mapped.lacking or subset.empty:
        return row
    row["fair_classes"] = " ".join(fair)
    row |= {f"fair_{name}": value for name, value in metrics.scores(subset).items()}
    for name, ends in stats.intervals(subset).items():
        row |= {f"fair_{name}_{end}": value for end, value in zip(("low", "high"), ends, strict=True)}
    return row


def is_reference(found: Foreign) -> bool:
    """Whether all transcripts are the references, to the letter: a file may have these under the name of the others."""
    tables = found.tables.values()
    return all(writes_text(table) and (table["wrd"] == table["wrd_hyp"]).all() for table in tables) and any(
        (table["wrd"] != "").any() for table in tables
    )


def labels_are_references(found: Foreign) -> bool:
    """Whether every label is the reference, so that the column may be the corpus's own and no prediction.

    Not where the posteriors say the same: these are of a model.
    """
    rows = pd.concat(found.tables.values())
    rows = rows[rows["emo_hyp"] != MISSING]
    by_model = bool(found.files.labels) and not decisions_differ(found.files.rows, found.mapped)
    return bool(found.files.taken["label"]) and not by_model and bool((rows["emo"] == rows["emo_hyp"]).all())


def decisions_differ(rows: Sequence[Row], mapped: ModelLabels) -> int:
    """How many rows have another label than the likeliest of their posteriors; two spellings of a class are one."""
    count = 0
    for row in rows:
        if row.label and row.posteriors:
            target = mapped.targets[row.label]
            own = [share for label, share in row.posteriors.items() if mapped.targets[label] == target]
            count += max(own, default=0) < max(row.posteriors.values())
    return count

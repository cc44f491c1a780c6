"""Predictions of a model that was not trained here, as somebody has them: CSV files with a row an utterance.

=============  =====================================================================================================
an utterance   column `ID`, or `wav`: a path, its end, the file's name alone, or as in our tables (`$data_root/...`)
its label      one of `LABELS`, the first that is there; without any, the likeliest posterior
posteriors     columns `p_<label>`, for each label of the model; or none
transcript     one of `TEXTS`; or none
fold           column `fold`; or the name of the file or of its folder, if all files are named after folds
=============  =====================================================================================================

The case of these names does not count, and `--columns` names others. A row without a label says that there is no
prediction, and in a column `error` why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.core.errors import UserError
from local.corpora.columns import refuse_absent
from local.corpora.faults import Fault
from local.corpora.own_columns import CALLED, SEPARATORS
from local.corpora.rows import header_of, rows
from local.scoring.predictions import POSTERIOR
from local.text.normalise import normalise

KEYS = {name: (name.lower(), *CALLED[name].split()) for name in ("ID", "wav")}
LABELS = ("emo_hyp", "pred", "prediction", "predicted", "predicted_label", "predicted_emotion", "hypothesis")
OF_REFERENCES = ("label", "emotion")  # as the corpus's own labels are called, too
LABELS += OF_REFERENCES
TEXTS = ("wrd_hyp", "text_hyp", "transcript", "transcription", "text")
FOLD, ERROR = "fold", "error"
OURS = {"ID": "key", "wav": "key", "emo_hyp": "label", "wrd_hyp": "text", FOLD: "fold"}  # what may be named
NO_LABEL = "its label is empty"
ROUNDING = 0.005 + 1e-9  # of a posterior: some have two digits, so that the sum of n may differ from 1 by n times that


@dataclass(frozen=True)
class Row:
    """What a file says of an utterance."""

    file: str
    line: int
    key: str  # its ID or wav
    fold: str  # empty where the file does not say
    label: str  # the model's own; empty where there is no prediction
    posteriors: dict[str, float]  # by the model's labels; empty where there are none
    text: str  # as our transcripts are written
    reason: str  # why there is no prediction


@dataclass(frozen=True)
class Files:
    """All rows of several files."""

    rows: list[Row]
    taken: dict[str, str]  # the column that is taken for `key`, `label`, `text`, `fold`; empty where there is none
    labels: list[str]  # of the posteriors; empty where there are none
    broken: list[Fault] = field(default_factory=list)  # rows that cannot be read
    wrong: list[Fault] = field(default_factory=list)  # rows whose posteriors are none
    named_by: str = ""  # ID or wav, where the user says which

    @property
    def by_id(self) -> bool:
        """Whether utterances are named by ID, and not by wav."""
        return self.named_by == "ID" if self.named_by else _plain(self.taken["key"]) in KEYS["ID"]


def read(paths: Sequence[Path], folds: Collection[str], given: Mapping[str, str] | None = None) -> Files:
    """Read files whose columns have the same meaning; `folds` are those of the protocol.

    `given` are columns that the user names, by `OURS`. A `UserError` if a file is missing or lacks a column, or two
    have other columns.
    """
    columns = [_columns(path, given or {}) for path in paths]
    for path, other in zip(paths, columns, strict=True):
        if other != columns[0]:
            raise UserError(
                f"{path} has other columns than {paths[0]}: {_shown(other)}, not {_shown(columns[0])}",
                "give files with the same columns",
            )
    taken, posteriors = columns[0]
    named = [_fold_of(path, folds) for path in paths]
    named_by = next((name for name in KEYS if name in (given or {})), "")
    files = Files([], taken, [column[len(POSTERIOR) :] for column in posteriors], named_by=named_by)
    for path, fold in zip(paths, named, strict=True):
        required = tuple(filter(None, (taken["key"], taken["label"] or posteriors[0])))
        broken: list[Fault] = []
        for line, row in rows(path, required, broken, SEPARATORS):
            shares, wrong = _posteriors(row, posteriors)
            files.wrong.extend(Fault(path.name, line, row[taken["key"]], each) for each in wrong)
            label = (taken["label"] and row[taken["label"]]) or max(shares, key=shares.get, default="")
            reason = "" if label else next((row[name] for name in row if _plain(name) == ERROR and row[name]), NO_LABEL)
            of_fold = row[taken["fold"]] if taken["fold"] else fold if all(named) else ""
            text = as_ours(row[taken["text"]]) if taken["text"] else ""
            files.rows.append(Row(path.name, line, row[taken["key"]], of_fold, label, shares, text, reason))
        files.broken.extend(broken)
    return files


def _columns(path: Path, given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Which columns of a file are taken for what, and those of posteriors."""
    found = header_of(path, SEPARATORS)
    refuse_absent(str(path), found, given)
    plain = {_plain(column): column for column in reversed(found)}

    def first(names: Sequence[str]) -> str:
        return next((plain[name] for name in names if name in plain), "")

    posteriors = sorted(name for name in found if name.lower().startswith(POSTERIOR) and len(name) > len(POSTERIOR))
    taken = {"key": first([*KEYS["ID"], *KEYS["wav"]]), "label": first(LABELS), "text": first(TEXTS)}
    taken["fold"] = first([FOLD])
    # Sorted so that ID goes before wav, where both are given.
    taken |= {OURS[here]: plain[_plain(given[here])] for here in sorted(given, reverse=True)}
    has = f"it has {', '.join(found)}" if any(found) else "it is empty"
    if not taken["key"]:
        raise UserError(f"{path} has no column ID or wav ({has})", "name the column of the utterances ID, or wav")
    if not (taken["label"] or posteriors):
        raise UserError(f"{path} has no column of predicted labels ({has})", f"name one of: {', '.join(LABELS)}")
    return taken, posteriors


def is_named_as_references(column: str) -> bool:
    """Whether a column of labels may be the corpus's own by its name."""
    return _plain(column) in OF_REFERENCES


def _plain(column: str) -> str:
    return re.sub(r"[\s-]+", "_", column.casefold())


def _shown(columns: tuple[dict[str, str], list[str]]) -> str:
    taken, posteriors = columns
    return ", ".join([*filter(None, taken.values()), *posteriors])


def _fold_of(path: Path, folds: Collection[str]) -> str:
    """The fold that a file is named after, or its folder, as in `seed1/<fold>/predictions.csv`; empty if none."""
    return next((name for name in (path.stem, path.absolute().parent.name) if name in folds), "")


def _posteriors(row: dict[str, str], columns: list[str]) -> tuple[dict[str, float], list[str]]:
    """The posteriors of a row by label, none where all cells are empty; and what is wrong with them."""
    if not any(row[column] for column in columns):
        return {}, []
    shares = {}
    for column in columns:
        try:
            shares[column[len(POSTERIOR) :]] = float(row[column])
        except ValueError:
            return {}, [f"{column} {row[column]!r} is not a number"]
    if not all(0 <= share <= 1 for share in shares.values()):
        return {}, ["a posterior is not between 0 and 1: give probabilities, not logits"]
    if abs(math.fsum(shares.values()) - 1) > ROUNDING * len(shares):
        return {}, [f"the posteriors add up to {math.fsum(shares.values()):.3f}, not to 1"]
    return shares, []


def as_ours(text: str) -> str:
    """A transcript as ours are written; of one that is so already, an apostrophe alone stays, as of a CTC head.

    >>> as_ours("It's  me - no!"), as_ours("IT'S ' ME")
    ("IT'S ME NO", "IT'S ' ME")
    """
    normalised = normalise(text)
    kept = " ".join(word for word in text.split(" ") if word.strip("'"))
    return text if kept == normalised else normalised

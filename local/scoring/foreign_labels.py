"""Labels of a model that was not trained here, as those of the corpus.

A label of the corpus stays what it is, also in other spelling; another is looked up in `local.corpora.aliases`. A file
of `--labels` comes before that: a CSV with the header `label,used`, a label of the model and the corpus's, which is
empty for a class that the corpus lacks. Such a class is named in parentheses (`local.scoring.predictions`).
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.core.errors import UserError
from local.corpora.aliases import code_of, codes_of
from local.corpora.labels import fold


@dataclass(frozen=True)
class ModelLabels:
    """What each label of a model is here."""

    targets: dict[str, str]  # the corpus's label, or a name in parentheses
    classes: list[str]  # the corpus's
    complete: bool  # whether `targets` has all labels of the model, and not only those that it happened to predict

    @property
    def lacking(self) -> list[str]:
        """The corpus's classes that the model is known to lack."""
        return [label for label in self.classes if label not in self.targets.values()] if self.complete else []

    @property
    def unpredicted(self) -> list[str]:
        """The corpus's classes that no prediction has, where it is not known whether the model has them."""
        return [] if self.complete else [label for label in self.classes if label not in self.targets.values()]

    def lines(self) -> list[str]:
        """Each label with what it is here, where that is another."""
        return [
            f"{label} is {target if target in self.classes else 'no class of the corpus'}"
            for label, target in sorted(self.targets.items())
            if label != target
        ]


def map_labels(
    labels: Collection[str], classes: Sequence[str], listed: dict[str, str] | None = None, complete: bool = False
) -> ModelLabels:
    """Map the labels of a model to the `classes` of the corpus.

    `listed` are those of `read_listed`; if they have all of `labels`, the model has no others, as with `complete`:
    otherwise `labels` are those that it happened to predict. A `UserError` names labels that are not known, or may be
    several classes, and there is one if the model has none of the classes.
    """
    listed = listed or {}
    every = sorted({*labels, *listed})
    codes = codes_of([label for label in labels if label not in listed and label not in classes])
    own = codes_of(classes)
    of_class = {each: own.get(each) or code_of(each) or each for each in classes}
    targets = {label: target or f"({label})" for label, target in listed.items()}
    wrong = []
    for label in (label for label in every if label not in listed):
        code = codes.get(label) or code_of(label)
        found = [each for each in classes if label == each] or [each for each in classes if fold(label) == fold(each)]
        found = found or [each for each in classes if code == of_class[each]]
        if len(found) > 1:
            wrong.append(f"  {label!r} may be {' or '.join(found)}")
        elif found or code:
            targets[label] = found[0] if found else f"({code})"
        else:
            near = difflib.get_close_matches(label, [*classes, *listed], n=1)
            wrong.append(f"  {label!r}" + (f": did you mean {near[0]!r}?" if near else ""))
    if wrong:
        raise UserError(
            "\n".join([f"labels of the model are unknown; the corpus has {' '.join(classes)}:", *wrong]),
            "--labels FILE: a CSV with the header label,used: the model's label and the corpus's, empty for a class "
            "that the corpus lacks",
        )
    if every and not {*classes} & {*targets.values()}:
        raise UserError(
            f"the model has none of the corpus's classes: {' '.join(every)}, and the corpus {' '.join(classes)}",
            "give --labels FILE, or another corpus",
        )
    return ModelLabels(targets, list(classes), complete or (bool(listed) and listed.keys() >= {*labels}))


def read_listed(path: Path, classes: Collection[str]) -> dict[str, str]:
    """Read the file of `--labels`: the corpus's label by the model's; empty for a class that the corpus lacks."""
    remedy = f"a header, then two fields a line: the model's label, and one of {' '.join(classes)} or nothing"
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}", remedy) from None
    listed: dict[str, str] = {}
    for number, fields in enumerate(lines, start=1):
        cells = [field.strip() for field in fields]
        if not any(cells):
            continue
        if len(cells) != 2 or not cells[0]:
            raise UserError(f"{path}:{number}: it has not two fields, the first of them filled", remedy)
        label, target = cells
        if number == 1:
            if target in classes:
                raise UserError(f"{path}:1: the header is missing", remedy)
        elif label in listed:
            raise UserError(f"{path}:{number}: the label {label!r} is there twice", remedy)
        elif target and target not in classes:
            near = difflib.get_close_matches(target, classes, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"{path}:{number}: the corpus has no label {target!r}{hint}", remedy)
        else:
            listed[label] = target
    if not listed:
        raise UserError(f"{path} has no label", remedy)
    return listed

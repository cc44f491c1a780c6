"""Labels of a model that was not trained here, as those of the corpus.

A label of the corpus stays what it is, also in other spelling; another is looked up in `local.corpora.aliases`. A map
of `--labels` comes before that (`local.corpora.label_map`): a label of the model and the corpus's, which is empty for a
class that the corpus lacks. Such a class is named in parentheses (`local.scoring.predictions`).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from local.core.errors import UserError
from local.corpora.aliases import code_of, codes_of
from local.corpora.label_map import LabelMap
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
    labels: Collection[str], classes: Sequence[str], label_map: LabelMap | None = None, complete: bool = False
) -> ModelLabels:
    """Map the labels of a model to the `classes` of the corpus.

    If a map of the user's own has all of `labels`, the model has no others, as with `complete`: otherwise `labels` are
    those that it happened to predict. A `UserError` names labels that are not known, or may be several classes, and
    there is one if the model has none of the classes.
    """
    listed = listed_in(label_map, labels, classes) if label_map else {}
    is_whole = bool(listed) and listed.keys() >= {*labels} and not label_map.is_ready
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
            "--labels MAP: a ready one, or a CSV with the header label,used: the model's label and the corpus's, empty "
            "for a class that the corpus lacks",
        )
    if every and not {*classes} & {*targets.values()}:
        raise UserError(
            f"the model has none of the corpus's classes: {' '.join(every)}, and the corpus {' '.join(classes)}",
            "give --labels MAP, or another corpus",
        )
    return ModelLabels(targets, list(classes), complete or is_whole)


def listed_in(label_map: LabelMap, labels: Collection[str], classes: Sequence[str]) -> dict[str, str]:
    """What a map says of a model's labels: the corpus's label, empty for a class that the corpus lacks.

    Of a map of the user's own it has all that it lists: these are probably the labels of the model. A `UserError` where
    a label becomes none of the corpus, nor a class that is known elsewhere.
    """
    found = {label: used for label in labels if (used := label_map.label_of(label, "")) is not None}
    if not label_map.is_ready:
        known = {fold(label) for label in labels}
        found |= {label: used for label, used in label_map.written.items() if fold(label) not in known}
    own = {fold(each): each for each in classes}
    for label, used in found.items():
        if used and fold(used) not in own and code_of(used) is None:
            near = difflib.get_close_matches(used, classes, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(
                f"{label_map.path}: label {label!r} becomes {used!r}, and the corpus has no such label{hint}",
                f"let it become one of {' '.join(classes)}, or nothing for a class that the corpus lacks",
            )
    return {label: own.get(fold(used), "") for label, used in found.items()}

"""Which epoch of a training is chosen, and when there will be no better one: `selection` and `patience` of the YAML.

`selection` is a figure of the validation set in epochs.csv, with or without `valid_`; or `last`, which takes the last
epoch though there is a validation set. What follows the last epoch, `System.solve`, is chosen before any of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from local.core.errors import UserError
from local.training.checkpoints import rank

# Whether higher is better.
FIGURES = {"ua": True, "wa": True, "f1": True, "wf1": True, "wer": False, "cer": False, "loss": False}
OF_TEXT, OF_EMOTIONS = ("wer", "cer"), ("ua", "wa", "f1", "wf1")
LAST = "last"


class Selection:
    """The choice by a figure.

    `name` is the YAML's `selection`. A `UserError` if there is no such figure, or the system writes no text and the
    figure is one of texts, or its emotion head is not trained and it is one of `emotions`.
    """

    def __init__(self, name: str, writes_text: bool = True, emotions: bool = True) -> None:
        name = str(name)  # of a YAML, which may have anything
        self.figure = name if name == LAST else name.removeprefix("valid_")
        if self.figure not in (*FIGURES, LAST) or name == f"valid_{LAST}":
            known = " ".join([*(f"valid_{each}" for each in FIGURES), LAST])
            raise UserError(f"selection is '{name}'", f"set selection to one of: {known}")
        if self.figure in OF_TEXT and not writes_text:
            raise UserError(f"selection is '{name}', and the system writes no text", "set selection to valid_ua")
        if self.figure in OF_EMOTIONS and not emotions:
            better = "valid_wer or valid_cer if transcripts are trained, valid_loss" if writes_text else "valid_loss"
            raise UserError(
                f"selection is '{name}', and emotion_weight is 0: the emotion head is not trained",
                f"set selection to {better}, or {LAST}",
            )

    def refuse_without_reference(self, texts: Iterable[str], emotions: Iterable[int]) -> None:
        """`UserError` where no utterance of the validation set has what the figure compares with.

        That is a transcript, empty without one, or the index of an emotion, below 0 without one.
        """
        for figures, what, there in (
            (OF_TEXT, "a transcript", any(texts)),
            (OF_EMOTIONS, "an emotion", any(index >= 0 for index in emotions)),
        ):
            if self.figure in figures and not there:
                raise UserError(
                    f"selection is 'valid_{self.figure}', and no utterance of the validation set has {what}",
                    f"set selection to {LAST}, or to a figure of what it has",
                )

    def meta(self, row: dict[str, Any]) -> dict[str, Any]:
        """What a checkpoint keeps of a row of epochs.csv, to be ranked: see `local.training.checkpoints.rank`."""
        figures = {"epoch": int(row["epoch"]), "ua": row.get("valid_ua"), "wer": row.get("valid_wer")}
        figures |= {} if self.figure == "ua" else {"score": self.score(row)}
        return figures | ({"solved": True} if row.get("solved") else {})

    def score(self, row: dict[str, Any]) -> float | None:
        """The figure of a row, the higher the better; None without one, the lowest where it is no number."""
        value = row.get(f"valid_{self.figure}")
        if value is None:
            return None
        return -math.inf if math.isnan(value) else value if FIGURES[self.figure] else -value

    def cost(self, row: dict[str, Any]) -> float | None:
        """The figure of a row as one that falls: the loss, the error rate, or 1 - UA."""
        score = self.score(row)
        return score if score is None else 1 - score if FIGURES[self.figure] else -score

    def chosen(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The row whose checkpoint is chosen among those of these rows; empty where it is the last by definition."""
        if not rows or (self.figure == LAST and not rows[-1].get("solved")):
            return {}
        return max(rows, key=lambda row: rank(self.meta(row)))

    def is_new_best(self, rows: Sequence[dict[str, Any]]) -> int | None:
        """1 where the last of the rows would be chosen among them, else 0; None where the last is by definition."""
        return int(chosen is rows[-1]) if (chosen := self.chosen(rows)) else None

    def best(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        """The first row with the best figure; None where none has one."""
        scored = [row for row in rows if self.score(row) is not None]
        return max(scored, key=self.score, default=None)

    def is_over(self, rows: Sequence[dict[str, Any]], patience: int) -> bool:
        """Whether the last `patience` rows are no better than one before them; never with a patience of 0."""
        best = self.best(rows)
        return patience > 0 and best is not None and rows[-1]["epoch"] - best["epoch"] >= patience


def refuse_without_use(values: SimpleNamespace, has_valid: bool, follows_figure: bool, encoder: Any) -> None:
    """Raise a `UserError` where values ask for what a training has not: a figure to follow, or an encoder.

    `follows_figure` is whether its scheduler needs a figure of the validation set.
    """
    if values.patience or follows_figure:
        name = f"{'patience' if values.patience else 'scheduler'}: it follows a figure"
        if values.selection == LAST:
            raise UserError(f"{name}, and selection is {LAST}", "set selection to that figure")
        if not has_valid:
            raise UserError(f"{name} of the validation set, and there is none", "take another --valid")
    if values.freeze_encoder_epochs and encoder is None:
        raise UserError("freeze_encoder_epochs: the system has no encoder", "set it to 0")

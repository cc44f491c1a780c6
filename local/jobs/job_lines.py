"""What is said of a job in one line, from the files of its run folder: how far it is, how an epoch went, what came out.

A share is per cent: with one digit while it changes, with two as in the tables when it is final.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm.utils import disp_len, disp_trim

from local.config import hparams
from local.core import markers
from local.core.counted import counted
from local.core.errors import UserError
from local.core.progress_json import Progress

LEFT_OUT = ("loss", "best", "update", "left", "ua")  # of a line that is too long, in this order


def progress_line(label: str, progress: Progress | str, width: int) -> str:
    """How far a job is, or a word for it, in at most so many columns.

    A longer line has narrower gaps, then what matters least is left out, and what is still too long is cut.
    """
    parts = {"label": label} | ({"state": progress} if isinstance(progress, str) else progress_parts(progress))
    for name in ("", *LEFT_OUT):
        parts.pop(name, None)
        for gap in ("  ", " "):
            if disp_len(line := joined(parts, gap)) <= width:
                return line
    return disp_trim(line, max(0, width))


def progress_parts(progress: Progress) -> dict[str, str]:
    """The parts of a line on how far a job is, by name; those that are not known are missing."""
    parts = {}
    if progress.features is not None:
        parts["epoch"] = "features" if progress.features else "waiting for features"
    elif progress.solved is not None:
        parts["epoch"] = f"epoch {progress.epoch} (solved)" if progress.solved else "solving"
    elif progress.epoch is not None:
        parts["epoch"] = f"epoch {progress.epoch}" + (f"/{progress.epochs}" if progress.epochs is not None else "")
    if progress.done is not None:
        what = "" if progress.features else "decoded " if progress.epoch is None else "update "
        parts["update"] = f"{what}{progress.done}/{progress.total}"
    if progress.loss is not None:
        parts["loss"] = f"loss {progress.loss:.{1 if abs(progress.loss) >= 1 else 2}f}"
    if progress.valid_ua is not None:
        parts["ua"] = f"valid UA {100 * progress.valid_ua:.1f}"
    if progress.best_ua is not None:
        parts["best"] = f"(best {100 * progress.best_ua:.1f} @{progress.best_epoch})"
    if progress.seconds_left is not None:
        parts["left"] = f"ETA {clock(progress.seconds_left)}"
    return parts


def joined(parts: Mapping[str, str], gap: str = "  ") -> str:
    """The parts of a line with gaps between them, but one blank before the parentheses."""
    return gap.join(parts.values()).replace(f"{gap}(", " (")


def clock(seconds: float) -> str:
    """Seconds as on a clock.

    >>> clock(184.2), clock(3 * 3600 + 61)
    ('3:04', '3:01:01')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def scores_line(scores: Mapping[str, Any]) -> str:
    """The scores of a test set; without those that are missing.

    >>> scores_line({"n": 48, "wa": 0.5, "ua": 5 / 6, "wer": None})
    'n 48 WA 50.00 UA 83.33'
    """
    known = [name for name in ("wa", "ua", "wer") if scores.get(name) is not None]
    return " ".join([f"n {scores['n']}", *(f"{name.upper()} {100 * scores[name]:.2f}" for name in known)])


def stress_line(facts: Mapping[str, Any]) -> str:
    """The scores of clean audio, and the lowest WA of all cases, if the emotion head was trained.

    >>> stress_line({"scores": {"n": 48, "wa": 0.5}, "lowest": ["white noise, 0 dB", 0.25]})
    'clean n 48 WA 50.00, lowest WA 25.00, white noise, 0 dB'
    """
    where, wa = facts.get("lowest", ("", None))
    return f"clean {scores_line(facts['scores'])}" + ("" if wa is None else f", lowest WA {100 * wa:.2f}, {where}")


def epoch_rows(run: Path) -> list[dict[str, float | None]]:
    """The rows of a run's epochs.csv, None for an empty cell; none where it has none that can be read."""
    try:
        with open(run / "epochs.csv", encoding="utf-8", newline="") as file:
            rows = [{name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError):
        return []
    return [row for row in rows if row.get("epoch") is not None]


def planned_epochs(run: Path) -> int | None:
    """How many epochs a run's training is to have; None where it has not begun."""
    try:
        return hparams.plain_values((run / "hyperparams.yaml").read_text(encoding="utf-8"))["epochs"]
    except (OSError, TypeError, KeyError):
        return None


def epoch_progress(rows: list[dict[str, float | None]], epochs: int | None) -> Progress:
    """The progress of a training at the end of an epoch, or of its last step, the last of these rows of epochs.csv."""
    last, best = rows[-1], next((row for row in reversed(rows) if row.get("best")), {})
    if last.get("solved"):
        return Progress(None, None, int(last["epoch"]), valid_ua=last.get("valid_ua"), solved=True)
    left = None if epochs is None else (epochs - last["epoch"]) * (last.get("seconds") or 0)
    return Progress(
        *(None, None, int(last["epoch"]), epochs),
        *(last.get("train_loss"), last.get("valid_ua"), best.get("valid_ua")),
        *(int(best.get("epoch", 0)), left),
    )


def result(run: Path, step: str) -> str:
    """What came out of a job that is done; empty where its marker does not say it, or there is none."""
    try:
        facts = markers.read(run / f"{step}.json")["facts"]
    except UserError:
        return ""
    if step == "decode":
        return scores_line(facts["scores"]) if "scores" in facts else ""
    if step == "stress":
        return f"{len(facts['cases'])} cases, {stress_line(facts)}"
    rows = epoch_rows(run)
    chosen = next((row for row in rows if row["epoch"] == facts.get("epoch")), None)
    if chosen is None:
        return ""
    ua = "" if chosen.get("valid_ua") is None else f", valid UA {100 * chosen['valid_ua']:.2f}"
    if chosen.get("solved"):
        after = f" after {counted(len(rows) - 1, 'epoch')}" if len(rows) > 1 else ""
        return f"solved{after}{ua}"
    return f"epoch {facts['epoch']} of {len(rows)}{ua}"

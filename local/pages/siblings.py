"""The other experiments of the same corpus and protocol.

Each is compared with the report's own; those that differ in alpha only are drawn as in the paper's Figure 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from local.config import hparams, pretrained
from local.core.errors import UserError
from local.scoring import scored
from local.scoring.comparison import compare_pairs, mismatch_reason
from local.scoring.scored import Experiment

# What may differ between the lines of one figure: alpha, and the learning rates, smaller at alpha 0 in the paper.
FREE = ("alpha", "lr", "head_lr", "seed", *hparams.RUNTIME)


def siblings(own: Experiment) -> tuple[list[Experiment], dict[str, str]]:
    """Read the other scored experiments, sorted by name; and by name why one cannot be read."""
    readable, unreadable = [], {}
    for folder in sorted(own.folder.parent.iterdir()):
        if folder.name == own.folder.name or not (folder / "folds.csv").exists():
            continue
        try:
            other = scored.load(folder)
            _ = other.values, other.epochs, other.predictions
        except UserError as error:
            unreadable[folder.name] = error.what
        except OSError as error:
            unreadable[folder.name] = f"a file is missing or damaged: {error}"
        else:
            readable.append(other)
    return readable, unreadable


def comparison(own: Experiment, others: list[Experiment]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Compare `own` (A) with each of the others (B); p values after Holm over these pairs.

    Returns what `local.scoring.comparison.compare_pairs` does, and by name why another cannot be compared.
    """
    reasons = {other.name: mismatch_reason(own, other) for other in others}
    pairs = compare_pairs([(own, other) for other in others if not reasons[other.name]])
    return pairs, {name: reason for name, reason in reasons.items() if reason}


@dataclass
class AlphaCurves:
    """Accuracy and WER by epoch, a line per alpha.

    Both are fractions by epoch, by the label of a line, on the validation set; without one, accuracy is on the training
    set, and there is no WER. `left_out` says by name why an experiment with another alpha has no line.
    """

    folds: list[str]  # every line is the mean over these
    accuracy: dict[str, pd.Series] = field(default_factory=dict)
    wer: dict[str, pd.Series] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def alpha_curves(own: Experiment, others: list[Experiment]) -> AlphaCurves:
    """Gather the learning curves of `own` and of those others that differ from it in alpha only."""
    curves = AlphaCurves(sorted(own.folds["fold"].unique()))
    if "alpha" not in own.values or not own.emotions_trained:  # another system may have no such weight
        return curves
    lines = [own]
    for other in others:
        if other.values.get("alpha", own.values["alpha"]) == own.values["alpha"]:
            continue
        if reason := _other_differences(own, other, curves.folds):
            curves.left_out[other.name] = reason
        else:
            lines.append(other)
    accuracy = "train_wa" if own.valid == "none" else "valid_wa"
    for line in sorted(lines, key=lambda line: (line.values["alpha"], line.name)):
        label = f"alpha {line.values['alpha']:g}"
        if label in curves.accuracy:
            label += f" ({line.name})"
        epochs = scored.common_epochs(line.epochs[line.epochs["fold"].isin(curves.folds)])
        epochs = epochs.reindex(columns=["fold", "epoch", accuracy, "valid_wer"])
        of_folds = epochs.groupby(["fold", "epoch"]).mean()  # over seeds
        mean = of_folds.groupby("epoch").mean()
        curves.accuracy[label] = mean[accuracy]
        if mean["valid_wer"].notna().any():
            curves.wer[label] = mean["valid_wer"]
    return curves


def _other_differences(own: Experiment, other: Experiment, folds: list[str]) -> str:
    """Say what else than alpha differs; empty if nothing does."""
    if other.valid != own.valid:
        return f"its validation is {other.valid}, not {own.valid}"
    differing = [
        "{} is {}, not {}".format(key, *(pretrained.without_folder(key, one.values.get(key)) for one in (other, own)))
        for key in sorted({*own.values, *other.values} - {*FREE})
        if own.values.get(key) != other.values.get(key)
    ]
    if differing:
        return "; ".join(differing)
    missing = sorted({*folds} - {*other.folds["fold"]})
    return f"it lacks the folds {', '.join(missing)}" if missing else ""

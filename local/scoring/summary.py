"""The rows of folds.csv and summary.csv, and the scores.json of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from local.core import markers, starts
from local.core.errors import UserError
from local.core.files import digest, write_text
from local.corpora import manifest
from local.scoring import metrics, stats, task_scores
from local.scoring.metrics import SCORES
from local.scoring.predictions import task_names
from local.scoring.scored import seed_of

FOLD_COLUMNS = (
    *("name", "corpus", "protocol", "valid", "seed", "fold", "n", "wa", "ua", "f1", "wer", "cer"),
    *("epoch", "commit", "config"),
)


def run_facts(run: Path, folds_folder: Path, valid: str) -> dict[str, Any]:
    """What folds.csv says of a run besides its scores: seed, fold, epoch, commit, config.

    A `UserError` if its predictions are of another test set than the fold has now or of an earlier training, or it was
    trained or validated on other sets.
    """
    decoding, training = markers.read(run / "decode.json"), markers.read(run / "train.json")
    test = folds_folder / run.name / "test.csv"
    if not manifest.is_same(test, decoding["inputs"]["test.csv"]):
        raise UserError(
            f"{run} holds predictions of another test set than {test}",
            "run stages 2 and 3 again with --force true, or take another --name",
        )
    if decoding["inputs"]["training"] != digest(run / "train.json"):
        raise UserError(f"{run} was trained again after its predictions were made", "run stage 3 again")
    if (trained := training["inputs"]["valid"]) != valid:
        raise UserError(f"{run} was trained with validation '{trained}', not '{valid}'", f"give --valid {trained}")
    for name, kind in (("train.csv", "training"), ("valid.csv", "validation")):
        path = folds_folder / run.name / name
        known = training["inputs"].get(name)
        if not manifest.is_same(path, known) and (known is not None or path.exists()):
            raise UserError(
                f"{run} was trained with another {kind} set than {path}",
                f"give the options of {run / 'train.log'}, or another --name, or train it again with --force true",
            )
    return {
        "seed": seed_of(run),
        "fold": run.name,
        "epoch": decoding["facts"]["epoch"],
        "commit": starts.commit_of(starts.read(run)),
        "config": training["facts"]["config"],
    }


def write_scores(run: Path, predicted: pd.DataFrame) -> dict[str, float | int | None]:
    """Score the predictions of a run, and write its scores.json, with scores by class and the confusion matrix."""
    scores = metrics.scores(predicted)
    by_class = metrics.classes(predicted).set_index("label").astype(object)
    details = {
        "classes": by_class.where(by_class.notna(), None).to_dict("index"),
        "confusion": metrics.confusion(predicted).to_dict("index"),
    }
    if names := task_names(predicted):
        details["heads"] = {name: _of_head(predicted, name) for name in names}
    write_text(run / "scores.json", json.dumps(scores | details, indent=1))
    return scores


def _of_head(predicted: pd.DataFrame, name: str) -> dict[str, float | int | None]:
    figures = {key: None if math.isnan(value) else value for key, value in task_scores.figures(predicted, name).items()}
    return {"n": len(task_scores.labelled(predicted, name))} | figures


def summarise(folds: pd.DataFrame, pooled: pd.DataFrame, known: list[str], of_corpus: Mapping[str, Any]) -> pd.Series:
    """Make the row of summary.csv.

    `folds` is folds.csv with all `SCORES`, a row per fold and seed; `pooled` are the predictions behind them, those of
    `local.scoring.scored.pooled_predictions`; `known` are all folds of the protocol; `of_corpus` are the last columns:
    `speaker_overlap`, the share of the tested utterances whose speaker is in the training set, nan where that is not
    known; `speakers_known`, for how many utterances the speaker is (`48/48`); `rejected`, the number of utterances that
    were set aside as broken.

    Pooled scores are over all predictions together (WA as the paper's: correct / n over all
    folds). `<score>_mean` and `_sd` are over folds, each the mean of its seeds;
    `<score>_seeds_mean` and `_sd` over seeds, each pooled over its folds, nan unless all have the same
    folds (see `uneven_seeds`). `_low` and `_high` are 95 % intervals of the pooled scores, see
    `local.scoring.stats.intervals`, over so many `clusters`, each a `cluster`.
    """
    row = {name: folds[name].iloc[0] for name in ("name", "corpus", "protocol", "valid")}
    row |= metrics.scores(pooled)
    names = list(SCORES)
    of_fold = folds[names].astype(float).groupby(folds["fold"]).mean()
    of_seed = pd.DataFrame([metrics.scores(some) for _, some in pooled.groupby("seed")])[names].astype(float)
    if uneven_seeds(folds):
        of_seed[:] = math.nan
    for suffix, figures in (("", of_fold), ("_seeds", of_seed)):
        for name in names:
            row |= {f"{name}{suffix}_mean": figures[name].mean(), f"{name}{suffix}_sd": figures[name].std(ddof=1)}
    for name, (low, high) in stats.intervals(pooled).items():
        row |= {f"{name}_low": low, f"{name}_high": high}
    cluster, kind = stats.clusters(pooled)
    row |= {"cluster": kind, "clusters": cluster.nunique()}
    present = f"{folds['fold'].nunique()}/{len(known)}"
    return pd.Series(row | {"seeds": folds["seed"].nunique(), "folds": present} | of_corpus)


def uneven_seeds(folds: pd.DataFrame) -> list[str]:
    """Warn of seeds that have not the same folds; `folds` is folds.csv."""
    of_seed = folds.groupby("seed")["fold"].agg(lambda some: " ".join(sorted(some)))
    if of_seed.nunique() == 1:
        return []
    listed = ", ".join(f"seed {seed} {names}" for seed, names in of_seed.items())
    return [
        f"the seeds have not the same folds: {listed}; a fold counts in pooled figures as often as it was trained, and "
        "there is no mean over seeds"
    ]

"""What a model folder says of its own quality: UA of its runs and of their experiment, and who spoke in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from local.corpora import manifest
from local.experiment.job import Job
from local.scoring import metrics, scored, stats

MOST_SPEAKERS = 500  # that are named


def of_runs(jobs: Sequence[Job], epochs: Sequence[int] | None) -> dict[str, Any]:
    """The entries of a model's `provenance` on its quality and its speakers, as plain values.

    `jobs` are its runs, of one experiment and seed, and `epochs` the checkpoints that it was made of; None: means of
    several, which were never tested. The entries:

    `speakers`
        Those of training by name, or their number if they are many; an empty list where they are not known.
    `tested`, if all runs are decoded
        `ua`, pooled over their test sets of `n` utterances, with `low` and `high`, its 95 % interval over a `cluster`.
    `experiment`, if it is scored
        The same of all its runs, and its `folds` (2/10).
    """
    tables = [manifest.read(job.manifests / "train.csv")["spk_id"] for job in jobs]
    speakers = sorted(set(pd.concat(tables)) - {""})
    facts: dict[str, Any] = {"speakers": speakers if len(speakers) <= MOST_SPEAKERS else len(speakers)}
    if epochs and all(_decoded(job, epoch) for job, epoch in zip(jobs, epochs, strict=True)):
        facts["tested"] = _tested(jobs)
    folder = jobs[0].folder.parents[1]
    if (folder / "summary.csv").exists():
        facts["experiment"] = _of_experiment(folder)
    return facts


def _decoded(job: Job, epoch: int) -> bool:
    """Whether the predictions of a run are those of that epoch of its training."""
    facts = job.decoding().facts()
    return facts is not None and facts["epoch"] == epoch


def _tested(jobs: Sequence[Job]) -> dict[str, Any]:
    utterances = pd.concat([manifest.read(job.manifests / "test.csv") for job in jobs])
    pooled = scored.pooled_predictions([job.folder for job in jobs], utterances)
    low, high = stats.intervals(pooled)["ua"]
    entry = {"ua": metrics.scores(pooled)["ua"], "low": low, "high": high}
    return _plain(entry | {"n": len(pooled), "cluster": stats.clusters(pooled)[1]})


def _of_experiment(folder: Path) -> dict[str, Any]:
    summary = scored.load(folder).summary
    entry = {"ua": summary["ua"], "low": summary["ua_low"], "high": summary["ua_high"], "n": summary["n"]}
    return _plain(entry | {"cluster": summary["cluster"], "folds": summary["folds"]})


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    """Without numpy's types; None for what is not a number, which JSON does not have."""
    values = {name: value.item() if hasattr(value, "item") else value for name, value in entry.items()}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}

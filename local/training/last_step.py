"""A training that another experiment has done but for its last step: its epochs are taken, and not trained again.

The epochs of a system are the same with its last step in closed form and without it (`elm: False`). So a run without
it begins with the checkpoints of the epochs of one with it, of the same fold, seed, sets and values, as if it had been
interrupted after the last of them; the files are the same under another name where the disk has such. Its env.json has
the start of that training first, then its own in `resumed`, and `trained_in` of its `job` names the experiment.
"""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path

from local.core import starts
from local.core.files import atomic, write_text
from local.experiment import shared
from local.experiment.job import Job, copy_training_log
from local.training.checkpoints import RunCheckpointer, has_ended
from local.training.epoch_log import SOLVED

logger = logging.getLogger(__name__)

KEYS = ("elm",)  # values that only the last step reads; False: there is none


def find(job: Job) -> Job | None:
    """The job of another experiment whose epochs are those of `job`, and which has ended.

    None where there is none, where `job` itself has begun, and with `--force`, which trains in any case.
    """
    options = job.options
    if options.force or (job.folder / "hyperparams.yaml").exists():
        return None
    for key in (key for key in KEYS if options.values.get(key) is False):
        for marker in sorted(options.experiment_folder.parent.glob(f"*/seed{job.seed}/{job.fold}/train.json")):
            name, overrides = marker.parents[2].name, options.overrides | {key: True}
            other = Job(replace(options, name=name, overrides=overrides), job.fold, job.seed)
            if shared.is_trained(other):
                return other
    return None


def take_epochs(job: Job, source: Job) -> None:
    """Begin the run folder of `job` with the epochs of `source`: checkpoints, logs and env.json."""
    job.clear()
    for checkpoint in RunCheckpointer(source.folder / "save").list_checkpoints():
        if has_ended(checkpoint) and not checkpoint.meta.get("solved"):
            shared.link_folder(checkpoint.path, job.folder / "save" / checkpoint.path.name)
    copy_training_log(source.folder, job.folder)
    _copy_epochs(source.folder / "epochs.csv", job.folder / "epochs.csv")
    first, name = starts.read(source.folder), job.options.name
    first["job"] = first.get("job", {}) | {"name": name, starts.TRAINED_IN: source.options.name}
    write_text(job.folder / starts.NAME, json.dumps(first, indent=1))
    job.begin()  # last: with it, the folder is a run folder
    logger.info("its epochs are those of %s: only the last step differs", source.folder)


def _copy_epochs(source: Path, target: Path) -> None:
    """Copy epochs.csv without the last step."""
    with open(source, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.pop(SOLVED, "0") != "1"]
    with atomic(target) as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

"""Folds with the same training and validation set, as of several official test lists: one is trained for all of them.

The others take its training: what its run folder says of it, and its checkpoints, which are the same files under
another name where the disk has such. So each is a whole run folder, whatever becomes of the other. Its env.json says
in `job`, as `trained_as`, which fold was trained.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from local.core import markers, starts
from local.core.files import write_text
from local.experiment.job import TRAINED_ON, Job, copy_training_log
from local.splits import naming

COPIED = ("epochs.csv", "begun.json", "hyperparams.yaml")


def sources(jobs: Sequence[Job]) -> dict[Job, Job]:
    """For each of the jobs that is to take the training of another fold, that fold's job.

    Of folds with the same sets and values one that is trained is taken, or the first of `jobs` that has begun, or that
    is to begin. What has begun by itself goes on by itself, unless `--force` begins all of them again.
    """
    if not jobs or jobs[0].options.chosen_protocol() != naming.OFFICIAL:  # all others have sets of their own
        return {}
    options, found, alike = jobs[0].options, {}, defaultdict(list)
    for job in jobs:
        alike[_made_of(job)].append(job)
    for made_of, group in alike.items():
        left = [job for job in group if options.force or not _is_begun(job)]
        if not left:
            continue
        known = [] if options.force else [Job(options, fold, left[0].seed) for fold in options.all_folds()]
        trained = [each for each in known if _is_begun(each) and _made_of(each) == made_of and is_trained(each)]
        begun = [job for job in group if job not in left]
        first = [*trained, *begun, *left][0]
        found |= {job: first for job in left if job is not first}
    return found


def _made_of(job: Job) -> tuple:
    """What a training is made of, with the seed; `own_runs`, of a fold's own, are in the YAML."""
    return job.yaml, *job.digests(*TRAINED_ON).items()


def _is_begun(job: Job) -> bool:
    return (job.folder / "hyperparams.yaml").exists()


def is_trained(job: Job) -> bool:
    """Whether a job's training has ended, with the values and on the sets of today."""
    return job.training().facts() is not None


def take(job: Job, source: Job) -> str:
    """Make the run folder of a job from that of `source`, whose training has ended; returns what was done, in words.

    A `UserError` as of `Job.refuse_tested_speakers`.
    """
    job.refuse_tested_speakers()
    job.refuse_other_task_runs()
    heard = job.heard()
    job.clear()
    first, trained = starts.read(source.folder), markers.read(source.training().path)
    fold = first.get("job", {}).get(starts.TRAINED_AS, source.fold)
    link_folder(source.folder / "save", job.folder / "save")
    copy_training_log(source.folder, job.folder)
    for name in COPIED:  # the YAML last: with it, the folder is a run folder
        if (source.folder / name).exists():
            shutil.copy2(source.folder / name, job.folder / name)
    first["job"] = first.get("job", {}) | {"fold": job.fold, starts.TRAINED_AS: fold}
    write_text(job.folder / starts.NAME, json.dumps(first, indent=1))
    facts = {name: fact for name, fact in trained["facts"].items() if name != "heard"}
    facts |= {"heard": heard} if heard else {}
    job.training().write([job.folder / name for name in trained["outputs"]], **facts)
    return f"the training of {fold} is that of {job.fold}: their training and validation sets are the same"


def link_folder(source: Path, folder: Path) -> None:
    """Give the files of a folder of checkpoints a second name, in a folder that is whole or absent."""
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, copy_function=_link)
    partial.rename(folder)


def _link(source: str, target: str) -> None:
    """Give a file a second name or, on a disk that has none, copy it; checkpoints are never changed, only deleted."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def trained_as(run: Path) -> str:
    """The fold that was trained in place of a run's; empty for one that was trained itself, or begun."""
    try:
        return json.loads((run / starts.NAME).read_text(encoding="utf-8"))["job"].get(starts.TRAINED_AS, "")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ""

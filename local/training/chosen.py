"""The checkpoint that a training has chosen, and that of its last epoch, loaded for the test set."""

from __future__ import annotations

from typing import Any

import pandas as pd

from local.core import markers
from local.core.errors import UserError
from local.core.typed_csv import read_numbers
from local.experiment.job import Job
from local.systems import System
from local.training.checkpoints import RunCheckpointer
from local.training.epoch_log import SOLVED


def load_chosen(job: Job, system: System) -> int:
    """Load the chosen checkpoint of a job that is trained into its system; returns its epoch.

    A `UserError` where that checkpoint is missing or damaged.
    """
    checkpointer = RunCheckpointer(job.folder / "save", {"system": system})
    checkpoint = checkpointer.chosen()
    epoch = markers.read(job.training().path)["facts"]["epoch"]
    if checkpoint is None or checkpoint.meta["epoch"] != epoch:
        raise _missing(job, f"epoch {epoch}, which was chosen")
    checkpointer.load_checkpoint(checkpoint)
    return epoch


def last_of(job: Job) -> int | None:
    """The last epoch of a job that is trained.

    None where a last step in closed form (`System.solve`) was the end, or all, of the training: the system is the one
    with that step, which was solved once, from the weights of the epoch that is best on the validation set.
    """
    last = _last_row(job)
    return None if last.get(SOLVED) else int(last["epoch"])


def load_last(job: Job, system: System) -> int:
    """Load the checkpoint of a job's `last_of`, which is not None, into its system; returns its epoch.

    A `UserError` where that checkpoint is missing or damaged, or has other figures than epochs.csv.
    """
    last, checkpointer = _last_row(job), RunCheckpointer(job.folder / "save", {"system": system})
    checkpoint = checkpointer.last_epoch()
    if checkpoint is None or not _is_of(checkpoint.meta, last):
        which = f"epoch {last['epoch']:.0f}, the last of its epochs.csv"
        raise _missing(job, which, "; or decode the chosen one alone: --last-epoch false")
    checkpointer.load_checkpoint(checkpoint)
    return checkpoint.meta["epoch"]


def _last_row(job: Job) -> pd.Series:
    return read_numbers(job.folder / "epochs.csv").iloc[-1]


def _is_of(meta: dict[str, Any], row: pd.Series) -> bool:
    """Whether a checkpoint with these meta data is that of a row of epochs.csv."""
    pairs = ((meta[name], row.get(column)) for name, column in (("ua", "valid_ua"), ("wer", "valid_wer")))
    return meta["epoch"] == row["epoch"] and all(
        one == other or (pd.isna(one) and pd.isna(other)) for one, other in pairs
    )


def _missing(job: Job, which: str, or_else: str = "") -> UserError:
    return UserError(
        f"{job.folder / 'save'} lacks the checkpoint of {which}",
        f"remove {job.training().path} and run stage 2: it resumes from the checkpoints that are there{or_else}",
    )

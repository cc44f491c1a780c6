"""The checkpoint that a training has chosen, loaded for the test set."""

from __future__ import annotations

from local.core import markers
from local.core.errors import UserError
from local.experiment.job import Job
from local.systems import System
from local.training.checkpoints import RunCheckpointer


def load_chosen(job: Job, system: System) -> int:
    """Load the chosen checkpoint of a job that is trained into its system; returns its epoch.

    A `UserError` where that checkpoint is missing or damaged.
    """
    checkpointer = RunCheckpointer(job.folder / "save", {"system": system})
    checkpoint = checkpointer.chosen()
    trained = job.training().path
    epoch = markers.read(trained)["facts"]["epoch"]
    if checkpoint is None or checkpoint.meta["epoch"] != epoch:
        raise UserError(
            f"{job.folder / 'save'} lacks the checkpoint of epoch {epoch}, which was chosen",
            f"remove {trained} and run stage 2: it resumes from the checkpoints that are there",
        )
    checkpointer.load_checkpoint(checkpoint)
    return epoch

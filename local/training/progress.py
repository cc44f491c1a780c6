"""What a job writes to progress.json while it runs: rarely, so that nothing is slower for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from local.core.progress_json import Progress
from local.training import distributed
from local.training.epoch_log import EpochLog, Tally, means

INTERVAL = 1.0  # seconds between two writes, at least


class ProgressFile:
    """Writes progress.json of a run folder; of several processes the first does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written_at = -math.inf

    def is_due(self) -> bool:
        """Whether it is time to write. Before, no progress need be computed, which may have to wait for a GPU."""
        return distributed.rank() == 0 and time.monotonic() - self.written_at >= INTERVAL

    def write(self, progress: Progress) -> None:
        """Write the progress."""
        progress.write(self.folder)
        self.written_at = time.monotonic()


def in_epoch(log: EpochLog, epoch: int, updates: tuple[int, int], tally: Tally, seconds: float) -> Progress:
    """The progress of a training within an epoch, `seconds` after its begin; `updates` are those done, and all."""
    latest, chosen = log.rows[-1] if log.rows else {}, log.selection.chosen(log.rows)
    # The validation is known from the epoch before.
    whole = latest["seconds"] if latest else seconds / max(1, updates[0]) * updates[1]
    left = whole * (log.epochs - epoch) + max(0.0, whole - seconds)
    return Progress(
        *updates,
        *(epoch, log.epochs),
        loss=means(tally.sums.tolist(), "train").get("train_loss"),
        valid_ua=latest.get("valid_ua"),
        best_ua=chosen.get("valid_ua"),
        best_epoch=chosen.get("epoch"),
        seconds_left=left,
    )


def in_solving(log: EpochLog) -> Progress:
    """The progress of a training whose epochs have ended, and whose last step runs (`System.solve`)."""
    latest = log.rows[-1] if log.rows else {}
    return Progress(None, None, int(latest.get("epoch", 0)) + 1, valid_ua=latest.get("valid_ua"), solved=False)


def of_features(folder: Path) -> Callable[[int, int, float], None]:
    """What writes to a run folder how far the features are, as `local.data.feature_store.model_inputs` calls it."""
    file = ProgressFile(folder)

    def write(done: int, total: int, seconds_left: float) -> None:
        if file.is_due():
            known = Progress(done, total, seconds_left=seconds_left, features=True)
            file.write(known if done else Progress(None, None, features=False))

    return write


def in_decoding(done: int, total: int, seconds: float) -> Progress:
    """The progress of a decoding, `seconds` after its begin."""
    return Progress(done, total, seconds_left=seconds / max(1, done) * (total - done))

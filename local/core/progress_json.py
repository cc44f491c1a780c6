"""progress.json of a run folder: how far its job is, for those who watch it. Nothing that is computed depends on it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from local.core.errors import UserError
from local.core.files import atomic

NAME = "progress.json"


@dataclass(frozen=True)
class Progress:
    """How far a job is; None is what does not exist or is not known.

    Attributes
    ----------
    done, total
        Updates of the running epoch; in decoding, and of features, utterances.
    epoch, epochs
        The running epoch, from 1, and how many there are; None in decoding, and of features.
    loss
        Mean over the epoch so far.
    valid_ua, best_ua, best_epoch
        Validation UA of the latest epoch, and of the epoch whose checkpoint would be chosen now.
    seconds_left
        An estimate.
    solved
        Of a last step in closed form, which follows the epochs: whether it is done. None in an epoch.
    features
        Of what is computed once for the corpus, before the epochs: True while this job does it, False while it waits
        for another. None at other times.
    """

    done: int | None
    total: int | None
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    valid_ua: float | None = None
    best_ua: float | None = None
    best_epoch: int | None = None
    seconds_left: float | None = None
    solved: bool | None = None
    features: bool | None = None

    def write(self, run: Path) -> None:
        """Write it to a run folder; a full disk is no error, as the job can do without."""
        with contextlib.suppress(OSError, UserError), atomic(run / NAME, lasting=False) as file:
            json.dump(asdict(self), file)


def read(run: Path) -> Progress | None:
    """Read the progress of a run folder's job; None where it has written none, or nothing that can be read."""
    try:
        progress = Progress(**json.loads((run / NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return progress if all(isinstance(value, int | float | None) for value in asdict(progress).values()) else None


@contextlib.contextmanager
def cleared(run: Path) -> Iterator[None]:
    """Remove what a killed job has left in a run folder, and at the end what this one has written."""
    path = run / NAME
    path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)

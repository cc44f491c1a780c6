"""A Brain that can be ended or killed at any moment, and goes on as if it had not been.

A checkpoint holds the states of model, optimizer, scheduler and loss scaler, and the figures of the
epoch that is running. Random numbers need no state: each update draws its own from seed, epoch,
update and process. Asked to end, the processes of a job save after the running update and end.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import speechbrain as sb
from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.seed import seed_everything
from torch import nn

from local.core import signals
from local.data.batches import UpdateSampler
from local.training import distributed
from local.training.checkpoints import WholeCheckpointer, has_ended
from local.training.epoch_log import EpochLog

logger = logging.getLogger(__name__)


@register_checkpoint_hooks
class ResumableBrain(sb.Brain):
    """Resumes a run, and ends it, within epochs too.

    Parameters
    ----------
    system
        The module to train.
    hparams
        The YAML's values.
    folder
        The run folder.
    sampler
        The plan of the updates.
    checkpointer
        Keeps the checkpoints.

    Attributes
    ----------
    log
        The epochs that have ended.
    update
        The running update of the epoch, from 1.
    """

    STATE = ("optimizer_step", "progress")  # attributes that a checkpoint holds; subclasses add theirs

    def __init__(
        self, system: nn.Module, hparams: dict, folder: Path, sampler: UpdateSampler, checkpointer: WholeCheckpointer
    ) -> None:
        super().__init__({"system": system}, hparams=hparams, checkpointer=checkpointer)
        self.epoch_counter = EpochCounter(hparams["epochs"])
        checkpointer.add_recoverables({"system": system, "epoch_counter": self.epoch_counter})
        self.train_sampler = sampler
        self.log = EpochLog(folder, hparams.get("tensorboard", False))
        self.update = 0
        self.progress: dict[str, Any] | None = None  # of an epoch that has not ended, where a checkpoint is to hold it
        self.asked_to_end = signals.DeferredSignal()
        self.ends_by = 0  # the signal that the processes have agreed to end by

    @abstractmethod
    def figures(self) -> dict[str, Any]:
        """What is to be known of the running epoch besides the states of model and optimizer, as JSON takes it."""

    @abstractmethod
    def restore(self, figures: dict[str, Any]) -> None:
        """Take up the figures of an epoch that was interrupted."""

    def fit(self, *args: Any, **kwargs: Any) -> None:
        """Train to the end, or to the end of the update in which a signal asks for it."""
        with signals.defer() as self.asked_to_end:
            super().fit(*args, **kwargs)

    def on_fit_start(self) -> None:
        """Resume from the latest checkpoint that can be used, with the epoch log as it was then."""
        self._wrap_distributed()
        self.init_optimizers()
        before = self.log.read()
        epochs = [{"epoch": row["epoch"], "ua": row["valid_ua"], "wer": row["valid_wer"]} for row in before]
        checkpoint = self.checkpointer.recover_latest(epochs)
        done = self.epoch_counter.current
        self.log.begin([row for row in before if row["epoch"] <= done])
        if checkpoint is not None:
            within = "" if has_ended(checkpoint) else f" and update {checkpoint.meta['updates']} of the next"
            logger.info("resuming after epoch %d%s", done, within)

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch, or go on in it where it was interrupted."""
        self.started = time.monotonic()
        self.update = self.train_sampler.done = 0
        if self.progress is not None:
            self.update = self.train_sampler.done = self.progress["updates"]
            self.train_sampler.set_epoch(epoch)
            self.step = self.train_sampler.first
            self.started -= self.progress["seconds"]
            self.restore(self.progress["figures"])

    def begin_update(self, update: int) -> None:
        """Draw the random numbers of an update from its place alone; each process draws others."""
        place = [self.hparams.seed, self.epoch_counter.current, update, distributed.rank()]
        seed_everything(int(np.random.SeedSequence(place).generate_state(1)[0]), verbose=False)
        self.update = update

    def note_progress(self) -> dict[str, Any]:
        """Note, for a checkpoint within the epoch, how far it has come; return its figures."""
        seconds, figures = time.monotonic() - self.started, self.figures()
        self.progress = {"updates": self.update, "seconds": seconds, "figures": figures}
        return figures

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Log an epoch and save its checkpoint; end, if that is asked for."""
        # The log first: a row beyond the checkpoint is dropped on resuming, a missing one could not be made up.
        self.log.add(row | {"seconds": round(time.monotonic() - self.started, 2)})
        # Brain resets these after the training stage only, which may be the one that is ending now.
        self.step, self.avg_train_loss, self.progress = 0, 0.0, None
        meta = {"epoch": row["epoch"], "ua": row.get("valid_ua"), "wer": row.get("valid_wer")}
        self.checkpointer.save_and_keep(meta, getattr(self.hparams, "keep_last", 1))
        self.ends_by = distributed.max_over_processes(self.asked_to_end.number)
        self._end_if_asked(f"after epoch {row['epoch']}")

    def end_validation_if_asked(self) -> None:
        """End, if that is asked for, between two batches of validation. Several processes have not equally many."""
        if distributed.world_size() == 1 and self.asked_to_end.number:
            self.ends_by = self.asked_to_end.number
            self._save_within_epoch()

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time: float, steps_since_ckpt: int) -> bool:
        """At the end of an update, when it is time, or when a process is asked to end."""
        if not self.train_sampler.plan[self.step - 1].ends_update:
            return False
        due = 0 < self.ckpt_interval_minutes < (time.time() - last_ckpt_time) / 60
        self.ends_by, due = divmod(distributed.max_over_processes(2 * self.asked_to_end.number + due), 2)
        return bool(self.ends_by or due)

    def _save_intra_epoch_ckpt(self) -> None:
        self.note_progress()
        self._save_within_epoch()

    def _save_within_epoch(self) -> None:
        epoch, updates = self.epoch_counter.current, self.progress["updates"]
        self.checkpointer.save_within_epoch(epoch, updates)
        self._end_if_asked(f"after update {updates} of epoch {epoch}")

    def _end_if_asked(self, where: str) -> None:
        if self.ends_by:
            logger.info("ended by signal %d %s; the same command goes on from there", self.ends_by, where)
            sys.exit(signals.exit_code(self.ends_by))

    @mark_as_saver
    def _save(self, path: str | Path) -> None:
        state = {name: getattr(self, name) for name in self.STATE}
        Path(path).write_text(json.dumps(state), encoding="utf-8")

    @mark_as_loader
    def _recover(self, path: str | Path, end_of_epoch: bool) -> None:
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        for name in self.STATE:
            setattr(self, name, state[name])

"""The Brain: trains a system, validates it after each epoch, keeps checkpoints, and resumes at any moment.

The calls of a training, in order; the loops around them are those of SpeechBrain's Brain:

    fit                             a signal that asks for the end is noted, not obeyed at once
      on_fit_start                  DDP, init_optimizers, the latest checkpoint
      for each epoch:
        on_stage_start(TRAIN)       counts from 0, or from where the epoch was interrupted
        fit_batch                   for each micro-batch:
          on_fit_batch_start        of an update's first: draws the update's random numbers
          augment, compute_forward, compute_objectives, backward
          optimizers_step           of an update's last: clips, steps
          on_fit_batch_end          of an update's last: saves when it is time, exits when asked to
        on_stage_end(TRAIN)         the epoch's training figures
        on_stage_start(VALID), evaluate_batch for each batch, on_stage_end(VALID)
        end_epoch                   epochs.csv, the epoch's rates, its checkpoint; exits when asked to
      solve                         if the system has a last step: from the chosen checkpoint's weights, once; it is
                                    validated, logged and saved as one more epoch, which is then the chosen one

What an update is, from `on_fit_batch_start` to `optimizers_step`, is in `local.training.updates`. A
checkpoint holds the states of model, optimizer, scheduler and loss scaler, and the figures of the
running epoch. No private name of Brain is used or overridden.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from speechbrain.utils.distributed import main_process_only
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from local.core import signals
from local.data.batches import UpdateSampler
from local.data.dataset import Batch
from local.data.device import use_precision
from local.scoring import metrics
from local.scoring.predictions import frame
from local.systems import Losses, Outputs, System
from local.text.tokenizer import Tokenizer
from local.training import blanks, distributed, unfreezing
from local.training.checkpoints import RunCheckpointer, has_ended
from local.training.epoch_log import OF_EMOTIONS, EpochLog, means, of_whole_set
from local.training.progress import ProgressFile, in_epoch, in_solving
from local.training.selection import Selection, refuse_without_use
from local.training.solving import Batches, solve
from local.training.updates import UpdateBrain

logger = logging.getLogger(__name__)


class EmotionBrain(UpdateBrain):
    """Trains a system (see `local.systems`) in a run folder, as the YAML's values say.

    The sampler plans the updates; labels and tokenizer say what the outputs of the heads mean.
    """

    def __init__(
        self,
        system: System,
        hparams: dict,
        folder: Path,
        sampler: UpdateSampler,
        labels: list[str],
        tokenizer: Tokenizer,
        checkpointer: RunCheckpointer,
    ) -> None:
        super().__init__(system, hparams, sampler, checkpointer)
        self.precisions = {sb.Stage.VALID: hparams["eval_precision"], sb.Stage.TRAIN: hparams["precision"]}
        # Brain would save after any micro-batch, and not when a signal comes: `on_fit_batch_end` does it.
        self.save_minutes, self.ckpt_interval_minutes = self.ckpt_interval_minutes, 0
        self.folder = folder
        self.labels = labels
        self.tokenizer = tokenizer
        self.selection = Selection(hparams["selection"], system.writes_text, system.emotion_weight > 0)
        tensorboard, epochs = hparams.get("tensorboard", False), hparams["epochs"]
        which = (epochs, self.selection, system.solves, [*system.tasks])
        self.log = EpochLog(folder, tensorboard, system.writes_text, *which)
        self.progress_file = ProgressFile(folder)
        self.warned_of_blanks = False
        self.has_valid, self.is_solved = True, False
        self.measured: Iterable[Batch] = ()  # see `fit`
        self.progress: dict[str, Any] | None = None  # of an epoch that has not ended, for its checkpoints
        checkpointer.add_recoverables({"system": system, "epoch_counter": self.epoch_counter})
        checkpointer.add_recoverable("brain", self, _load_state, main_process_only(_save_state))

    # The start

    def fit(
        self,
        epoch_counter: Any,
        train_set: Any,
        valid_set: Any = None,
        measured: Iterable[Batch] = (),
        validated: Iterable[Batch] | None = None,
        **kwargs: Any,
    ) -> None:
        """Train to the end, or to the end of the update in which a signal asks for it.

        `measured` are batches with each utterance of the training set once, for `System.measure` and `System.solve`,
        and `validated` the same of the validation set; in every process, while `valid_set` is its share.
        """
        self.has_valid, self.measured = valid_set is not None, measured
        # Within another autocast, weights that were cast for a micro-batch are kept for the others of its update.
        with signals.defer() as self.asked_to_end, torch.autocast(self.device_type, enabled=False):
            super().fit(epoch_counter, train_set, valid_set, **kwargs)
            if self.system.solves and not self.is_solved:
                self.solve(valid_set, validated)

    def on_fit_start(self) -> None:
        """Resume from the latest checkpoint that can be used, with the epoch log as it was then."""
        if distributed.world_size() > 1 and self.hparams.epochs:
            # Brain's own way would move the lengths to the GPU. Layer drop, alpha 0 and utterances
            # without a transcript leave parameters without a gradient.
            self.modules["system"] = DistributedDataParallel(
                self.system, find_unused_parameters=True, broadcast_buffers=False
            )
        self.init_optimizers()
        refuse_without_use(self.hparams, self.has_valid, self.scheduler.follows_figure, self.system.encoder)
        unfreezing.refuse_wrong(self.hparams, self.system.encoder)
        if (never := unfreezing.unreached(self.hparams, self.system.encoder)) and distributed.rank() == 0:
            logger.warning(never)
        rows = self.log.read()
        checkpoint = self.checkpointer.recover_latest(map(self.selection.meta, rows))
        done = self.epoch_counter.current
        self.is_solved = checkpoint is not None and checkpoint.meta.get("solved", False)
        self.log.begin(self.log.until(done, rows))
        self._end_early()
        if checkpoint is not None:
            within = "" if has_ended(checkpoint) else f" and update {checkpoint.meta['updates']} of the next"
            logger.info("resuming after epoch %d%s", done, " (solved)" if self.is_solved else within)
        else:
            self._measure()

    @torch.no_grad()
    def _measure(self) -> None:
        """Let the system measure the training set; a checkpoint holds what it takes from it."""
        use_precision("fp32")
        self.system.eval()
        self.system.measure((batch.wavs.to(self.device), batch.lengths) for batch in self.measured)

    # The last step

    def solve(self, valid_set: Iterable[Batch] | None, validated: Iterable[Batch] | None) -> None:
        """Let the system solve its last step, validate it, and save it as an epoch of its own, which is chosen."""
        self.started_at = time.monotonic()
        self.progress_file.write(in_solving(self.log))
        epoch = self.epoch_counter.current + 1
        training, validation = (
            None if batches is None else Batches(batches, self.device, self._exit_from_solving)
            for batches in (self.measured, validated)
        )
        solve(self.system, self.checkpointer, [self.hparams.seed, epoch], training, validation)
        self.epoch_counter.current, self.row, self.is_solved = epoch, {"epoch": epoch, "solved": 1}, True
        if valid_set is None:
            return self.end_epoch()
        self.on_stage_start(sb.Stage.VALID, epoch)
        with torch.no_grad():
            for batch in valid_set:
                self.evaluate_batch(batch, sb.Stage.VALID)
        self.on_stage_end(sb.Stage.VALID, 0.0, epoch)

    def _exit_from_solving(self) -> None:
        """Exit when asked to; of several processes none may end before the others, which wait for it."""
        if distributed.world_size() == 1:
            _exit_by(self.asked_to_end.number, "in the last step, which is solved")

    # Within an epoch

    def on_fit_batch_end(self, batch: Batch, outputs: Outputs, loss: Losses, should_step: bool) -> None:
        """After an update, save when it is time, and when a process was asked to end: then exit."""
        if should_step:
            due = 0 < self.save_minutes < (time.monotonic() - self.saved_at) / 60
            signal, due = divmod(distributed.max_over_processes(2 * self.asked_to_end.number + due), 2)
            if signal or due:
                self._note_progress()
                self._save_within_epoch(signal)
            if self.progress_file.is_due():
                seconds, updates = time.monotonic() - self.started_at, self.train_sampler.updates_per_epoch
                now = in_epoch(self.log, self.epoch_counter.current, (self.update, updates), self.tally, seconds)
                self.progress_file.write(now)

    def evaluate_batch(self, batch: Batch, stage: sb.Stage) -> Tensor:
        """Score a batch of the validation set."""
        if distributed.world_size() == 1 and self.asked_to_end.number:  # several processes end after the epoch
            if self.row.get("solved"):
                self._exit_from_solving()
            self._save_within_epoch(self.asked_to_end.number)
        batch = batch.to(self.device)
        with self.evaluation_ctx:
            outputs = self.compute_forward(batch, stage)
        losses = self.compute_objectives(outputs, batch, stage)
        self.tally.add(losses, outputs, batch)
        self.rows += batch.prediction_rows(outputs, self.labels, self.tokenizer, self.system.tasks)
        return losses.total.detach()

    # An epoch

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Begin to count, in an epoch that was interrupted where it was, in the stage's precision."""
        use_precision(self.precisions[stage])
        self.tally, self.rows = self.new_tally(), []
        if stage != sb.Stage.TRAIN:
            return
        self.started_at = self.saved_at = time.monotonic()
        self.update = self.train_sampler.done = self.skipped.in_epoch = 0
        if self.system.encoder is not None:
            unfreezing.hold(self.hparams, self.system.encoder, epoch)
            if (what := unfreezing.begun(self.hparams, self.system.encoder, epoch)) and distributed.rank() == 0:
                logger.info("epoch %d begins to train %s", epoch, what)
        if self.progress is not None:
            self.update = self.train_sampler.done = self.progress["updates"]
            self.train_sampler.set_epoch(epoch)
            self.step = self.train_sampler.first
            self.started_at -= self.progress["seconds"]
            self.skipped.in_epoch = self.progress["figures"]["skipped"]
            if distributed.rank() == 0:  # the sums are those of all processes
                self.tally = self.new_tally(self.progress["figures"]["sums"])

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Gather the epoch's figures; end the epoch after its last stage."""
        if stage == sb.Stage.TRAIN:
            self._note_progress()
            figures = self.progress["figures"]
            self.row = {"epoch": epoch, "skipped_updates": figures["skipped"]} | self.used_rates
            self.row |= means(figures["sums"], "train", self.system.tasks)
        else:
            rows, tasks = distributed.gather_rows(self.rows), self.system.tasks
            predictions = frame(rows, self.labels, self.system.writes_text, tasks)
            stats = means(self.tally.total(), "valid", tasks)
            self.row |= of_whole_set(stats, predictions, self.system.task_weights) if tasks else stats
            scores = metrics.scores(predictions[predictions["emo"] != ""])
            self.row |= {f"valid_{name}": value for name, value in scores.items()}
            late = epoch >= self.hparams.epochs / 3 and getattr(self.system, "alpha", 0) > 0
            if late and self.system.writes_text and not self.warned_of_blanks:
                self.warned_of_blanks = blanks.warn(predictions, epoch)
        if stage == sb.Stage.VALID or not self.has_valid:
            self.progress = None
            self.end_epoch()

    def end_epoch(self) -> None:
        """Log the epoch, set the rates of the next, and save its checkpoint; exit when asked to."""
        if not self.system.emotion_weight:  # figures of a head that is not trained would be taken for results
            self.row = {name: value for name, value in self.row.items() if name not in OF_EMOTIONS}
        # The log first: a row beyond the checkpoint is dropped on resuming, a missing one could not be restored.
        self.log.add(self.row | {"seconds": round(time.monotonic() - self.started_at, 2)})
        if not self.row.get("solved"):
            self.scheduler.after_epoch(self.row["epoch"], self.selection.cost(self.row))
        self.checkpointer.save_and_keep(self.selection.meta(self.row), getattr(self.hparams, "keep_last", 1))
        self._end_early()
        _exit_by(distributed.max_over_processes(self.asked_to_end.number), f"after epoch {self.row['epoch']}")

    def _end_early(self) -> None:
        """Let no epoch follow when there was no better one for as many as `patience` says, or it has been solved."""
        if self.is_solved:
            self.epoch_counter.limit = self.epoch_counter.current
        elif self.selection.is_over(self.log.rows, self.hparams.patience):
            best = self.selection.best(self.log.rows)["epoch"]
            logger.info("no epoch since %d has a better %s: the training ends", best, self.selection.figure)
            self.epoch_counter.limit = self.epoch_counter.current

    def _note_progress(self) -> None:
        """Note how far the epoch has come, as JSON takes it; the processes sum up their figures."""
        self.skipped.check(self.optimizer_step)
        seconds = time.monotonic() - self.started_at
        figures = {"skipped": self.skipped.in_epoch, "sums": self.tally.total()}
        self.progress = {"updates": self.update, "seconds": seconds, "figures": figures}

    def _save_within_epoch(self, signal: int) -> None:
        epoch, updates = self.epoch_counter.current, self.progress["updates"]
        self.checkpointer.save_within_epoch(epoch, updates)
        self.saved_at = time.monotonic()
        _exit_by(signal, f"after update {updates} of epoch {epoch}")


def _exit_by(signal: int, where: str) -> None:
    """Exit as the signal asks; go on where it is 0."""
    if signal:
        logger.info("stopped by signal %d %s; the same command resumes there", signal, where)
        sys.exit(signals.exit_code(signal))


def _save_state(brain: EmotionBrain, path: Path) -> None:
    state = {
        "optimizer_step": brain.optimizer_step,
        "progress": brain.progress,
        "used_rates": brain.used_rates,
        "skipped_in_a_row": brain.skipped.in_a_row,
        "warned_of_blanks": brain.warned_of_blanks,
    }
    path.write_text(json.dumps(state), encoding="utf-8")


def _load_state(brain: EmotionBrain, path: Path, end_of_epoch: bool) -> None:
    state = json.loads(path.read_text(encoding="utf-8"))
    brain.optimizer_step, brain.progress = state["optimizer_step"], state["progress"]
    brain.skipped.in_a_row, brain.warned_of_blanks = state["skipped_in_a_row"], state["warned_of_blanks"]
    brain.used_rates = state.get("used_rates", {})  # an earlier version did not save them

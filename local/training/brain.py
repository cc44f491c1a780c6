"""The Brain: trains a system, validates it after each epoch, keeps checkpoints, and resumes at any moment.

The calls of a training, in order; the loops around them are those of SpeechBrain's Brain:

    fit                             a signal that asks for the end is noted, not obeyed at once
      on_fit_start                  DDP, init_optimizers, the latest checkpoint
      for each epoch:
        on_stage_start(TRAIN)       counts from 0, or from where the epoch was interrupted
        fit_batch                   for each micro-batch:
          on_fit_batch_start        of an update's first: draws the update's random numbers
          compute_forward, compute_objectives, backward
          optimizers_step           of an update's last: clips, steps
          on_fit_batch_end          of an update's last: saves when it is time, exits when asked to
        on_stage_end(TRAIN)         the epoch's training figures
        on_stage_start(VALID), evaluate_batch for each batch, on_stage_end(VALID)
        end_epoch                   epochs.csv, the checkpoint of the epoch; exits when asked to

Unlike SpeechBrain's, an update is a set of utterances however it is cut into micro-batches (Brain
averages micro-batches, and drops those left at the end of an epoch), all parameter groups are
clipped (Brain clips the first), and an update whose loss or gradient is not finite is skipped whole.

A checkpoint holds the states of model, optimizer, scheduler and loss scaler, and the figures of the
running epoch. Random numbers need no state: each update draws its own from seed, epoch, update and
process. No private name of Brain is used or overridden.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import speechbrain as sb
import torch
from speechbrain.utils.distributed import main_process_only
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.seed import seed_everything
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from transformers import get_linear_schedule_with_warmup

from local.core import signals
from local.data.batches import UpdateSampler
from local.data.dataset import Batch
from local.data.device import use_precision
from local.scoring import metrics
from local.scoring.predictions import frame
from local.systems import Losses, Outputs
from local.text.tokenizer import Tokenizer
from local.training import distributed
from local.training.checkpoints import RunCheckpointer, has_ended
from local.training.epoch_log import EpochLog, Tally, learning_rates, means
from local.training.progress import ProgressFile, in_epoch
from local.training.skipped import SkippedUpdates

logger = logging.getLogger(__name__)


class EmotionBrain(sb.Brain):
    """Trains a system (see `local.systems`) in a run folder, as the YAML's values say.

    The sampler plans the updates; labels and tokenizer say what the outputs of the heads mean.
    """

    def __init__(
        self,
        system: torch.nn.Module,
        hparams: dict,
        folder: Path,
        sampler: UpdateSampler,
        labels: list[str],
        tokenizer: Tokenizer,
        checkpointer: RunCheckpointer,
    ) -> None:
        self.precisions = {sb.Stage.VALID: hparams["eval_precision"], sb.Stage.TRAIN: hparams["precision"]}
        names = {key: use_precision(hparams[key]) for key in ("eval_precision", "precision")}
        super().__init__({"system": system}, hparams=hparams | names, checkpointer=checkpointer)
        # Brain would save after any micro-batch, and not when a signal comes: `on_fit_batch_end` does it.
        self.save_minutes, self.ckpt_interval_minutes = self.ckpt_interval_minutes, 0
        self.system = system
        self.folder = folder
        self.train_sampler = sampler
        self.labels = labels
        self.tokenizer = tokenizer
        self.log = EpochLog(folder, hparams.get("tensorboard", False), hparams["epochs"])
        self.progress_file = ProgressFile(folder)
        self.skipped = SkippedUpdates(scaled=self.scaler.is_enabled())
        self.warned_of_blanks = False
        self.used_rates: dict[str, float] = {}  # learning rates of the latest update
        self.progress: dict[str, Any] | None = None  # of an epoch that has not ended, for its checkpoints
        self.epoch_counter = EpochCounter(hparams["epochs"])
        checkpointer.add_recoverables({"system": system, "epoch_counter": self.epoch_counter})
        checkpointer.add_recoverable("brain", self, _load_state, main_process_only(_save_state))

    # The start

    def fit(self, epoch_counter: Any, train_set: Any, valid_set: Any = None, **kwargs: Any) -> None:
        """Train to the end, or to the end of the update in which a signal asks for it."""
        self.has_valid = valid_set is not None
        # Within another autocast, weights that were cast for a micro-batch are kept for the others of its update.
        with signals.defer() as self.asked_to_end, torch.autocast(self.device_type, enabled=False):
            super().fit(epoch_counter, train_set, valid_set, **kwargs)

    def on_fit_start(self) -> None:
        """Resume from the latest checkpoint that can be used, with the epoch log as it was then."""
        if distributed.world_size() > 1:
            # Brain's own way would move the lengths to the GPU. Layer drop, alpha 0 and utterances
            # without a transcript leave parameters without a gradient.
            self.modules["system"] = DistributedDataParallel(
                self.system, find_unused_parameters=True, broadcast_buffers=False
            )
        self.init_optimizers()
        rows = self.log.read()
        epochs = [{"epoch": row["epoch"], "ua": row["valid_ua"], "wer": row["valid_wer"]} for row in rows]
        checkpoint = self.checkpointer.recover_latest(epochs)
        done = self.epoch_counter.current
        self.log.begin([row for row in rows if row["epoch"] <= done])
        if checkpoint is not None:
            within = "" if has_ended(checkpoint) else f" and update {checkpoint.meta['updates']} of the next"
            logger.info("resuming after epoch %d%s", done, within)

    def init_optimizers(self) -> None:
        """AdamW over what learns, the heads at their own rate; linear warm-up and decay over all updates."""
        hparams = self.hparams
        heads = {id(p) for head in self.system.heads() for p in head.parameters()}
        learning = [p for p in self.system.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learning if id(p) not in heads], "lr": hparams.lr},
            {"params": [p for p in learning if id(p) in heads], "lr": hparams.head_lr},
        ]
        self.optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=hparams.weight_decay,
            fused=True,
        )
        self.optimizers_dict = {"optimizer": self.optimizer}
        updates = hparams.epochs * self.train_sampler.updates_per_epoch
        self.scheduler = get_linear_schedule_with_warmup(self.optimizer, round(hparams.warmup * updates), updates)
        self.checkpointer.add_recoverables({"optimizer": self.optimizer, "scheduler": self.scheduler})

    # A step

    def fit_batch(self, batch: Batch) -> Tensor:
        """Add a micro-batch's share to the gradient of its update; step at the update's end."""
        micro_batch = self.train_sampler.plan[self.step - 1]
        self.on_fit_batch_start(batch, micro_batch.ends_update)
        batch = batch.to(self.device)
        with self.no_sync(not micro_batch.ends_update):
            with self.training_ctx:
                outputs = self.compute_forward(batch, sb.Stage.TRAIN)
            losses = self.compute_objectives(outputs, batch, sb.Stage.TRAIN)
            share = losses.total * micro_batch.share
            self.scaler.scale(share).backward()
        if micro_batch.share:
            self.tally.add(losses, outputs, batch, counts=torch.isfinite(losses.total.detach()))
        self.update_loss = share.detach() + self.update_loss
        if micro_batch.ends_update:
            self.optimizers_step()
        self.on_fit_batch_end(batch, outputs, losses, micro_batch.ends_update)
        return losses.total.detach()

    def on_fit_batch_start(self, batch: Batch, should_step: bool) -> None:
        """Draw the random numbers of an update from its place alone; each process draws others."""
        update = self.train_sampler.plan[self.step - 1].update
        if update != self.update:
            self.update, self.update_loss = update, 0.0
            place = [self.hparams.seed, self.epoch_counter.current, update, distributed.rank()]
            seed_everything(int(np.random.SeedSequence(place).generate_state(1)[0]), verbose=False)

    def compute_forward(self, batch: Batch, stage: sb.Stage) -> Outputs:
        """Run the system on a batch that is on the device."""
        # Validation not through DDP, for which all processes would need as many batches.
        system = self.modules.system if stage == sb.Stage.TRAIN else self.system
        return system(batch.wavs, batch.lengths)

    def compute_objectives(self, predictions: Outputs, batch: Batch, stage: sb.Stage) -> Losses:
        """The system's losses, in single precision."""
        return self.system.losses(predictions, batch.targets)

    def optimizers_step(self) -> None:
        """Clip the gradient of all groups and step, unless loss or gradient is not finite."""
        learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(learning, self.max_grad_norm if self.max_grad_norm > 0 else torch.inf)
        loss = distributed.sum_over_processes(self.update_loss.float()) / distributed.world_size()
        if not self.scaler.is_enabled():
            # The fused optimizer then leaves everything as it is, without a wait for the device. With fp16
            # the scaler sets it, and lowers its scale.
            self.optimizer.found_inf = (~(torch.isfinite(loss) & torch.isfinite(norm))).float()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        torch.clear_autocast_cache()  # the weights have changed
        self.optimizer_step += 1
        self.used_rates = learning_rates(self.optimizer.param_groups, self.system.heads())
        self.scheduler.step()
        self.skipped.add(loss, norm.float(), self.optimizer_step)

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

    def update_average(self, loss: Tensor, avg_loss: float) -> float:
        """The progress bar's loss; not on a GPU, which would have to be waited for at every step."""
        return super().update_average(loss, avg_loss) if loss.device.type == "cpu" else avg_loss

    def evaluate_batch(self, batch: Batch, stage: sb.Stage) -> Tensor:
        """Score a batch of the validation set."""
        if distributed.world_size() == 1 and self.asked_to_end.number:  # several processes end after the epoch
            self._save_within_epoch(self.asked_to_end.number)
        batch = batch.to(self.device)
        with self.evaluation_ctx:
            outputs = self.compute_forward(batch, stage)
        losses = self.compute_objectives(outputs, batch, stage)
        self.tally.add(losses, outputs, batch)
        self.rows += batch.prediction_rows(outputs, self.labels, self.tokenizer)
        return losses.total.detach()

    # An epoch

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Begin to count, in an epoch that was interrupted where it was, in the stage's precision."""
        use_precision(self.precisions[stage])
        torch.clear_autocast_cache()  # casts made in validation have no gradient
        self.tally, self.rows = Tally(self.device), []
        if stage != sb.Stage.TRAIN:
            return
        self.started_at = self.saved_at = time.monotonic()
        self.update = self.train_sampler.done = self.skipped.in_epoch = 0
        if self.progress is not None:
            self.update = self.train_sampler.done = self.progress["updates"]
            self.train_sampler.set_epoch(epoch)
            self.step = self.train_sampler.first
            self.started_at -= self.progress["seconds"]
            self.skipped.in_epoch = self.progress["figures"]["skipped"]
            if distributed.rank() == 0:  # the sums are those of all processes
                self.tally = Tally(self.device, self.progress["figures"]["sums"])

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Gather the epoch's figures; end the epoch after its last stage."""
        if stage == sb.Stage.TRAIN:
            self._note_progress()
            figures = self.progress["figures"]
            self.row = {"epoch": epoch, "skipped_updates": figures["skipped"]} | self.used_rates
            self.row |= means(figures["sums"], "train")
        else:
            predictions = frame(distributed.gather_rows(self.rows), self.labels)
            stats = means(self.tally.total(), "valid")
            stats.pop("ctc_left_out", None)
            self.row |= stats | {f"valid_{name}": value for name, value in metrics.scores(predictions).items()}
            self._warn_of_blanks(predictions, epoch)
        if stage == sb.Stage.VALID or not self.has_valid:
            self.progress = None
            self.end_epoch()

    def end_epoch(self) -> None:
        """Log the epoch and save its checkpoint; exit when asked to."""
        # The log first: a row beyond the checkpoint is dropped on resuming, a missing one could not be restored.
        self.log.add(self.row | {"seconds": round(time.monotonic() - self.started_at, 2)})
        meta = {"epoch": self.row["epoch"], "ua": self.row.get("valid_ua"), "wer": self.row.get("valid_wer")}
        self.checkpointer.save_and_keep(meta, getattr(self.hparams, "keep_last", 1))
        _exit_by(distributed.max_over_processes(self.asked_to_end.number), f"after epoch {self.row['epoch']}")

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

    def _warn_of_blanks(self, predictions: pd.DataFrame, epoch: int) -> None:
        """Warn once, after a third of the epochs, when the CTC head still writes nothing."""
        late = epoch >= self.hparams.epochs / 3 and getattr(self.system, "alpha", 0) > 0
        silent = (predictions["wrd"] != "").any() and (predictions["wrd_hyp"] == "").all()
        if late and silent and not self.warned_of_blanks:
            self.warned_of_blanks = True
            logger.warning(
                "epoch %d: the CTC output is all blank on the validation set; "
                "try more --epochs, a higher --head_lr or --lr, or a larger --alpha",
                epoch,
            )


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

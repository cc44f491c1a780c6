"""The Brain: trains a system, validates it after each epoch and keeps the checkpoints worth keeping.

What SpeechBrain's Brain does is left to it. Its own here: an update is a set of utterances however
it is cut into micro-batches (Brain averages micro-batches, and drops those left at the end of an
epoch), all parameter groups are clipped (Brain clips the first), an update whose loss or gradient
is not finite is skipped whole (Brain descends on it). How a run is ended and goes on is
`local.training.resumable`.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pandas as pd
import speechbrain as sb
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from transformers import get_linear_schedule_with_warmup

from local.core.errors import UserError
from local.data.batches import UpdateSampler
from local.data.dataset import Batch
from local.scoring import metrics
from local.scoring.predictions import frame
from local.systems import Losses, Outputs
from local.text.ctc import greedy_tokens
from local.text.tokenizer import Tokenizer
from local.training import distributed
from local.training.checkpoints import WholeCheckpointer
from local.training.epoch_log import Tally, means
from local.training.resumable import ResumableBrain

logger = logging.getLogger(__name__)

PATIENCE = 10  # updates in a row that may be skipped
LOOK = {"cpu": 1, "cuda": 20}  # updates after which one looks what became of them: a GPU has to be waited for


def greedy(outputs: Outputs, tokenizer: Tokenizer) -> list[str]:
    """Transcribe greedily."""
    return [tokenizer.decode(tokens) for tokens in greedy_tokens(outputs.tokens, outputs.n_frames)]


def prediction_rows(batch: Batch, outputs: Outputs, labels: list[str], tokenizer: Tokenizer) -> list[tuple]:
    """Rows for `local.scoring.predictions.frame`."""
    posteriors = outputs.emotion.double().softmax(-1).tolist()
    emotions = [labels[index] for index in batch.targets.emotion.tolist()]
    texts = greedy(outputs, tokenizer)
    rows = zip(batch.ids, emotions, posteriors, batch.texts, texts, strict=True)
    return [(name, emotion, *posterior, text, hypothesis) for name, emotion, posterior, text, hypothesis in rows]


class EmotionBrain(ResumableBrain):
    """Trains a system (see `local.systems`) as its hparams say.

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
    labels, tokenizer
        What the heads' outputs mean.
    checkpointer
        Keeps the checkpoints.
    """

    STATE = (*ResumableBrain.STATE, "skipped_in_a_row", "warned_of_blanks")

    def __init__(
        self,
        system: torch.nn.Module,
        hparams: dict,
        folder: Path,
        sampler: UpdateSampler,
        labels: list[str],
        tokenizer: Tokenizer,
        checkpointer: WholeCheckpointer,
    ) -> None:
        super().__init__(system, hparams, folder, sampler, checkpointer)
        self.system = system
        self.folder = folder
        self.labels = labels
        self.tokenizer = tokenizer
        self.has_valid = False
        self.skipped_in_a_row = 0
        self.warned_of_blanks = False

    # Optimisation

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
        self.checkpointer.add_recoverable("optimizer", self.optimizer)
        self.checkpointer.add_recoverable("scheduler", self.scheduler)

    def compute_forward(self, batch: Batch, stage: sb.Stage) -> Outputs:
        """Run the system on a batch that is on the device."""
        return self.modules.system(batch.wavs, batch.lengths)

    def compute_objectives(self, predictions: Outputs, batch: Batch, stage: sb.Stage) -> Losses:
        """The system's losses, in single precision."""
        return self.system.losses(predictions, batch.targets)

    def _fit_train(self, *args: Any, **kwargs: Any) -> None:
        # Within another autocast, weights that were cast for a micro-batch are kept for the update's others.
        with torch.autocast(torch.device(self.device).type, enabled=False):
            super()._fit_train(*args, **kwargs)

    def _wrap_distributed(self) -> None:
        """Let the processes share gradients. SpeechBrain's own way would move the lengths to the GPU."""
        if distributed.world_size() > 1:
            # Layer drop, alpha 0 and utterances without a transcript leave parameters without a gradient.
            self.modules["system"] = DistributedDataParallel(
                self.system, find_unused_parameters=True, broadcast_buffers=False
            )

    def fit_batch(self, batch: Batch) -> Tensor:
        """Add a micro-batch's share to the gradient of its update; step at the update's end."""
        micro_batch = self.train_sampler.plan[self.step - 1]
        if micro_batch.update != self.update:
            self.begin_update(micro_batch.update)
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
        return losses.total.detach()

    def update_average(self, loss: Tensor, avg_loss: float) -> float:
        """The progress bar's loss; not on a GPU, which would have to be waited for at every step."""
        return super().update_average(loss, avg_loss) if loss.device.type == "cpu" else avg_loss

    def optimizers_step(self) -> None:
        """Clip the gradient of all groups and step, unless loss or gradient is not finite."""
        learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(learning, self.max_grad_norm if self.max_grad_norm > 0 else torch.inf)
        loss = distributed.sum_over_processes(self.update_loss.float()) / distributed.world_size()
        outcome = torch.stack([loss, norm.float()])
        if not self.scaler.is_enabled():
            # The fused optimizer leaves everything as it is where this says so, on the device, without being
            # waited for. With fp16 the scaler sets it, and lowers its scale.
            self.optimizer.found_inf = (~torch.isfinite(outcome).all()).float()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        torch.clear_autocast_cache()
        self.update_loss = 0.0
        self.optimizer_step += 1
        self.scheduler.step()
        self.outcomes.append(outcome)
        if len(self.outcomes) == LOOK[outcome.device.type]:
            self._count_skipped()

    def _count_skipped(self) -> None:
        """Look at what became of the latest updates; give up when too many in a row were skipped."""
        outcomes = torch.stack(self.outcomes).tolist() if self.outcomes else []
        first = self.optimizer_step - len(outcomes) + 1
        self.outcomes = []
        for update, (loss, norm) in enumerate(outcomes, start=first):
            # With fp16 a gradient overflows now and then, which the scaler answers.
            spoilt = not math.isfinite(loss) or not (math.isfinite(norm) or self.scaler.is_enabled())
            if not spoilt:
                self.skipped_in_a_row = 0
                continue
            reason = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
            self.skipped += 1
            self.skipped_in_a_row += 1
            logger.warning("update %d skipped: %s", update, reason)
            if self.skipped_in_a_row == PATIENCE:
                raise UserError(
                    f"{PATIENCE} updates in a row had to be skipped, the last because {reason}",
                    "lower --lr (1e-5 with alpha 0), give a longer --warmup, or take --precision fp32",
                )

    def evaluate_batch(self, batch: Batch, stage: sb.Stage) -> Tensor:
        """Score a batch of the validation part."""
        self.end_validation_if_asked()
        batch = batch.to(self.device)
        with self.evaluation_ctx:
            # Not through DDP, for which all processes would need as many batches.
            outputs = self.system(batch.wavs, batch.lengths)
        losses = self.compute_objectives(outputs, batch, stage)
        self.tally.add(losses, outputs, batch)
        self.rows += prediction_rows(batch, outputs, self.labels, self.tokenizer)
        return losses.total.detach()

    # Epochs

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Begin to count, in an epoch that was interrupted where it was."""
        self.tally, self.rows = Tally(), []
        if stage == sb.Stage.TRAIN:
            self.skipped, self.outcomes, self.update_loss = 0, [], 0.0
            self.begin_epoch(epoch)

    def figures(self) -> dict[str, Any]:
        """What the running epoch has counted."""
        self._count_skipped()
        return {"skipped": self.skipped, "sums": self.tally.total(self.device)}

    def restore(self, figures: dict[str, Any]) -> None:
        """Go on counting; of several processes the first does for all."""
        self.skipped = figures["skipped"]
        if distributed.rank() == 0:
            self.tally = Tally(torch.tensor(figures["sums"], dtype=torch.float64, device=self.device))

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Gather the epoch's figures; close the epoch after its last stage."""
        if stage == sb.Stage.TRAIN:
            sums = self.note_progress()["sums"]
            self.row = {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"], "skipped_updates": self.skipped}
            self.row |= means(sums, "train")
        else:
            predictions = frame(distributed.gather_rows(self.rows), self.labels)
            stats = means(self.tally.total(self.device), "valid")
            stats.pop("ctc_left_out", None)
            self.row |= stats | {f"valid_{name}": value for name, value in metrics.scores(predictions).items()}
            self._warn_of_blanks(predictions, epoch)
        if stage == sb.Stage.VALID or not self.has_valid:
            self.end_epoch(self.row)

    def _warn_of_blanks(self, predictions: pd.DataFrame, epoch: int) -> None:
        """Say once, after a third of the epochs, when the CTC head still writes nothing."""
        late = epoch >= self.hparams.epochs / 3 and getattr(self.system, "alpha", 0) > 0
        silent = (predictions["wrd"] != "").any() and (predictions["wrd_hyp"] == "").all()
        if late and silent and not self.warned_of_blanks:
            self.warned_of_blanks = True
            logger.warning(
                "epoch %d: the CTC output is all blank on the validation part; "
                "try more --epochs, a higher --head_lr or --lr, or a larger --alpha",
                epoch,
            )

"""An update of the weights: its micro-batches, its gradient, its step.

Unlike SpeechBrain's, an update is a set of utterances however it is cut into micro-batches (Brain
averages micro-batches, and drops those left at the end of an epoch), all parameter groups are
clipped (Brain clips the first), and an update whose loss or gradient is not finite is skipped whole.

Random numbers need no state: each update draws its own from seed, epoch, update and process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import speechbrain as sb
import torch
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.seed import seed_everything
from torch import Tensor

from local.data.augmentation import Augmentation
from local.data.batches import MicroBatch, UpdateSampler
from local.data.dataset import Batch
from local.data.device import use_precision
from local.systems import Losses, Outputs, System
from local.systems.layers.batch_norm import running_statistics
from local.training import distributed, optimisation
from local.training.checkpoints import RunCheckpointer
from local.training.epoch_log import Tally, learning_rates
from local.training.skipped import SkippedUpdates


class UpdateBrain(sb.Brain):
    """Trains a system by the updates that a sampler plans; the epochs around them are those of `EmotionBrain`.

    Attributes
    ----------
    update
        The number of the running update in its epoch, from 1; 0 before the first.
    tally
        The sums of the running stage.
    used_rates
        The learning rates of the latest update.
    held
        The micro-batches of the running update, where a loss depends on all of them.
    """

    def __init__(self, system: System, hparams: dict, sampler: UpdateSampler, checkpointer: RunCheckpointer) -> None:
        names = {key: use_precision(hparams[key]) for key in ("eval_precision", "precision")}
        super().__init__({"system": system}, hparams=hparams | names, checkpointer=checkpointer)
        self.system = system
        self.train_sampler = sampler
        self.augment = Augmentation(hparams["augment"], system.max_samples)
        self.skipped = SkippedUpdates(scaled=self.scaler.is_enabled())
        self.epoch_counter = EpochCounter(hparams["epochs"])
        self.tally, self.update = self.new_tally(), 0
        self.used_rates: dict[str, float] = {}
        self.held: list[tuple[Batch, MicroBatch]] = []
        self.statistics: list[Tensor] = []  # of batch norm, which a forward pass changes
        self.statistics_before: list[Tensor] = []  # as they were when the update began

    def init_optimizers(self) -> None:
        """The optimizer and the learning rates that the YAML names, and what an update that is skipped must restore."""
        hparams = self.hparams
        epochs = max(1, hparams.epochs)  # rates follow from it, though there be no epoch
        self.optimizer = optimisation.build_optimizer(hparams.optimizer, self.system, hparams.lr, hparams.head_lr)
        self.optimizers_dict = {"optimizer": self.optimizer}
        self.statistics = running_statistics(self.system)
        updates = epochs * self.train_sampler.updates_per_epoch
        length = optimisation.Length(epochs, updates, round(hparams.warmup * updates), hparams.lr)
        self.scheduler = optimisation.Schedule(hparams.scheduler, self.optimizer, length)
        self.checkpointer.add_recoverables({"optimizer": self.optimizer, "scheduler": self.scheduler})

    def new_tally(self, sums: Sequence[float] = ()) -> Tally:
        """Begin to count, or go on from sums."""
        return Tally(self.device, sums, len(self.system.tasks))

    def fit_batch(self, batch: Batch) -> Tensor:
        """Add a micro-batch's share to the gradient of its update; step at the update's end.

        Where a loss depends on the whole update, micro-batches are held until its last: nan, which the progress bar
        leaves out, is then the loss of the others.
        """
        micro_batch = self.train_sampler.plan[self.step - 1]
        self.on_fit_batch_start(batch, micro_batch.ends_update)
        if not self.system.depends_on_update:
            return self._learn_from(batch, micro_batch)
        self.held.append((batch, micro_batch))
        if not micro_batch.ends_update:
            return torch.full((), torch.nan)
        held, self.held = self.held, []
        if len(held) == 1 and distributed.world_size() == 1:
            return self._learn_from(batch, micro_batch)
        moments = self._moments(held)
        return [self._learn_from(each, part, moments) for each, part in held][-1]

    def _moments(self, held: list[tuple[Batch, MicroBatch]]) -> Tensor:
        """What the losses of the running update need to know of all its utterances, in all processes.

        One more pass, of the same random numbers and kernels as that for the gradient, which follows; what a pass
        changes of the system, running statistics of batch norm, is put back.
        """
        kept = [(buffer, buffer.clone()) for buffer in self.system.buffers()]
        moments = sum(self._moments_of(batch) * bool(part.share) for batch, part in held)  # 0: another process has it
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)
        self._seed()
        return distributed.sum_over_processes(moments)

    def _moments_of(self, batch: Batch) -> Tensor:
        # Not without gradients: kernels for that draw other dropout. What a pass keeps is freed at its end.
        batch = self.augment(batch.to(self.device))
        with self.training_ctx:
            outputs = self.system(batch.wavs, batch.lengths)
        return self.system.moments(outputs, batch.targets)

    def _learn_from(self, batch: Batch, micro_batch: MicroBatch, moments: Tensor | None = None) -> Tensor:
        """Add a micro-batch's share to the gradient of its update, of these `moments`, and step at the update's end."""
        batch = self.augment(batch.to(self.device))
        if moments is not None:
            batch = replace(batch, targets=batch.targets._replace(moments=moments))
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
            self.update, self.update_loss, self.held = update, 0.0, []
            self.statistics_before = [each.clone() for each in self.statistics]
            self._seed()

    def _seed(self) -> None:
        """Seed all random generators for the running update."""
        place = [self.hparams.seed, self.epoch_counter.current, self.update, distributed.rank()]
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
        """Clip the gradient of all groups and step; nothing changes if loss or gradient is not finite."""
        learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(learning, self.max_grad_norm if self.max_grad_norm > 0 else torch.inf)
        loss = distributed.sum_over_processes(self.update_loss.float()) / distributed.world_size()
        is_finite = torch.isfinite(loss) & torch.isfinite(norm)
        optimisation.step(self.optimizer, self.scaler, is_finite)
        for statistic, before in zip(self.statistics, self.statistics_before, strict=True):
            statistic.copy_(torch.where(is_finite, statistic, before))
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        torch.clear_autocast_cache()  # the weights have changed
        self.optimizer_step += 1
        self.used_rates = learning_rates(self.optimizer.param_groups, self.system.heads())
        self.scheduler.after_update(self.optimizer_step, loss)
        self.skipped.add(loss, norm.float(), self.optimizer_step)
        distributed.average_statistics(self.system)

    def update_average(self, loss: Tensor, avg_loss: float) -> float:
        """The progress bar's loss; not on a GPU, which would have to be waited for at every step."""
        return super().update_average(loss, avg_loss) if loss.device.type == "cpu" else avg_loss

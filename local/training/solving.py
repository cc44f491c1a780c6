"""The last step of a system that has one in closed form, `System.solve`, after the last epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from speechbrain.utils.seed import seed_everything
from torch import Tensor

from local.data.dataset import Batch
from local.data.device import use_precision
from local.systems import System
from local.training import distributed
from local.training.checkpoints import RunCheckpointer

logger = logging.getLogger(__name__)


class Batches:
    """Batches as `System.solve` takes them, however often it asks; `look` is called before each."""

    def __init__(self, batches: Iterable[Batch], device: str, look: Callable[[], None]) -> None:
        self.batches, self.device, self.look = batches, device, look

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for batch in self.batches:
            self.look()
            yield batch.wavs.to(self.device), batch.lengths, batch.targets.emotion.to(self.device)


@torch.no_grad()
def solve(
    system: System, checkpointer: RunCheckpointer, seeds: list[int], training: Batches, validation: Batches | None
) -> None:
    """Let a system solve its last step from the weights of the chosen checkpoint, if there is one.

    It depends on that checkpoint, the sets and the seeds alone: whoever is killed in it solves the same again. Several
    processes all solve, so that none waits, and take what the first has found.
    """
    if chosen := checkpointer.chosen():
        RunCheckpointer(checkpointer.checkpoints_dir, {"system": system}).load_checkpoint(chosen)
        logger.info("the last step is solved from the weights of epoch %d", chosen.meta["epoch"])
    seed_everything(int(np.random.SeedSequence(seeds).generate_state(1)[0]), verbose=False)
    use_precision("fp32")
    system.eval()
    system.solve(training, validation)
    distributed.take_first(system.state_dict().values())

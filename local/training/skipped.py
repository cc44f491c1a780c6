"""Updates whose loss or gradient is not finite: the optimizer skips them, here they are counted."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from local.core.errors import UserError

logger = logging.getLogger(__name__)

PATIENCE = 10  # updates in a row that may be skipped
CHECK_EVERY = {"cpu": 1, "cuda": 20}  # updates; a GPU would have to be waited for after each


class SkippedUpdates:
    """Counts skipped updates, and stops a run that skips too many in a row.

    Parameters
    ----------
    scaled
        Whether a gradient scaler is at work (fp16): a gradient then overflows now and then, and the scaler
        lowers its scale; such an update is not counted.

    Attributes
    ----------
    in_epoch, in_a_row
        Skipped updates of the running epoch; those since the last update that was not skipped.
    """

    def __init__(self, scaled: bool) -> None:
        self.scaled = scaled
        self.in_epoch = self.in_a_row = 0
        self.unchecked: list[Tensor] = []

    def add(self, loss: Tensor, norm: Tensor, update: int) -> None:
        """Add the loss and the gradient's norm, scalars on the device, of the run's update of this number."""
        self.unchecked.append(torch.stack([loss, norm]))
        if len(self.unchecked) == CHECK_EVERY[loss.device.type]:
            self.check(update)

    def check(self, update: int) -> None:
        """Count what was skipped among the updates not checked yet, up to this one.

        `UserError` when `PATIENCE` updates in a row were skipped.
        """
        outcomes = torch.stack(self.unchecked).tolist() if self.unchecked else []
        self.unchecked = []
        for number, (loss, norm) in enumerate(outcomes, start=update - len(outcomes) + 1):
            if math.isfinite(loss) and (math.isfinite(norm) or self.scaled):
                self.in_a_row = 0
                continue
            reason = f"the gradient's norm is {norm}" if math.isfinite(loss) else f"the loss is {loss}"
            self.in_epoch += 1
            self.in_a_row += 1
            logger.warning("update %d skipped: %s", number, reason)
            if self.in_a_row == PATIENCE:
                raise UserError(
                    f"{PATIENCE} updates in a row had to be skipped, the last because {reason}",
                    "lower --lr (1e-5 with alpha 0), give a longer --warmup, or take --precision fp32",
                )

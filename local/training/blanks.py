"""A CTC head that writes nothing yet."""

from __future__ import annotations

import logging

import pandas as pd

logger = logging.getLogger(__name__)


def warn(predictions: pd.DataFrame, epoch: int) -> bool:
    """Warn where no text is written for a validation set that has transcripts; return whether this is so."""
    silent = bool((predictions["wrd"] != "").any() and (predictions["wrd_hyp"] == "").all())
    if silent:
        logger.warning(
            "epoch %d: the CTC output is all blank on the validation set; "
            "try more --epochs, a higher --head_lr or --lr, or a larger --alpha",
            epoch,
        )
    return silent

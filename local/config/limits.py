"""Limits of the values of a YAML, for the keys that the pipeline reads itself; a system checks its own."""

from __future__ import annotations

import math
from typing import Any

from local.core.errors import UserError
from local.core.precisions import PRECISIONS

# The least value of a key, and the greatest. A whole number has whole limits.
LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("batch_size", "micro_batch_size", "vocab_size"), (1, math.inf)),
    **dict.fromkeys(("epochs", "keep_last", "patience", "freeze_layers", "freeze_encoder_epochs"), (0, math.inf)),
    **dict.fromkeys(("threads", "num_workers"), (0, math.inf)),
    **dict.fromkeys(("lr", "head_lr", "weight_decay", "max_grad_norm", "ckpt_interval_minutes"), (0.0, math.inf)),
    **dict.fromkeys(("micro_batch_seconds", "eval_batch_seconds"), (0.001, math.inf)),
    "warmup": (0.0, 1.0),
}
WORDS = {"precision": ("auto", *PRECISIONS), "eval_precision": PRECISIONS}  # what a key may say


def refuse_bad_values(values: dict[str, Any], where: str) -> None:
    """Raise a UserError for a value that is not what its key may have; `where` begins the message."""
    for key in WORDS.keys() & values.keys():
        if values[key] not in WORDS[key]:
            raise UserError(f"{where}: {key} is {values[key]!r}", f"take one of: {' '.join(WORDS[key])}")
    for key in LIMITS.keys() & values.keys():
        least, greatest = LIMITS[key]
        value, whole = values[key], isinstance(least, int)
        kinds = (int,) if whole else (int, float)
        if type(value) not in kinds or not least <= value <= greatest or math.isinf(value):
            kind = "a whole number" if whole else "a number"
            upto = f" of at least {least:g}" if math.isinf(greatest) else f" from {least:g} to {greatest:g}"
            raise UserError(f"{where}: {key} is {value!r}", f"give {kind}{upto}")

"""Whether a model is sure: its highest posterior, with its temperature, against a threshold (`--unsure`)."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.core.errors import UserError

if TYPE_CHECKING:
    from local.inference.model_folder import Model

logger = logging.getLogger(__name__)

NO_TEMPERATURE = (
    "the model has no temperature (its README.md says why): its posteriors are compared with --unsure as they are, and "
    "are probably too sure"
)
UNTRAINED = "the emotion head of the model was not trained (emotion_weight 0): its emotions and posteriors mean nothing"


def threshold(word: str | float | None) -> float | None:
    """The threshold that a user gives, None for none; a `UserError` unless it is between 0 and 1.

    >>> threshold("0.6"), threshold(None)
    (0.6, None)
    """
    if word is None:
        return None
    try:
        value = float(word)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < 1:
        hint = f"{value / 100:g} for {value:g} %" if 1 <= value <= 100 else "0.6, for example"
        raise UserError(f"--unsure {word} is not a probability between 0 and 1", f"give a number such as {hint}")
    return value


@dataclass(frozen=True)
class Confidence:
    """A threshold for the highest posterior of a model; `temperature` is 1 for one that has none."""

    threshold: float
    temperature: float = 1.0

    @classmethod
    def of(cls, model: Model, given: str | float | None) -> Confidence | None:
        """That of a model and what the user gives, None for none; a warning where the model has no temperature.

        A `UserError` for a threshold that no highest posterior can be below, and for a model of untrained emotions.
        """
        if (least := threshold(given)) is None:
            return None
        if not model.emotions_trained:
            raise UserError(f"--unsure {least:g}: {UNTRAINED}", "leave it out")
        if least <= 1 / len(model.labels):
            raise UserError(
                f"--unsure {least:g}: the highest of {len(model.labels)} posteriors is never below "
                f"{1 / len(model.labels):.3g}",
                "give a higher one",
            )
        if model.temperature is None:
            logger.warning(NO_TEMPERATURE)
        return cls(least, model.temperature or 1.0)

    def highest(self, posteriors: Mapping[str, float]) -> float:
        """The highest posterior, with the temperature."""
        if self.temperature == 1:
            return max(posteriors.values())
        import numpy as np

        from local.scoring.calibration import scaled  # which loads pandas

        return float(scaled(np.array([*posteriors.values()]), self.temperature).max())

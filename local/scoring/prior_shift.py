"""Posteriors for other shares of the classes than those of the training set.

A model learns how often a class occurs in training; a corpus with other shares is then judged with the wrong ones.
With posteriors p(y | x) of a training set with the shares q(y), those for shares r(y) are proportional to
p(y | x) r(y) / q(y) (Saerens, Latinne and Decaestecker, Neural Computation 14, 2002); in logits, log r - log q is added
(Menon et al., ICLR 2021, "logit adjustment"). Equal shares r ask nothing of the test set, and are what UA weighs by.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from local.scoring.predictions import POSTERIOR, labels


def as_weighted(counts: Mapping[str, int], how: str | Mapping[str, float] | None) -> dict[str, float]:
    """The numbers of each class in a training set as the loss had them: times its weight, `class_weights` of the YAML.

    >>> as_weighted({"ang": 90, "sad": 10}, "balanced"), as_weighted({"ang": 90, "sad": 10}, {"sad": 2})
    ({'ang': 1.0, 'sad': 1.0}, {'ang': 90.0, 'sad': 20.0})
    """
    weights = {label: 1 / n for label, n in counts.items()} if how == "balanced" else how or {}
    return {label: float(n * weights.get(label, 1)) for label, n in counts.items()}


def with_equal_shares(predictions: pd.DataFrame, trained: Mapping[str, float]) -> pd.DataFrame:
    """Predictions with posteriors, and the emotions that follow from them, for classes of equal shares.

    `trained` has the share, or number, of each class in the training set. A class that it lacks keeps its posterior's
    weight of the rarest.
    """
    names = labels(predictions)
    columns = [POSTERIOR + name for name in names]
    known = [trained.get(name, 0) for name in names]
    counts = np.array([count or min(filter(None, known)) for count in known], float)
    weighed = predictions[columns].to_numpy() / counts
    weighed /= weighed.sum(1, keepdims=True)
    best = [names[at] for at in weighed.argmax(1)]
    return predictions.assign(**dict(zip(columns, weighed.T, strict=True)), emo_hyp=best)

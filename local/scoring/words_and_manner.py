"""Does a model read or listen: what its posteriors owe to the words that are said, and to the manner of saying them.

The transcripts of the test set, each with the emotion of its utterance, are spoken by one synthetic voice in the
manner of every emotion (`local.corpora.manner`), so that words and manner are crossed. An effect is

    mean over the emotions e of [mean of p(e) where the label is e, less mean of p(e) where it is another]

from -1 to 1, 0 where the posteriors do not depend on the label. Words give the label of `neutral_voice` (spoken in the
neutral manner alone) and of `words` (in all manners); the manner gives that of `neutral_words` (texts of neutral
utterances alone) and of `manner` (all texts); `real` is the same of the test set itself, whose label is both.
`as_words` and `as_manner` are the shares of answers that name the emotion of the words, and of the manner, where the
two differ.

Intervals are those of a bootstrap over texts, with all that was spoken of them, and of `real` over speakers; the
difference of two experiments draws the same texts for both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from local.core.errors import UserError
from local.scoring import stats
from local.scoring.predictions import POSTERIOR

NEUTRAL = "neu"
OF_SPOKEN = ("neutral_voice", "words", "neutral_words", "manner", "as_words", "as_manner")
EFFECTS = ("real", *OF_SPOKEN)


@dataclass(frozen=True)
class Sums:
    """What the figures of one experiment need, summed within each cluster."""

    clusters: pd.Index
    sums: np.ndarray  # [clusters, F]
    figures: Callable[[np.ndarray], np.ndarray]  # of sums over clusters [..., F] -> [K, ...]

    def resampled(self, drawn: np.ndarray) -> np.ndarray:
        """The figures [K, resamples] of clusters drawn with replacement: indices [resamples, clusters]."""
        return self.figures(stats.times_drawn(drawn, len(self.clusters)) @ self.sums)


def of_real(predictions: pd.DataFrame, labels: list[str]) -> Sums:
    """The sums of `real`: predictions of the test set, see `local.scoring.scored.pooled_predictions`."""
    size = len(labels)
    places, clusters = pd.factorize(stats.clusters(predictions)[0], sort=True)
    label = pd.Index(labels).get_indexer(predictions["emo"])
    values = np.column_stack([predictions[[POSTERIOR + name for name in labels]], np.ones(len(predictions))])
    sums = _summed(values, places * size + label, len(clusters) * size).reshape(len(clusters), -1)

    def figures(sums: np.ndarray) -> np.ndarray:
        table = sums.reshape(*sums.shape[:-1], size, size + 1)
        return effect(table[..., :-1], table[..., -1])[None]

    return Sums(clusters, sums, figures)


def of_spoken(spoken: pd.DataFrame, labels: list[str]) -> Sums:
    """The sums of `OF_SPOKEN`.

    `spoken` has a row for each text, manner and run: `words`, the text; `text_emo` and `manner`, its emotion and that
    of the manner; and the posteriors.
    """
    size = len(labels)
    manners = pd.Index(labels if NEUTRAL in labels else [*labels, NEUTRAL])
    places, clusters = pd.factorize(spoken["words"], sort=True)
    text, manner = pd.Index(labels).get_indexer(spoken["text_emo"]), manners.get_indexer(spoken["manner"])
    posteriors = spoken[[POSTERIOR + name for name in labels]].to_numpy()
    answers, differ = posteriors.argmax(1), (text != manner) & (manner < size)
    values = [posteriors, np.ones(len(spoken)), differ, differ & (answers == text), differ & (answers == manner)]
    cell = (places * size + text) * len(manners) + manner
    sums = _summed(np.column_stack(values), cell, len(clusters) * size * len(manners)).reshape(len(clusters), -1)
    neutral = manners.get_loc(NEUTRAL)

    def figures(sums: np.ndarray) -> np.ndarray:
        table = sums.reshape(*sums.shape[:-1], size, len(manners), size + 4)
        p, n = table[..., :size], table[..., size]  # [..., text, manner, C] and [..., text, manner]
        differ, as_words, as_manner = np.moveaxis(table[..., size + 1 :].sum((-3, -2)), -1, 0)
        of_neutral = np.full(differ.shape, np.nan)  # where no text is neutral
        if neutral < size:
            of_neutral = effect(p[..., neutral, :, :], n[..., neutral, :])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack(
                [
                    effect(p[..., :, neutral, :], n[..., :, neutral]),
                    effect(p.sum(-2), n.sum(-1)),
                    of_neutral,
                    effect(p[..., :size, :].sum(-3), n[..., :size].sum(-2)),
                    as_words / differ,
                    as_manner / differ,
                ]
            )

    return Sums(clusters, sums, figures)


def _summed(values: np.ndarray, cell: np.ndarray, count: int) -> np.ndarray:
    """Sum the rows [N, K] of each cell: [count, K]."""
    return np.stack([np.bincount(cell, each, count) for each in values.T.astype(float)], 1)


def effect(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The effect of a label on posteriors (see the module), mean over the labels that have a contrast.

    `sums` [..., C, C] are posteriors summed over the rows of each label, `counts` [..., C] those rows. Returns [...].
    """
    own = np.diagonal(sums, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        others = (sums.sum(-2) - own) / (counts.sum(-1, keepdims=True) - counts)
        contrasts = own / counts - others
    known = np.isfinite(contrasts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, contrasts, 0).sum(-1) / known.sum(-1)


def effects(real: pd.DataFrame, spoken: pd.DataFrame, labels: list[str]) -> list[Sums]:
    """The sums of an experiment: of `real`, then of `OF_SPOKEN`."""
    return [of_real(real, labels), of_spoken(spoken, labels)]


def compare(experiments: dict[str, list[Sums]]) -> pd.DataFrame:
    """A row for each experiment and effect: value and interval; and the difference to the first experiment.

    `experiments` has the `effects` of each by name. Returns `name`, `effect`, `value`, `low`, `high`, `clusters`,
    `diff`, `diff_low`, `diff_high`, `p`, and `p_holm`, corrected for all differences. A `UserError` where experiments
    were not tested on the same.
    """
    rows, first = [], next(iter(experiments.values()))
    for name, each in experiments.items():
        for names, own, reference in zip((EFFECTS[:1], OF_SPOKEN), each, first, strict=True):
            if not own.clusters.equals(reference.clusters):
                what = f"{name} was not tested on what {next(iter(experiments))} was"
                raise UserError(what, "give experiments of the same folds and corpus")
            rows += [{"name": name, "effect": key} | row for key, row in zip(names, _rows(own, reference), strict=True)]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=stats.holm(table["p"]))


def _rows(own: Sums, first: Sums) -> list[dict[str, float]]:
    """The figures of an experiment's sums, and their differences to those of the first; none of the first to itself."""
    n = len(own.clusters)
    low, high, _ = stats.bootstrap(n, own.resampled)
    values, rows = own.figures(own.sums.sum(0)), []
    differences, ends, distribution = values - first.figures(first.sums.sum(0)), (low * np.nan, low * np.nan), None
    if own is not first:
        *ends, distribution = stats.bootstrap(n, lambda drawn: own.resampled(drawn) - first.resampled(drawn))
    for at, value in enumerate(values):
        row = {"value": value, "low": low[at], "high": high[at], "clusters": n}
        row |= {"diff": differences[at], "diff_low": ends[0][at], "diff_high": ends[1][at], "p": np.nan}
        if distribution is not None:
            row["p"] = stats.p_value(differences[at], distribution[at], n)
        rows.append(row)
    return rows

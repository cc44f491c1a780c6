"""Intervals and tests of scores: cluster bootstrap, paired tests, and Holm's correction.

Utterances of a speaker are alike, so the bootstrap (scipy) resamples whole speakers; with fewer than
`LEAST_CLUSTERS` of them, whole recordings; with too few of these as well, utterances, and then the interval
does not cover how speakers differ.

Plain percentile intervals are too narrow for few clusters: they take the variance of n clusters
without Bessel's correction and a normal where a t with n - 1 degrees of freedom belongs. The
percentiles are therefore taken further out, at Phi(-sqrt(n / (n - 1)) t), the "expanded
percentile" interval of Hesterberg (2015, The American Statistician 69(4), section 5.3). Of few
clusters they are a little too narrow all the same: of means of 5, 6 and 10 normal numbers 7.5, 6.1
and 5.8 % leave out the truth (of 3000, 1500 and 1000 simulated).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy  # and its `stats`, which take a second, at their first use

from local.scoring.metrics import cells, counted_edits, recalls_and_f1s
from local.scoring.predictions import labels

LEAST_CLUSTERS = 5
RATES = ("wa", "ua", "f1", "wer", "cer")
TALLIED = (*RATES, "wf1")  # all that `Tallies` give
RESAMPLES = 9999
BATCH = 2_000_000  # clusters drawn at a time over all resamples; bounds the memory
LEVEL = 0.95
LEAST_BEYOND = 5
MOST_UNDEFINED = 0.05  # share of resamples in which a figure may not be defined, as they draw none of its group


def clusters(predictions: pd.DataFrame) -> tuple[pd.Series, str]:
    """The cluster of each utterance, and what it is: `speaker`, `recording` or `utterance`."""
    for column, kind in (("spk_id", "speaker"), ("recording", "recording")):
        if (predictions[column] != "").all() and predictions[column].nunique() >= LEAST_CLUSTERS:
            return predictions[column], kind
    return predictions["ID"], "utterance"


@dataclass(frozen=True)
class Tallies:
    """The counts behind the scores, summed within each cluster."""

    names: pd.Index  # of the clusters
    # [clusters, C * C + 4]: the confusion matrix (reference by hypothesis), word edits, words, character edits,
    # characters.
    sums: np.ndarray
    labels: list[str]  # C of them

    @classmethod
    def of(cls, predictions: pd.DataFrame, cluster: pd.Series) -> Tallies:
        """Count."""
        names = labels(predictions)
        places, names_of = pd.factorize(cluster, sort=True)
        cell = places * len(names) ** 2 + cells(predictions["emo"], predictions["emo_hyp"], names)
        counts = np.bincount(cell, minlength=len(names_of) * len(names) ** 2).reshape(len(names_of), -1)
        texts = counted_edits(predictions).groupby(places).sum().to_numpy()
        return cls(names_of, np.hstack([counts, texts]).astype(float), names)

    @property
    def sizes(self) -> np.ndarray:
        """[clusters] utterances of each."""
        return self.sums[:, :-4].sum(1).astype(int)

    def rates(self, sums: np.ndarray) -> np.ndarray:
        """`TALLIED` [6, ...] of sums over clusters [..., C * C + 4]; nan where one is not defined."""
        confusion = sums[..., :-4].reshape(*sums.shape[:-1], len(self.labels), len(self.labels))
        recalls, f1s = recalls_and_f1s(confusion, self.labels)
        hits = np.trace(confusion, axis1=-2, axis2=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            wer, cer = sums[..., -4] / sums[..., -3], sums[..., -2] / sums[..., -1]
            n = confusion.sum((-1, -2))
            weighted = np.nansum(f1s * confusion.sum(-1), -1) / n
            return np.stack([hits / n, np.nanmean(recalls, -1), np.nanmean(f1s, -1), wer, cer, weighted])

    def resampled(self, drawn: np.ndarray) -> np.ndarray:
        """`TALLIED` [6, resamples] of clusters drawn with replacement: indices [resamples, clusters]."""
        return self.rates(times_drawn(drawn, len(self.names)) @ self.sums)


def times_drawn(drawn: np.ndarray, count: int) -> np.ndarray:
    """How often each of `count` clusters was drawn: indices [resamples, clusters] -> [resamples, count]."""
    drawn = np.atleast_2d(drawn)
    offsets = np.arange(len(drawn))[:, None] * count
    return np.bincount((drawn + offsets).ravel(), minlength=len(drawn) * count).reshape(len(drawn), count)


def level_for(n_clusters: int) -> float:
    """The level at which to take percentiles of a bootstrap over so few clusters; see the module."""
    t = scipy.stats.t.ppf((1 + LEVEL) / 2, n_clusters - 1)
    return float(1 - 2 * scipy.stats.norm.cdf(-np.sqrt(n_clusters / (n_clusters - 1)) * t))


def p_value(estimate: float, distribution: np.ndarray, n_clusters: int) -> float:
    """Two-sided p of a difference: one minus the level whose interval (see `level_for`) just touches 0.

    `distribution` are its bootstrap values [resamples], each drawn from `n_clusters` clusters. Where fewer than
    `LEAST_BEYOND` of them lie beyond 0, their share is too rough; the tail is then that of the normal distribution with
    their standard deviation about the estimate, but not above the share of `LEAST_BEYOND`.
    """
    distribution = distribution[np.isfinite(distribution)]
    if not len(distribution):
        return float("nan")
    beyond = min((distribution <= 0).sum(), (distribution >= 0).sum())
    z = scipy.stats.norm.ppf(min(max(beyond, LEAST_BEYOND) / len(distribution), 0.5))
    if beyond < LEAST_BEYOND:
        spread = distribution.std()
        z = min(z, -abs(estimate) / spread) if spread > 0 else -np.inf
    return float(2 * scipy.stats.t.cdf(z * np.sqrt((n_clusters - 1) / n_clusters), n_clusters - 1))


def bootstrap(
    n_clusters: int, figures: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run scipy's percentile bootstrap over clusters, seeded, at the level that so few need.

    `figures` maps indices of clusters [resamples, clusters] to K figures [K, resamples]. Returns low and high ends [K]
    and the distribution [K, resamples]; nan where a figure is not defined, or not in `MOST_UNDEFINED` of the resamples,
    or clusters are too few. Its interval leaves out the resamples in which it is not defined.
    """
    everything = np.arange(n_clusters)
    defined = np.isfinite(figures(everything[None])[:, 0])
    low, high = np.full((2, len(defined)), np.nan)
    distribution = np.full((len(defined), RESAMPLES), np.nan)
    if n_clusters >= LEAST_CLUSTERS and defined.any():
        with warnings.catch_warnings():  # scipy's words for a resample in which a figure is not defined
            warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
            result = scipy.stats.bootstrap(
                (everything,),
                lambda drawn, axis: figures(np.atleast_2d(drawn))[defined].reshape(-1, *drawn.shape[:-1]),
                n_resamples=RESAMPLES,
                batch=max(1, BATCH // n_clusters),
                vectorized=True,
                confidence_level=level_for(n_clusters),
                method="percentile",
                rng=np.random.default_rng(1),
            )
        low[defined], high[defined] = result.confidence_interval
        distribution[defined] = result.bootstrap_distribution
        undefined = np.isnan(distribution).mean(1)
        distribution[undefined > MOST_UNDEFINED] = np.nan
        tail = (1 - level_for(n_clusters)) / 2
        for place in np.flatnonzero((undefined > 0) & (undefined <= MOST_UNDEFINED)):  # of these scipy has no interval
            low[place], high[place] = np.nanquantile(distribution[place], [tail, 1 - tail])
    return low, high, distribution


def intervals(predictions: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """95 % intervals of `TALLIED`, pooled over all predictions; nan where there is none.

    `predictions` are those of `local.scoring.scored.pooled_predictions`; all seeds of an utterance stay together, as
    its cluster does.
    """
    tallies = Tallies.of(predictions, clusters(predictions)[0])
    low, high, _ = bootstrap(len(tallies.names), tallies.resampled)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(TALLIED)}


@dataclass(frozen=True)
class Difference:
    """A score of B less that of A: the estimate, its 95 % interval and its two-sided p."""

    estimate: float
    low: float
    high: float
    p: float


def differences(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, Difference]:
    """Paired cluster bootstrap of `TALLIED`: every resample draws the same clusters for A and B.

    Both tables must be of the same utterances.
    """
    of_a, of_b = (Tallies.of(table, clusters(table)[0]) for table in (a, b))
    n = len(of_a.names)
    estimates = of_b.rates(of_b.sums.sum(0)) - of_a.rates(of_a.sums.sum(0))
    low, high, distribution = bootstrap(n, lambda drawn: of_b.resampled(drawn) - of_a.resampled(drawn))
    return {
        name: Difference(float(estimates[i]), float(low[i]), float(high[i]), p_value(estimates[i], distribution[i], n))
        for i, name in enumerate(TALLIED)
    }


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Exact p of McNemar's test (1947): of the utterances that one gets right alone, does each get half."""
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((~correct_a & correct_b).sum())
    return float(scipy.stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def matched_pairs(errors_a: np.ndarray, errors_b: np.ndarray) -> float:
    """P of the matched-pairs test of Gillick and Cox (1989), each utterance a segment.

    The mean difference of word errors is tested against 0 (scipy's paired t test); 1 where nothing differs.
    """
    if len(errors_a) < 2:
        return float("nan")
    differences = errors_a - errors_b
    if np.ptp(differences) == 0:  # no deviation, so no t
        return float(differences[0] == 0)
    return float(scipy.stats.ttest_1samp(differences, 0).pvalue)


def holm(p_values: pd.Series) -> pd.Series:
    """Correct p values for their number (Holm 1979, step-down); missing ones stay missing and are not counted."""
    known = p_values.dropna().sort_values()
    factors = np.arange(len(known), 0, -1)
    corrected = (known * factors).cummax().clip(upper=1)
    return corrected.reindex(p_values.index)

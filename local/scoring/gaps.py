"""Gaps between groups of utterances on clean audio, and how they move under distortion.

Of genders (women less men) and durations (the longest third less the shortest) a gap is the difference of a score. Of
speakers it is how much their accuracies spread: the standard deviation between speakers, without the part that so few
utterances of each would give by chance (the variance component of a one-way analysis of variance, which may not be
below 0). Its p on clean audio is that analysis's F test; all others are of a bootstrap over the clusters of
`local.scoring.stats.clusters`, which draws the same ones for every case. Where each cluster is of one group, clusters
are drawn within the groups, and intervals are as wide as the smaller group asks for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy

from local.core.conditions import CLEAN, Case
from local.scoring import stats
from local.scoring.predictions import writes_text
from local.scoring.stats import LEAST_CLUSTERS, TALLIED, Tallies

WOMEN_LESS_MEN, LONG_LESS_SHORT, SPREAD = "gender", "duration", "speaker"
SCORES = ("wa", "ua", "wer")
LEAST_OF_GROUP = 2  # clusters of each of two groups, to say how far their difference would vary
COLUMNS = ["by", "score", "condition", "strength", "gap", "gap_low", "gap_high", "p", "p_holm", "change"]
COLUMNS += ["change_low", "change_high", "p_change", "p_change_holm"]


class Drawing(NamedTuple):
    """Of which clusters a bootstrap draws: `strata` are indices of so many clusters, `least` sets the intervals."""

    strata: list[np.ndarray]
    clusters: int
    least: int


def gaps(cases: Mapping[Case, pd.DataFrame]) -> pd.DataFrame:
    """A row for each kind of gap, score and case: `COLUMNS`.

    `cases` are those of `local.scoring.stress_scores.stress_scores`. A gap is women's, or long utterances', score less
    that of the others; `change` is the gap of a case less that of clean audio. `p` is given of clean audio alone, after
    Holm over all kinds and scores; `p_change` after Holm over the cases of a kind and score. What the corpus does not
    tell has no rows.
    """
    clean = cases[CLEAN]
    rows = []
    for by, (above, below) in _groups(clean).items():
        cluster = stats.clusters(clean)[0]
        drawing = _drawing(cluster, above, below)
        measures = [_difference(table, cluster, above, below) for table in cases.values()]
        scores = [score for score in SCORES if score != "wer" or _is_spoken(clean)]
        rows += _rows(by, scores, [*cases], measures, drawing, _bootstrap_p)
    if (clean["spk_id"] != "").all() and clean["spk_id"].nunique() > 1:
        count = clean["spk_id"].nunique()
        measures = [_spread(table) for table in cases.values()]
        drawing = Drawing([np.arange(count)], count, count if count >= LEAST_CLUSTERS else 0)
        rows += _rows(SPREAD, ["wa"], [*cases], measures, drawing, lambda *_: _f_test(clean))
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if not name.endswith("_holm")])
    table["p_holm"] = stats.holm(table["p"])
    of_kind = table.groupby(["by", "score"], sort=False)["p_change"]
    table["p_change_holm"] = of_kind.transform(stats.holm) if len(table) else []
    return table[COLUMNS]


def _is_spoken(table: pd.DataFrame) -> bool:
    return writes_text(table) and bool((table["wrd"] != "").any())


def _groups(table: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """[n] who is in each of two groups, by the kind of gap."""
    short, long = table.drop_duplicates("ID")["duration"].quantile([1 / 3, 2 / 3])
    kinds = {
        WOMEN_LESS_MEN: (table["gender"] == "F", table["gender"] == "M"),
        LONG_LESS_SHORT: (table["duration"] > long, table["duration"] <= short),
    }
    return {by: (a.to_numpy(), b.to_numpy()) for by, (a, b) in kinds.items() if a.any() and b.any()}


def _drawing(cluster: pd.Series, above: np.ndarray, below: np.ndarray) -> Drawing:
    """How clusters are drawn for the difference of two groups."""
    of_cluster = pd.DataFrame({"above": above, "below": below}).groupby(cluster.to_numpy(), sort=True).any()
    strata = [np.flatnonzero(of_cluster[side]) for side in ("above", "below")]
    of_group, count = min(map(len, strata)), len(of_cluster)
    mixed = (of_cluster["above"] & of_cluster["below"]).any()
    if mixed:
        strata = [np.arange(count)]
    enough = of_group >= LEAST_OF_GROUP and sum(map(len, strata)) >= LEAST_CLUSTERS
    return Drawing(strata, count, (count if mixed else of_group) if enough else 0)


Measure = Callable[[np.ndarray], np.ndarray]  # how often each cluster is drawn, [r, clusters] -> [scores, r]


def _difference(table: pd.DataFrame, cluster: pd.Series, above: np.ndarray, below: np.ndarray) -> Measure:
    """`SCORES` of a group less those of the other."""
    names = pd.Index(sorted(cluster.unique()))
    sums, places = [], [TALLIED.index(score) for score in SCORES]
    for group in (above, below):
        tallies = Tallies.of(table[group], cluster[group])
        of_all = np.zeros((len(names), tallies.sums.shape[1]))
        of_all[names.get_indexer(tallies.names)] = tallies.sums
        sums.append(of_all)

    def measure(times: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():  # a draw may lack a group
            warnings.simplefilter("ignore", RuntimeWarning)
            first, second = (tallies.rates(times @ each)[places] for each in sums)
        return first - second

    return measure


def _accuracies(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """For each utterance whose it is, as a number, and in what share of seeds and folds it is right."""
    right = (table["emo"] == table["emo_hyp"]).groupby([table["spk_id"], table["ID"]], sort=True).mean()
    return pd.factorize(right.index.get_level_values(0), sort=True)[0], right.to_numpy(float)


def _spread(table: pd.DataFrame) -> Measure:
    """The standard deviation between speakers: Searle, Casella and McCulloch (1992), Variance Components, 3.6."""
    speaker, right = _accuracies(table)
    sizes, sums, squares = (np.bincount(speaker, weights) for weights in (None, right, right**2))

    def measure(times: np.ndarray) -> np.ndarray:
        k, n = times.sum(1), times @ sizes
        total = times @ sums
        with np.errstate(invalid="ignore", divide="ignore"):
            between = (times @ (sums**2 / sizes) - total**2 / n) / (k - 1)
            within = times @ (squares - sums**2 / sizes) / (n - k)
            size = (n - times @ sizes**2 / n) / (k - 1)
            return np.sqrt(np.maximum(0, (between - within) / size))[None]

    return measure


def _f_test(table: pd.DataFrame) -> float:
    """P of the F test that all speakers are equally accurate; nan where nothing varies within speakers."""
    speaker, right = _accuracies(table)
    groups = [right[speaker == one] for one in range(speaker.max() + 1)]
    if all(np.ptp(group) == 0 for group in groups) or len(right) <= len(groups):
        return float("nan")
    return float(scipy.stats.f_oneway(*groups).pvalue)


def _draws(drawing: Drawing) -> Iterator[np.ndarray]:
    """How often each cluster is drawn in each resample, [r, clusters], in batches that bound the memory."""
    chance, size = np.random.default_rng(1), max(1, stats.BATCH // drawing.clusters)
    for start in range(0, stats.RESAMPLES, size):
        times = np.zeros((min(size, stats.RESAMPLES - start), drawing.clusters))
        for members in drawing.strata:
            times[:, members] = chance.multinomial(len(members), [1 / len(members)] * len(members), len(times))
        yield times


def _rows(
    by: str,
    scores: list[str],
    cases: list[Case],
    measures: list[Measure],
    drawing: Drawing,
    clean_p: Callable[[float, np.ndarray, int], float],
) -> list[dict]:
    """The rows of a kind of gap; `clean_p` gives p of clean audio's gap from it, its distribution and `least`."""
    everyone, used = np.zeros((1, drawing.clusters)), SCORES[: len(scores)]
    everyone[0, np.concatenate(drawing.strata)] = 1
    gap = np.array([measure(everyone)[: len(used), 0] for measure in measures])  # [cases, scores]
    drawn = np.full((*gap.shape, 0), np.nan)
    if drawing.least:
        parts = [[measure(times)[: len(used)] for measure in measures] for times in _draws(drawing)]
        drawn = np.concatenate([np.array(part) for part in parts], axis=2)  # [cases, scores, resamples]
        drawn[np.isnan(drawn).mean(2) > stats.MOST_UNDEFINED] = np.nan
    clean, rows = cases.index(CLEAN), []
    for place, score in enumerate(scores):
        for number, case in enumerate(cases):
            row = {"by": by, "score": score, "condition": case.condition, "strength": case.strength}
            row |= _with_ends("gap", gap[number, place], drawn[number, place], drawing.least)
            change = gap[number, place] - gap[clean, place]
            moved = drawn[number, place] - drawn[clean, place]
            if case == CLEAN:
                row["p"] = clean_p(gap[clean, place], drawn[clean, place], drawing.least)
            else:
                row |= _with_ends("change", change, moved, drawing.least)
                row["p_change"] = _bootstrap_p(change, moved, drawing.least)
            rows.append(row)
    return rows


def _with_ends(name: str, estimate: float, drawn: np.ndarray, least: int) -> dict[str, float]:
    """An estimate with its interval, which leaves out draws that lack a group."""
    low, high = np.nan, np.nan
    if least and np.isfinite(estimate) and np.isfinite(drawn).any():
        level = stats.level_for(least)
        low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return {name: float(estimate), f"{name}_low": float(low), f"{name}_high": float(high)}


def _bootstrap_p(estimate: float, drawn: np.ndarray, least: int) -> float:
    if not (least and np.isfinite(estimate)):
        return float("nan")
    return stats.p_value(estimate, drawn, least)

"""Figures of the further heads of the multi-task system, from predictions: with intervals, no torch.

Of each head the utterances count that have a label of it: of a speaker those whose speaker is in the training set, so
that there are none in a test set of other speakers.

    classes (gender, speaker)   accuracy; UA, the mean recall of the classes that occur
    numbers (valence, ...)      CCC, the concordance correlation coefficient (Lin 1989: Biometrics 45, 255-268);
                                RMSE, the root of the mean squared error, on the corpus's scale
    shares (votes)              KL(raters || model) and cross-entropy, in nats; their difference is the raters' entropy

Each is a function of sums over utterances, so that the bootstrap resamples clusters as of all other scores. 1 - CCC of
a whole set is that of its sums, and no mean over parts of it.

Beside the CCC of a head is how far raters agree (`raters_ccc`), where the corpus says what each rater gave. It is
shown, and tested against nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pandas as pd

from local.core import tasks
from local.core.tasks import CLASSES, NUMBER, TASKS
from local.scoring import stats
from local.scoring.predictions import HYPOTHESIS, REFERENCE, task_names

FIGURES = {CLASSES: ("accuracy", "UA"), NUMBER: ("CCC", "RMSE"), tasks.SHARES: ("KL", "cross-entropy")}
COLUMNS = ("head", "figure", "n", "left_out", "value", "low", "high", "mean", "sd", "raters")
LEAST = 5e-7  # a share of the model's that is not written, as it is below half of the last digit, counts as this
LEAST_RATED = 10  # utterances that a rater shares with others, to count in their agreement
Figures = Callable[[np.ndarray], np.ndarray]  # of sums [..., k] the figures [f, ...]


def labelled(predictions: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows that have a label of a head."""
    reference = predictions[REFERENCE + name]
    return predictions[reference.notna() if TASKS[name].kind == NUMBER else reference != ""]


def table(predictions: pd.DataFrame) -> pd.DataFrame:
    """The figures of all heads, `COLUMNS`; no rows where there are none.

    `predictions` are those of `local.scoring.scored.pooled_predictions`. Of each head all its `FIGURES`: over the `n`
    utterances that have a label, pooled, with a 95 % interval, and mean and deviation over folds, each with all its
    seeds; and `raters`, of a CCC the `raters_ccc` of the same utterances.
    """
    rows = []
    for name in task_names(predictions):
        known = labelled(predictions, name)
        low, high = _interval(known, name)
        of_folds = [figures(fold, name) for _, fold in known.groupby("fold")]
        for place, (figure, value) in enumerate(figures(known, name).items()):
            each = pd.Series([fold[figure] for fold in of_folds], dtype=float)
            row = (name, figure, len(known), len(predictions) - len(known), value, low[place], high[place])
            rows.append((*row, each.mean(), each.std(ddof=1), raters_ccc(known, name) if figure == "CCC" else math.nan))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def figures(predictions: pd.DataFrame, name: str) -> dict[str, float]:
    """The `FIGURES` of a head over the utterances that have a label; nan where one is not defined."""
    known, names = labelled(predictions, name), FIGURES[TASKS[name].kind]
    if known.empty:
        return dict.fromkeys(names, math.nan)
    each, function = _sums(known, name)
    return dict(zip(names, map(float, function(each.sum(0))), strict=True))


def number_loss(predictions: pd.DataFrame, name: str) -> float:
    """The loss of a head that is a number over a whole set: n (1 - CCC) / N, with n labels among N utterances."""
    known = labelled(predictions, name)
    if known.empty:
        return 0.0
    return len(known) / len(predictions) * (1 - np.nan_to_num(figures(known, name)["CCC"]))


def raters_ccc(known: pd.DataFrame, name: str) -> float:
    """How far the raters of some utterances agree in a head that is a number: one rater with the mean of the others.

    Of rater k, who gave x_k, over the n_k utterances that another rater has rated too, and of all such raters together

        CCC_k = CCC(x_k, mean of x_j over j != k)        agreement = sum of n_k CCC_k / sum of n_k

    as Strapparava and Mihalcea (SemEval 2007, 70-74) and Buechel and Hahn (EACL 2017, 578-585) have it of Pearson's
    correlation; theirs rated the same texts, so that no weights were needed. A head is held against the mean of all
    raters, which varies less than that of the others: it may exceed this.

    `known` has `ID` and, where the corpus has it, `ratings` (`local.corpora.manifest`); an utterance counts once,
    however often it is predicted. nan without a rater of `LEAST_RATED` utterances that others have rated.
    """
    pairs = defaultdict(list)  # by rater
    for cell in known.drop_duplicates("ID")["ratings"] if "ratings" in known else ():
        given = [(key.rpartition("."), value) for key, value in tasks.votes(cell).items()]
        values = {rater: value for (rater, _, dimension), value in given if dimension == name}
        if len(values) > 1:
            for rater, value in values.items():
                pairs[rater].append((value, (sum(values.values()) - value) / (len(values) - 1)))
    cccs = [(len(each), _of_numbers(_number_sums(*np.array(each).T).sum(0))[0]) for each in pairs.values()]
    counted = [(n, ccc) for n, ccc in cccs if n >= LEAST_RATED and not math.isnan(ccc)]
    return sum(n * ccc for n, ccc in counted) / sum(n for n, _ in counted) if counted else math.nan


def _interval(known: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Low and high ends of a head's figures; nan where there is no interval."""
    if known.empty:
        return (np.full(2, np.nan),) * 2
    each, function = _sums(known, name)
    places, names = pd.factorize(stats.clusters(known)[0], sort=True)
    sums = np.zeros((len(names), each.shape[1]))
    np.add.at(sums, places, each)
    low, high, _ = stats.bootstrap(len(names), lambda drawn: function(stats.times_drawn(drawn, len(names)) @ sums))
    return low, high


def _sums(known: pd.DataFrame, name: str) -> tuple[np.ndarray, Figures]:
    """What the figures of a head are made of, [n, k] to be summed over utterances; and the figures of such sums."""
    kind = TASKS[name].kind
    reference, hypothesis = known[REFERENCE + name], known[HYPOTHESIS + name]
    if kind == NUMBER:
        return _number_sums(hypothesis.to_numpy(float), reference.to_numpy(float)), _of_numbers
    if kind == CLASSES:
        names = sorted(reference.unique())
        occurs = reference.to_numpy()[:, None] == np.array(names, dtype=object)
        hits = occurs & (reference == hypothesis).to_numpy()[:, None]
        return np.hstack([hits, occurs]).astype(float), _of_classes
    costs = [_costs(*pair) for pair in zip(reference, hypothesis, strict=True)]
    return np.array([(1.0, *cost) for cost in costs]), _of_shares


def _number_sums(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.ones(len(y)), p, y, p * p, y * y, p * y], 1)


def _costs(reference: str, hypothesis: str) -> tuple[float, float]:
    """KL and cross-entropy of an utterance's shares."""
    raters, model = tasks.votes(reference), tasks.votes(hypothesis)
    total = sum(raters.values())
    shares = {label: count / total for label, count in raters.items()}
    cross = -sum(share * np.log(model.get(label, LEAST)) for label, share in shares.items())
    return cross + sum(share * np.log(share) for share in shares.values()), cross


def _of_classes(sums: np.ndarray) -> np.ndarray:
    hits, occurs = np.split(sums, 2, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = hits / occurs
        count = np.isfinite(recalls).sum(-1)
        return np.stack([hits.sum(-1) / occurs.sum(-1), np.nansum(recalls, -1) / count])


def _of_numbers(sums: np.ndarray) -> np.ndarray:
    n = sums[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        p, y, pp, yy, py = (sums[..., place] / n for place in range(1, 6))
        squares = pp - 2 * py + yy  # mean of (p - y)^2
        spread = pp - p**2 + yy - y**2 + (p - y) ** 2
        return np.stack([2 * (py - p * y) / np.where(spread > 1e-12, spread, np.nan), np.sqrt(np.maximum(squares, 0))])


def _of_shares(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([sums[..., 1] / sums[..., 0], sums[..., 2] / sums[..., 0]])


def line(name: str, predictions: pd.DataFrame) -> str:
    """The figures of a head in a line: `valence: CCC 0.512 RMSE 0.731 (46 of 48 have a label)`."""
    known = labelled(predictions, name)
    of = f"({len(known)} of {len(predictions)} have a label)"
    if known.empty:
        return f"{name}: {of}"
    return f"{name}: {' '.join(f'{figure} {value:.3f}' for figure, value in figures(known, name).items())} {of}"

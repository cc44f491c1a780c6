"""How far posteriors can be trusted: one temperature, and errors against confidence. No torch.

A model that was trained long enough is too sure of itself. One number puts that right on average: the temperature T, by
which logits are divided. It is fitted on the posteriors of the validation set, whose likelihood it makes greatest, and
changes no prediction (Guo et al.: On calibration of modern neural networks, ICML 2017, section 4.2).

Without logits, posteriors p become p ** (1/T) / sum. `predictions.csv` has 8 digits of them, so any that is smaller
counts as `FLOOR`, here and wherever a model is used.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from local.core.errors import UserError
from local.core.files import write_text
from local.scoring import stats
from local.scoring.metrics import BINS, arrays, calibration_scores, places
from local.scoring.predictions import POSTERIOR, labels

NAME = "temperature.json"
FLOOR = 5e-9
LEAST, MOST = 0.05, 20.0  # of a temperature: a validation set without a mistake, or without a pattern, has no end


@dataclass(frozen=True)
class Temperature:
    """The temperature of a run, and what it was fitted on."""

    value: float
    n: int  # utterances of the validation set
    nll: float  # mean negative log-likelihood of their emotions, nats
    nll_scaled: float  # the same with the temperature
    valid: str  # the validation
    epoch: int  # of the checkpoint

    def write(self, run: Path) -> Path:
        """Write `temperature.json` of a run folder; returns its path."""
        write_text(run / NAME, json.dumps(asdict(self), indent=1) + "\n")
        return run / NAME

    @classmethod
    def read(cls, run: Path) -> Temperature | None:
        """Read it; None where there is none; a `UserError` if it is damaged."""
        try:
            found = cls(**json.loads((run / NAME).read_text(encoding="utf-8")))
            if not LEAST <= found.value <= MOST:
                raise ValueError(f"{found.value} is no temperature")
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{run / NAME} is damaged: {error}", "run stage 3 for it again, with --force true"
            ) from None
        return found


def scaled(posteriors: np.ndarray, temperature: float | np.ndarray) -> np.ndarray:
    """[..., C] posteriors with a temperature: for each, or for all.

    >>> scaled(np.array([0.9, 0.1]), 2).round(2)
    array([0.75, 0.25])
    """
    logs = np.log(np.maximum(posteriors, FLOOR)) / temperature
    shares = np.exp(logs - logs.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def fit(posteriors: np.ndarray, truth: np.ndarray) -> float:
    """The temperature that makes [N] true classes likeliest under [N, C] posteriors, from `LEAST` to `MOST`.

    With b = 1/T, the mean negative log-likelihood is convex in b; its slope, the mean of log p less that of the true
    class, is 0 at the one minimum.
    """
    from scipy.optimize import brentq  # takes a moment to load

    logs = np.log(np.maximum(posteriors, FLOOR))
    of_truth = logs[np.arange(len(truth)), truth]

    def slope(log_b: float) -> float:
        return float(((scaled(posteriors, np.exp(-log_b)) * logs).sum(1) - of_truth).mean())

    low, high = -np.log(MOST), -np.log(LEAST)
    if slope(low) >= 0:
        return MOST
    if slope(high) <= 0:
        return LEAST
    return float(np.exp(-brentq(slope, low, high, xtol=1e-10)))


def nll(posteriors: np.ndarray, truth: np.ndarray) -> float:
    """The mean negative log-likelihood of [N] true classes, nats."""
    return float(-np.log(np.maximum(posteriors[np.arange(len(truth)), truth], FLOOR)).mean())


def of_validation(predictions: pd.DataFrame, valid: str, epoch: int) -> Temperature:
    """Fit the temperature on the predictions of a validation set."""
    posteriors, truth = arrays(predictions)
    value = fit(posteriors, truth)
    return Temperature(value, len(truth), nll(posteriors, truth), nll(scaled(posteriors, value), truth), valid, epoch)


def calibrated(predictions: pd.DataFrame, temperatures: Mapping[Hashable, float]) -> pd.DataFrame:
    """Predictions of several runs with scaled posteriors; `temperatures` are by (seed, fold), 1 where there is none."""
    columns = [POSTERIOR + name for name in labels(predictions)]
    runs = zip(predictions["seed"], predictions["fold"], strict=True)
    each = np.array([temperatures.get(run, 1.0) for run in runs])
    return predictions.assign(**dict(zip(columns, scaled(arrays(predictions)[0], each[:, None]).T, strict=True)))


def confidence(predictions: pd.DataFrame) -> np.ndarray:
    """[N] the highest posterior of each."""
    return arrays(predictions)[0].max(1)


def correct(predictions: pd.DataFrame) -> np.ndarray:
    """[N] whether each is right."""
    return (predictions["emo"] == predictions["emo_hyp"]).to_numpy()


def risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """[N] the share of errors among the 1, 2, ... N most confident of N answers.

    Among equally confident ones the errors are spread evenly, as the order in which they come means nothing.
    """
    order = np.argsort(-confidence, kind="stable")
    _, group = np.unique(-confidence[order], return_inverse=True)
    wrong = ~correct[order].astype(bool)
    evenly = (np.bincount(group, wrong) / np.bincount(group))[group]
    return evenly.cumsum() / np.arange(1, len(order) + 1)


def aurc(confidence: np.ndarray, correct: np.ndarray) -> float:
    """The area under the curve of risk against coverage: the mean of `risk_coverage` (Geifman et al., ICLR 2019)."""
    return float(risk_coverage(confidence, correct).mean())


def ece_intervals(tables: Sequence[pd.DataFrame]) -> np.ndarray:
    """[tables + 1, 2] the 95 % interval of the ECE of each, and of the last less the first; nan where there is none.

    `tables` are of the same predictions with other posteriors, as from `local.scoring.scored.pooled_predictions`. Whole
    clusters are resampled, see `local.scoring.stats`. Noise adds to an ECE, and resampling is noise: the bootstrap's
    estimate of that bias (Efron and Tibshirani 1993, section 10.2) is taken off both ends, which end at 0 at the least.
    """
    place, names = pd.factorize(stats.clusters(tables[0])[0], sort=True)
    sums = []
    for table in tables:
        sure = confidence(table)
        cell = place * BINS + places(sure)
        sums.append(np.bincount(cell, correct(table) - sure, len(names) * BINS).reshape(-1, BINS))
    sizes = np.bincount(place)

    def eces(drawn: np.ndarray) -> np.ndarray:
        times = stats.times_drawn(drawn, len(names))
        values = np.stack([np.abs(times @ each).sum(-1) / (times @ sizes) for each in sums])
        return np.vstack([values, values[-1:] - values[:1]])

    low, high, distribution = stats.bootstrap(len(names), eces)
    bias = distribution.mean(1) - eces(np.arange(len(names)))[:, 0]
    ends = np.stack([low - bias, high - bias], 1)
    return np.vstack([ends[:-1].clip(min=0), ends[-1:]])


def figures(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """ECE with its interval, mean negative log-likelihood, Brier score and AURC, a row for each table of predictions.

    Where there are several, a last row, `difference`, has the ECE of the last less that of the first.
    """
    rows, ends = {}, ece_intervals([*tables.values()])
    for (name, table), (low, high) in zip(tables.items(), ends[:-1], strict=True):
        scores = calibration_scores(table)
        rows[name] = {"ece": scores["ece"], "low": low, "high": high, "nll": nll(*arrays(table))}
        rows[name] |= {"brier": scores["brier"], "aurc": aurc(confidence(table), correct(table))}
    if len(tables) > 1:
        first, *_, last = rows.values()
        rows["difference"] = {"ece": last["ece"] - first["ece"], "low": ends[-1, 0], "high": ends[-1, 1]}
    return pd.DataFrame.from_dict(rows, orient="index")


def answered(predictions: pd.DataFrame, thresholds: Sequence[float]) -> pd.DataFrame:
    """`threshold,answered,wa` for each: the share that is at least so confident, and how much of it is right."""
    sure, right = confidence(predictions), correct(predictions)
    rows = [(each, (sure >= each).mean(), pd.Series(right[sure >= each]).mean()) for each in thresholds]
    return pd.DataFrame(rows, columns=["threshold", "answered", "wa"])

"""Signs of a run that went wrong, in plain words, with what usually causes them.

A run that is far from its kind is not refused: its figures stand, and the page says what is odd.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from local.scoring import metrics
from local.scoring.predictions import labels

SURE = 0.01  # a UA whose difference from chance has a larger p is at chance
LITTLE_WER = 0.98  # a CTC head that got no further has hardly learned
FLAT = 0.02  # a loss that fell by less than this share of its first value is flat
KNOWN_BY_HEART = 0.99
DIVERGED = 1.05  # a loss that ended this much above its first value
NEAR_CHANCE = 0.1  # a UA of 1 / classes and less than this is near a guess


def warnings(predictions: pd.DataFrame, epochs: pd.DataFrame, values: dict[str, Any]) -> list[str]:
    """List what is odd about an experiment, each with the runs where it shows and its usual causes.

    Parameters
    ----------
    predictions
        Of all runs, with `seed` and `fold`.
    epochs
        The epochs.csv of all runs, with `seed` and `fold`.
    values
        The YAML's values; `alpha` tells whether the CTC task is on.
    """
    found: dict[str, list[str]] = {}
    runs = predictions.groupby(["seed", "fold"])
    for (seed, fold), log in epochs.groupby(["seed", "fold"]):
        tested = runs.get_group((seed, fold))
        alpha = values.get("alpha", 0)
        for sign in (*_of_emotions(tested), *_of_text(tested, alpha), *_of_learning(log, tested)):
            found.setdefault(sign, []).append(f"seed {seed} fold {fold}")
    return [f"{_where(runs_, len(runs))}: {sign}" for sign, runs_ in found.items()]


def _where(some: list[str], n_runs: int) -> str:
    return "in every run" if len(some) == n_runs > 1 else ", ".join(some)


def at_chance(predictions: pd.DataFrame) -> bool:
    """Tell whether UA is near 1 / classes, and no more above it than a guess may be (one-sided binomial test)."""
    scores = metrics.emotion_scores(predictions["emo"], predictions["emo_hyp"])
    n, chance = len(predictions), 1 / predictions["emo"].nunique()
    near = scores["ua"] < chance + NEAR_CHANCE
    return near and binomtest(round(scores["ua"] * n), n, chance, alternative="greater").pvalue > SURE


def _of_emotions(tested: pd.DataFrame) -> Iterator[str]:
    names, hypotheses = labels(tested), set(tested["emo_hyp"])
    if tested["emo"].nunique() < 2:
        return
    if len(hypotheses) == 1:
        yield (
            f"every utterance is taken for `{hypotheses.pop()}`. Usual causes: a learning rate that makes the encoder "
            "diverge (lower `lr`; the paper takes 0.00001 with alpha 0), too few updates, an encoder that is not "
            "the pretrained one"
        )
        return
    if at_chance(tested):
        yield (
            "the accuracy is at chance. Usual causes: too few epochs (with alpha 0.1 the paper's accuracy lags until "
            "the WER has settled, about epoch 12 of 100), a learning rate too high or too low, labels or audio "
            "that do not belong together"
        )
    for name in names:
        if name not in hypotheses and (tested["emo"] == name).any():
            yield (
                f"`{name}` is never predicted. Usual causes: few examples of it in training, a run stopped early, "
                "labels merged otherwise than expected"
            )


def _of_text(tested: pd.DataFrame, alpha: float) -> Iterator[str]:
    wer = metrics.error_rates(tested)["wer"]
    if wer is None or alpha == 0 or wer < LITTLE_WER:
        return
    blank = (tested["wrd_hyp"] == "").mean()
    what = "nearly all of it blank" if blank > 0.9 else "most of it not words"
    yield (
        f"the WER is stuck near 1, {what}. Usual causes: too few epochs (CTC writes blanks first), `alpha` or "
        "`head_lr` too small, a language or spelling that the transcripts do not share with the audio"
    )


def _of_learning(log: pd.DataFrame, tested: pd.DataFrame) -> Iterator[str]:
    first, last = log.iloc[0], log.iloc[-1]
    skipped = int(log["skipped_updates"].fillna(0).sum())
    if skipped:
        yield f"{skipped} updates were skipped as loss or gradient was not finite. Usual causes: `lr` too high, fp16"
    if len(log) < 2:
        return
    if last["train_loss"] > DIVERGED * first["train_loss"]:
        yield "the training loss ended above where it began. Usual causes: `lr` too high, too short a warm-up"
    elif last["train_loss"] > (1 - FLAT) * first["train_loss"]:
        yield "the training loss is flat. Usual causes: `lr` too low or too high, an encoder that is frozen"
    part, ua = "validation", log["valid_ua"].max()
    if pd.isna(ua):
        part, ua = "the test part", metrics.emotion_scores(tested["emo"], tested["emo_hyp"])["ua"]
    if last["train_wa"] >= KNOWN_BY_HEART and ua < 1 / len(labels(tested)) + NEAR_CHANCE:
        yield (
            f"training is known by heart and {part} is at chance. Usual causes: too little data, features of the "
            "speaker or the recording learned in place of the emotion, labels shuffled between the parts"
        )

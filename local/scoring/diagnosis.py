"""Warnings of runs that probably went wrong, with the usual causes; their scores are reported all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pandas as pd
import scipy

from local.config import pretrained
from local.core.tasks import emotions_trained
from local.scoring import metrics
from local.scoring.predictions import labels, writes_text

SURE = 0.01  # a UA above chance with a larger p counts as chance
HIGH_WER, HIGH_CER = 0.98, 0.5  # a CTC head that stays above both has hardly learned
FEW_BLANKS = 0.1  # a script has no blanks between words if fewer of its transcripts have one
MANY_LEFT_OUT = 0.5  # of the transcripts that CTC left out: then they are why the WER is high
FLAT = 0.02  # a loss is flat if it fell by less than this share of its first value
MEMORISED = 0.99  # a WA on the training set
DIVERGED = 1.05  # a loss that ended this many times above its first value
NEAR_CHANCE = 0.1  # a UA less than this above 1 / classes is near chance
# What the paper says of two causes, with its CTC task.
LOWER = "; the paper takes 0.00001 with alpha 0"
LATER = " (with alpha 0.1 the paper's accuracy rises only after the WER has fallen, about epoch 12 of 100)"
# Causes where nothing is trained in epochs.
SOLVED = "the system does not listen (majority.yaml), labels that do not match the audio, few examples in training"


class Sign(NamedTuple):
    """Something odd about a run. Signs that differ in `about` only are one warning."""

    what: str  # with `{}` for `about`
    causes: str  # the usual ones; empty where `what` says it all
    about: str = ""  # a label, or how many


def warnings(
    predictions: pd.DataFrame,
    epochs: pd.DataFrame,
    values: dict[str, Any],
    trained_texts: Callable[[str], pd.Series] | None = None,
) -> list[str]:
    """List what is odd about an experiment: the runs that show it, what it is, its usual causes.

    `predictions` and `epochs` (of epochs.csv) are those of all runs, with `seed` and `fold`; `values` are the YAML's:
    with `alpha` 0 the CTC task is off, with `emotion_weight` 0 the emotions are. Of a system that writes no text
    nothing is said of text. `trained_texts` gives the transcripts of a fold's training set, empty where an utterance
    has none; it is called only where CTC left some out.
    """
    found: dict[tuple[str, str], dict[str, list[str]]] = {}  # by kind of sign and run
    runs = predictions.groupby(["seed", "fold"])
    for (seed, fold), log in epochs.groupby(["seed", "fold"]):
        tested = runs.get_group((seed, fold))
        spelled = writes_text(tested) and values.get("alpha", 0) != 0
        left_out = trained_texts is not None and log["ctc_left_out"].max() > 0
        texts = trained_texts(fold) if left_out else pd.Series(dtype=str)
        of_text = _of_text(tested, log, texts) if spelled else ()
        trained = emotions_trained(values)
        encoder = any(values.get(key) is not None for key in pretrained.ENCODERS)
        solved = "solved" in log and log["solved"].fillna(0).all()
        signs = _of_emotions(tested, encoder) if trained else ()
        of_emotions = (sign._replace(causes=SOLVED) if solved else sign for sign in signs)
        for sign in (*of_emotions, *of_text, *_of_learning(log, tested, encoder)):
            where = found.setdefault((sign.what, sign.causes), {})
            where.setdefault(f"seed {seed} fold {fold}", []).append(sign.about)
    return [_merged(what, causes, where, len(runs)) for (what, causes), where in found.items()]


def _merged(what: str, causes: str, where: dict[str, list[str]], n_runs: int) -> str:
    """One warning of a kind of sign: in full of the first runs that share it, of the others what it is about there."""
    groups: dict[str, list[str]] = {}
    for run, abouts in where.items():
        groups.setdefault(", ".join(abouts), []).append(run)
    said = "; ".join(
        f"{'in every run' if len(runs) == n_runs > 1 else ', '.join(runs)}: {(what if i == 0 else '{}').format(about)}"
        for i, (about, runs) in enumerate(groups.items())
    )
    return f"{said}. Usual causes: {causes}" if causes else said


def at_chance(predictions: pd.DataFrame) -> bool:
    """Tell whether UA is near 1 / classes and not significantly above it (one-sided binomial test)."""
    scores = metrics.emotion_scores(predictions["emo"], predictions["emo_hyp"])
    n, chance = len(predictions), 1 / predictions["emo"].nunique()
    near = scores["ua"] < chance + NEAR_CHANCE
    return near and scipy.stats.binomtest(round(scores["ua"] * n), n, chance, alternative="greater").pvalue > SURE


def _of_emotions(tested: pd.DataFrame, encoder: bool) -> Iterator[Sign]:
    names, hypotheses = labels(tested), set(tested["emo_hyp"])
    if tested["emo"].nunique() < 2:
        return
    lower, later = (LOWER, LATER) if writes_text(tested) else ("", "")
    if len(hypotheses) == 1:
        yield Sign(
            "every utterance is taken for {}",
            f"a learning rate with which training diverges (lower `lr`{lower}), too few updates"
            + ", an encoder that is not pretrained" * encoder,
            f"`{hypotheses.pop()}`",
        )
        return
    if at_chance(tested):
        yield Sign(
            "the accuracy is at chance",
            f"too few epochs{later}, a learning rate too high or too low, labels that do not match the audio",
        )
    for name in names:
        if name not in hypotheses and (tested["emo"] == name).any():
            causes = "few examples in training, too few epochs, unexpected merging of labels"
            yield Sign("never predicted: {}", causes, f"`{name}`")


def _of_text(tested: pd.DataFrame, log: pd.DataFrame, texts: pd.Series) -> Iterator[Sign]:
    with_text = int((texts != "").sum())
    # epochs.csv counts utterances without a transcript, too.
    too_long = int(log["ctc_left_out"].fillna(0).max()) - (len(texts) - with_text) if with_text else 0
    if too_long > 0:
        yield Sign(
            "{} training transcripts need more frames than their audio has and were left out of CTC",
            "transcripts of longer recordings, or of others, than those of their rows; an encoder with few frames a "
            "second",
            f"{too_long} of {with_text}",
        )
    rates = metrics.error_rates(tested)
    wer, cer = rates["wer"], rates["cer"]
    if wer is None or wer < HIGH_WER or too_long > MANY_LEFT_OUT * with_text:
        return
    if cer < HIGH_CER:
        if tested["wrd"][tested["wrd"] != ""].str.contains(" ").mean() < FEW_BLANKS:
            yield Sign(
                "words cannot be separated in transcripts without blanks: the WER counts whole transcripts, the CER "
                "is the figure to read",
                causes="",
            )
        return
    blank = (tested["wrd_hyp"] == "").mean()
    yield Sign(
        "the WER is stuck near 1, the output {}",
        "too few epochs (CTC predicts blanks first), `alpha` or `head_lr` too small, transcripts in another language "
        "or spelling than the audio",
        "nearly all blank" if blank > 0.9 else "mostly wrong",
    )


def _of_learning(log: pd.DataFrame, tested: pd.DataFrame, encoder: bool) -> Iterator[Sign]:
    log = log[log["train_loss"].notna()] if "solved" in log else log  # without a last step in closed form
    skipped = int(log["skipped_updates"].fillna(0).sum())
    if skipped:
        yield Sign("{} updates were skipped: loss or gradient was not finite", "`lr` too high, fp16", str(skipped))
    if len(log) < 2:
        return
    first, last = log.iloc[0], log.iloc[-1]
    if last["train_loss"] > DIVERGED * first["train_loss"]:
        yield Sign("the training loss ended above where it began", "`lr` too high, too short a warm-up")
    elif last["train_loss"] > (1 - FLAT) * first["train_loss"]:
        yield Sign("the training loss is flat", "`lr` too low or too high" + ", an encoder that is frozen" * encoder)
    where, ua = "validation", log["valid_ua"].max()
    if pd.isna(ua):
        where, ua = "the test set", metrics.emotion_scores(tested["emo"], tested["emo_hyp"])["ua"]
    if last["train_wa"] >= MEMORISED and ua < 1 / len(labels(tested)) + NEAR_CHANCE:
        yield Sign(
            f"the training set is memorised and accuracy on {where} is at chance",
            "too little data, learning the speaker or the recording instead of the emotion, shuffled labels",
        )

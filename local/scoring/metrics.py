"""Scores of predictions: counts for emotions, rapidfuzz for transcripts; fractions, no torch."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rapidfuzz.distance import Levenshtein

from local.scoring.predictions import POSTERIOR, is_class, labels, with_posteriors, writes_text

BINS = 15  # of confidence, as Guo et al. (2017) take
SCORES = ("wa", "ua", "f1", "wf1", "wer", "cer", "ece", "brier")
EDITS = ["word_edits", "words", "char_edits", "chars"]


def emotion_scores(reference: pd.Series, hypothesis: pd.Series) -> dict[str, float]:
    """Weighted accuracy, unweighted accuracy, macro and weighted F1.

    wa
        Correct / n.
    ua
        Mean recall of the classes that occur in the reference.
    f1
        Mean F1 of the classes of the corpus that occur in reference or hypothesis.
    wf1
        The same, weighted by how often each class occurs in the reference.
    """
    names = sorted({*reference.unique(), *hypothesis.unique()})
    counts = _counts(reference, hypothesis, names)
    recalls, f1s = recalls_and_f1s(counts, names)
    return {
        "wa": float(counts.trace() / counts.sum()),
        "ua": float(np.nanmean(recalls)),
        "f1": float(np.nanmean(f1s)),
        "wf1": float(np.nansum(f1s * counts.sum(1)) / counts.sum()),
    }


def cells(reference: pd.Series, hypothesis: pd.Series, names: list[str]) -> np.ndarray:
    """[n] where in a flattened confusion matrix, reference by hypothesis, each utterance counts."""
    rows, columns = (pd.Categorical(values, categories=names).codes for values in (reference, hypothesis))
    return rows.astype(int) * len(names) + columns


def _counts(reference: pd.Series, hypothesis: pd.Series, names: list[str]) -> np.ndarray:
    """[C, C] the confusion matrix, reference by hypothesis."""
    # scikit-learn's would check all these strings, forty times slower than a count, and takes a second to load.
    return np.bincount(cells(reference, hypothesis, names), minlength=len(names) ** 2).reshape(len(names), -1)


def recalls_and_f1s(confusion: np.ndarray, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Recall and F1 of each class, [..., C], of confusion matrices [..., C, C], reference by hypothesis.

    nan where a class does not occur: for recall in the reference, for F1 in either; and for those of the C `names` that
    are no class of the corpus.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    references, hypotheses = confusion.sum(-1), confusion.sum(-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1s = 2 * hits / (references + hypotheses)
        return hits / references, np.where([*map(is_class, names)], f1s, np.nan)


def edits(reference: pd.Series, hypothesis: pd.Series) -> pd.DataFrame:
    """Count `EDITS` per utterance, 0 where there is no reference."""
    rows = [
        (Levenshtein.distance(ref.split(), hyp.split()), len(ref.split()), Levenshtein.distance(ref, hyp), len(ref))
        if ref
        else (0, 0, 0, 0)
        for ref, hyp in zip(reference.tolist(), hypothesis.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=EDITS, index=reference.index)


def counted_edits(predictions: pd.DataFrame) -> pd.DataFrame:
    """The `edits` of predictions: from the table's columns if it has them, else counted now; without text all are 0."""
    if EDITS[0] in predictions:
        return predictions[EDITS]
    if not writes_text(predictions):
        return pd.DataFrame(0, columns=EDITS, index=predictions.index)
    return edits(predictions["wrd"], predictions["wrd_hyp"])


def error_rates(predictions: pd.DataFrame) -> dict[str, float | None]:
    """Word and character error rate, pooled: all edits / all words (characters) of the references.

    Utterances without a transcript have no reference and are left out; where none has one, or the system writes no
    text, both rates are None. A rate may pass 1.
    """
    word_edits, words, char_edits, chars = counted_edits(predictions).sum()
    if not words:
        return {"wer": None, "cer": None}
    return {"wer": float(word_edits / words), "cer": float(char_edits / chars)}


def calibration_scores(predictions: pd.DataFrame) -> dict[str, float | None]:
    """How well posteriors serve as probabilities, of the rows that have them; None where none has.

    ece
        Expected calibration error of the likeliest class over `BINS` bins of equal width: the mean
        of |accuracy - confidence|, each bin weighted by its utterances (Guo et al. 2017, eq. 3).
    brier
        Mean over utterances of the squared distance of the posteriors from the truth, summed over
        classes: 0 to 2 (Brier 1950).
    """
    predictions = with_posteriors(predictions)
    if predictions.empty:
        return {"ece": None, "brier": None}
    bins = reliability(predictions)
    gaps = (bins["accuracy"] - bins["confidence"]).abs()
    posteriors, truth = arrays(predictions)
    return {
        "ece": float(np.average(gaps, weights=bins["n"])),
        "brier": float(((posteriors - np.eye(posteriors.shape[1])[truth]) ** 2).sum(1).mean()),
    }


def arrays(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """[N, C] posteriors, rows with the sum 1 (predictions.csv has 8 digits), and [N] indices of the true classes."""
    names = labels(predictions)
    posteriors = predictions[[POSTERIOR + name for name in names]].to_numpy(float)
    truth = pd.Categorical(predictions["emo"], categories=names).codes.astype(int)
    return posteriors / posteriors.sum(1, keepdims=True), truth


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Accuracy against confidence: `low,high,n,confidence,accuracy` of each bin (low, high] that is not empty.

    Both are of the likeliest class, which is not the hypothesis of every model, over the rows that have posteriors.
    """
    predictions = with_posteriors(predictions)
    posteriors, truth = arrays(predictions)
    confidence = posteriors.max(1)
    hypothesis = pd.Categorical(predictions["emo_hyp"], categories=labels(predictions)).codes.astype(int)
    is_likeliest = posteriors[np.arange(len(truth)), hypothesis] == confidence  # or as likely as another
    correct = np.where(is_likeliest, hypothesis, posteriors.argmax(1)) == truth
    bins, edges = places(confidence), np.linspace(0, 1, BINS + 1)
    n = np.bincount(bins, minlength=BINS)
    some = n > 0
    table = {"low": edges[:-1][some], "high": edges[1:][some], "n": n[some]}
    for name, values in (("confidence", confidence), ("accuracy", correct)):
        table[name] = np.bincount(bins, values, BINS)[some] / n[some]
    return pd.DataFrame(table)


def places(confidence: np.ndarray | pd.Series) -> np.ndarray:
    """[n] the number of the bin (low, high], of `BINS` of equal width, in which each confidence lies."""
    return np.clip(np.searchsorted(np.linspace(0, 1, BINS + 1), confidence, side="left") - 1, 0, BINS - 1)


def classes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Score each class of the corpus: `label,n,predicted,recall,precision,f1`.

    A class without a reference has no recall, one without a hypothesis no precision: nan.
    """
    names = labels(predictions)
    counts = _counts(predictions["emo"], predictions["emo_hyp"], names)
    recall, f1 = recalls_and_f1s(counts, names)
    predicted = counts.sum(0)
    with np.errstate(invalid="ignore"):
        precision = counts.diagonal() / predicted
    columns = {"label": names, "n": counts.sum(1), "predicted": predicted}
    table = pd.DataFrame(columns | {"recall": recall, "precision": precision, "f1": f1})
    return table[table["label"].map(is_class)].reset_index(drop=True)


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Count hypotheses (columns) of each reference (rows), labels in alphabetical order.

    A hypothesis that is no class of the corpus has a column, and no row.
    """
    names = labels(predictions)
    counts = pd.DataFrame(_counts(predictions["emo"], predictions["emo_hyp"], names), index=names, columns=names)
    return counts.loc[[*filter(is_class, names)]]


def scores(
    predictions: pd.DataFrame, emotions_trained: bool = True, transcripts_trained: bool = True
) -> dict[str, float | int | None]:
    """All scores of a table of predictions: n, wa, ua, f1, wf1, wer, cer, ece, brier.

    Those of a head that was not trained, so that they mean nothing, are None.
    """
    of_emotions, of_text = emotion_scores(predictions["emo"], predictions["emo_hyp"]), error_rates(predictions)
    found = {"n": len(predictions), **of_emotions, **of_text, **calibration_scores(predictions)}
    found |= {} if emotions_trained else dict.fromkeys([*of_emotions, "ece", "brier"])
    return found if transcripts_trained else found | dict.fromkeys(of_text)

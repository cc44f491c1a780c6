"""Scores of predictions: accuracies with scikit-learn, error rates with jiwer; fractions, no torch."""

from __future__ import annotations

import jiwer
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score, recall_score


def emotion_scores(reference: pd.Series, hypothesis: pd.Series) -> dict[str, float]:
    """Weighted accuracy, unweighted accuracy and macro F1.

    wa
        Correct / n.
    ua
        Mean recall of the classes that occur in the reference.
    f1
        Mean F1 of the classes that occur in reference or hypothesis.
    """
    present = sorted(reference.unique())
    return {
        "wa": float(accuracy_score(reference, hypothesis)),
        "ua": float(recall_score(reference, hypothesis, labels=present, average="macro", zero_division=0)),
        "f1": float(f1_score(reference, hypothesis, average="macro", zero_division=0)),
    }


def error_rates(reference: pd.Series, hypothesis: pd.Series) -> dict[str, float | None]:
    """Word and character error rate, pooled: all edits / all words (characters) of the references.

    Utterances without a transcript have no reference and are left out; where none has one, both
    rates are None. A rate may pass 1.
    """
    known = reference != ""
    if not known.any():
        return {"wer": None, "cer": None}
    pair = reference[known].tolist(), hypothesis[known].tolist()
    return {"wer": float(jiwer.wer(*pair)), "cer": float(jiwer.cer(*pair))}


def scores(predictions: pd.DataFrame) -> dict[str, float | int | None]:
    """All scores of a table of predictions: n, wa, ua, f1, wer, cer."""
    return {
        "n": len(predictions),
        **emotion_scores(predictions["emo"], predictions["emo_hyp"]),
        **error_rates(predictions["wrd"], predictions["wrd_hyp"]),
    }

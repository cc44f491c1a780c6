"""Metrics against confusion matrices counted by hand and an edit distance of our own and of SpeechBrain."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    precision_recall_fscore_support,
)
from speechbrain.utils.edit_distance import accumulatable_wer_stats

from local.scoring.metrics import (
    calibration_scores,
    classes,
    confusion,
    emotion_scores,
    error_rates,
    places,
    reliability,
    scores,
)
from local.scoring.predictions import frame

LABELS = ["ang", "hap", "neu", "sad"]


def from_confusion(matrix: list[list[int]], labels: list[str] = LABELS) -> tuple[pd.Series, pd.Series]:
    """Reference and hypothesis with this confusion: a row per reference, a column per hypothesis."""
    pairs = [(one, other) for one, row in zip(labels, matrix, strict=True)
             for other, n in zip(labels, row, strict=True) for _ in range(n)]  # fmt: skip
    random.Random(1).shuffle(pairs)
    return pd.Series([one for one, _ in pairs]), pd.Series([other for _, other in pairs])


def figures(matrix: list[list[int]]) -> dict[str, float]:
    """WA, UA, macro and weighted F1 by their definitions, in exact fractions."""
    size = range(len(matrix))
    row = [sum(matrix[i]) for i in size]
    column = [sum(matrix[j][i] for j in size) for i in size]
    correct = sum(matrix[i][i] for i in size)
    f1 = [Fraction(2 * matrix[i][i], row[i] + column[i]) for i in size if row[i] + column[i]]
    recalls = [Fraction(matrix[i][i], row[i]) for i in size if row[i]]
    values = {"wa": Fraction(correct, sum(row)), "ua": sum(recalls) / len(recalls), "f1": sum(f1) / len(f1)}
    values["wf1"] = sum(Fraction(2 * matrix[i][i] * row[i], (row[i] + column[i]) * sum(row)) for i in size if row[i])
    return {name: float(value) for name, value in values.items()}


def edits(reference: list[str] | str, hypothesis: list[str] | str) -> int:
    """Levenshtein's distance by dynamic programming."""
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, start=1):
        above, row = row, [i]
        for j, word in enumerate(hypothesis, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (wanted != word)))
    return row[-1]


# ---------------------------------------------------------------- emotions


def test_a_confusion_worked_by_hand():
    # 4, 2, 1, 1 utterances of the classes; 5, 1, 1, 1 hypotheses.
    matrix = [[3, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    scored = emotion_scores(*from_confusion(matrix))
    assert scored["wa"] == 5 / 8
    assert scored["ua"] == pytest.approx((3 / 4 + 1 / 2 + 0 + 1) / 4, abs=1e-15)
    assert scored["f1"] == pytest.approx((6 / 9 + 2 / 3 + 0 + 1) / 4, abs=1e-15)


@pytest.mark.parametrize(
    "matrix",
    [
        [[9, 1, 2, 0], [0, 5, 5, 0], [3, 3, 3, 3], [0, 0, 1, 70]],
        [[0, 4, 0, 0], [4, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]],  # nothing is right
        [[5, 0, 0, 0], [0, 5, 0, 0], [0, 0, 5, 0], [0, 0, 0, 5]],
        [[5, 1, 0, 0], [2, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],  # two classes occur nowhere
        [[5, 1, 1, 0], [2, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],  # one is only ever guessed
        [[4, 0, 0, 0], [4, 0, 0, 0], [4, 0, 0, 0], [4, 0, 0, 0]],  # one is always guessed
        [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ],
)
def test_any_confusion(matrix):
    reference, hypothesis = from_confusion(matrix)
    table = pd.DataFrame({"emo": reference, "emo_hyp": hypothesis}).assign(**{f"p_{label}": 0.25 for label in LABELS})
    assert confusion(table).to_numpy().tolist() == matrix
    assert confusion_matrix(reference, hypothesis, labels=LABELS).tolist() == matrix
    by_sklearn = precision_recall_fscore_support(reference, hypothesis, labels=LABELS, zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1", "n"), by_sklearn, strict=True):
        np.testing.assert_array_equal(classes(table)[name], values)
    scored = emotion_scores(reference, hypothesis)
    assert scored == pytest.approx(figures(matrix), abs=1e-14)
    assert all(isinstance(value, float) for value in scored.values())


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_ua_is_scikit_learns_balanced_accuracy():
    chance = random.Random(5)
    for size in (1, 2, 7, 50):
        reference = pd.Series(chance.choices(LABELS, weights=[1, 2, 3, 9], k=size))
        hypothesis = pd.Series(chance.choices(LABELS, k=size))
        scored = emotion_scores(reference, hypothesis)["ua"]
        assert scored == pytest.approx(balanced_accuracy_score(reference, hypothesis), abs=1e-15)


# ---------------------------------------------------------------- transcripts


def texts(size: int, seed: int) -> tuple[pd.Series, pd.Series]:
    """References, some of them empty, and hypotheses made of them by deletions, insertions and other words."""
    chance = random.Random(seed)
    words = ["IT'S", "A", "QUICK", "FOX", "WELLKNOWN", "ŹRÓDŁEM", "24", "I"]
    references, hypotheses = [], []
    for _ in range(size):
        reference = chance.choices(words, k=chance.choice((0, 1, 3, 12)))
        hypothesis = [chance.choice(words) if chance.random() < 0.2 else word for word in reference]
        hypothesis = [word for word in hypothesis if chance.random() < 0.8]
        hypothesis += chance.choices(words, k=chance.choice((0, 0, 1, 5)))
        references.append(" ".join(reference))
        hypotheses.append(" ".join(hypothesis))
    return pd.Series(references), pd.Series(hypotheses)


def rates_of(reference: pd.Series, hypothesis: pd.Series) -> dict[str, float | None]:
    return error_rates(pd.DataFrame({"wrd": reference, "wrd_hyp": hypothesis}))


@pytest.mark.parametrize("seed", range(5))
def test_all_edits_over_all_words_and_characters(seed):
    reference, hypothesis = texts(40, seed)
    pairs = [(one, other) for one, other in zip(reference, hypothesis, strict=True) if one]
    assert 0 < len(pairs) < 40
    word_edits = sum(edits(one.split(), other.split()) for one, other in pairs)
    character_edits = sum(edits(one, other) for one, other in pairs)  # the blank between words is a character
    scored = rates_of(reference, hypothesis)
    assert scored["wer"] == word_edits / sum(len(one.split()) for one, _ in pairs)
    assert scored["cer"] == character_edits / sum(len(one) for one, _ in pairs)


@pytest.mark.parametrize("seed", range(5, 8))
def test_speechbrain_counts_the_same(seed):
    reference, hypothesis = texts(60, seed)
    pairs = [(one, other) for one, other in zip(reference, hypothesis, strict=True) if one]
    rates = []
    for split in (str.split, list):
        stats = accumulatable_wer_stats([split(one) for one, _ in pairs], [split(other) for _, other in pairs])
        edited = stats["insertions"] + stats["deletions"] + stats["substitutions"]
        rates.append(edited / stats["num_ref_tokens"])
    assert list(rates_of(reference, hypothesis).values()) == pytest.approx(rates, abs=1e-15)


def test_rates_are_pooled_over_utterances_not_averaged():
    reference = pd.Series(["A B C D E F G H I", "J"])
    hypothesis = pd.Series(["A B C D E F G H I", "K"])
    assert rates_of(reference, hypothesis)["wer"] == 1 / 10  # the mean of 0 and 1 would be 1/2


def test_a_rate_may_pass_one():
    scored = rates_of(pd.Series(["NO"]), pd.Series(["OH NO NO NO"]))
    assert scored["wer"] == 3.0 and scored["cer"] == 9 / 2


def test_what_is_not_written_is_deleted():
    assert rates_of(pd.Series(["ONE TWO", "THREE"]), pd.Series(["", ""])) == {"wer": 1.0, "cer": 1.0}


def test_utterances_without_a_transcript_are_left_out():
    reference, hypothesis = pd.Series(["ONE TWO", "", ""]), pd.Series(["ONE TOO", "THREE FOUR", ""])
    assert rates_of(reference, hypothesis) == {"wer": 1 / 2, "cer": 1 / 7}
    assert rates_of(reference[1:], hypothesis[1:]) == {"wer": None, "cer": None}


# ---------------------------------------------------------------- posteriors


def sure(rows: list[tuple[str, float, float, float]]) -> pd.DataFrame:
    """Predictions over three labels: the reference and the posteriors."""
    return frame([(f"u{i:04}", emo, *posteriors, "", "") for i, (emo, *posteriors) in enumerate(rows)], LABELS[:3])


def test_calibration_worked_by_hand():
    # Confidences .50 and .52 share the bin (7/15, 8/15], one of two right; .9 has (13/15, 14/15] alone, 1 the last.
    table = sure([("ang", 0.5, 0.3, 0.2), ("ang", 0.2, 0.52, 0.28), ("neu", 0.05, 0.05, 0.9), ("hap", 1, 0, 0)])
    bins = reliability(table)
    assert bins["n"].tolist() == [2, 1, 1]
    assert bins["low"].tolist() == pytest.approx([7 / 15, 13 / 15, 14 / 15])
    assert bins["confidence"].tolist() == pytest.approx([0.51, 0.9, 1]) and bins["accuracy"].tolist() == [0.5, 1, 0]
    scored = calibration_scores(table)
    assert scored["ece"] == pytest.approx((2 * 0.01 + 0.1 + 1) / 4)
    squares = [0.25 + 0.09 + 0.04, 0.64 + 0.2704 + 0.0784, 0.0025 + 0.0025 + 0.01, 1 + 1 + 0]
    assert scored["brier"] == pytest.approx(sum(squares) / 4)
    without_ang = sure([("hap", 0.1, 0.6, 0.3), ("neu", 0.1, 0.5, 0.4)])  # as a fold may be
    scored = calibration_scores(without_ang)
    assert scored["ece"] == pytest.approx((0.4 + 0.5) / 2) and reliability(without_ang)["accuracy"].tolist() == [0, 1]
    assert scored["brier"] == pytest.approx((0.01 + 0.16 + 0.09 + 0.01 + 0.25 + 0.36) / 2)


def test_an_edge_belongs_to_the_bin_below_it():
    edges = np.linspace(0, 1, 16)
    assert places(edges).tolist() == [0, *range(15)]
    assert places(edges[1:-1] + 1e-12).tolist() == [*range(1, 15)]


def test_posteriors_that_were_rounded_count_as_if_their_sum_were_1():
    exact = sure([("ang", 0.5, 0.3, 0.2), ("neu", 0.2, 0.2, 0.6)])
    rounded = exact.assign(**{f"p_{label}": 0.99 * exact[f"p_{label}"] for label in LABELS[:3]})
    for figure in ("brier", "ece"):
        assert calibration_scores(rounded)[figure] == pytest.approx(calibration_scores(exact)[figure])


def test_the_ece_is_of_the_likeliest_class_whatever_the_hypothesis():
    table = sure([("ang", 0.9, 0.1, 0.0), ("ang", 0.4, 0.4, 0.2)]).assign(emo_hyp="hap")
    assert reliability(table)["accuracy"].tolist() == [0, 1]  # of the second hap is as likely as ang
    assert calibration_scores(table)["ece"] == pytest.approx((0.4 + 0.1) / 2)


def test_edits_that_are_in_the_table_are_not_counted_again():
    table = pd.DataFrame(
        {"wrd": ["ONE TWO"], "wrd_hyp": ["ONE"], "word_edits": 1, "words": 4, "char_edits": 2, "chars": 5}
    )
    assert error_rates(table) == {"wer": 1 / 4, "cer": 2 / 5}


def test_the_brier_score_is_scikit_learns():
    chance = np.random.default_rng(4)
    table = sure([(LABELS[chance.integers(3)], *each) for each in chance.dirichlet([1, 1, 1], 300)])
    posteriors = table[[f"p_{label}" for label in LABELS[:3]]].to_numpy()
    wanted = brier_score_loss(table["emo"], posteriors, labels=LABELS[:3], scale_by_half=False)
    assert calibration_scores(table)["brier"] == pytest.approx(wanted, abs=1e-14)


def test_bins_against_scikit_learns_calibration_curve():
    chance = np.random.default_rng(3)
    posteriors = chance.dirichlet([1, 1, 1], 400)
    table = sure([(LABELS[chance.integers(3)], *each) for each in posteriors])
    right = (table["emo"] == table["emo_hyp"]).astype(int)
    accuracy, confidence = calibration_curve(right, posteriors.max(1), n_bins=15, strategy="uniform")
    bins = reliability(table)
    assert bins["accuracy"].tolist() == pytest.approx(accuracy.tolist())
    assert bins["confidence"].tolist() == pytest.approx(confidence.tolist())
    assert bins["n"].sum() == 400


def test_honest_posteriors_are_calibrated_and_bold_ones_are_not():
    chance = np.random.default_rng(7)
    honest = chance.dirichlet([1, 1, 1], 4000)
    drawn = [LABELS[chance.choice(3, p=each)] for each in honest]
    bold = honest**3 / (honest**3).sum(1, keepdims=True)
    scored, worse = (
        calibration_scores(sure([(emo, *each) for emo, each in zip(drawn, one, strict=True)])) for one in (honest, bold)
    )
    assert scored["ece"] < 0.03 < 0.1 < worse["ece"] and scored["brier"] < worse["brier"]


def test_classes_and_confusion_worked_by_hand():
    matrix = [[3, 0, 1], [1, 1, 0], [0, 0, 0]]
    rows = [(one, *(float(label == other) for label in LABELS[:3])) for one, row in zip(LABELS, matrix, strict=False)
            for other, n in zip(LABELS, row, strict=False) for _ in range(n)]  # fmt: skip
    table = sure(rows)
    assert confusion(table).to_numpy().tolist() == matrix and list(confusion(table).columns) == LABELS[:3]
    scored = classes(table).set_index("label")
    assert scored["n"].tolist() == [4, 2, 0] and scored["predicted"].tolist() == [4, 1, 1]
    assert scored["recall"].tolist()[:2] == [3 / 4, 1 / 2] and math.isnan(scored.loc["neu", "recall"])
    assert scored["precision"].tolist() == [3 / 4, 1, 0]


def test_scores_take_the_columns_of_predictions():
    reference, hypothesis = texts(8, 3)
    emotions = from_confusion([[2, 1, 0, 0], [0, 2, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    table = pd.DataFrame({"emo": emotions[0], "emo_hyp": emotions[1], "wrd": reference, "wrd_hyp": hypothesis})
    table[[f"p_{label}" for label in LABELS]] = [[float(label == hyp) for label in LABELS] for hyp in emotions[1]]
    scored = scores(table)
    assert list(scored) == ["n", "wa", "ua", "f1", "wf1", "wer", "cer", "ece", "brier"]
    assert (scored["n"], scored["wa"], scored["ece"], scored["brier"]) == (8, 6 / 8, 2 / 8, 2 * 2 / 8)
    assert scores(table[::-1]) == pytest.approx(scored, abs=1e-15)
    of_emotions = dict.fromkeys(["wa", "ua", "f1", "wf1", "ece", "brier"])
    assert scores(table, emotions_trained=False) == scored | of_emotions
    assert scores(table, transcripts_trained=False) == scored | {"wer": None, "cer": None}

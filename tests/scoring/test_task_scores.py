"""Figures of further heads, against numpy and scikit-learn, with intervals, and where there is nothing to score."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy
from sklearn.metrics import balanced_accuracy_score

from local.scoring import predictions, task_scores

N = 120


@pytest.fixture(scope="module")
def predicted() -> pd.DataFrame:
    """Two folds of ten speakers, each with labels of all heads but of a speaker; a sixth without the others."""
    chance = np.random.default_rng(5)
    valence = chance.uniform(1, 5, N)
    gender = chance.choice(["F", "M"], N, p=[0.7, 0.3])
    table = pd.DataFrame(
        {
            "ID": [f"u{i:03}" for i in range(N)],
            "fold": np.repeat(["A", "B"], N // 2),
            "seed": 1,
            "spk_id": [f"s{i // 12}" for i in range(N)],
            "recording": "",
            "ref_gender": gender,
            "hyp_gender": np.where(chance.random(N) < 0.8, gender, "F"),
            "ref_speaker": "",
            "hyp_speaker": "s1",
            "ref_valence": valence,
            "hyp_valence": valence + chance.normal(0.3, 0.8, N),
            "ref_votes": "ang 0.750000 neu 0.250000",
            "hyp_votes": "ang 0.500000 neu 0.250000 sad 0.250000",
        }
    )
    lost = np.arange(N) % 6 == 0
    table.loc[lost, ["ref_gender", "ref_votes"]] = ""
    table.loc[lost, "ref_valence"] = np.nan
    return table


def of_head(table: pd.DataFrame, head: str) -> dict[str, pd.Series]:
    return {row["figure"]: row for _, row in table[table["head"] == head].iterrows()}


def test_figures(predicted):
    table = task_scores.table(predicted)
    assert table["head"].unique().tolist() == ["gender", "speaker", "valence", "votes"]
    known = predicted[predicted["ref_gender"] != ""]
    gender = of_head(table, "gender")
    assert gender["accuracy"]["value"] == pytest.approx((known["ref_gender"] == known["hyp_gender"]).mean())
    assert gender["UA"]["value"] == pytest.approx(balanced_accuracy_score(known["ref_gender"], known["hyp_gender"]))
    assert gender["UA"]["n"] == 100 and gender["UA"]["left_out"] == 20
    p, y = known["hyp_valence"].to_numpy(), known["ref_valence"].to_numpy()
    r, ratio = scipy.stats.pearsonr(p, y)[0], p.std() / y.std()
    shift = (p.mean() - y.mean()) ** 2 / (p.std() * y.std())
    valence = of_head(table, "valence")
    assert valence["CCC"]["value"] == pytest.approx(2 * r / (ratio + 1 / ratio + shift))  # Lin's other form
    assert valence["RMSE"]["value"] == pytest.approx(np.sqrt(((p - y) ** 2).mean()))
    cross = -(0.75 * math.log(0.5) + 0.25 * math.log(0.25))
    votes = of_head(table, "votes")
    assert votes["cross-entropy"]["value"] == pytest.approx(cross)
    assert votes["KL"]["value"] == pytest.approx(cross + 0.75 * math.log(0.75) + 0.25 * math.log(0.25))


def test_intervals_and_folds(predicted):
    table = task_scores.table(predicted)
    for row in table[table["head"].isin(["gender", "valence"])].itertuples():
        assert row.low < row.value < row.high
        folds = [task_scores.figures(fold, row.head)[row.figure] for _, fold in predicted.groupby("fold")]
        assert row.mean == pytest.approx(np.mean(folds)) and row.sd == pytest.approx(np.std(folds, ddof=1))


def test_a_head_that_nobody_tests_has_no_figures(predicted):
    speaker = of_head(task_scores.table(predicted), "speaker")
    for row in speaker.values():
        assert row["n"] == 0 and row["left_out"] == N and math.isnan(row["value"]) and math.isnan(row["low"])
    assert task_scores.line("speaker", predicted) == "speaker: (0 of 120 have a label)"


def test_without_heads_there_is_no_table(predicted):
    assert task_scores.table(predicted[["ID", "fold", "spk_id"]]).empty


def test_the_loss_of_a_whole_set(predicted):
    ccc = task_scores.figures(predicted, "valence")["CCC"]
    assert task_scores.number_loss(predicted, "valence") == pytest.approx(100 / 120 * (1 - ccc))
    assert task_scores.number_loss(predicted.assign(ref_valence=np.nan), "valence") == 0


def test_predictions_of_heads_are_read_as_they_were_written(tmp_path):
    tasks = ["gender", "valence", "votes"]
    rows = [
        ("a", "ang", 0.75, 0.25, "X", "Y", "F", "M", 2.5, 1.25, "ang 1.000000", "ang 0.500000 neu 0.500000"),
        ("b", "neu", 0.25, 0.75, "", "", "", "M", math.nan, 3.0, "", "ang 0.500000 neu 0.500000"),
    ]
    table = predictions.frame(rows, ["ang", "neu"], tasks=tasks)
    predictions.write(tmp_path / "predictions.csv", table)
    head = (tmp_path / "predictions.csv").read_text().splitlines()[0]
    assert head.endswith("wrd,wrd_hyp,ref_gender,hyp_gender,ref_valence,hyp_valence,ref_votes,hyp_votes")
    read = predictions.read(tmp_path / "predictions.csv")
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert predictions.task_names(read) == tasks and predictions.labels(read) == ["ang", "neu"]

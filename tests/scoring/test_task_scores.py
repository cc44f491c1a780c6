"""Figures of further heads, against numpy and scikit-learn, with intervals, and where there is nothing to score."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy
from sklearn.metrics import balanced_accuracy_score

from local.core import tasks
from local.pages.tables import task_table
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
    said = (
        f"gender: accuracy {gender['accuracy']['value']:.3f} UA {gender['UA']['value']:.3f} (100 of 120 have a label)"
    )
    assert task_scores.line("gender", predicted) == said
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


def rated(*of_utterances: dict[str, float]) -> pd.DataFrame:
    """Utterances with what each rater gave, as the column `ratings` has it."""
    cells = [" ".join(f"{rater}.valence {value:g}" for rater, value in each.items()) for each in of_utterances]
    return pd.DataFrame({"ID": [f"u{i}" for i in range(len(cells))], "ratings": cells})


def test_a_share_that_is_too_small_to_be_written_costs_about_what_the_least_that_is_does():
    kl = [task_scores._costs("ang 1", tasks.shares(["ang", "neu"], [share, 1 - share]))[0] for share in (4e-7, 6e-7)]
    assert kl == pytest.approx([-math.log(5e-7), -math.log(1e-6)])


def test_votes_may_be_counts():
    assert task_scores._costs("ang 3 neu 1", "ang 1 neu 1") == task_scores._costs("ang 0.75 neu 0.25", "ang 1 neu 1")


def test_two_raters_agree_as_by_hand(monkeypatch):
    monkeypatch.setattr(task_scores, "LEAST_RATED", 3)
    table = rated({"E1": 1, "E2": 2}, {"E1": 2, "E2": 2}, {"E1": 3, "E2": 5}, {"E1": 5}, {})
    # Means 2 and 3, variances 2/3 and 2, covariance 1: 2 / (2/3 + 2 + 1), whichever of them is left out.
    assert task_scores.raters_ccc(table, "valence") == pytest.approx(2 / (2 / 3 + 2 + 1))
    assert math.isnan(task_scores.raters_ccc(table, "arousal"))
    assert math.isnan(task_scores.raters_ccc(table.drop(columns="ratings"), "valence"))
    monkeypatch.setattr(task_scores, "LEAST_RATED", 4)  # the fourth is rated by one of them alone
    assert math.isnan(task_scores.raters_ccc(table, "valence"))


def test_each_of_several_raters_is_held_against_the_mean_of_the_others():
    """By Lin's other form, Pearson's correlation times a bias, and pandas' means; raters have not all rated all."""
    chance = np.random.default_rng(8)
    values = chance.uniform(1, 5, (90, 1)) + chance.normal(0, [0.2, 0.8, 1.5, 0.5], (90, 4))
    given = pd.DataFrame(values.clip(1, 5).round(), columns=["E1", "E2", "E10", "E4"])
    given = given.mask(chance.random(given.shape) < 0.4)
    given.loc[5:, "E4"] = np.nan  # fewer than count
    cccs, sizes = [], []
    for rater in ("E1", "E2", "E10"):
        pair = pd.DataFrame({"x": given[rater], "y": given.drop(columns=rater).mean(axis=1)}).dropna()
        ratio = pair["x"].std() / pair["y"].std()
        shift = (pair["x"].mean() - pair["y"].mean()) ** 2 / (pair["x"].std(ddof=0) * pair["y"].std(ddof=0))
        cccs.append(2 * pair["x"].corr(pair["y"]) / (ratio + 1 / ratio + shift))
        sizes.append(len(pair))
    table = rated(*(row.dropna() for _, row in given.iterrows()))
    agreement = task_scores.raters_ccc(table, "valence")
    assert agreement == pytest.approx(np.average(cccs, weights=sizes)) and len({*sizes}) > 1
    table["ratings"] += [" E7.arousal 3"] * len(table)  # of another dimension
    assert task_scores.raters_ccc(pd.concat([table, table[:40]]), "valence") == pytest.approx(agreement)  # more seeds


def test_the_agreement_of_raters_is_of_utterances_that_the_head_is_tested_on(predicted):
    ratings = rated(*({"E1": value, "E2": value} for value in np.arange(N) % 5 + 1))["ratings"]
    ratings[predicted["ref_valence"].isna()] = "E1.valence 1 E2.valence 5"
    table = task_scores.table(predicted.assign(ratings=ratings))
    assert of_head(table, "valence")["CCC"]["raters"] == pytest.approx(1)
    assert table.loc[table["figure"] != "CCC", "raters"].isna().all()
    shown = task_table(table)
    assert shown.columns[-1] == ("raters", True) and [row[-1] for row in shown.rows if row[1] == "CCC"] == ["1.000"]
    assert {row[-1] for row in shown.rows if row[1] != "CCC"} == {"–"} and shown.notes[-1].startswith("Raters: ")
    unrated = task_table(task_scores.table(predicted))
    assert {row[-1] for row in unrated.rows} == {"–"} and not unrated.notes[-1].startswith("Raters: ")
    without = task_table(table[table["head"] != "valence"])
    assert ("raters", True) not in without.columns and len({len(row) for row in without.rows}) == 1


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

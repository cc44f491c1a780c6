"""The paper's figures against a copy typed by hand, and the rules by which ours are put beside them."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pandas as pd
import pytest
from paths import REPOSITORY
from written_experiments import SIZES, table_of, write_experiment

from local import paper
from local.core.errors import UserError
from local.pages.paper import PAPER, TABLES, render_table
from local.scoring.scored import load

# As in our notes on the paper, typed once more.
TABLE_3 = """
Wu 2019 10-fold 72.73 | Sajjad 2020 5-fold 72.25 | Lu 2020 10-fold 72.6 | Liu 2020 5-fold 70.78 |
Wang 2020 5-fold 73.3 | Pappagari 2020 5-fold 70.30 | Peng 2020 5-fold 62.6 | ours 10-fold 78.15
"""
TABLE_4 = "0: 71.66, .9981 | 0.001: 73.97, .2233 | 0.01: 76.34, .2007 | 0.1: 78.15, .1929 | 1: 77.35, .1877"
FIGURE_2 = """
0.1   | .333 .538 .653 .695 .745 .749 .759 .778, .787 | 1.00 (1) .805 (5) .225 (10) .204 (12) .152 (30) .114 (100)
0.01  | .582 .649 .653 .667 .757 .736 .759 .753, .772 | 1.0 (5) .540 (10) .187 (20) .121 (100)
0.001 | .563 .510 .617 .611 .644 .707 .739 .739, .755 | 1 (5) 1 (10) 1 (15) 1 (20) .559 (30) .217 (40) .137 (100)
0     | .552 .611 .649 .686 .669 .682 .688 .697, .718 | .998 (5) .998 (10) .998 (15) .998 (20) .998 (30) .998 (100)
"""


def made(which: str, *folders: Path) -> tuple[list[dict[str, str]], str]:
    """A table's rows and its whole page."""
    text = render_table(which, [load(folder) for folder in folders], "COMMAND")
    return table_of(text), text


def test_table_3_is_the_papers():
    typed = [" ".join(row.split()).rsplit(" ", 2) for row in TABLE_3.split("|")]
    rows = PAPER["table3"]
    assert [(row["system"].split(":")[0], row["protocol"].split(",")[0], f"{row['accuracy']:.4f}") for row in rows] == [
        (system if system != "ours" else "ours in the paper", folds, f"{float(accuracy) / 100:.4f}")
        for system, folds, accuracy in typed
    ]
    measures = ["WA", "accuracy", "UA", "UA", "UA", "weighted F1", "UA", "pooled WA"]
    assert [row["measure"] for row in rows] == measures == [row["measure"] for row in made("table3")[0]]
    assert rows[4]["protocol"].startswith("5-fold, random utterances")
    assert "recording" in rows[-1]["protocol"]


def test_table_4_is_the_papers():
    typed = [[float(figure) for figure in row.replace(":", ",").split(",")] for row in TABLE_4.split("|")]
    printed = [[alpha, 100 * row["wa"], row["wer"]] for alpha, row in PAPER["table4"].items()]
    for mine, theirs in zip(printed, typed, strict=True):
        assert mine == pytest.approx(theirs)
    assert [row["source"] for row in PAPER["table4"].values()] == ["Table 4"] * 4 + ["slides"]


def test_figure_2_is_the_papers():
    for row in FIGURE_2.strip().splitlines():
        alpha, accuracies, rates = row.split("|")
        *curve, highest = map(float, accuracies.replace(",", " ").split())
        points = PAPER["figure2"][float(alpha)]
        epochs = (5, 10, 15, 20, 30, 50, 75, 100, "highest")
        assert points["wa"] == dict(zip(epochs, (*curve, highest), strict=True))
        words = rates.split()
        typed = {int(epoch.strip("()")): float(rate) for rate, epoch in zip(words[::2], words[1::2], strict=True)}
        assert typed.items() <= points["wer"].items()
        assert typed.keys() == points["wer"].keys() or float(alpha) == 0


def test_table_4_sets_a_whole_run_beside_the_paper(tmp_path):
    folder = write_experiment(tmp_path, "iemocap/recording/low", scores=(0.76, 0.2, 0.21), alpha=0.01)
    rows, text = made("table4", folder)
    assert [row["alpha"] for row in rows] == ["0", "0.001", "0.01", "0.1", "1"]
    beside = rows[2]
    assert (beside["paper's WA"], beside["paper's WER"], beside["source"]) == ("76.34", "20.07", "Table 4")
    assert (beside["our WA"], beside["95 % interval"]) == ("76.00", "68.0–72.0")
    # The mean of the folds' WERs, not the pooled one.
    assert beside["our mean of folds' WER"] == "21.00"
    assert (beside["WA, points"], beside["WER, points"]) == ("-0.34", "+0.93")
    assert beside["our protocol"] == "recording" and beside["paper's protocol"].startswith("recording")
    assert (beside["validation"], beside["folds"], beside["seeds"]) == ("recordings", "10/10", "1")
    assert all(row["our experiment"] == "–" for row in rows if row is not beside)
    assert "differs from the paper in" not in text and "not beside" not in text


APART = {
    "protocol": ("iemocap/speaker/x", {}, "its protocol is `speaker`"),
    "held text": ("iemocap/recording-hold_text/x", {}, "its protocol is `recording-hold_text`"),
    "corpus": ("nemo/recording/x", {}, "its corpus is nemo"),
    "folds": (
        "iemocap/recording/x",
        {"sizes": {f: SIZES[f] for f in list(SIZES)[:7]}},
        "it has 7/10 folds and lacks 04M",
    ),
    "partial": ("iemocap/recording/x", {"sizes": SIZES | {"05M": 590}}, "fold 05M tests 590 of 597 utterances"),
}


@pytest.mark.parametrize("which", ["table3", "table4"])
@pytest.mark.parametrize(("path", "more", "reason"), APART.values(), ids=APART)
def test_others_never_share_a_row_with_the_paper(tmp_path, which, path, more, reason):
    rows, text = made(which, write_experiment(tmp_path, path, **more))
    ours = [row for row in rows if row["our experiment"] != "–"]
    assert [row["our experiment"] for row in ours] == [f"`{path}`"]
    printed = {
        "table3": ["system", "protocol", "accuracy"],
        "table4": ["paper's protocol", "paper's WA", "paper's WER"],
    }
    assert all(ours[0][column] == "–" for column in [*printed[which], "WA, points"])
    assert ours[0]["our WA"] == "70.00"
    assert ours[0]["our protocol"] == path.split("/")[1]
    assert reason in text
    # Every figure of the paper is still there, in rows without one of ours.
    assert len(rows) == {"table3": 9, "table4": 6}[which]


def test_a_seed_that_lacks_a_fold_gets_its_own_row(tmp_path):
    folder = write_experiment(tmp_path, "iemocap/recording/x", seeds=(1, 2))
    assert made("table4", folder)[0][3]["paper's WA"] == "78.15"
    with open(folder / "folds.csv", newline="") as file:
        lines = file.readlines()
    (folder / "folds.csv").write_text("".join(lines[:-1]))
    rows, _ = made("table4", folder)
    assert [(row["paper's WA"], row["our WA"]) for row in rows if row["alpha"] == "0.1"] == [
        ("78.15", "–"),
        ("–", "70.00"),
    ]


def test_an_experiment_of_several_alphas_is_refused(tmp_path):
    """As stage 4 pooled them once."""
    folder = write_experiment(tmp_path, "iemocap/recording/x", alpha=0.1)
    other = write_experiment(tmp_path, "iemocap/recording/y", alpha=1.0)
    shutil.copy(other / "seed1" / "05M" / "train.json", folder / "seed1" / "05M")
    with pytest.raises(UserError, match=r"recording/x were not trained .*: alpha is 1\.0 in seed 1 fold 05M"):
        made("table4", folder)


def test_two_runs_of_one_alpha_get_a_row_each(tmp_path):
    first, second, third = (
        write_experiment(tmp_path, "iemocap/recording/first"),
        write_experiment(tmp_path, "iemocap/recording/second", scores=(0.78, 0.2, 0.2)),
        write_experiment(tmp_path, "iemocap/speaker/first", valid="partner"),
    )
    rows = [row for row in made("table4", third, first, second)[0] if row["alpha"] == "0.1"]
    assert [(row["our protocol"], row["our WA"], row["paper's WA"]) for row in rows] == [
        ("recording", "70.00", "78.15"),
        ("recording", "78.00", "78.15"),
        ("speaker", "70.00", "–"),
    ]
    rows, _ = made("table3", third, first, second)
    assert [(row["system"], row["our WA"]) for row in rows[7:]] == [
        ("ours in the paper", "70.00"),
        ("ours in the paper", "78.00"),
        ("–", "70.00"),
    ]


def test_the_papers_own_choice_of_the_epoch_is_marked(tmp_path):
    name, valid = "recording-valid_oracle-OPTIMISTIC", "oracle-OPTIMISTIC"
    oracle = write_experiment(tmp_path, f"iemocap/{name}/x", valid=valid, n_epochs=5)
    honest = write_experiment(tmp_path, "iemocap/recording/x", n_epochs=5)
    for which in ("table3", "table4", "figure2"):
        rows, text = made(which, oracle, honest)
        ours = {(row["our experiment"], row["our protocol"], row["validation"]) for row in rows} - {("–",) * 3}
        expected = {(f"`iemocap/{name}/x`", name, valid), ("`iemocap/recording/x`", "recording", "recordings")}
        assert ours == expected and "not beside" not in text
        assert f"- `iemocap/{name}/x`: each fold tests whole recordings; OPTIMISTIC: the epoch is the best" in text
        assert "`iemocap/recording/x`: each" not in text


def test_table_3_takes_its_own_alpha_alone(tmp_path):
    rows, text = made("table3", write_experiment(tmp_path, "iemocap/recording/x", alpha=0.01))
    assert (rows[7]["accuracy"], rows[7]["our WA"]) == ("78.15", "–")
    assert (rows[8]["accuracy"], rows[8]["our WA"]) == ("–", "70.00")
    assert "table3 has no alpha 0.01" in text


def test_table_3_takes_another_system_below_the_paper(tmp_path):
    folder = write_experiment(tmp_path, "iemocap/recording/x")
    for yaml in folder.glob("seed1/*/hyperparams.yaml"):
        yaml.write_text((REPOSITORY / "hparams" / "statistics.yaml").read_text().partition("system:")[0])
    rows, text = made("table3", folder)
    assert (rows[7]["our WA"], rows[8]["our WA"]) == ("–", "70.00")
    assert "is not beside the paper's figures: it is of another system" in text
    assert "WER" not in " ".join(rows[8]) and "encoder None" not in text and "epochs 40" in text


def test_an_alpha_that_the_paper_has_not(tmp_path):
    rows, _ = made("table4", write_experiment(tmp_path, "iemocap/recording/x", alpha=0.3, interval=None))
    assert [row["alpha"] for row in rows] == ["0", "0.001", "0.01", "0.1", "0.3", "1"]
    assert (rows[4]["paper's WA"], rows[4]["our WA"], rows[4]["95 % interval"]) == ("–", "70.00", "–")


def test_differences_from_table_1_are_listed(tmp_path):
    changed = write_experiment(
        tmp_path, "iemocap/recording/x", epochs=30, lr=1e-4, warmup=0.2, encoder="/some/where/hubert"
    )
    text = made("table3", changed)[1]
    line = next(line for line in text.splitlines() if "differs from the paper" in line)
    assert line == (
        "- `iemocap/recording/x` differs from the paper in: encoder hubert (text: facebook/wav2vec2-base), "
        "epochs 30 (Table 1: 100), warmup 0.2 (Table 1: 0.1), lr 0.0001 (Table 1: 5e-05), "
        "head_lr 0.0001 (Table 1: 5e-05)."
    )
    right = write_experiment(tmp_path, "iemocap/recording/none", alpha=0.0, lr=1e-5)
    assert "differs" not in made("table4", right)[1]
    wrong = write_experiment(tmp_path, "iemocap/recording/none5", alpha=0.0)
    assert "lr 5e-05 (Table 1: 1e-05)" in made("table4", wrong)[1]


def curve_of(rows: list[dict[str, str]], alpha: str, run: str) -> dict[str, dict[str, str]]:
    return {row["epoch"]: row for row in rows if row["alpha"] == alpha and row["our experiment"] == run}


def test_figure_2_sets_the_fold_beside_the_points(tmp_path):
    # One fold is all that the figure needs; two seeds are averaged.
    only = {"04M": 478}
    folder = write_experiment(tmp_path, "iemocap/recording/x", sizes=only, seeds=(1, 3), n_epochs=30)
    rows, text = made("figure2", folder)
    mine = curve_of(rows, "0.1", "`iemocap/recording/x`")
    assert list(mine) == ["1", "5", "10", "12", "15", "20", "30", "50", "75", "100", "highest"]
    row = mine["10"]
    assert (row["paper's WA on the test list"], row["paper's WER on the test list"]) == ("53.80", "22.50")
    assert row["our WA on the training set"] == "5.20"  # 10 / 200 + mean of .001 and .003
    assert row["our WA on the validation set"] == "15.20"
    assert row["our WER on the validation set"] == "10.00"
    assert mine["50"]["our WA on the validation set"] == "–"
    assert (mine["highest"]["paper's WA on the test list"], mine["highest"]["our WA on the validation set"]) == (
        "78.70",
        "25.20",
    )
    assert "compare the shapes of the curves, not their values" in text
    # Alphas without a run of ours have the paper's points alone.
    assert list(curve_of(rows, "0.001", "–")) == ["5", "10", "15", "20", "30", "40", "50", "75", "100", "highest"]
    assert not curve_of(rows, "0.1", "–")


def test_figure_2_ends_with_the_first_seed(tmp_path):
    folder = write_experiment(tmp_path, "iemocap/recording/x", sizes={"04M": 478}, seeds=(1, 3), n_epochs=30)
    file = folder / "seed1" / "04M" / "epochs.csv"
    pd.read_csv(file).head(12).to_csv(file, index=False)
    mine = curve_of(made("figure2", folder)[0], "0.1", "`iemocap/recording/x`")
    assert mine["12"]["our WA on the validation set"] == mine["highest"]["our WA on the validation set"] == "16.20"
    assert mine["15"]["our WA on the validation set"] == "–"


def test_figure_2_of_another_protocol_or_without_validation(tmp_path):
    other = write_experiment(tmp_path, "iemocap/speaker/x", valid="partner", sizes={"04M": 503}, n_epochs=12)
    plain = write_experiment(tmp_path, "iemocap/recording/plain", valid="none", sizes={"04M": 478}, n_epochs=12)
    lacking = write_experiment(tmp_path, "iemocap/recording/lacking", sizes={"01F": 507}, n_epochs=12)
    rows, text = made("figure2", other, plain, lacking)
    apart = curve_of(rows, "0.1", "`iemocap/speaker/x`")
    assert list(apart) == ["5", "10", "highest"]
    assert {row["paper's WA on the test list"] for row in apart.values()} == {"–"}
    unvalidated = curve_of(rows, "0.1", "`iemocap/recording/plain`")
    assert unvalidated["10"]["our WA on the validation set"] == "–"
    assert unvalidated["10"]["our WA on the training set"] == "5.10"
    assert unvalidated["10"]["validation"] == "none"
    assert not curve_of(rows, "0.1", "`iemocap/recording/lacking`")
    assert "`iemocap/recording/lacking` is not beside the paper's figures: it has 1/10 folds and lacks 04M." in text


def test_a_system_without_alpha_is_refused(tmp_path):
    folder = write_experiment(tmp_path, "iemocap/recording/x", sizes={"04M": 478})
    yaml = folder / "seed1" / "04M" / "hyperparams.yaml"
    yaml.write_text("".join(line for line in yaml.open() if not line.startswith("alpha")))
    with pytest.raises(UserError, match="no alpha"):
        made("table4", folder)


def test_command_prints_and_writes_the_same(tmp_path, command):
    folder = write_experiment(tmp_path, "iemocap/recording/x")
    out = tmp_path / "deep" / "table.md"
    code, printed, errors = command("paper", "table4", folder, folder, "--out", out)
    assert (code, errors) == (0, "") and out.read_text() == printed
    assert printed.startswith(f"    python -m local.paper table4 {folder}")
    assert len(table_of(printed)) == 5  # the folder that is named twice has one row
    code, _, errors = command("paper", "table4", folder, tmp_path, "--out", out)
    assert code == 2 and errors.splitlines()[1] == f"  try: give {folder}"


@pytest.mark.parametrize("which", [*paper.TABLES, paper.ALL_ROWS])
def test_emotions_that_were_not_trained_are_in_no_table(tmp_path, command, which):
    folders = [write_experiment(tmp_path, f"iemocap/recording/w{weight}", emotion_weight=weight) for weight in (1, 0)]
    code, printed, errors = command("paper", which, *folders)
    assert (code, printed) == (2, "") and f"error: {folders[1]}: emotions were not trained" in errors
    assert "mean nothing" in errors.splitlines()[0] and "local.compare" in errors.splitlines()[1]


def test_the_command_knows_every_table():
    assert tuple(TABLES) == paper.TABLES


def test_tables_hold_what_the_csv_says(tmp_path):
    """Full precision in, two digits out; the reader of the test is Python's own."""
    folder = write_experiment(tmp_path, "iemocap/recording/x", scores=(0.123456, 0.5, 1.23456))
    with open(folder / "summary.csv", newline="") as file:
        row = next(csv.DictReader(file))
    shown = made("table4", folder)[0][3]
    assert shown["our WA"] == f"{100 * float(row['wa']):.2f}" == "12.35"
    assert shown["our mean of folds' WER"] == "123.46"

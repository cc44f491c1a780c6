"""Comparison of scored experiments: figures against scipy and hand counts, and what is not comparable."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hand_made_runs import WITHOUT_TEXT, WRONG, predict
from scipy.stats import binomtest, ttest_rel

from local.core.errors import UserError
from local.experiment.command_line import parse
from local.folds import make_folds
from local.pages.pairs import render_pairs
from local.pages.price import write_price
from local.pages.table3 import all_rows
from local.pages.tables import comparison_table
from local.pages.transfer import render_transfer, transfer
from local.score import score
from local.scoring import scored, stats
from local.scoring.comparison import TESTS, compare

RESULTS = Path("results/own/speaker")


@pytest.fixture
def words(own_corpus) -> list[str]:
    """The options of experiments on own.csv, with stages 0 and 1 done."""
    return own_corpus


def run(
    words: list[str],
    name: str,
    extra: int = 0,
    seeds: tuple[int, ...] = (1,),
    folds=tuple(WRONG),
    text: bool = True,
    overrides: tuple[str, ...] = (),
) -> Path:
    """An experiment with so many more mistakes and lost words in each fold, or of a system without text."""
    words = [*words, "--name", name, *([] if text else WITHOUT_TEXT), "--", *overrides]
    for seed in seeds:
        for fold in folds:
            predict(words, fold, seed, wrong=WRONG[fold] + extra, lost=3 + extra, text=text)
    score(parse(words))
    return RESULTS / name


def table(*folders: Path) -> pd.DataFrame:
    return compare([scored.load(folder) for folder in folders])


def counts(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """What is right, and words lost, of every utterance, read with Python's own reader."""
    right, lost = [], []
    for path in sorted(folder.glob("seed1/*/predictions.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                right.append(row["emo"] == row["emo_hyp"])
                lost.append(len(row["wrd"].split()) - len(row["wrd_hyp"].split()))
    return np.array(right), np.array(lost)


# ---------------------------------------------------------------- figures


def test_a_pair_against_hand_counts_and_scipy(words):
    a, b = run(words, "worse", 2), run(words, "better")
    (row,) = table(a, b).to_dict("records")
    assert (row["a"], row["b"], row["n"], row["protocol"]) == ("worse", "better", 48, "speaker")
    assert (row["cluster"], row["clusters"]) == ("recording", 12)
    (right_a, lost_a), (right_b, lost_b) = counts(a), counts(b)
    assert row["wa_a"] == 26 / 48 and row["wa_b"] == 34 / 48
    assert row["wa_diff"] == pytest.approx(8 / 48) and row["wa_diff_low"] < row["wa_diff"] < row["wa_diff_high"]
    alone = [int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())]
    assert alone[1] - alone[0] == 8
    assert row["p_mcnemar"] == binomtest(alone[0], sum(alone)).pvalue
    assert row["p_matched_pairs"] == ttest_rel(lost_a, lost_b).pvalue
    assert row["wer_diff"] == pytest.approx((lost_b.sum() - lost_a.sum()) / 144, rel=0.2) and row["wer_diff"] < 0
    assert {test: row[f"{test}_holm"] for test in TESTS} == {test: row[test] for test in TESTS}


def test_what_is_known_of_a_system_is_behind_its_name_where_it_is_somebody_elses(words):
    a, b, c = run(words, "plain"), run(words, "capsules", 1), run(words, "segments", 2)
    for folder, about in (
        (b, {"certainty": "partly known"}),
        (c, {"certainty": "own choice", "weights": "no ImageNet"}),
    ):
        for env in folder.glob("seed*/*/env.json"):
            env.write_text(json.dumps(json.loads(env.read_text()) | about))
    pairs = table(a, b, c)
    assert pairs["certainty_a"].tolist()[2:] == ["partly known"] and pairs["certainty_a"][:2].isna().all()
    assert [line.split(" | ")[:2] for line in render_pairs(pairs).splitlines() if " | UA | " in line] == [
        ["| plain", "capsules (spec: partly known)"],
        ["| plain", "segments (spec: own choice; weights: no ImageNet)"],
        ["| capsules (spec: partly known)", "segments (spec: own choice; weights: no ImageNet)"],
    ]
    own = comparison_table(pairs.iloc[:2], own=True).markdown()
    assert [line.split(" | ")[0] for line in own if " | UA | " in line] == [
        "| capsules (spec: partly known)", "| segments (spec: own choice; weights: no ImageNet)"
    ]  # fmt: skip


def test_without_text_on_one_side_only_accuracies_are_compared(words):
    text, more, none = run(words, "text"), run(words, "more", 1), run(words, "none", 1, text=False)
    pairs = table(text, more, none)
    of_both, of_one, of_other = (row for _, row in pairs.iterrows())
    assert of_both[["wer_a", "wer_b", "wer_diff", "p_wer", "p_matched_pairs"]].notna().all()
    for row in (of_one, of_other):
        assert row[[name for name in pairs if "wer" in name or "matched" in name]].isna().all()
    assert of_one["wa_diff"] == of_both["wa_diff"]  # the same emotions as `more`
    assert of_one["p_mcnemar"] == of_both["p_mcnemar"] and of_one["p_mcnemar_holm"] >= of_one["p_mcnemar"]
    text = render_pairs(pairs)
    assert [line.split(" | ")[2] for line in text.splitlines() if line.startswith("| ")][2:] == [
        *("WA", "UA", "WER"), *("WA", "UA"), *("WA", "UA")
    ]  # fmt: skip
    assert "word errors" in text or "matched-pairs" in text
    alone = render_pairs(table(none, run(words, "other", text=False)))
    assert not {"WER", "CER", "transcript", "matched"} & set(alone.replace("-", " ").split())


def test_error_rates_of_a_head_that_was_not_trained_are_not_compared(words):
    folders = [run(words, name, extra) for name, extra in (("joint", 0), ("more", 1))]
    of_two = table(*folders).iloc[0]
    folders.append(run(words, "emotion", 2, overrides=("--alpha", "0")))
    pairs = table(*folders)
    of_text = [name for name in pairs if name.startswith(("wer", "p_wer", "p_matched"))]
    # Of the two that have learned to write, the figures are those without the third: one p is corrected for one pair.
    assert len(of_text) == 9 and pairs.iloc[0][of_text].tolist() == of_two[of_text].tolist()
    assert of_two["p_wer_holm"] == of_two["p_wer"] and of_two["p_matched_pairs_holm"] == of_two["p_matched_pairs"]
    assert pairs.iloc[1:][of_text].isna().all(axis=None) and pairs["untrained_text_b"].tolist()[1:] == [1, 1]
    assert pairs[["wa_diff", "ua_diff", "p_wa_holm", "p_mcnemar_holm"]].notna().all(axis=None)
    text = render_pairs(pairs)
    assert [line.split(" | ")[2] for line in text.splitlines() if line.startswith("| ")][2:] == [
        *("WA", "UA", "WER"), *("WA", "UA"), *("WA", "UA")
    ]  # fmt: skip
    untrained = "Transcripts were not trained (alpha 0): WER and CER mean nothing."
    assert text.count(untrained) == text.count(f"emotion: {untrained}") == 1 and "matched-pairs" in text
    assert f"- {untrained}" in (RESULTS / "emotion" / "RESULTS.md").read_text().splitlines()
    assert "not trained" not in (RESULTS / "joint" / "RESULTS.md").read_text()


@pytest.mark.parametrize(("weight", "untrained", "left_out"), [
    ("--emotion-weight", "untrained", ["wa_diff", "ua_diff", "p_wa", "p_ua", "p_mcnemar"]),
    ("--alpha", "untrained_text", ["wer_diff", "p_wer", "p_matched_pairs"]),
])  # fmt: skip
def test_it_does_not_matter_which_of_the_two_was_not_trained(words, weight, untrained, left_out):
    joint, without = run(words, "joint"), run(words, "without", 1, overrides=(weight, "0"))
    for pair, side in (((joint, without), "b"), ((without, joint), "a")):
        row = table(*pair).iloc[0]
        assert row[f"{untrained}_{side}"] == 1 and row[left_out].isna().all()
        assert row[["wa_diff", "wer_diff"]].notna().sum() == 1


def test_all_pairs_are_compared_and_corrected(words):
    folders = [run(words, name, extra) for name, extra in (("a", 0), ("b", 1), ("c", 3))]
    pairs = table(*folders)
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    for test in TESTS:
        assert pairs[f"{test}_holm"].tolist() == stats.holm(pairs[test]).tolist()
        assert (pairs[f"{test}_holm"] >= pairs[test]).all()
    assert (pairs["p_mcnemar_holm"] > pairs["p_mcnemar"]).any()


def test_seeds_are_averaged_and_mcnemar_is_left_out(words):
    a, b = run(words, "a", seeds=(1, 2)), run(words, "b", 1, seeds=(7,))
    (row,) = table(a, b).to_dict("records")
    assert (row["n"], row["wa_a"]) == (48, 34 / 48) and row["wa_diff"] == pytest.approx(-4 / 48)
    assert np.isnan(row["p_mcnemar"]) and 0 < row["p_wa"] < 1 and 0 < row["p_matched_pairs"] < 1
    assert "| – |" in render_pairs(table(a, b))


def test_a_run_against_itself_differs_in_nothing(words):
    a = run(words, "a")
    (row,) = table(a, a).to_dict("records")
    assert [row[f"wa_diff{bound}"] for bound in ("", "_low", "_high")] == [0, 0, 0]
    assert [row[f"p_{test}"] for test in ("wa", "wer", "mcnemar", "matched_pairs")] == pytest.approx([1] * 4)


# ---------------------------------------------------------------- what is not alike


def refusal(*folders: Path) -> str:
    with pytest.raises(UserError) as caught:
        table(*folders)
    assert "these cannot be compared: " in caught.value.what
    return caught.value.what


def test_other_folds_are_refused_and_an_utterance_is_named(words):
    a, b = run(words, "a"), run(words, "b", folds=("1A", "2B"))
    message = refusal(a, b)
    assert f"{a} tested 24 utterances that {b} did not: " in message and "of fold 1B" in message
    assert f"{a} tested 24 utterances that {b} did not: " in refusal(b, a)


def test_another_protocol_is_refused_though_the_utterances_are_the_same(words):
    a = run(words, "a")
    session = [*words, "--protocol", "session", "--name", "b"]
    make_folds(parse(session))
    for fold in ("s1", "s2"):
        predict(session, fold, wrong=1, lost=1)
    score(parse(session))
    assert "is of protocol speaker" in refusal(a, Path("results/own/session/b"))


def test_another_reference_is_refused(words):
    a, b = run(words, "a"), run(words, "b")
    path = b / "seed1" / "2A" / "predictions.csv"
    lines = path.read_text().splitlines()
    name, first, rest = lines[1].split(",", 2)
    path.write_text("\n".join([lines[0], ",".join([name, {"ang": "sad"}.get(first, "ang"), rest]), *lines[2:]]) + "\n")
    assert f"have another reference emotion for {name}" in refusal(a, b)
    text = "\n".join(lines).replace("WELL THEN", "WELL NOW") + "\n"
    path.write_text(text)
    assert "have another reference transcript for " in refusal(a, b)


def test_predictions_that_are_newer_than_the_scores_are_refused(words):
    a, b = run(words, "a", 2), run(words, "b", 0)
    shutil.rmtree(b / "seed1" / "2A")
    predict([*words, "--name", "b"], "2A", wrong=9)  # stages 2 and 3 again, and not 4
    with pytest.raises(UserError, match="seed1/2A has other predictions than results/own/speaker/b was scored with"):
        table(a, b)
    score(parse([*words, "--name", "b"]))
    table(a, b)
    (b / "seed1" / "2A" / "scores.json").unlink()  # trained again, and by chance as many are right
    with pytest.raises(UserError, match="seed1/2A has other predictions than results/own/speaker/b was scored with"):
        table(a, b)


def test_audio_that_was_changed_between_two_experiments_is_said_below_every_table(words):
    a, b = run(words, "a"), run(words, "b")
    run_of_a = next(a.glob("seed1/*/env.json"))  # what changes within one experiment is said of it alone
    run_of_a.write_text(json.dumps(json.loads(run_of_a.read_text()) | {"audio": {"own": "ccc"}}))
    decoding = run_of_a.with_name("decode.json")
    before = decoding.read_text()
    decoding.write_text(
        json.dumps({**json.loads(before), "facts": {**json.loads(before)["facts"], "audio": {"own": "ddd"}}})
    )
    assert "audio" not in render_pairs(table(a, b))
    decoding.write_text(before)
    for folder, digest in ((a, "aaa"), (b, "bbb")):
        assert "audio" not in render_pairs(table(a, b))
        for path in folder.glob("seed1/*/env.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"audio": {"own": digest}}))
    said = f"The audio files of own were not the same for all of these experiments: their digest is aaa for {a}, bbb "
    assert said in render_pairs(table(a, b))
    both = [scored.load(folder) for folder in (a, b)]
    assert said in write_price(both, None, "", [])[1]
    assert said in render_transfer(transfer(both[:1]), both, "", "", False)
    assert said in all_rows(both).markdown("")


def test_seeds_with_other_folds_are_refused(words):
    a = run(words, "a", seeds=(1, 2))
    predict([*words, "--name", "a"], "1A", 3, wrong=1, lost=1)
    score(parse([*words, "--name", "a"]))
    assert "seed 3 of" in refusal(a, run(words, "b"))
    c = run(words, "c", seeds=(1,), folds=("1A", "2A"))
    for fold in ("1B", "2B"):
        predict([*words, "--name", "c"], fold, 2)
    score(parse([*words, "--name", "c"]))
    assert f"the seeds of {c} tested other folds than one another" in refusal(c, run(words, "d"))


# ---------------------------------------------------------------- the command


def test_the_command_prints_markdown_and_writes_csv(words, command, tmp_path):
    a, b = run(words, "a", 2), run(words, "b")
    code, out, err = command("compare", a, b, "--csv", tmp_path / "pairs.csv")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    heads = "A | B | score | utterances | of A | of B | difference | 95 % interval | p | second p"
    assert lines[0] == f"| {heads} |"
    assert lines[2].startswith("| a | b | WA | 48 | 54.17 | 70.83 | +16.67 | ")
    assert [line.split(" | ")[2] for line in lines[2:5]] == ["WA", "UA", "WER"]
    for words_ in (
        "validation partner",
        "Protocol `speaker`: each fold tests all",
        "12 recordings",
        "difference: B - A",
    ):
        assert words_ in lines[-1]
    written = pd.read_csv(tmp_path / "pairs.csv")
    pd.testing.assert_frame_equal(written, table(a, b), check_dtype=False)


def test_the_only_run_of_an_experiment_is_taken_for_it(words, command):
    a, b, whole = run(words, "a", 2, folds=("1A",)), run(words, "b", folds=("1A",)), run(words, "whole")
    printed = []
    for given in ([a, b], [a / "seed1" / "1A", b / "seed1"]):
        printed.append(command("compare", *given)[1])
    assert printed[0] == printed[1] and printed[0].count("| a | b |") == 3
    _, _, errors = command("compare", a, whole / "seed1" / "1A")
    assert f"{whole}/seed1/1A has 1 of the 4 runs of an experiment" in errors and f"  try: give {whole}\n" in errors


def test_an_experiment_that_an_older_version_scored(words):
    path = run(words, "a", folds=("1A", "2B")) / "summary.csv"
    pd.read_csv(path).drop(columns="speakers_known").to_csv(path, index=False)
    with pytest.raises(UserError, match="a was scored by an older version"):
        scored.load(path.parent)


@pytest.mark.parametrize(
    ("name", "old", "new", "message", "stage"),
    [
        ("summary.csv", "speakers_known,rejected", "x,y", "summary.csv is damaged: could not convert", "4"),
        ("folds.csv", "12", "twelve", "folds.csv is damaged: could not convert string to float: 'twelve'", "4"),
        ("seed1/1A/epochs.csv", "0.001", "low", "1A/epochs.csv is damaged: could not convert", "2"),
    ],
)
def test_tables_that_were_changed_by_hand(words, name, old, new, message, stage):
    folder = run(words, "a", folds=("1A", "2B"))
    path = folder / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError) as caught:
        _ = scored.load(folder).epochs
    assert message in caught.value.what and f"stage {stage}" in caught.value.remedy


def test_a_run_that_was_moved_away_is_named(words):
    folder = run(words, "a", folds=("1A", "2B"))
    (folder / "seed1" / "1A").rename(folder.with_name("elsewhere"))
    with pytest.raises(UserError, match=r"seed1/1A/epochs\.csv is missing") as caught:
        _ = scored.load(folder).epochs
    assert "run stage 2 with --force true again" in caught.value.remedy


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "required"),
        (["results/own/speaker/a"], "one experiment is not a comparison"),
        (["nowhere", "results/own/speaker/a"], "nowhere is not the folder of a scored experiment"),
        (["a", "b", "--cvs", "x"], "unrecognized arguments"),
        (["a", "b", "--remark=x"], "--remark is of --protocols"),
    ],
)
def test_user_errors_are_two_lines(command, given, message):
    code, out, err = command("compare", *given)
    assert (code, out) == (2, "") and message in err
    assert [line.split(":")[0].strip() for line in err.splitlines()] == ["error", "try"]

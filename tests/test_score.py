"""Scores of an experiment: stages 0 and 1 are run on a small corpus, its predictions are written by hand."""

from __future__ import annotations

import csv
import json
import os
import re
import statistics
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hand_made_runs import EPOCHS, LABELS, LOST, WITHOUT_TEXT, WRONG, predict
from paths import REPOSITORY

from local.core.errors import UserError
from local.corpora import manifest
from local.experiment.command_line import parse
from local.folds import make_folds
from local.pages.pairs import render_pairs
from local.prepare import prepare
from local.report import report
from local.score import main, scale_warnings, score
from local.scoring import comparison, predictions
from local.scoring import scored as scored_experiment

FOLD_HEADER = "name,corpus,protocol,valid,seed,fold,n,wa,ua,f1,wer,cer,epoch,commit,config"
SCORES = ("wa", "ua", "f1", "wf1", "wer", "cer", "ece", "brier")
SUMMARY_HEADER = ",".join(
    ["name", "corpus", "protocol", "valid", "n", *SCORES]
    + [f"{score}{of}_{what}" for of in ("", "_seeds") for score in SCORES for what in ("mean", "sd")]
    + [f"{score}{bound}" for score in ("wa", "ua", "f1", "wer", "cer", "wf1") for bound in ("_low", "_high")]
    + ["cluster", "clusters", "seeds", "folds", "speaker_overlap", "speakers_known", "rejected"]
)
EXPERIMENT = Path("results/own/speaker/n")


@pytest.fixture
def words(own_corpus, monkeypatch) -> list[str]:
    """The options of an experiment on own.csv, with stages 0 and 1 done."""
    monkeypatch.setenv("SER_MTL_COMMAND", "./run.sh")  # the page shows it, otherwise as pytest was called
    return [*own_corpus, "--name", "n"]


def scored(words: list[str]) -> tuple[list[dict[str, str]], dict[str, str], str]:
    """Score; read folds.csv and the row of summary.csv with Python's own reader, and RESULTS.md."""
    score(parse(words))
    tables = []
    for name in ("folds.csv", "summary.csv"):
        with open(EXPERIMENT / name, newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    assert len(tables[1]) == 1
    return tables[0], tables[1][0], (EXPERIMENT / "RESULTS.md").read_text()


def rows_of(fold: str, seed: int = 1) -> list[dict[str, str]]:
    with open(EXPERIMENT / f"seed{seed}" / fold / "predictions.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def accuracies(rows: list[dict[str, str]]) -> tuple[float, float]:
    """WA and UA by counting."""
    size = Counter(row["emo"] for row in rows)
    right = Counter(row["emo"] for row in rows if row["emo"] == row["emo_hyp"])
    return sum(right.values()) / len(rows), statistics.mean(right[label] / size[label] for label in size)


# ---------------------------------------------------------------- the tables


def test_a_system_without_text_has_no_figure_and_no_word_of_it(words):
    words += WITHOUT_TEXT
    for fold in WRONG:
        predict(words, fold, wrong=8, text=False)  # so many that a warning is given
    rows, summary, text = scored(words)
    assert {row[name] for row in rows for name in ("wer", "cer")} == {""}
    assert {value for name, value in summary.items() if name.startswith(("wer", "cer"))} == {""}
    assert float(summary["wa"]) == 4 / 12 and "the accuracy is at chance" in text
    without_overlap = "\n".join(line for line in text.splitlines() if "Overlap" not in line)  # of the corpus
    for word in ("WER", "CER", "transcript", "CTC", "alpha", "100.00 to 100.00"):
        assert word not in without_overlap
    with open(EXPERIMENT / "breakdown.csv", newline="", encoding="utf-8") as file:
        assert {row[name] for row in csv.DictReader(file) for name in ("wer", "cer")} == {""}
    details = json.loads((EXPERIMENT / "seed1" / "1A" / "scores.json").read_text())
    assert details["wer"] is details["cer"] is None and details["wa"] == 4 / 12


def test_emotions_that_were_not_trained_are_marked_and_have_no_confidence(words, capsys):
    words += ["--", "--emotion_weight", "0", "--selection", "valid_wer"]
    for fold in WRONG:
        predict(words, fold)
    _, summary, page = scored(words)
    untrained = "Emotions were not trained (emotion_weight 0): WA, UA, F1, ECE and Brier mean nothing."
    assert f"- **{untrained}**" in page and "## Confidence" not in page and "Temperature" not in page
    tables = re.split(r"^(?:#.*|\| seed .*)$", page, flags=re.M)[2:]  # scores, classes, breakdown
    assert len(tables) == 3 and all(untrained in table for table in tables)
    assert summary["wer"] and "accuracy is at chance" not in page
    other = [word.replace("n", "trained") if word == "n" else word for word in words[:-4]]
    for fold in WRONG:
        predict(other, fold)
    score(parse(other))
    pairs = comparison.compare([scored_experiment.load(EXPERIMENT.with_name(name)) for name in ("n", "trained")])
    assert pairs[["wa_a", "ua_b", "wa_diff_low", "p_wa", "p_ua", "p_mcnemar"]].isna().all(axis=None)
    assert pairs["wer_diff"].tolist() == [0]
    assert render_pairs(pairs).count(f"n: {untrained}") == 1 and f"trained: {untrained}" not in render_pairs(pairs)
    report(parse(words))
    html = (EXPERIMENT / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<dl class=\"key\">\s*<div><dt>(\w+)</dt>.*?</dl>", html, re.S) == ["WER"]
    assert 'id="calibration"' not in html and "nan" not in re.sub(r"<script.*", "", html, flags=re.S)
    assert html.count(untrained[:-1]) >= 5 and "<p>Loss and WER on the validation set" in html


def test_folds_csv(words):
    for fold in WRONG:
        predict(words, fold)
    starts = {"commit": "0123456789ab-dirty", "resumed": [{"commit": "0123456789ab-dirty"}, {"commit": "ba98"}]}
    (EXPERIMENT / "seed1" / "2A" / "env.json").write_text(json.dumps(starts))
    rows, _, _ = scored(words)
    assert (EXPERIMENT / "folds.csv").read_text().splitlines()[0] == FOLD_HEADER
    assert [row["fold"] for row in rows] == ["1A", "1B", "2A", "2B"]
    for row in rows:
        fold, predicted = row["fold"], rows_of(row["fold"])
        columns = [
            row[name] for name in ("name", "corpus", "protocol", "valid", "seed", "n", "epoch", "commit", "config")
        ]
        commit = "0123456789ab-dirty" + "+" * (fold == "2A")  # it was resumed with another
        assert columns == ["n", "own", "speaker", "partner", "1", "12", "7", commit, "mini.yaml"]
        assert float(row["wa"]) == (12 - WRONG[fold]) / 12  # every digit
        assert float(row["ua"]) == pytest.approx(accuracies(predicted)[1], abs=1e-15)
        assert float(row["wer"]) == LOST[fold] / sum(len(each["wrd"].split()) for each in predicted)
        lost = sum(len(each["wrd"]) - len(each["wrd_hyp"]) for each in predicted)
        assert float(row["cer"]) == lost / sum(len(each["wrd"]) for each in predicted)
        scores = json.loads((EXPERIMENT / "seed1" / fold / "scores.json").read_text())
        assert list(scores) == ["n", *SCORES, "classes", "confusion"]
        assert all(float(row[name]) == scores[name] for name in scores if name in row)
        correct = sum(scores["confusion"][label][label] for label in LABELS)
        assert correct == 12 - WRONG[fold] == sum(scores["classes"][label]["recall"] * 4 for label in LABELS)


def test_summary_csv(words):
    for fold in WRONG:
        predict(words, fold)
    _, row, page = scored(words)
    assert ",".join(row) == SUMMARY_HEADER
    columns = [row[name] for name in ("name", "corpus", "protocol", "valid", "n", "seeds", "folds")]
    assert columns == ["n", "own", "speaker", "partner", "48", "1", "4/4"]
    assert (row["speaker_overlap"], row["speakers_known"]) == ("0.0", "48/48")
    pooled = [each for fold in WRONG for each in rows_of(fold)]
    assert float(row["wa"]) == 34 / 48 == accuracies(pooled)[0]
    assert float(row["ua"]) == pytest.approx(accuracies(pooled)[1], abs=1e-15)
    assert float(row["wer"]) == 19 / sum(len(each["wrd"].split()) for each in pooled)
    folds = [accuracies(rows_of(fold)) for fold in WRONG]
    for which, name in enumerate(("wa", "ua")):
        values = [fold[which] for fold in folds]
        assert float(row[f"{name}_mean"]) == pytest.approx(statistics.mean(values), abs=1e-15)
        assert float(row[f"{name}_sd"]) == pytest.approx(statistics.stdev(values), abs=1e-15)
    assert "|  | **pooled, 4/4 folds** | 48 | 70.83 |" in page and "only" not in page


def test_pooled_figures_are_not_means_of_folds(words):
    """The folds of protocol recording are not of one size."""
    words = [*words, "--protocol", "recording"]
    make_folds(parse(words))
    right = {}
    for i, fold in enumerate(parse(words).all_folds()):
        job = predict(words, fold, wrong=i // 2, lost=0)
        right[fold] = (len(manifest.read(job.manifests / "test.csv")), i // 2)
    assert len({size for size, _ in right.values()}) == 2
    score(parse(words))
    row = pd.read_csv("results/own/recording/n/summary.csv").iloc[0]
    total, wrong = (sum(counts) for counts in zip(*right.values(), strict=True))
    assert (row["n"], row["wa"], row["folds"]) == (48, (total - wrong) / total, "10/10")
    assert row["speaker_overlap"] == 1  # of every recording, both speakers are in others
    mean = sum(Fraction(size - wrong, size) for size, wrong in right.values()) / 10
    assert row["wa_mean"] == pytest.approx(float(mean), abs=1e-15) and abs(row["wa"] - row["wa_mean"]) > 1e-3


def test_a_folds_figure_is_the_mean_of_its_seeds(words):
    for seed, fold in product((1, 2, 10), ("1A", "2B")):
        predict(words, fold, seed, wrong=seed, lost=0)
    rows, row, _ = scored(words)
    assert [(each["seed"], each["fold"]) for each in rows] == [
        (str(seed), fold) for seed in (1, 2, 10) for fold in ("1A", "2B")
    ]
    assert [each["epoch"] for each in rows] == ["7", "7", "8", "8", "16", "16"]
    assert (row["n"], row["seeds"], row["folds"]) == ("72", "3", "2/4")
    assert float(row["wa"]) == (72 - 2 * 13) / 72
    assert float(row["wa_mean"]) == pytest.approx((36 - 13) / 36, abs=1e-15)
    assert float(row["wa_sd"]) == pytest.approx(0, abs=1e-15)


def test_all_that_was_decoded_is_scored_whatever_this_run_asked_for(words):
    for fold in WRONG:
        predict(words, fold)
    (EXPERIMENT / "seed1" / "1A").rename(EXPERIMENT / "seed1" / "away")
    (EXPERIMENT / "seed1" / "away" / "decode.json").unlink()  # trained, and not decoded
    (EXPERIMENT / "seed1_old" / "1A").mkdir(parents=True)
    (EXPERIMENT / "seed1_old" / "1A" / "decode.json").write_text("{}")
    rows, row, _ = scored([*words, "--folds", "1B", "--seeds", "9"])
    assert [each["fold"] for each in rows] == ["1B", "2A", "2B"] and row["folds"] == "3/4"


def test_missing_folds_are_named(words):
    predict(words, "1A")
    predict(words, "2A")
    _, row, page = scored(words)
    assert row["folds"] == "2/4" and float(row["wa"]) == 17 / 24
    assert "Folds present: 2/4" in page and "over 2/4 folds only" in page and "pooled, 2/4 folds" in page


def test_a_single_fold_has_no_deviation(words):
    predict(words, "1B")
    _, row, page = scored(words)
    assert row["folds"] == "1/4" and float(row["wa"]) == float(row["wa_mean"]) == 9 / 12
    assert {row[name] for name in ("wa_sd", "wer_sd", "wa_seeds_sd")} == {""}
    assert "75.00 ± –" in page and "nan" not in page


def test_seeds_have_a_mean_and_a_deviation_of_their_own(words):
    for seed, fold in product((1, 2, 4), ("1A", "2B")):
        predict(words, fold, seed, wrong=seed + (fold == "2B"), lost=0)
    _, row, page = scored(words)
    of_seed = [(24 - 2 * seed - 1) / 24 for seed in (1, 2, 4)]
    assert float(row["wa_seeds_mean"]) == pytest.approx(statistics.mean(of_seed), abs=1e-15)
    assert float(row["wa_seeds_sd"]) == pytest.approx(statistics.stdev(of_seed), abs=1e-15)
    assert f"| **mean ± sd over seeds** |  | {100 * statistics.mean(of_seed):.2f} ± " in page


def test_seeds_that_have_not_the_same_folds_are_named_and_have_no_mean(words):
    for seed, fold in ((1, "1A"), (1, "2B"), (2, "2B")):
        predict(words, fold, seed, wrong=seed, lost=0)
    _, row, page = scored(words)
    assert (row["n"], row["folds"], row["seeds"], row["wa_seeds_mean"]) == ("36", "2/4", "2", "")
    assert float(row["wa"]) == pytest.approx((3 * 12 - 4) / 36)
    assert "Warning:** the seeds have not the same folds: seed 1 1A 2B, seed 2 2B; a fold counts" in page
    assert "over 2/4 folds only" in page and "over seeds**" not in page and "nothing is decoded" not in page
    page = scored([*words, "--seeds", "1 9 7"])[2]
    assert "Warning:** of this call's seeds nothing is decoded, and nothing is in these tables, of 9 7." in page


def test_classes_and_parts_have_tables(words):
    for fold in WRONG:
        predict(words, fold)
    page = scored(words)[2]
    classes = pd.read_csv(EXPERIMENT / "classes.csv").set_index("label")
    pooled = [each for fold in WRONG for each in rows_of(fold)]
    for label in LABELS:
        predicted = [each for each in pooled if each["emo_hyp"] == label]
        right = sum(each["emo"] == label for each in predicted)
        assert classes.loc[label, "n"] == 16 and classes.loc[label, "predicted"] == len(predicted)
        assert classes.loc[label, "recall"] == right / 16
        assert classes.loc[label, "precision"] == pytest.approx(right / len(predicted), abs=1e-15)
    groups = pd.read_csv(EXPERIMENT / "breakdown.csv").set_index(["by", "group"])
    assert set(groups.index.get_level_values("by")) == {"session", "speaker", "duration"}  # no style, no gender
    assert groups.loc[("session", "s1"), "wa"] == (24 - 4) / 24
    assert groups.loc[("speaker", "2A"), "wa"] == 6 / 12
    assert "## Classes" in page and "| speaker | 2A | 12 | 50.00 |" in page


def test_the_page_names_corpus_protocol_and_command(words, monkeypatch):
    predict(words, "1A")
    monkeypatch.setenv("SER_MTL_COMMAND", "./run.sh --corpus csv --data 'a b.csv'")
    page = scored(words)[2]
    assert page.startswith(
        "# n on own, protocol speaker\n\n| set-up |  |\n| --- | --- |\n| system | MultiTaskSystem (mini.yaml) |\n"
    )
    assert "| scored by | `./run.sh --corpus csv --data 'a b.csv'` |\n" in page
    assert (
        "own table own.csv" in page
        and "each fold tests all utterances of one speaker" in page
        and "Validation `partner`" in page
    )
    assert "| 1 | 1A | 12 | 91.67 |" in page


def test_a_command_that_trained_and_scored_is_shown_once(words, monkeypatch):
    """As typed with quotes, and as bash quotes it for this stage."""
    environment = predict(words, "1A").folder / "env.json"
    environment.write_text(
        json.dumps(json.loads(environment.read_text()) | {"command": ["./run.sh", "--folds", "1A 1B"]})
    )
    monkeypatch.setenv("SER_MTL_COMMAND", r"./run.sh --folds 1A\ 1B")
    page = scored(words)[2]
    assert "| command | `./run.sh --folds '1A 1B'` |\n" in page and "scored by" not in page


def test_other_commits_precisions_and_devices_are_named_above_the_table(words):
    for fold in WRONG:
        job = predict(words, fold)
    gpu = {"commit": "fedcba987654", "device": "cuda:0", "accelerator": "<b>_H100_", "precision": "bf16"}
    (job.folder / "env.json").write_text(json.dumps(gpu))
    page = scored(words)[2]
    said = json.loads((EXPERIMENT / "RESULTS.json").read_text())["facts"]
    (line,) = (line for line in page.partition("| seed |")[0].splitlines() if "differ in how they were trained" in line)
    assert line.startswith("- **Warning:** the runs differ") and line.removeprefix("- ") in said
    assert "commit is fedcba987654 in seed 1 fold 2B, 0123456789ab-dirty in the other 3 runs" in line
    assert r"device is \<b\>\_H100\_ in seed 1 fold 2B" in line and "precision is bf16 in seed 1 fold 2B" in line


def test_the_page_says_what_is_odd_about_samples_and_transcripts(words):
    job = predict(words, "1A")
    facts = {"odd": {"over full scale": ["a", "b"], "opposite phase": []}}
    store = parse(words).corpus_folder / "audio.json"
    store.write_text(json.dumps({"inputs": {}, "outputs": {}, "facts": facts}))
    log = (job.folder / "epochs.csv").read_text()
    (job.folder / "epochs.csv").write_text(log.replace(",0,0,1.5", ",24,0,1.5"))
    _, _, page = scored(words)
    assert "- **Warning:** 2 files have samples past full scale, which are used as they are.\n" in page
    assert ": 24 of 24 training transcripts need more frames than their audio has and were left out of CTC." in page
    assert "opposite" not in page


def test_without_transcripts_there_are_no_error_rates(words, own_table):
    own_table.write_text(own_table.read_text().replace("wrd", "unused", 1))
    forced = parse([*words, "--force", "true"])
    prepare(forced)
    make_folds(forced)
    predict(words, "1A", lost=0)
    predict(words, "1B", lost=0)
    rows, row, page = scored(words)
    assert {each[name] for each in rows for name in ("wer", "cer")} == {""}
    assert {row[name] for name in ("wer", "cer", "wer_mean", "cer_sd")} == {""}
    assert float(row["wa"]) == 20 / 24 and "nan" not in page.lower().replace("unan", "")
    assert json.loads((EXPERIMENT / "seed1" / "1A" / "scores.json").read_text())["wer"] is None


@pytest.mark.parametrize(
    ("known", "counted", "protocol", "overlap"),
    [
        (0, "speakers unknown", "who speaks is unknown", "shares a speaker with the test set is unknown"),
        (24, "2 speakers, known for 24 of 48 utterances", "who speaks is known for 24 of 48 utterances only",
         "is known to share its speaker with the training set (the speaker is known for 24 of 48 utterances)"),
    ],
)  # fmt: skip
def test_of_speakers_who_are_not_known_nothing_is_claimed(words, own_table, capsys, known, counted, protocol, overlap):
    table = pd.read_csv(own_table, dtype=str)
    table.loc[known:, "spk_id"] = ""
    table.to_csv(own_table, index=False)
    forced = parse([*words, "--force", "true", "--protocol", "session"])
    prepare(forced)
    make_folds(forced)
    printed = capsys.readouterr().out
    assert f"h, {counted}\n" in printed and f"  each fold tests a whole session; {protocol}, so" in printed
    for fold in ("s1", "s2"):
        predict([*words, "--protocol", "session"], fold, wrong=1, lost=1)
    score(parse([*words, "--protocol", "session"]))
    folder = EXPERIMENT.parents[1] / "session" / "n"
    with open(folder / "summary.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["speaker_overlap"], row["speakers_known"], row["cluster"]) == ("", f"{known}/48", "recording")
    page = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert f"Protocol `session`: each fold tests a whole session; {protocol}, so" in page and overlap in page
    assert ("| speaker | unknown | 24 |" in page) == (known > 0) and "speakers are not" not in page
    with open(folder / "breakdown.csv", newline="", encoding="utf-8") as file:
        assert ("speaker", "") in {(each["by"], each["group"]) for each in csv.DictReader(file)} or not known


# ---------------------------------------------------------------- the interval


def test_the_interval_is_over_recordings_where_speakers_are_few(words):
    for fold in WRONG:
        predict(words, fold)
    _, row, page = scored(words)
    assert (row["cluster"], row["clusters"]) == ("recording", "12")
    assert all(
        float(row[f"{name}_low"]) < float(row[name]) < float(row[f"{name}_high"]) for name in ("wa", "ua", "wer")
    )
    assert "resampling 12 recordings, because speakers are too few or not all known" in page


def test_the_figures_of_heads_that_were_trained_before_go(words):
    predict(words, "1A")
    EXPERIMENT.joinpath("heads.csv").write_text("of an earlier training")
    scored(words)
    assert not (EXPERIMENT / "heads.csv").exists()


def test_scoring_again_gives_the_same_bytes(words):
    for fold in WRONG:
        predict(words, fold)
    scored(words)
    names = ("folds.csv", "summary.csv", "classes.csv", "breakdown.csv", "RESULTS.md", "RESULTS.json")
    before = [(EXPERIMENT / name).read_bytes() for name in names]
    scored(words)
    assert [(EXPERIMENT / name).read_bytes() for name in names] == before


def test_folds_that_agree_have_an_interval_of_no_width(words):
    for fold in WRONG:
        predict(words, fold, wrong=0)
    _, row, _ = scored(words)
    assert [row[name] for name in ("wa_low", "wa", "wa_high", "ua_low", "ua", "ua_high")] == ["1.0"] * 6


# ---------------------------------------------------------------- what is refused


def refusal(words: list[str]) -> UserError:
    with pytest.raises(UserError) as caught:
        score(parse(words))
    assert not (EXPERIMENT / "RESULTS.md").exists()
    return caught.value


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        ("1B", "seed1/1B holds predictions of another test set"),
        ("1A", "seed1/1A was trained with another validation set"),
    ],
)
def test_sets_that_have_changed_since(words, own_table, fold, message):
    predict(words, fold)
    own_table.write_text(own_table.read_text().replace("so be it,1B", "so it be,1B"))
    forced = parse([*words, "--force", "true"])
    prepare(forced)
    make_folds(forced)
    error = refusal(words)
    assert message in error.what and "--force true" in error.remedy


def test_predictions_of_an_earlier_training(words):
    job = predict(words, "1A")
    (job.folder / "epochs.csv").write_text(EPOCHS + EPOCHS.splitlines()[-1])
    job.training().write([job.folder / "epochs.csv"], config="mini.yaml", epoch=9)
    assert "seed1/1A was trained again after its predictions were made" in refusal(words).what


def test_another_validation_than_it_was_trained_with(words):
    predict(words, "1A")
    make_folds(parse([*words, "--valid", "none"]))
    error = refusal([*words, "--valid", "none"])
    assert "trained with validation 'partner', not 'none'" in error.what and error.remedy == "give --valid partner"


def test_runs_of_other_values_are_not_pooled(words):
    predict(words, "1A")
    predict([*words, "--", "--alpha", "0"], "1B")
    predict([*words, "--", "--lr", "0.5", "--head-lr", "0.003"], "2A")
    error = refusal(words)
    assert "results/own/speaker/n were not trained with the same values" in error.what
    assert "alpha is 0.0 in seed 1 fold 1B, 0.2 in the other 2 runs" in error.what
    assert "lr is 0.5 in seed 1 fold 2A" in error.what and "head_lr" not in error.what


def test_a_fold_that_the_protocol_has_no_more(words, own_table):
    predict(words, "2B")
    own_table.write_text(own_table.read_text().replace(",2B,", ",2C,"))
    forced = parse([*words, "--force", "true"])
    prepare(forced)
    make_folds(forced)
    assert "seed1/2B holds predictions of another test set" in refusal(words).what


def test_an_experiment_without_predictions(words):
    assert "results/own/speaker/n holds no predictions" in refusal(words).what
    job = predict(words, "1A")
    (job.folder / "predictions.csv").unlink()
    assert "there are no predictions" in refusal(words).what
    (job.folder / "predictions.csv").write_text("ID,emo,emo_hyp,p_ang,wrd_hyp,wrd\n")
    assert "are not those of predictions" in refusal(words).what


# ---------------------------------------------------------------- predictions.csv


def test_predictions_on_disk(tmp_path):
    third = 1 / 3
    rows = [("null", "sad", 0.2, 0.7, 0.1, "A", ""), ("NA", "ang", third, third, third, "", "1E5")]
    table = predictions.frame(rows, LABELS)
    assert table["ID"].tolist() == ["NA", "null"] and table["emo_hyp"].tolist() == ["ang", "hap"]
    predictions.write(tmp_path / "predictions.csv", table)
    assert (tmp_path / "predictions.csv").read_text().splitlines() == [
        "ID,emo,emo_hyp,p_ang,p_hap,p_sad,wrd,wrd_hyp",
        "NA,ang,ang,0.33333333,0.33333333,0.33333333,,1E5",
        "null,sad,hap,0.20000000,0.70000000,0.10000000,A,",
    ]
    table_read = predictions.read(tmp_path / "predictions.csv")
    assert predictions.labels(table_read) == LABELS
    pd.testing.assert_frame_equal(table_read, table, check_dtype=False, atol=5e-9)


# ---------------------------------------------------------------- by itself


def test_stages_0_1_and_4_need_no_torch(workplace, words):
    predict(words, "1A")
    program = (
        "import sys, local.prepare, local.folds, local.score; local.score.main(); print(*sys.modules, file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program, *words]
    ended = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True)
    imported = {name.partition(".")[0] for name in ended.stderr.split()}
    assert "pandas" in imported and not {"torch", "torchaudio", "speechbrain", "transformers"} & imported
    assert ended.stdout.endswith("\n\n" + (EXPERIMENT / "RESULTS.md").read_text() + "\n")


def test_a_user_error_is_two_lines(words, monkeypatch, capsys):
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["score", *words, "--name", "other"])
    with pytest.raises(SystemExit) as ended:
        main()
    out, errors = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert errors.splitlines() == [
        "error: results/own/speaker/other holds no predictions",
        "  try: run stages 2 and 3 first",
    ]


def test_ratings_on_several_scales_are_warned_of_where_a_head_learns_them():
    said = ["valence: a and b have each its own scale", "arousal: a and b have each its own scale", "a: loud"]
    options, columns = SimpleNamespace(corpus_facts={"warnings": said}), ["ID", "ref_valence", "hyp_valence"]
    assert scale_warnings(options, pd.DataFrame(columns=columns)) == said[:1]
    assert scale_warnings(options, pd.DataFrame(columns=["ID"])) == []

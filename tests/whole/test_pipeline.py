"""The whole pipeline, as a user runs it, on a corpus of seconds in a copy of the house."""

import csv
import json
import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from job_logs import ENDED, STARTED, sections
from paths import ONE_THREAD, copy_project
from tones import tones

FOLDS = "name,corpus,protocol,valid,seed,fold,n,wa,ua,f1,wer,cer,epoch,commit,config"
MANIFEST = "ID,duration,wav,spk_id,gender,session,recording,style,emo,wrd"
PREDICTIONS = "ID,emo,emo_hyp,p_hi,p_lo,wrd,wrd_hyp"


def run(place: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([place / "run.sh", *words], capture_output=True, text=True, cwd=place.parent, env=ONE_THREAD)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The house after stages 0 to 4 on the tones, two folds of four."""
    place = copy_project(tmp_path_factory.mktemp("house"))
    table = tones(tmp_path_factory.mktemp("tones"))
    words = ["--corpus", "csv", "--data", str(table), "--hparams", str(place / "hparams" / "mini.yaml")]
    words += ["--name", "first", "--folds", "A B", "--jobs", "2"]
    overrides = [
        "--",
        "--alpha",
        "0.1",
        "--epochs",
        "3",
        "--batch-size",
        "4",
        "--micro-batch-size",
        "3",
        "--device",
        "cpu",
    ]
    done = run(place, *words, *overrides)
    assert done.returncode == 0, done.stderr + "".join(p.read_text() for p in place.glob("results/**/*.log"))
    return place, words, overrides, done


def header(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0]


def test_manifests(finished):
    place = finished[0]
    fold = place / "manifests" / "tones" / "speaker" / "A"
    assert header(place / "manifests" / "tones" / "all.csv") == MANIFEST
    parts = {name: pd.read_csv(fold / f"{name}.csv") for name in ("train", "valid", "test")}
    assert {name: set(part["spk_id"]) for name, part in parts.items()} == {
        "train": {"C", "D"},
        "valid": {"B"},
        "test": {"A"},
    }
    assert all(header(fold / f"{name}.csv") == MANIFEST for name in parts)
    assert parts["test"]["ID"].is_monotonic_increasing
    assert parts["test"]["wav"].str.startswith("$data_root/").all()
    assert (fold / "tokenizer.model").exists()


def test_run_folder(finished):
    folder = finished[0] / "results" / "tones" / "speaker" / "first" / "seed1" / "A"
    log = (folder / "train.log").read_text(encoding="utf-8").splitlines()
    assert re.match(r"# .*python.* -m local\.train ", log[0])
    assert log[1].startswith("# Started at ")
    assert log[-1].startswith("# Ended (code 0) ")
    assert "\r" not in "".join(log), "a progress bar was drawn into a file"
    assert "Run option" not in "".join(log)
    lines = [line.partition(" INFO ")[2] for line in log if " INFO " in line]
    assert re.fullmatch(r"device cpu: .+, 1 thread; precision (fp32|bf16), in validation fp32", lines[0])
    assert re.fullmatch(r"system MultiTaskSystem, encoder wav2vec2 of .*; [\d,]+ parameters, all trained", lines[1])
    sets = "training set 12 utterances, 0.00 h; validation set 6 utterances, 0.00 h (partner)"
    assert lines[2] == f"{sets}; 3 updates per epoch, 3 epochs"
    assert re.match(r"memory: \d\.\d GB predicted \(", lines[3])
    assert [line[:9] for line in lines[4:]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3", "results/t"]
    assert lines[4].endswith(" s *")
    epochs = pd.read_csv(folder / "epochs.csv")
    assert epochs["epoch"].tolist() == [1, 2, 3]
    assert epochs[["train_loss", "valid_ua", "valid_wer"]].notna().all(axis=None)
    *text, last = (folder / "train_log.txt").read_text().splitlines()
    assert [line[:9] for line in text] == ["epoch: 1,", "epoch: 2,", "epoch: 3,"]
    scores = json.loads((folder / "scores.json").read_text())
    chosen = json.loads((folder / "train.json").read_text())["facts"]["epoch"]
    wa, ua, wer = (f"{100 * scores[name]:.2f}" for name in ("wa", "ua", "wer"))
    assert last.startswith(f"Epoch loaded: {chosen} - test WA: {wa}, test UA: {ua}, test F1: ")
    decoded = (folder / "decode.log").read_text().splitlines()
    assert decoded[-2].endswith(f" INFO n 6 WA {wa} UA {ua} WER {wer}")
    assert f"\n  A n 6 WA {wa} UA {ua} WER {wer}\n" in finished[-1].stdout
    assert not (folder / "progress.json").exists()
    environment = json.loads((folder / "env.json").read_text())
    assert environment["device"] == "cpu"
    assert environment["command"][0] == "./run.sh" and environment["command"][-2:] == ["--device", "cpu"]
    assert environment["parameters"] == environment["trained_parameters"] > 1000
    assert environment["packages"]["torch"].startswith("2.11.0")
    assert "epochs: 3" in (folder / "hyperparams.yaml").read_text()
    assert list((folder / "save").glob("CKPT*"))


def test_predictions_are_of_the_test_set_and_scored_right(finished):
    experiment = finished[0] / "results" / "tones" / "speaker" / "first"
    folds = list(csv.DictReader((experiment / "folds.csv").open()))
    assert header(experiment / "folds.csv") == FOLDS
    assert [row["fold"] for row in folds] == ["A", "B"]
    correct = total = 0
    for row in folds:
        path = experiment / "seed1" / row["fold"] / "predictions.csv"
        assert header(path) == PREDICTIONS
        rows = list(csv.DictReader(path.open()))
        assert [one["ID"] for one in rows] == [f"{row['fold']}_{emo}{k}" for emo in ("hi", "lo") for k in range(3)]
        for one in rows:
            assert float(one["p_hi"]) + float(one["p_lo"]) == pytest.approx(1, abs=1e-7)
            assert re.fullmatch(r"\d\.\d{6,}", one["p_hi"])
            assert one["emo_hyp"] == max(("hi", "lo"), key=lambda label: float(one[f"p_{label}"]))
        hits = sum(one["emo"] == one["emo_hyp"] for one in rows)
        assert float(row["wa"]) == pytest.approx(hits / 6, abs=1e-12)
        correct, total = correct + hits, total + 6
    summary = next(csv.DictReader((experiment / "summary.csv").open()))
    assert float(summary["wa"]) == pytest.approx(correct / total, abs=1e-12)
    assert (summary["folds"], summary["seeds"], summary["n"]) == ("2/4", "1", "12")


def test_what_is_said_while_it_runs(finished):
    place, _, _, done = finished
    assert done.stderr == "" and "\r" not in done.stdout and "\x1b" not in done.stdout
    shown = done.stdout.splitlines()
    for fold in "AB":
        lines = [line for line in shown if line.startswith(f"  {fold} ")]
        figures = r"loss \d+\.\d+  valid UA \d+\.\d \(best \d+\.\d @\d\)  ETA \d+:\d\d"
        for epoch, line in enumerate(lines[:3], start=1):
            assert re.fullmatch(rf"  {fold}  epoch {epoch}/3  {figures}", line)
        assert re.fullmatch(rf"  {fold} done \d+:\d\d, epoch [123] of 3, valid UA \d+\.\d\d", lines[3])
        assert lines[4].startswith(f"  {fold} n 6 WA ") and len(lines) == 5
    (summary,) = csv.DictReader((place / "results" / "tones" / "speaker" / "first" / "summary.csv").open())
    pooled = " ".join(f"{name.upper()} {100 * float(summary[name]):.2f}" for name in ("wa", "ua", "wer"))
    assert f"  pooled n 12 {pooled}" in shown


def test_results_page_says_what_made_it(finished):
    place, _, _, done = finished
    page = (place / "results" / "tones" / "speaker" / "first" / "RESULTS.md").read_text(encoding="utf-8")
    assert "./run.sh --corpus csv" in page
    assert "each fold tests all utterances of one speaker" in page
    assert "over 2/4 folds only" in page
    assert page.strip() in done.stdout


def test_again_skips_what_is_done(finished):
    place, words, overrides, _ = finished
    watched = [path for kind in ("*.yaml", "*.log", "predictions.csv") for path in place.glob(f"results/**/{kind}")]
    before = [path.stat().st_mtime_ns for path in watched]
    again = run(place, *words, "--stop-stage", "3", *overrides)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("already done") == 4
    assert "is already made" in again.stdout
    assert [path.stat().st_mtime_ns for path in watched] == before


def test_other_values_are_refused_by_name(finished):
    place, words, overrides, _ = finished
    other = run(place, *words, "--stage", "2", *overrides, "--alpha", "0.5")
    assert other.returncode == 2
    assert "alpha (0.1 -> 0.5)" in other.stderr
    assert "--name" in other.stderr and "--force" in other.stderr
    assert "Traceback" not in other.stderr


@pytest.mark.slow
def test_a_set_up_that_cannot_be_built_stops_before_any_job(finished):
    place, words, overrides, _ = finished
    words = ["typo" if word == "first" else word for word in words]
    done = run(place, *words, "--stage", "2", *overrides, "--pooling", "max")
    assert done.returncode == 2
    assert done.stderr == "error: pooling is 'max'\n  try: set pooling to mean or sum, or to !new: of a module\n"
    assert not (place / "results" / "tones" / "speaker" / "typo").exists()


@pytest.mark.slow  # in tests/test_launch.py the jobs are programs that fail at once
def test_a_failed_job_stops_no_other(finished):
    place, words, _, _ = finished
    words = ["broken" if word == "first" else word for word in words]
    words[words.index("--hparams") + 1] = str(place / "hparams" / "statistics.yaml")  # starts in half the time
    overrides = ["--", "--epochs", "3", "--device", "cpu"]
    begun = place / "results" / "tones" / "speaker" / "broken" / "seed1" / "A"
    valid = place / "manifests" / "tones" / "speaker" / "A" / "valid.csv"
    whole = valid.read_text()
    valid.write_text(whole.replace("\nB_", "\nX_", 1))
    done = run(place, *words, "--stage", "2", "--stop-stage", "2", *overrides)
    valid.write_text(whole)
    assert done.returncode == 1
    assert re.search(r"^  B done \d+:\d\d, epoch \d of 3, valid UA \d+\.\d\d$", done.stdout, re.MULTILINE)
    log = "results/tones/speaker/broken/seed1/A/train.log"
    assert re.search(rf"^  A FAILED \(code 2\) after \d+:\d\d, see {log}$", done.stdout, re.MULTILINE)
    assert "error: seed1/A failed" in done.stderr and f"see {log}" in done.stderr
    assert "X_" in done.stderr and "B failed" not in done.stderr
    assert "Traceback" not in done.stderr
    for fold, code in (("A", "2"), ("B", "0")):
        folder = begun.with_name(fold)
        ((command, started, *said, last),) = sections((folder / "train.log").read_text())
        assert shlex.split(command)[2:4] == ["-m", "local.train"] and f"--folds {fold}" in command
        assert STARTED.fullmatch(started) and ENDED.fullmatch(last)[1] == code
        assert ("error: " in "\n".join(said)) == (fold == "A") and "Traceback" not in "\n".join(said)
        assert (folder / "train.json").exists() == (fold == "B")

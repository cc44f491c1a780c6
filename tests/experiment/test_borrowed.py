"""Models tested on another corpus than they were trained on, and the matrix of such experiments."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hand_made_runs import LABELS, predict

from local import compare
from local.core.errors import UserError
from local.corpora import manifest
from local.experiment.borrowed import borrow
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.experiment.options import Options
from local.folds import make_folds
from local.pages.report import matrix_of_corpora, write_report
from local.pages.transfer import related, shares_table, transfer, transfer_table, write_transfer
from local.prepare import prepare
from local.report import report, report_folder
from local.rerun import read_finished
from local.score import score
from local.scoring import prior_shift, scored
from local.scoring.calibration import Temperature

FOLDS = ("1A", "1B", "2A", "2B")
TESTED = Path("results/other/from_own@speaker/n")


def other_table(folder: Path, labels: str = "ang hap sad", n: int = 12) -> Path:
    """A second table: its speakers have the names of own.csv's, its files other bytes."""
    (folder / "wav").mkdir(parents=True, exist_ok=True)
    with open(folder / "other.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["ID", "wav", "emo", "wrd", "spk_id"])
        for i in range(n):
            soundfile.write(folder / f"wav/{i:02d}.wav", 0.1 * np.cos(np.arange(2000 + 30 * i) / 7), 16_000)
            rows.writerow(
                [f"{i:02d}", f"wav/{i:02d}.wav", labels.split()[i % len(labels.split())], "żó", f"1{'AB'[i % 2]}"]
            )
    return folder / "other.csv"


@pytest.fixture
def words(own_corpus, tmp_path) -> list[str]:
    """The options of own.csv with a trained run for each fold, and other.csv, which stage 0 has made."""
    words = [*own_corpus, "--name", "n"]
    for fold in FOLDS:
        predict(words, fold)
        (Path("results/own/speaker/n/seed1") / fold / "save").mkdir()
    prepare(parse(["--corpus", "csv", "--data", str(other_table(tmp_path / "other"))]))
    return [*words, "--test-corpus", "other"]


def decoded(job: Job, wrong: int) -> None:
    """Leave predictions of the test corpus, the first of them wrong."""
    table = manifest.read(job.manifests / "test.csv")
    rows = []
    for i, row in enumerate(table.to_dict("records")):
        guess = job.labels[(job.labels.index(row["emo"]) + (i < wrong)) % 3]
        posteriors = {f"p_{label}": 0.8 if label == guess else 0.1 for label in job.labels}
        rows.append({"ID": row["ID"], "emo": row["emo"], "emo_hyp": guess} | posteriors)
    pd.DataFrame(rows).assign(wrd=table["wrd"], wrd_hyp="").to_csv(job.folder / "predictions.csv", index=False)
    job.decoding().write([job.folder / "predictions.csv"], epoch=7)


def test_names_in_paths(words):
    options = parse(words).tested()
    assert (options.corpus, options.protocol_name) == ("other", "from_own@speaker")
    assert options.experiment_folder == TESTED
    assert options.folds_folder(options.chosen_valid()) == Path("manifests/other/from_own@speaker")
    assert options.chosen_folds() == list(FOLDS)
    assert options.audio()[1]["ID"].tolist() == [f"{i:02d}" for i in range(12)]


def test_what_is_borrowed(words):
    borrow(parse(words).tested())
    for fold in FOLDS:
        folder, trained = Path("manifests/other/from_own@speaker") / fold, Path("manifests/own/speaker") / fold
        for name in ("train.csv", "valid.csv", "tokenizer.model"):
            assert (folder / name).read_bytes() == (trained / name).read_bytes()
        assert (folder / "test.csv").read_bytes() == Path("manifests/other/all.csv").read_bytes()
        run, source = TESTED / "seed1" / fold, Path("results/own/speaker/n/seed1") / fold
        assert (run / "save").resolve() == (source / "save").resolve()
        assert (run / "train.json").read_bytes() == (source / "train.json").read_bytes()
        assert not (run / "predictions.csv").exists()
    facts = json.loads(Path("manifests/other/from_own@speaker/folds.json").read_text())["facts"]
    assert facts["labels"] == LABELS and facts["sizes"]["1A"]["test"] == 12
    leaks = pd.read_csv("manifests/other/from_own@speaker/leaks.csv")
    shared = leaks[(leaks["kind"] == "speaker") & (leaks["parts"] == "train-test")]  # 1A and 1B of two corpora
    assert shared["fold"].tolist() == ["2A", "2B"] and not leaks["examples"].str.contains("own_|other_").any()


def test_the_temperature_is_that_of_the_trained_run_now(words):
    options, source = parse(words).tested(), Path("results/own/speaker/n/seed1/1A")
    borrow(options)
    assert Temperature.read(TESTED / "seed1/1A") is None
    for value in (3.0, 2.0):  # stage 3 of the training's own corpus comes later, and comes again
        Temperature(value, 10, 1.0, 0.9, "partner", 7).write(source)
        borrow(options)
        assert Temperature.read(TESTED / "seed1/1A").value == value
    (source / "temperature.json").unlink()  # trained again
    borrow(options)
    assert Temperature.read(TESTED / "seed1/1A") is None


def scored_elsewhere(words: list[str]) -> Options:
    """The options of a test of all models on the other corpus, which has ended with stage 4."""
    options = parse(words).tested()
    borrow(options)
    for job in Job.all(options):
        decoded(job, 2)
    score(options)
    return options


def test_what_was_trained_again_since_it_was_tested_is_neither_scored_nor_shown(words, monkeypatch, capsys):
    options = scored_elsewhere(words)
    score(options.source)
    own = scored.load(Path("results/own/speaker/n"))
    assert len(related(own)) == 2
    source = Path("results/own/speaker/n/seed1/1A").absolute()
    (source / "train.json").write_text("{}")
    what = f"{source} was trained again, or is to be, after {TESTED.absolute() / 'seed1/1A'} tested its model"
    for act, given in ((score, options), (report_folder, TESTED)):
        with pytest.raises(UserError) as error:
            act(given)
        assert error.value.what == what and error.value.remedy == "run stages 2 to 4 with --test-corpus other"
    for mode in ([], ["--corpora"]):
        monkeypatch.setattr(sys, "argv", ["compare", "results/own/speaker/n", str(TESTED), *mode])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            compare.main()
        assert ended.value.code == 2 and what in capsys.readouterr().err
    assert not related(own)  # a report without them
    shutil.rmtree(source)  # of what is gone the figures stay
    score(options)


def test_a_report_of_the_training_that_cannot_be_made_again_stops_no_report(words, monkeypatch, capsys):
    options = scored_elsewhere(words)
    trained = options.source.experiment_folder
    (trained / "report.html").write_text("earlier")
    monkeypatch.setattr("local.pages.report.write_report", lambda at: at if at == TESTED else write_report(at))
    report(options)
    printed = capsys.readouterr().out
    assert f"== stage 5: report {TESTED}" in printed and (trained / "report.html").read_text() == "earlier"
    assert f"{trained}/report.html is as it was: {trained} is not the folder of a scored experiment" in printed


def test_figures_and_pages_of_all_models(words, tmp_path, capsys):
    options = parse(words).tested()
    borrow(options)
    for wrong, job in zip((0, 2, 4, 6), Job.all(options), strict=True):
        decoded(job, wrong)
    score(options)
    printed = capsys.readouterr().out
    assert "every model that was trained on own with protocol speaker is tested on the whole corpus" in printed
    assert "# n on other, protocol from_own@speaker" in printed
    assert "in 2 of 4 folds, 100 % of the tested utterances share their speaker's name with the training set" in printed
    shares = "ang 33.33, hap 33.33, sad 33.33"
    assert f"Class shares, per cent: own {shares}; other {shares}." in printed
    tested = scored.load(TESTED)
    assert (tested.summary["n"], tested.summary["folds"]) == (48, "4/4")
    assert tested.summary["wa"] == pytest.approx(36 / 48)  # 12 of 48 wrong
    assert tested.folds["wa"].tolist() == pytest.approx([1, 10 / 12, 8 / 12, 6 / 12])
    score(parse(words[:-2]))
    own = scored.load(Path("results/own/speaker/n"))
    rows, text = write_transfer([own, tested], Path("results/matrix.md"), "the command")
    assert rows[["trained", "tested", "n"]].to_numpy().tolist() == [["own", "own", 48], ["own", "other", 48]]
    assert rows["wa"].tolist() == pytest.approx([34 / 48, 36 / 48])
    cells = transfer_table(rows, "wa").rows
    assert cells[0][0] == "own" and cells[0][1].startswith("75.00 (") and cells[0][2].startswith("**70.83 (")
    captions = ("UA, trained on (rows), tested on (columns).", "WA, trained on (rows)", "Class shares of the corpora")
    assert all(f"\n\n{caption}" in text for caption in captions)
    assert "| own | 48 | 33.33 | 33.33 | 33.33 |" in text and "own on other: experiment n, folds 4/4" in text
    assert "seeds 1, n 48; resampling 12 utterances" in text and "seeds 1, n 48; resampling 12 recordings" in text
    assert "tested on other" in Path("results/matrix.svg").read_text()
    assert "the same values" not in text and "OPTIMISTIC" not in text + Path("results/matrix.svg").read_text()
    with pytest.raises(UserError, match="as another is"):
        transfer([tested, tested])
    # What is not honest is marked, and what is not of the same values said.
    seen = replace(tested, protocol="from_own@speaker-valid_oracle-OPTIMISTIC")
    vars(seen)["values"] = own.values | {"alpha": 0.5, "lr": 1.0}
    rows, text = write_transfer([own, seen], Path("results/marked.md"), "the command")
    assert text.count(") OPTIMISTIC |") == 2 and "of the same values: their alpha, lr differ" in text.replace("`", "")
    assert "own OPTIMISTIC" in Path("results/marked.svg").read_text()
    # Both reports have the matrix, and link to what there is.
    assert matrix_of_corpora(own).links == []
    for page in (Path("results/n@.md"), *(each.folder / "report.html" for each in (own, tested))):
        page.touch()
    for each, other in ((own, "../../../other/from_own%40speaker/n"), (tested, "../../../own/speaker/n")):
        assert [found.folder for found in related(each)] == [own.folder, tested.folder]
        found = matrix_of_corpora(each)
        assert found.tables[1].rows[0][0] == "own" and str(found.tables[1].rows[0][2]).startswith("<strong>70.83 (")
        assert "tested on other" in found.picture and found.links[0] == ("the matrix as a page", "../../../n%40.md")
        assert [address for _, address in found.links[1:]] == [f"{other}/report.html"]
    vars(own)["values"] = own.values | {"emotion_weight": 0.0}
    assert matrix_of_corpora(own) is None
    with pytest.raises(UserError, match="own/speaker/n: emotions were not trained"):
        transfer([own, tested])
    alone = scored.load(Path(shutil.copytree(own.folder, own.folder.with_name("alone"))))
    assert related(replace(alone, name="alone")) == []


def test_the_scores_of_a_test_stay_and_those_of_the_training_are_not_taken(words):
    trained = Path("results/own/speaker/n/seed1/1A/train_log.txt")
    trained.write_text("epoch: 1\nEpoch loaded: 1 - test WA: 12.00\n")
    borrow(parse(words).tested())
    log = TESTED / "seed1/1A/train_log.txt"
    assert log.read_text() == "epoch: 1\n"
    log.write_text(decoded := "epoch: 1\nEpoch loaded: 1 - test WA: 34.00\n")
    borrow(parse(words).tested())
    assert log.read_text() == decoded


def test_it_is_made_again_where_the_training_or_the_corpus_changes(words, tmp_path):
    borrow(parse(words).tested())
    train = Path("results/own/speaker/n/seed1/1A/train.json")
    train.write_text(train.read_text().replace('"epoch": 7', '"epoch": 8'))
    prepare(parse(["--corpus", "csv", "--data", str(other_table(tmp_path / "other", n=15)), "--force", "true"]))
    borrow(parse(words).tested())
    assert (TESTED / "seed1/1A/train.json").read_bytes() == train.read_bytes()
    assert len(manifest.read(Path("manifests/other/from_own@speaker/1A/test.csv"))) == 15


def test_other_labels_are_refused(words, tmp_path):
    options = ["--corpus", "csv", "--data", str(other_table(tmp_path / "other", "ang hap bor")), "--force", "true"]
    prepare(parse(options))
    with pytest.raises(UserError, match="do not know: bor 4") as error:
        borrow(parse(words).tested())
    assert "--labels" in error.value.remedy


def test_a_file_of_the_training_set_is_refused(words, tmp_path, own_table):
    other = other_table(tmp_path / "other")
    (tmp_path / "other/wav/03.wav").write_bytes((own_table.parent / "wav/10A0.wav").read_bytes())
    prepare(parse(["--corpus", "csv", "--data", str(other), "--force", "true"]))
    with pytest.raises(UserError, match="audio across train-test") as error:
        borrow(parse(words).tested())
    assert error.value.what.startswith("--test-corpus other: sets of a fold share what they must not:")
    assert error.value.remedy == "leave these utterances out of it, or test on another corpus"


def test_a_file_of_the_extra_training_is_refused(words, tmp_path, own_table):
    with open(own_table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    soundfile.write(own_table.parent / "murmur.wav", np.sin(np.arange(9000) / 5), 16_000)
    shutil.copy(own_table.parent / "murmur.wav", tmp_path / "other/wav/03.wav")
    own = own_table.parent / "murmured.csv"  # the table, and a turn without an emotion
    with open(own, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*rows[0]])
        table.writeheader()
        table.writerows([*rows, rows[0] | {"ID": "murmur", "wav": "murmur.wav", "emo": "", "wrd": "h m"}])
    prepare(parse(["--corpus", "csv", "--data", str(tmp_path / "other/other.csv"), "--force", "true"]))
    given = ["--corpus", "csv", "--data", str(own), "--hparams", "hparams/mini.yaml", "--name", "n"]
    given += ["--extra-training", "all-turns"]
    prepare(parse(given))
    make_folds(parse(given))
    predict(given, "2A")
    (parse(given).experiment_folder / "seed1/2A/save").mkdir()
    with pytest.raises(UserError, match=r"audio across train-test"):
        borrow(parse([*given, "--folds", "2A", "--test-corpus", "other"]).tested())
    (tmp_path / "other/wav/03.wav").unlink()
    other_table(tmp_path / "other")
    prepare(parse(["--corpus", "csv", "--data", str(tmp_path / "other/other.csv"), "--force", "true"]))
    borrow(parse([*given, "--folds", "2A", "--test-corpus", "other"]).tested())
    folds = json.loads(Path("manifests/other/from_murmured@speaker-extra_all_turns/folds.json").read_text())
    assert folds["facts"]["sizes"]["2A"]["extra"] == 1 and "extra" in folds["inputs"]


def test_what_is_not_there(words):
    with pytest.raises(UserError, match=r"there is no manifests/third/all\.csv") as error:
        parse([*words[:-1], "third"]).tested()
    assert error.value.remedy == "./run.sh --corpus csv --data PATH --stop-stage 0"  # third is no name of run.sh
    with pytest.raises(UserError, match="is the corpus that is trained on"):
        parse([*words[:-1], "own"]).tested()
    Path("results/own/speaker/n/seed1/1B/train.json").unlink()
    with pytest.raises(UserError, match="1B is not trained"):
        borrow(parse(words).tested())


def test_a_test_is_not_rerun(words):
    borrow(parse(words).tested())
    with pytest.raises(UserError, match="is a test of what was trained in results/own/speaker/n/seed1/1A"):
        read_finished(TESTED / "seed1/1A")


def test_of_several(words):
    with pytest.raises(UserError, match=r"there is no manifests/third\+other@6class/all\.csv") as error:
        parse([*words[:-1], "third other@6class"]).tested()
    assert error.value.remedy == './run.sh --corpus "third other" --labels 6class --stop-stage 0'


def test_equal_shares_are_of_the_training_set_of_each_model(words, monkeypatch):
    known = []
    monkeypatch.setattr(prior_shift, "with_equal_shares", lambda some, counts: known.append(counts) or some)
    score(parse(words[:-2]))
    experiment = scored.load(Path("results/own/speaker/n"))
    transfer([experiment], equal_shares=True)
    sets = [manifest.read(Path("manifests/own/speaker") / fold / "train.csv") for fold in FOLDS]
    assert known == [table["emo"].value_counts().to_dict() for table in sets]
    known.clear()
    for each in (dict(class_weights="balanced"), dict(class_weights={"sad": 0.5})):
        vars(experiment)["values"] = experiment.values | each
        transfer([experiment], equal_shares=True)
    counts = sets[0]["emo"].value_counts().to_dict()
    assert known[0] == dict.fromkeys(counts, 1.0) and known[4] == counts | {"sad": 0.5 * counts["sad"]}
    vars(experiment)["values"] = experiment.values | {"focal_gamma": 2.0}
    with pytest.raises(UserError, match="was trained with focal_gamma 2"):
        transfer([experiment], equal_shares=True)
    vars(experiment)["values"] = experiment.values | {"focal_gamma": 0.0}
    Path("manifests/own/speaker/1A/train.csv").unlink()
    with pytest.raises(UserError, match="1A: the class shares of its training set are not known"):
        transfer([experiment], equal_shares=True)


def test_shares(words):
    assert shares_table(["other"]).rows == [["other", 12, "33.33", "33.33", "33.33"]]


@pytest.mark.slow
def test_the_report_of_models_that_are_tested_elsewhere(words):
    scored_elsewhere(words)
    report_folder(TESTED)
    assert "trained on own with protocol speaker" in (TESTED / "report.html").read_text()

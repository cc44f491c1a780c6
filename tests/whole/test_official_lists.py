"""Protocol `official` from a table of one's own to its pages; some utterances are tested in no fold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from hand_made_runs import predict
from stages import run_stages

from local.core.errors import UserError
from local.corpora import manifest, mini
from local.deploy import quality
from local.deploy.folder import refuse_optimistic
from local.experiment.command_line import parse
from local.experiment.job import Job, options_of_run
from local.experiment.options import check
from local.folds import make_folds
from local.prepare import prepare
from local.report import report
from local.score import score
from local.scoring import scored
from local.scoring.comparison import compare, mismatch_reason
from local.status import experiments

FOLDER, EXPERIMENT = Path("manifests/own/official"), Path("results/own/official/n")


def add_lists(table: Path) -> None:
    """Session 1 trains but its first two rows; of 2A six rows are for development and six for test 1, 2B is test 2."""
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        rank = sum(other["spk_id"] == row["spk_id"] for other in rows[:number])
        row["split"] = {"2A": "Test1" if rank >= 6 else "dev", "2B": "Test2"}.get(row["spk_id"], "TRAIN")
        if number < 2:
            row |= {"split": "", "emo": "calm"}
    with open(table, "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, rows[0])
        out.writeheader()
        out.writerows(rows)


@pytest.fixture
def words(workplace, own_table) -> list[str]:
    add_lists(own_table)
    given = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--name", "n"]
    given += ["--protocol", "official"]
    prepare(parse(given))
    return given


def test_the_folds(words, capsys):
    make_folds(parse(words))
    printed = capsys.readouterr().out
    for line in (
        "trained on the corpus's own training list, each fold tests one of its test lists, whose speakers are not in",
        "validation list: the corpus's own validation list chooses the epoch",
        "left out: 2 of 48 utterances are in no list, and in no set",
        "fold test1: train 22, valid 6, test 6, left out 14",
        "fold test2: train 22, valid 6, test 12, left out 8",
    ):
        assert f"\n  {line}" in printed
    facts = json.loads((FOLDER / "folds.json").read_text())["facts"]
    assert facts["labels"] == ["ang", "hap", "sad"]  # calm is in no list
    assert facts["sizes"]["test2"] == {"train": 22, "valid": 6, "test": 12, "left out": 8}
    for fold in ("test1", "test2"):
        assert {path.name for path in (FOLDER / fold).iterdir()} == {
            *("train.csv", "valid.csv", "test.csv", "tokenizer.model")
        }
        assert manifest.read(FOLDER / fold / "test.csv")["split"].unique().tolist() == [fold]


@pytest.mark.slow
def test_scores_and_pages(words):
    make_folds(parse(words))
    first, second = predict(words, "test1", wrong=1, lost=0), predict(words, "test2", wrong=6, lost=0)
    assert (second.folder, second.valid) == (EXPERIMENT / "seed1" / "test2", "list")
    score(parse(words))
    report(parse(words))
    summary = pd.read_csv(EXPERIMENT / "summary.csv").iloc[0]
    assert (summary["protocol"], summary["valid"], summary["folds"], summary["n"]) == ("official", "list", "2/2", 18)
    assert summary["wa"] == pytest.approx((5 + 6) / 18) and summary["wa_mean"] == pytest.approx((5 / 6 + 6 / 12) / 2)
    assert (summary["speaker_overlap"], summary["speakers_known"]) == (0, "46/46")
    page = (EXPERIMENT / "RESULTS.md").read_text().splitlines()
    for line in (
        "- Left out: 2 of 48 utterances are in no list, and in no set.",
        "- Overlap: in 1 of 2 folds, 100 % of the tested utterances share their speaker with the validation set.",
        "- Validation `list`: the corpus's own validation list chooses the epoch; the test set plays no role in it.",
        "- Folds present: 2/2; seeds: 1.",
    ):
        assert line in page
    assert any(
        line.startswith("- Left out: in each fold the test lists of the others (test1 6, test2 12)") for line in page
    )
    assert page.index("- Folds present: 2/2; seeds: 1.") < next(i for i, line in enumerate(page) if "pooled" in line)
    html = (EXPERIMENT / "report.html").read_text()
    assert "Left out: 2 of 48 utterances" in html and "one of its test lists" in html
    assert quality.of_runs([first, second], [7, 7])["tested"] == quality.of_runs([second, first], [7, 7])["tested"]
    facts = quality.of_runs([first, second], [7, 7])
    assert facts["speakers"] == ["1A", "1B"]
    assert (facts["tested"]["n"], facts["experiment"]["n"], facts["experiment"]["folds"]) == (18, 18, "2/2")


@pytest.mark.slow
def test_pairs_of_the_same_lists_alone_are_compared(words):
    make_folds(parse(words))
    for name, folds in (("n", ["test1", "test2"]), ("m", ["test1", "test2"]), ("part", ["test2"])):
        given = [*words, "--name", name]
        for fold in folds:
            predict(given, fold, wrong=2 if name == "n" else 4, lost=0)
        score(parse(given))
    n, m, part = (scored.load(EXPERIMENT.with_name(name)) for name in ("n", "m", "part"))
    row = compare([n, m]).iloc[0]
    assert (row["n"], row["speakers_known"]) == (18, "46/46")
    assert row["wa_diff"] == pytest.approx(-4 / 18)
    assert "tested 6 utterances that" in mismatch_reason(n, part) and "of fold test1" in mismatch_reason(n, part)
    assert part.summary["folds"] == "1/2" and part.summary["n"] == 12


def test_the_options_go_with_it(words):
    for valid in ("oracle", "speakers"):
        make_folds(parse([*words, "--valid", valid]))
    assert {path.name for path in Path("manifests/own").glob("official*")} == {
        *("official-valid_oracle-OPTIMISTIC", "official-valid_speakers")
    }
    speakers = FOLDER.with_name("official-valid_speakers")
    for fold in ("test1", "test2"):
        train, valid = (manifest.read(speakers / fold / f"{name}.csv") for name in ("train", "valid"))
        assert {*train["spk_id"]} | {*valid["spk_id"]} == {"1A", "1B"} and valid["spk_id"].nunique() == 1
    text = (speakers / "test1" / "valid.csv").read_text()
    assert text == (speakers / "test2" / "valid.csv").read_text()
    assert parse([*words, "--folds", "test2"]).chosen_folds() == ["test2"]
    with pytest.raises(UserError, match="protocol 'official' has no fold 'test'") as refusal:
        check(options := parse([*words, "--folds", "test"]), options.table)
    assert refusal.value.remedy == "take all, or of: test1 test2"


@pytest.mark.slow
def test_a_run_is_known_by_its_folder(words):
    make_folds(parse(words))
    job = predict(words, "test2", wrong=1, lost=0)
    told = {"corpus": "own", "protocol": "official", "valid": "list", "hold_text": False, "fold": "test2"}
    told |= {"seed": 1, "name": "n"}
    (job.folder / "env.json").write_text(json.dumps({"commit": "0123456789ab", "job": told}))
    assert Job.of_run(job.folder).folder == job.folder
    assert parse(options_of_run(job.folder, told)).chosen_valid() == "list"
    refuse_optimistic(job.folder)
    assert list(experiments(["--corpus", "own", "--protocol", "official"])) == [EXPERIMENT]


def test_a_table_with_lists_and_nobody_s_name(workplace, own_table, capsys):
    add_lists(own_table)
    own_table.write_text(own_table.read_text().replace("spk_id,session,recording", "x,y,z", 1))
    words = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml"]
    prepare(parse(words))
    make_folds(parse(words))
    printed = capsys.readouterr().out
    assert "no utterance has a speaker (spk_id), session or recording, so the protocol is official\n" in printed
    assert "official lists: test1 6, test2 12, train 22, valid 6, none 2\n" in printed
    assert "note: split 'TRAIN' (22 rows) is read as train" in printed
    assert "test lists; who speaks is unknown, so the training set may have speakers of the test set" in printed


def test_one_corpus_is_left_out_of_several(own_corpus):
    """Of the table of several corpora, here the two sessions, each fold tests one; a speaker of the other validates."""
    path = Path("manifests/own/all.csv")
    table = manifest.read(path)
    manifest.write(path, table.assign(corpus=table["session"].map({"s1": "one", "s2": "two"})))
    options = parse([*own_corpus, "--protocol", "corpus"])
    make_folds(options)
    assert (options.chosen_valid(), options.all_folds()) == ("speakers", ["one", "two"])
    folder = options.folds_folder("speakers")
    assert folder == Path("manifests/own/corpus") and options.experiment_folder == Path("results/own/corpus/mini")
    for fold, tested, others in (("one", {"1A", "1B"}, {"2A", "2B"}), ("two", {"2A", "2B"}, {"1A", "1B"})):
        sets = {name: manifest.read(folder / fold / f"{name}.csv") for name in ("train", "valid", "test")}
        assert {*sets["test"]["spk_id"]} == tested and {*sets["test"]["corpus"]} == {fold}
        assert {*sets["train"]["spk_id"]} | {*sets["valid"]["spk_id"]} == others
        assert [len(table) for table in sets.values()] == [12, 12, 24]


@pytest.mark.slow
def test_from_stage_0_to_5_with_the_mini_corpus(workplace):
    """Sessions 1 to 3 train, 01M but four of his turns; session 4 validates; 05F and 05M are the test lists."""
    corpus = mini.read(None)
    lists = {"04F": "Validation", "04M": "Validation", "05F": "test1", "05M": "test2"}
    table = corpus.table.sort_values("ID")
    table = table.assign(split=table["spk_id"].map(lists).fillna("train"), wav=str(corpus.root) + table["wav"].str[10:])
    table.loc[table.index[table["spk_id"] == "01M"][:4], "split"] = ""
    table.drop(columns="duration").to_csv(workplace / "lists.csv", index=False)
    words = ["--corpus", "csv", "--data", str(workplace / "lists.csv"), "--hparams", "hparams/mini.yaml"]
    words += ["--protocol", "official"]
    yaml = ["--", "--epochs", "1", "--device", "cpu"]
    run_stages([*words, *yaml], "prepare", "folds", "check")
    sizes = json.loads(Path("manifests/lists/official/folds.json").read_text())["facts"]["sizes"]
    each = (table["spk_id"] == "05F").sum()
    assert sizes["test1"] == {
        "train": 6 * each - 4,
        "valid": 2 * each,
        "test": each,
        "left out": len(table) - 9 * each + 4,
    }
    for fold in ("test1", "test2"):
        run_stages([*words, "--folds", fold, *yaml], "train", "decode")
    run_stages([*words, *yaml], "score", "report")
    folder = Path("results/lists/official/mini")
    summary = pd.read_csv(folder / "summary.csv").iloc[0]
    assert (summary["folds"], summary["n"], summary["valid"]) == ("2/2", 2 * each, "list")
    right = 0
    for fold in ("test1", "test2"):
        predicted = pd.read_csv(folder / "seed1" / fold / "predictions.csv")
        wanted = table[table["split"] == fold].set_index("ID")["emo"]
        assert predicted.set_index("ID")["emo"].to_dict() == wanted.to_dict()
        right += (predicted["emo"] == predicted["emo_hyp"]).sum()
    assert summary["wa"] == pytest.approx(right / (2 * each))
    assert "report.html" in {path.name for path in folder.iterdir()}
    # One training set, one validation set, one seed: one model, which a training of test2 alone would give as well.
    assert json.loads((folder / "seed1/test2/env.json").read_text())["job"]["trained_as"] == "test1"
    run_stages([*words, "--folds", "test2", "--name", "alone", *yaml], "train", "decode")
    alone = folder.with_name("alone") / "seed1/test2"
    assert "trained_as" not in json.loads((alone / "env.json").read_text())["job"]
    assert (alone / "predictions.csv").read_bytes() == (folder / "seed1/test2/predictions.csv").read_bytes()

"""Names that a reader of CSV takes for numbers, truth values or nothing: from stage 0 to every table and tool."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import report_place
import soundfile
from hand_made_runs import predict

from local import status
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.folds import make_folds
from local.pages.pairs import render_pairs
from local.pages.paper import render_table
from local.prepare import prepare
from local.report import report
from local.rerun import rerun_options
from local.score import score
from local.scoring import scored
from local.scoring.comparison import compare

CORPUS, NAME, OTHER = "007", "null", "1e5"
FOLDS = ["007", "1e5", "NA", "None", "all", "pooled", "true"]
LABELS = ["1", "NA", "true"]
FOLDER = Path("results") / CORPUS / "speaker" / NAME


def words(table: Path, name: str) -> list[str]:
    """The options of an experiment."""
    return ["--corpus", "csv", "--data", str(table), "--hparams", "hparams/mini.yaml", "--name", name]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The table of a corpus in the current folder, with two experiments that have been scored."""
    data = tmp_path_factory.mktemp("data")
    rows = [["wav", "emo", "wrd", "spk_id"]]
    for number, fold in enumerate(np.repeat(FOLDS, 6)):
        soundfile.write(data / f"{number}.wav", 0.1 * np.sin(np.arange(1600 + 40 * number) / 9), 16_000)
        rows.append([f"{number}.wav", LABELS[number % 3], "null one", fold])
    with open(data / f"{CORPUS}.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(report_place.workplace(tmp_path_factory.mktemp("names")))
        for name in (NAME, OTHER):
            given = words(data / f"{CORPUS}.csv", name)
            if name == NAME:
                prepare(parse(given))
                make_folds(parse(given))
            for rank, fold in enumerate(FOLDS):
                predict(given, fold, wrong=rank % 3 + (name == OTHER), lost=1)
            score(parse(given))
        yield data / f"{CORPUS}.csv"


def column(name: str, which: str) -> list[str]:
    with open(FOLDER / which, newline="", encoding="utf-8") as file:
        return [row[name] for row in csv.DictReader(file)]


def test_tables_keep_them(table):
    assert column("fold", "folds.csv") == FOLDS
    assert column("label", "classes.csv") == LABELS
    assert [group for group in column("group", "breakdown.csv") if ":" not in group] == FOLDS
    assert (column("name", "summary.csv"), column("corpus", "summary.csv")) == ([NAME], [CORPUS])
    page = (FOLDER / "RESULTS.md").read_text(encoding="utf-8")
    assert page.startswith("# null on 007, protocol speaker")
    assert all(f"| 1 | {fold} | 6 |" in page and f"| speaker | {fold} | 6 |" in page for fold in FOLDS)
    assert "| taken for 1 | taken for NA | taken for true |" in page


def test_an_experiment_is_read_with_them(table):
    own = scored.load(FOLDER)
    assert (own.name, own.corpus, own.folds["fold"].tolist()) == (NAME, CORPUS, FOLDS)
    assert sorted(own.predictions["fold"].unique()) == sorted(own.epochs["fold"].unique()) == FOLDS
    assert set(own.predictions["emo"]) == set(LABELS) and set(own.predictions["spk_id"]) == set(FOLDS)
    assert (own.folds["seed"].tolist(), own.summary["seeds"]) == ([1] * len(FOLDS), 1)
    assert own.summary["wa"] == own.scored_folds["wa"].mean() == own.folds["wa"].mean()


def test_pages_and_tools_show_them(table):
    report(parse(words(table, NAME)))
    page = (FOLDER / "report.html").read_text(encoding="utf-8")
    assert all(f"<figcaption>Fold {fold}</figcaption>" in page for fold in FOLDS)
    assert page.count(" pooled: WA ") == 2 and "<td>1e5</td>" in page  # the fold of this name, and all folds
    own, other = scored.load(FOLDER), scored.load(FOLDER.with_name(OTHER))
    assert render_pairs(compare([own, other])).splitlines()[2].startswith("| null | 1e5 | WA | 42 | ")
    assert "`007/speaker/null`" in render_table("table4", [own, other], "COMMAND")
    assert status.rows(FOLDER, []) == [(f"seed1/{fold}", "decoded", "") for fold in sorted(FOLDS)]
    assert FOLDER in status.experiments(["--name", NAME])


@pytest.mark.parametrize("fold", FOLDS)
def test_a_run_is_found_again_by_them(table, fold):
    run = FOLDER / "seed1" / fold
    job = {"corpus": CORPUS, "protocol": "speaker", "valid": "partner", "hold_text": False, "fold": fold, "seed": 1}
    told = {"commit": "abc", "device": "cpu", "precision": "fp32", "job": job | {"name": NAME}}
    (run / "env.json").write_text(json.dumps(told))
    found = Job.of_run(run)
    assert (found.folder, found.fold, found.labels) == (run, fold, LABELS)
    (again,) = Job.all(parse(rerun_options(run, told)))
    assert again.folder == FOLDER.with_name(f"{NAME}-rerun") / "seed1" / fold

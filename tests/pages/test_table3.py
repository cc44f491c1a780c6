"""The table of all systems of Table 3, of experiments made by hand: figures, differences, what it does not compare."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import report_place
from hand_made_runs import WITHOUT_TEXT, predict
from written_experiments import table_of, write_experiment

from local.experiment.command_line import parse
from local.folds import make_folds
from local.pages.paper import PAPER
from local.pages.table3 import HEADS, ROWS, AllRows, all_rows
from local.prepare import prepare
from local.score import score
from local.scoring.comparison import compare
from local.scoring.scored import load

WU = {
    "title": "Wu et al. 2019: capsules",
    "certainty": "partly known",
    "weights": "no pretraining",
    "parameters": 748248,
    "trained_parameters": 748248,
    "device": "cpu",
}
OUR_LABEL = "Cai 2021: multi-task, ours"
FOLDS = {"1A": 1, "1B": 3}  # and how many of the six emotions are wrong


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The current folder has a corpus of four speakers with experiments of it."""
    folder = tmp_path_factory.mktemp("table3")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(report_place.workplace(folder))
        table = report_place.corpus(folder)
        made(table, "ours", "mtl_wav2vec2", FOLDS)
        made(table, "wu", "wu_capsules", {"1A": 3, "1B": 5}, **WU)
        made(table, "wu", "wu_capsules", {"fold1": 1, "fold2": 1}, words=("--protocol", "random"), **WU)
        made(table, "dull", "majority", {"1A": 4, "1B": 4}, title="Majority class", certainty="own choice")
        yield table


def made(
    table: Path, name: str, row: str, wrong: dict[str, int], seeds=(1,), words: tuple[str, ...] = (), **recorded
) -> Path:
    """Make and score an experiment of a row, which writes text if it is ours."""
    ours = row == "mtl_wav2vec2"
    yaml = ["--hparams", "hparams/mini.yaml"] if ours else WITHOUT_TEXT
    given = ["--corpus", "csv", "--data", str(table), *yaml, "--name", name, *words]
    prepare(parse(given))
    make_folds(parse(given))
    for seed in seeds:
        for fold, errors in wrong.items():
            predict(given, fold, seed, errors, 0, text=ours, config=f"{row}.yaml", **recorded)
    score(parse(given))
    return parse(given).experiment_folder


def copied(source: str, target: str, row: str) -> Path:
    """Copy an experiment as one of another name and row."""
    folder = shutil.copytree(f"results/talk/{source}", f"results/talk/{target}")
    for table in ("folds.csv", "summary.csv"):
        cells = pd.read_csv(f"{folder}/{table}", dtype=str).assign(name=Path(target).name)
        (cells.assign(config=f"{row}.yaml") if "config" in cells else cells).to_csv(f"{folder}/{table}", index=False)
    return Path(folder)


def table_for(*names: str, remarks: tuple[str, ...] = (), valid: str = "") -> tuple[AllRows, dict[str, dict[str, str]]]:
    """The table of experiments, and its rows by system."""
    rows = all_rows([load(Path("results/talk/speaker", name)) for name in names], remarks, valid)
    return rows, {row["system"]: row for row in table_of(rows.markdown("COMMAND"))}


def test_every_row_has_its_yaml_once():
    assert len(ROWS) == len(PAPER["table3"]) + len(PAPER["beside"]) == 14


def test_rows_of_the_table(place):
    made_of, rows = table_for("wu", "ours", "dull")
    assert len(rows) == 14
    wu, ours, dull = rows[WU["title"]], rows[OUR_LABEL], rows["Majority class"]
    assert wu["what it is"] == "re-implementation (spec: partly known)" and wu["weights"] == "no pretraining"
    assert (wu["parameters"], wu["training time"], wu["experiment"]) == ("748,248", "0.0017 h on a CPU", "wu")
    assert sum(note.startswith("Training time is that of the epochs.") for note in made_of.notes) == 1
    assert (wu["folds"], wu["seeds"], wu["epochs"]) == ("2/4", "1", "2 of 40; chosen: 7")
    assert wu["WA"].startswith("33.33 (") and ours["WA"].startswith("66.67 (")
    assert wu["WA less ours"].startswith("-33.33 (") and ours["WA less ours"] == "ours"
    assert (
        ours["what it is"] == "ours (spec: known)"
        and dull["what it is"] == "floor"
        and "random weights" in ours["weights"]
    )
    # As they are without a table, after Holm over the two rows.
    pairs = compare([load(Path("results/talk/speaker", name)) for name in ("ours", "wu")])
    alone = pairs["p_ua"][0]
    assert float(wu["p of UA"].removeprefix("< ")) <= 2 * alone + 0.001 and wu["p of UA"] != "–"
    assert dull["p of WA"] != "–" and "correction for 2 rows" in " ".join(made_of.notes)
    f1 = pd.read_csv("results/talk/speaker/wu/summary.csv").iloc[0]
    assert wu["weighted F1"] == f"{100 * f1['wf1']:.2f} ({100 * f1['wf1_low']:.1f}–{100 * f1['wf1_high']:.1f})"


def test_rows_that_were_not_run_are_listed(place):
    made_of, rows = table_for("ours", remarks=("superb_probe is skipped: it needs --upstream.",))
    assert rows["Peng 2020: 3D convolution, ASRNN"]["what it is"] == "not run yet"
    said = " ".join(made_of.notes)
    assert "Not run yet: Wu 2019: capsule network; Sajjad 2020" in said
    assert made_of.notes[-1] == "superb_probe is skipped: it needs --upstream."
    assert "their rows are no reproductions" in said


def test_another_corpus_has_no_printed_figures(place):
    made_of, rows = table_for("ours", "wu")
    assert (
        {row["printed"] for row in rows.values()}
        == {""}
        == {row["printed: measure, protocol"] for row in rows.values()}
    )
    assert "this is another corpus: their column is empty" in " ".join(made_of.notes)


def test_printed_figures_have_their_own_measure(tmp_path):
    folder = write_experiment(tmp_path, "iemocap/speaker/x", valid="partner", n_epochs=1)
    text = all_rows([load(folder)]).markdown("COMMAND")
    rows = {row["system"]: row for row in table_of(text)}
    wang, ours = rows["Wang 2020: dual-sequence LSTM"], rows[OUR_LABEL]
    assert wang["printed"] == "73.30" and wang["printed: measure, protocol"].startswith("UA; 5-fold, random utterances")
    assert (ours["printed"], ours["WA"]) == ("78.15", "70.00 (68.0–72.0)")
    assert rows["Majority class"]["printed"] == ""
    assert "cannot be compared with each other" in text


def test_a_further_line_has_the_printed_figure_of_its_papers_ablation(tmp_path):
    """UA of Lu et al., whose row has 72.56, which Cai et al. print as 72.6."""
    names = ("lu_asr_attention", "lu_asr_attention-mlp", "liu_local_global-no_elm")
    made_of = all_rows(
        [
            load(write_experiment(tmp_path, f"iemocap/speaker/{name}", "partner", n_epochs=1, config=f"{row}.yaml"))
            for name, row in ((name, name.partition("-")[0]) for name in names)
        ]
    )
    printed = {row["system"]: row["printed"] for row in table_of(made_of.markdown("COMMAND"))}
    assert printed["Lu 2020: pretrained ASR, bi-LSTM, attention"] == "72.60"
    assert printed["Lu 2020: MLP on the mean of the encoder's frames"] == "68.98"
    assert printed["Liu 2020: without ELM"] == ""


def test_mixed_conditions_are_said_and_not_compared(place):
    made(place, "few", "peng_asrnn", {"1A": 2}, title="Peng", certainty="partly known")
    made(place, "last", "liu_local_global", {"1A": 2, "1B": 3}, words=("--valid", "none"), title="Liu")
    made(place, "twice", "lu_asr_attention", {"1A": 2, "1B": 3}, seeds=(1, 2), title="Lu")
    made_of, rows = table_for("ours", "few", "last", "twice", "wu")
    assert rows["Peng"]["WA less ours"] == rows["Liu"]["UA less ours"] == "–"
    assert rows["Lu"]["WA less ours"].startswith("-8.33")
    notes, warnings = " ".join(made_of.notes), " ".join(made_of.warnings)
    assert "Peng is not compared with our row: folds 1A, and our row 1A 1B." in notes
    assert "Liu is not compared with our row: validation none, and our row partner." in notes
    assert "The rows differ in their seeds: 1 2 for Lu; 1 for the other 4." in warnings
    assert "The rows differ in their validation: none for Liu; partner for the other 4." in warnings
    assert "Asked for" not in warnings
    asked, _ = table_for("last", "wu", valid="none")
    named = "some rows are of earlier runs with another: Wu et al. 2019: capsules (partner)."
    assert asked.warnings[-1] == f"Asked for was validation `none`, and {named}"
    assert "1A for Peng" in warnings and "Figures are over 2/4 and 1/4 folds only" in warnings
    assert "correction for 2 rows" in notes


def test_an_optimistic_protocol_is_a_warning(place):
    made_of = all_rows([load(Path("results/talk/random-OPTIMISTIC/wu"))])
    assert "random-OPTIMISTIC" in made_of.title and "expect lower" in made_of.warnings[0]
    said = [note for note in made_of.notes if "compared with our" in note or "with ours" in note]
    assert said == ["No row is compared with ours, which is not run yet."]


def test_several_of_a_row_are_named(place):
    made(place, "again", "wu_capsules", {"1A": 0, "1B": 0}, **WU)
    _, rows = table_for("ours", "wu", "again")
    assert {"Wu et al. 2019: capsules (wu)", "Wu et al. 2019: capsules (again)"} <= rows.keys() and len(rows) == 15


def test_further_lines_stand_below_their_row_and_say_what_is_different(place):
    """One of the same folds is compared; one of other folds is not, and is marked. Neither changes what rows have."""
    copied("speaker/wu", "speaker/my_liu_local_global-no_elm", "liu_local_global")
    random = copied("random-OPTIMISTIC/wu", "random-OPTIMISTIC/wu_capsules-improvised", "wu_capsules")
    made_of, rows = table_for("ours", "wu", "my_liu_local_global-no_elm", f"../random-OPTIMISTIC/{random.name}")
    labels, name = list(rows), "Wu et al. 2019"
    marked = "improvised speech without excited, as its paper; random-OPTIMISTIC"
    assert len(rows) == 16 and labels[:2] == [WU["title"], f"{name}: {marked}"]
    no_elm = rows[f"{name}: without ELM"]  # a copy, but below its row
    assert labels[labels.index("Liu 2020: local and global") + 1] == f"{name}: without ELM"
    assert rows["Liu 2020: local and global"]["what it is"] == "not run yet"
    line = rows[labels[1]]
    assert no_elm["WA less ours"] == rows[WU["title"]]["WA less ours"] != "–" == line["WA less ours"]
    assert line["WA"].startswith("80.00") and line["what it is"] == "re-implementation (spec: partly known)"
    assert "correction for 2 rows" in " ".join(made_of.notes) and made_of.title == "Table 3 on talk, protocol speaker"
    assert (
        f"{labels[1]} is not compared with our row: protocol random-OPTIMISTIC, and our row speaker." in made_of.notes
    )
    assert made_of.warnings[0].startswith("Protocol `random-OPTIMISTIC`") and "differ in their" not in str(made_of)
    pictured = [WU["title"], f"– {marked}", f"{name}: without ELM", OUR_LABEL]  # its row has no place in the picture
    assert made_of.scores["label"].tolist() == pictured


def test_the_page_holds_the_table_the_picture_and_the_notes(place):
    made_of, _ = table_for("ours", "wu", "dull")
    page = made_of.page("COMMAND <b>")
    assert page == made_of.page("COMMAND <b>")
    shown = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())
    assert "Wu et al. 2019: capsules" in shown and "COMMAND <b>" in shown and "What must be known" in shown
    (alt,) = re.findall(r'<svg[^>]* aria-label="([^"]*)"', page)
    assert "Wu et al. 2019: capsules: WA 33.33 (" in alt and "Majority class: WA 33.33" in alt
    assert page.count("<th scope") == len(made_of.table.columns) == len(HEADS) - 1  # without the last epoch
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)

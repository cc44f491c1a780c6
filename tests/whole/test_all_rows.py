"""Every row of Table 3 on a dozen sounds, in this process: one epoch or its closed form, decoded, scored, one table."""

from __future__ import annotations

import pytest
from table3_rows import EXPERIMENTS, YAMLS, run, workplace, write_corpus
from written_experiments import table_of

from local.config.hparams import read_values
from local.pages.table3 import OURS, ROWS, all_rows
from local.scoring.scored import load


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    """The options of a corpus of three speakers and four emotions, in a folder that is the current one."""
    table = write_corpus(tmp_path_factory.mktemp("sounds"), {"A": 4, "B": 4, "C": 4})
    with workplace(tmp_path_factory.mktemp("rows"), table) as given:
        yield given


def scored(words: list[str], row: str):
    """The experiment of a row, which is trained, decoded and scored unless that is done."""
    if not (EXPERIMENTS / row / "summary.csv").exists():
        run(words, row, "train", "decode", "score")
    return load(EXPERIMENTS / row)


def test_every_yaml_is_a_row():
    assert YAMLS.keys() <= ROWS.keys()


@pytest.mark.parametrize("row", [row for row in YAMLS if row != OURS])
def test_on_a_cpu_a_row_that_trains_no_encoder_trains_a_fold_on_each_core(row):
    assert (read_values(YAMLS[row])["threads"] == 1) == (row != "fine_tuning")


@pytest.mark.parametrize("row", YAMLS)
def test_a_row_is_trained_decoded_and_scored(words, row):
    experiment = scored(words, row)
    assert len(experiment.predictions) == 4 and experiment.summary["folds"] == "1/3"
    assert experiment.predictions.filter(like="p_").sum(axis=1).to_numpy() == pytest.approx([1.0] * 4, abs=1e-6)


def test_one_table_of_all_rows(words):
    table = all_rows([scored(words, row) for row in YAMLS])
    shown = {line["experiment"]: line for line in table_of(table.markdown("COMMAND"))}
    assert list(YAMLS) == [row for row in YAMLS if row in shown]
    for row in set(YAMLS) - {OURS}:
        assert shown[row]["what it is"].startswith(ROWS[row].get("kind", "re-implementation (spec: ")), row
        assert shown[row]["WA less ours"] != "–" and shown[row]["training time"] != "–", row
    assert "<svg" in table.page("COMMAND")

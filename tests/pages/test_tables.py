"""A table as Markdown: what a parser makes of hostile cells, totals and notes."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
from markdown_it import MarkdownIt

from local.pages.markdown import code
from local.pages.tables import Table, columns, name_solved, score_table

HOSTILE = "<b>a</b> | **c** `d` [e](https://f) _g_ h_i"


def cells(table: Table) -> list[list[list[tuple[str, str]]]]:
    """Type and text of the tokens in every cell, row by row."""
    tokens = MarkdownIt("commonmark").enable("table").parse("\n".join(table.markdown()))
    rows: list[list[list[tuple[str, str]]]] = []
    for token, following in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append([(each.type, each.content) for each in following.children])
    return rows


def text(tokens: list[tuple[str, str]]) -> str:
    return "".join(content for _, content in tokens)


def test_words_from_data_are_shown_as_they_are():
    table = Table("", columns([HOSTILE, "key"], ["n"]), [[HOSTILE, code("a|b`c"), 1]])
    for row in cells(table):
        assert text(row[0]) == HOSTILE.replace("`", "")
        assert {kind for kind, _ in row[0]} <= {"text", "text_special", "code_inline"}
        assert len(row) == 3
    assert cells(table)[1][1:] == [[("code_inline", "a|b`c")], [("text", "1")]]


def test_totals_are_bold_numbers_are_aligned_and_notes_are_below():
    table = Table("", columns(["fold"], ["n"]), [["01F", 1]], [["pooled", 2], ["", 3]], ["By speaker: see a_b.csv."])
    assert table.markdown() == [
        "| fold | n |",
        "| --- | ---: |",
        "| 01F | 1 |",
        "| **pooled** | 2 |",
        "|  | 3 |",
        "",
        "By speaker: see a_b.csv.",
    ]


def test_a_model_in_closed_form_has_no_epoch():
    folds = pd.DataFrame({"seed": [1, 1, 2], "fold": ["01F", "01M", "01F"], "epoch": [1, 3, 3]})
    epochs = pd.DataFrame({"seed": [1, 1, 2], "fold": ["01F", "01M", "01F"], "epoch": [1, 3, 3], "solved": [1, 0, 1]})
    assert name_solved(folds, epochs)["epoch"].tolist() == ["solved", 3, "solved"]
    assert name_solved(folds, epochs.drop(columns="solved")) is folds


def test_a_score_without_a_heading_has_its_name():
    folds = pd.DataFrame({"seed": [1], "fold": ["01F"], "n": [4], "wa": [0.5], "kappa": [0.25], "epoch": [3]})
    row = folds.iloc[0].drop(["seed", "fold", "epoch"]).to_dict() | {"folds": "1/1", "seeds": 1}
    means = {f"{score}_{of}": 0.5 for score in ("wa", "kappa") for of in ("mean", "sd")}
    lines = score_table(folds, pd.Series(row | means), ("wa", "kappa")).markdown()
    assert lines[0] == "| seed | fold | n | WA | kappa | epoch |"

"""Does it read or listen: the table says every figure, and the picture is a file of its own."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from local.pages import spoken as page
from local.scoring.words_and_manner import EFFECTS


@pytest.fixture
def rows() -> pd.DataFrame:
    own = [
        {"name": "alpha0", "effect": effect, "value": 0.1 * at, "low": 0.1 * at - 0.05, "high": 0.1 * at + 0.05}
        for at, effect in enumerate(EFFECTS)
    ]
    other = [row | {"name": "alpha0.1", "value": row["value"] + 0.02, "diff": 0.02, "p_holm": 0.0004} for row in own]
    return pd.DataFrame([*own, *(row | {"diff_low": 0.01, "diff_high": 0.03} for row in other)])


def test_the_table_has_a_row_for_each_effect_and_no_difference_of_the_first(rows):
    text = page.render(rows, ["Six texts."], "python -m x", "own.svg")
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][2:]
    assert [line[:2] for line in lines] == [[n, page.HEADS[e]] for n in ("alpha0", "alpha0.1") for e in EFFECTS]
    assert lines[1][2:] == ["10.00", "5.00 to 15.00", "–", "–", "–"]
    assert lines[8][2:] == ["12.00", "5.00 to 15.00", "+2.00", "+1.00 to +3.00", "< 0.001"]
    assert text.startswith("    python -m x\n") and "(own.svg)" in text and "- Six texts." in text
    assert "less alpha0" in text


def test_the_picture_says_its_figures(rows, tmp_path):
    out = tmp_path / "reads.md"
    assert page.write(rows, [], "python -m x", out) == out.read_text(encoding="utf-8")
    svg = out.with_suffix(".svg").read_text(encoding="utf-8")
    assert "alpha0: the test set itself 0.00" in ElementTree.fromstring(svg).get("aria-label")
    shown = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
    for words in ("alpha0", "alpha0.1", *(label for label, _, _ in page.LINES), "WORDS", "MANNER"):
        assert words in shown

"""stress.html and STRESS.md: their figures, words and pictures."""

from __future__ import annotations

import re

import browser
import pytest
from random_predictions import predicted

from local.core.conditions import CLEAN, CONDITIONS, cases
from local.pages.stress_page import StressPage, _notes
from local.pages.stress_plots import curve, curve_rows
from local.scoring import stats
from local.scoring.gaps import SPREAD, WOMEN_LESS_MEN, gaps
from local.scoring.stress_scores import inaudible_changes, stress_scores

TITLE = "n <b> on c, protocol speaker: under distortion"


def made(text: bool) -> StressPage:
    """A page of an experiment that is worse the later a case comes."""
    tables = {}
    for place, case in enumerate(cases(["white", "tilt", "inaudible"] if text else ["telephone"])):
        table = predicted(6, 8, 1, 0.9 - place / 40, text)
        table["gender"] = ["F" if name < "s03" else "M" for name in table["spk_id"]]
        tables[case] = table.assign(duration=[1.0 + i % 5 for i in range(len(table))])
        if not text:
            tables[case] = tables[case].drop(columns="wrd_hyp")
    lines = ["1 of 2 runs"], ["White noise (dB SNR): `x` \\<b\\>"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "RESAMPLES", 99)
        return StressPage(TITLE, stress_scores(tables), inaudible_changes(tables), gaps(tables), *lines)


@pytest.fixture(scope="module")
def page() -> StressPage:
    return made(text=True)


def test_a_curve_has_clean_audio_at_its_place(page):
    assert curve_rows("white", page.scores)["tick"].tolist() == ["clean", "20", "15", "10", "5", "0"]
    assert curve_rows("tilt", page.scores)["tick"].tolist() == ["-6", "-3", "clean", "3", "6"]
    assert all(curve_rows(name, page.scores).empty for name in ("gain", "rate", "mp3"))


def test_the_page_has_every_case_once(page):
    html = page.html("./run.sh --stage 7", "report.html")
    rows = re.findall(r"<tr>(.*?)</tr>", re.search(r'aria-labelledby="scores".*?</section>', html, re.DOTALL)[0])
    assert len(rows) == 1 + 5 + 4 and "<td>clean</td>" in rows[0]
    assert "<b>" not in html and "n &lt;b&gt; on c" in html
    assert html.count("<svg") == 1 + 2
    clean = page.scores.iloc[0]
    label = re.search(r'aria-label="white noise, per cent by strength \(dB SNR\)\. WA: ([\d.]+) ', html)
    assert label[1] == f"{100 * clean['wa']:.2f}"
    assert '<a href="report.html">' in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")
    sections = re.findall(r'<section aria-labelledby="(\w+)">', html)
    assert sections == ["overview", "curves", "inaudible", "scores", "gaps", "moved", "notes"]
    assert all(f'id="{name}"' in html for name in sections)


def test_the_notes_explain_the_kinds_of_gaps_that_are_shown():
    one = predicted(6, 8, 1, 0.9).assign(gender="F", duration=1.0)
    white, clean = next(case for case in cases(["white"]) if case != CLEAN), CLEAN
    tables = {clean: one, white: one}
    assert "women" not in " ".join(_notes(tables, {SPREAD})).lower() and "Spread of" in _notes(tables, {SPREAD})[-1]
    assert "Women less men" in _notes(tables, {WOMEN_LESS_MEN})[-1]
    assert "stress_gaps.csv" not in " ".join(_notes(tables, set()))


def test_cards_name_the_worst(page):
    wa, ua, wer, changed = page.cards
    assert wa.beside == f"lowest {100 * page.scores['wa'].min():.2f}" and wer.beside.startswith("highest ")
    assert changed.value == f"{100 * page.inaudible['changed'].iloc[-1]:.2f}" and ua.name == "UA"


def test_markdown_has_the_same_tables(page):
    text = page.markdown("./run.sh --stage 7")
    assert text.startswith("# n \\<b\\> on c") and "- **Warning:** 1 of 2 runs\n" in text
    lines = [line for line in text.splitlines() if line.startswith("| white noise | ")]
    assert len(lines) == 5 + 5  # scores, and gaps
    head = next(line for line in text.splitlines() if line.startswith("| condition | strength | WA | "))
    assert head.count("|") == lines[0].count("|") and "WER" in head
    assert "| white noise, 60 dB SNR | 48 |" in text
    assert text.count("| spread of speakers |") == 2  # a row of the gaps, and a column


def test_no_table_is_wider_than_a_window_of_1280(page, tmp_path):
    """With all scores and all gaps; and the heads of columns may have lines, their figures not."""
    made_page = tmp_path / "stress.html"
    made_page.write_text(page.html("./run.sh --stage 7", ""), encoding="utf-8")
    with browser.tab(tmp_path / "profile") as tab:
        tab.size(1280, 900)
        tab.open(made_page.as_uri())
        tab.wait("document.readyState === 'complete' && document.querySelectorAll('.box').length === 4")
        assert (
            tab.evaluate("[...document.querySelectorAll('.box')].map((box) => box.scrollWidth - box.clientWidth)")
            == [0] * 4
        )
        heights = "new Set([...document.querySelectorAll('tbody tr')].map((row) => row.clientHeight)).size"
        assert tab.evaluate(heights) == 1


def test_without_text_nothing_is_said_of_it():
    page = made(text=False)
    assert "WER" not in page.markdown("") and "WER" not in curve("telephone", curve_rows("telephone", page.scores))
    assert [card.name for card in page.cards] == ["WA", "UA"]


def test_titles_are_those_of_the_conditions(page):
    labels = page.worst()["label"].tolist()
    assert labels[0] == CLEAN.title and all(
        any(label.startswith(known.title) for known in CONDITIONS.values()) for label in labels[1:]
    )

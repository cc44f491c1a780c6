"""What a protocol is worth: figures by hand and by `local.scoring.stats`, the table, and the text of the picture."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from local.core.errors import UserError
from local.pages import price
from local.scoring import metrics, stats
from local.scoring.scored import Experiment

SPEAKERS = "ABCDEF"
TABLE = pd.DataFrame(
    [(f"{who}{i}", who, ("ang", "sad")[i % 2]) for who in SPEAKERS for i in range(8)], columns=["ID", "spk_id", "emo"]
).assign(recording="", session="", wrd="")
OPTIMISTIC = "speaker-valid_oracle-OPTIMISTIC"


def made(protocol: str, valid: str, wrong: int, lacking: int = 0, **values: object) -> Experiment:
    """An experiment in which the first utterances of each speaker are wrong, two speakers more often than the rest."""
    right = TABLE["ID"].str[1].astype(int) >= wrong + TABLE["spk_id"].isin(["A", "B"])
    other = TABLE["emo"].map({"ang": "sad", "sad": "ang"})
    predictions = TABLE.assign(emo_hyp=TABLE["emo"].where(right, other), p_ang=0.5, p_sad=0.5, seed=1, fold="1")
    predictions = predictions[lacking:]
    row = {"name": "x", "corpus": "own", "protocol": protocol, "valid": valid, "folds": "6/6", "seeds": 1}
    cluster, kind = stats.clusters(predictions)
    row |= metrics.scores(predictions) | {"cluster": kind, "clusters": cluster.nunique(), "speakers_known": "48/48"}
    for score, (low, high) in stats.intervals(predictions).items():
        row |= {f"{score}_low": low, f"{score}_high": high}
    summary = pd.Series(row | {"speaker_overlap": 0.0})
    folds = pd.DataFrame([{"seed": 1, "fold": "1", "config": "statistics.yaml"}])
    experiment = Experiment(Path("results/own", protocol, "x"), folds, summary, "x", "own", protocol, valid)
    about = {"certainty": "own choice", "weights": "no ImageNet"}
    vars(experiment).update(predictions=predictions, values={"epochs": 5, "seed": 1} | values, about=about, audio={})
    return experiment


@pytest.fixture
def experiments() -> list[Experiment]:
    return [
        made("speaker", "partner", 2),
        made(OPTIMISTIC, "oracle-OPTIMISTIC", 1),
        made("random-OPTIMISTIC", "utterances", 0),
        made("random-OPTIMISTIC", "none", 3, lacking=1),
    ]


def test_points_against_the_first_and_their_paired_interval(experiments):
    rows = price.price(experiments)
    right = [6 * 8 - 2 - 6 * wrong for wrong in (2, 1, 0, 3)]
    assert rows["wa"].tolist() == pytest.approx([right[0] / 48, right[1] / 48, right[2] / 48, (right[3] - 0) / 47])
    assert rows["wa_diff"].tolist()[:3] == pytest.approx([0, 6 / 48, 12 / 48])
    for at in (1, 2):
        expected = stats.differences(experiments[0].predictions, experiments[at].predictions)
        for score in ("wa", "ua"):
            ends = rows.loc[at, [f"{score}_diff_low", f"{score}_diff_high"]].tolist()
            assert ends == [expected[score].low, expected[score].high]
    assert rows.loc[[0, 3], ["wa_diff_low", "ua_diff_high"]].isna().all(axis=None)  # itself; other utterances
    assert rows["base"].tolist() == ["speaker", "speaker", "random-OPTIMISTIC", "random-OPTIMISTIC"]


@pytest.mark.parametrize("turned", [False, True])
def test_official_lists_are_held_against_the_same_utterances_of_the_reference(turned):
    """Speakers D, E, F alone are tested: of 24 utterances all are right, and 18 with protocol speaker."""
    speaker, lists = made("speaker", "partner", 2), made("official", "list", 0, lacking=24)
    rows = price.price([lists, speaker] if turned else [speaker, lists])
    assert rows["n"].tolist() == ([24, 48] if turned else [48, 24])
    assert rows["wa"].tolist() == pytest.approx([1, 34 / 48] if turned else [34 / 48, 1])
    sign = -1 if turned else 1
    assert rows["wa_diff"].tolist() == pytest.approx([0, sign * 6 / 24])
    same = speaker.predictions[24:]
    expected = stats.differences(lists.predictions, same) if turned else stats.differences(same, lists.predictions)
    assert rows.loc[1, ["ua_diff_low", "ua_diff_high"]].tolist() == [expected["ua"].low, expected["ua"].high]
    text = price.render_price(rows, [speaker, lists], TABLE, "python -m x", "")
    assert "Points between `official` and another protocol are those on the utterances that both tested." in text
    assert "- Intervals of `speaker`: resampling 6 speakers.\n" in text
    assert "- Intervals of `official`: resampling 24 utterances, because speakers and recordings are too few" in text
    assert "Points without an interval" not in text and "`official`: trained on the corpus's own training list" in text


def test_of_other_numbers_of_seeds_the_utterances_are_the_same():
    speaker, session = made("speaker", "partner", 2), made("session", "none", 0)
    more = session.predictions.assign(seed=2, emo_hyp="ang")
    vars(session).update(predictions=pd.concat([session.predictions, more], ignore_index=True))
    session.summary["seeds"] = 2
    rows = price.price([speaker, session])
    expected = stats.differences(speaker.predictions, session.predictions)
    for score in ("wa", "ua"):
        ends = rows.loc[1, [f"{score}_diff_low", f"{score}_diff", f"{score}_diff_high"]].tolist()
        assert ends == pytest.approx([expected[score].low, expected[score].estimate, expected[score].high])
    text = price.render_price(rows, [speaker, session], TABLE, "python -m x", "")
    assert "Points without an interval" not in text and "; numbers of seeds, row by row: 1, 2.\n" in text


def test_lists_of_other_utterances_have_no_points():
    speaker, lists = made("speaker", "partner", 2), made("official", "list", 0)
    vars(speaker).update(predictions=speaker.predictions[:8])
    vars(lists).update(predictions=lists.predictions[8:])
    assert price.price([speaker, lists]).loc[1, ["wa_diff", "wa_diff_low"]].isna().all()


def test_the_page_names_what_is_optimistic_and_what_is_not_served(experiments):
    text = price.render_price(price.price(experiments), experiments, TABLE, "python -m x", "own.svg")
    assert "- Intervals: resampling 6 speakers.\n" in text
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [row[:2] for row in table[2:]] == [
        ["speaker", "partner"],
        [OPTIMISTIC, "oracle-OPTIMISTIC"],
        ["random-OPTIMISTIC", "utterances"],
        ["random-OPTIMISTIC", "none"],
        ["recording", "not served"],
        ["session", "not served"],
        ["official", "not served"],
        ["corpus", "not served"],
    ]
    assert table[2][6:] == ["reference"] * 2 and table[3][6].startswith("+12.50 (+")
    assert table[5][6].count("(") == 0 and "Points without an interval" in text
    assert "![Points against the reference, of each protocol and validation](own.svg)" in text
    assert "(column session): 48 of its 48 utterances have no session." in text
    assert f"- `{OPTIMISTIC}`: each fold tests" in text and text.count("OPTIMISTIC: the epoch is the best of all") == 1
    told = price.render_price(price.price(experiments), experiments, TABLE, "python -m x", "", ["own_x failed."])
    assert told.endswith("\n- own_x failed.\n")
    told = "system of statistics.yaml (spec: own choice; weights: no ImageNet); number of seeds: 1."
    assert text.startswith("    python -m x\n") and told in text


def test_the_picture_is_a_file_of_its_own_and_says_its_figures(experiments):
    rows = price.price(experiments)
    svg = price.price_picture(rows)
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("role") == "img"
    label = root.get("aria-label")
    assert "speaker, oracle-OPTIMISTIC: WA +12.50 (" in label and "random-OPTIMISTIC, none: WA -" in label
    shown = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
    for words in ("speaker", "partner", "oracle-OPTIMISTIC", "random-OPTIMISTIC", "none", "WA", "UA"):
        assert words in shown
    assert "--series-0: #" in svg and "prefers-color-scheme: dark" in svg and "var(--series-1)" in svg
    assert svg == price.price_picture(rows)


def test_what_is_not_alike_is_refused(experiments):
    first = experiments[0]
    for others, what in (
        ([experiments[1], first], "is OPTIMISTIC, and the others would be held against it"),
        ([first, made("session", "none", 1, epochs=6)], "has epochs 5, .* 6"),
    ):
        with pytest.raises(UserError, match=what):
            price.price(others)
    with pytest.raises(UserError, match="speaker/x: emotions were not trained"):
        price.price([made(each, "none", 1, emotion_weight=0.0) for each in ("speaker", "session")])
    again = made("session", "none", 2, seed=2, device="cuda:1")
    assert not math.isnan(price.price([first, again])["wa_diff_low"][1])

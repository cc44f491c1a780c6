"""Predictions of other models on our folds: which utterance is meant, what counts as an error, the fair subset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from local.core.errors import UserError
from local.corpora.faults import Fault
from local.corpora.label_map import LabelMap
from local.scoring import foreign, metrics, predictions
from local.scoring.foreign import MISSING, match, of_foreign, predictions_of
from local.scoring.foreign_files import Files, Row
from local.scoring.foreign_labels import map_labels

ROOT = Path("/data/it's here")
UTTERANCES = pd.DataFrame(
    [
        *(("a", "$data_root/s1/a.wav", "ang"), ("b", "$data_root/s1/b.wav", "sad")),
        *(("s2-a", "$data_root/s2/a.wav", "hap"), ("top", "$data_root/b.wav", "hap")),
        *(("é", "$data_root/s2/é.wav", "sad"), ("untested", "$data_root/s2/u.wav", "ang")),
    ],
    columns=["ID", "wav", "emo"],
).assign(wrd="WELL THEN")
TESTS = {"1": UTTERANCES.iloc[:2], "2": UTTERANCES.iloc[2:5]}


def row(key: str, label: str = "ang", line: int = 2, fold: str = "", text: str = "", **shares: float) -> Row:
    return Row("p.csv", line, key, fold, label, shares, text, "" if label else "it failed")


def files(*rows: Row, key: str = "ID", text: str = "") -> Files:
    return Files([*rows], {"key": key, "label": "pred", "text": text, "fold": ""}, sorted(rows[0].posteriors))


def found(*rows: Row, partial: bool = False, **more: str) -> list[tuple[str, str]]:
    return [*match(files(*rows, **more), UTTERANCES, ROOT, TESTS, partial).rows]


@pytest.mark.parametrize(
    ("wav", "place"),
    [
        *(("$data_root/s1/a.wav", ("1", "a")), (f"{ROOT}/s2/a.wav", ("2", "s2-a")), ("s1/a.wav", ("1", "a"))),
        *(("/elsewhere/x/s2/a.wav", ("2", "s2-a")), (r"C:\x\s1\b.wav", ("1", "b")), ("./s1/../s1/b.wav", ("1", "b"))),
        *(("b.wav", ("2", "top")), ("$data_root/b.wav", ("2", "top"))),  # a whole path comes before the end of another
        *(("e\u0301.wav", ("2", "é")), ("é.wav", ("2", "é"))),  # in either Unicode form
    ],
)
def test_a_wav_is_a_path_or_its_end(wav, place):
    assert found(row(wav), key="wav") == [place]


@pytest.mark.parametrize("wav", ["/data/x/s1/c.wav", "/elsewhere/data/x/s1/c.wav", "../x/s1/c.wav", "c.wav"])
def test_audio_that_lies_beside_the_table_is_found_by_its_path(wav):
    table = UTTERANCES.iloc[:1].assign(wav="$data_root/../x/s1/c.wav")
    given = files(row(wav), key="wav")
    assert [*match(given, table, ROOT, {"1": table}).rows] == [("1", "a")]


def test_a_path_that_leaves_the_table_s_folder_is_not_taken_for_one_in_it():
    table = UTTERANCES.iloc[:2].assign(wav=["$data_root/c.wav", "$data_root/../c.wav"])
    matched = match(files(row("c.wav"), row("../c.wav"), key="wav"), table, ROOT, {"1": table})
    assert {name: each.key for (_, name), each in matched.rows.items()} == {"a": "c.wav", "b": "../c.wav"}


def test_two_utterances_of_one_file_name_are_named():
    with pytest.raises(UserError, match=r"p\.csv:2: wav 'a\.wav' may be any of 2 utterances: a, s2-a"):
        found(row("a.wav"), key="wav", partial=True)


@pytest.mark.parametrize(
    "wav", ["A.wav", "a.flac", "other/s3/a.wav", "$data_root/a.wav", "$data_root/s3/b.wav", "", "s1"]
)
def test_what_is_not_exactly_an_utterance_is_refused_unless_partial(wav):
    with pytest.raises(UserError, match="is not in the corpus") as error:
        found(row(wav), row("b.wav"), key="wav")
    assert "--partial true" in error.value.remedy
    matched = match(files(row(wav), row("b.wav"), key="wav"), UTTERANCES, ROOT, TESTS, partial=True)
    assert [*matched.rows] == [("2", "top")] and len(matched.left_out) == 1


def test_doubles_are_refused_with_both_lines_and_other_folds_too():
    with pytest.raises(UserError) as error:
        found(row("a"), row("b", line=3), row("a", line=7), partial=True)
    assert "p.csv:7: 'a' has a prediction already, in line 2 of 'p.csv'" in error.value.what
    with pytest.raises(UserError, match="fold '2' does not test 'a'"):
        found(row("a", fold="2"), partial=True)
    assert found(row("a", fold="1")) == [("1", "a")]


def test_an_utterance_that_two_folds_test_is_scored_in_both_unless_the_row_says_which():
    tests = TESTS | {"3": UTTERANCES.iloc[[0]]}
    assert [*match(files(row("a")), UTTERANCES, ROOT, tests).rows] == [("1", "a"), ("3", "a")]
    both = files(row("a", fold="1"), row("a", "sad", fold="3"))
    assert [each.label for each in match(both, UTTERANCES, ROOT, tests).rows.values()] == ["ang", "sad"]


def test_untested_utterances_are_counted():
    matched = match(files(row("untested", fold="1"), row("a")), UTTERANCES, ROOT, TESTS)
    assert matched.untested == 1 and [*matched.rows] == [("1", "a")]


def predicted(*rows: Row, labels: tuple[str, ...] = (), text: str = "", **how):
    given = files(*rows, text=text)
    mapped = map_labels([*labels, *(each.label for each in rows if each.label)], ["ang", "hap", "sad"], **how)
    return mapped, *predictions_of(TESTS, match(given, UTTERANCES, ROOT, TESTS), given, mapped)


def test_missing_and_foreign_classes_are_errors_in_tables_by_hand(tmp_path):
    mapped, tables, missing = predicted(
        *(row("a", "angry"), row("b", "calm"), row("s2-a", "joy"), row("top", ""), row("é", "sad"))
    )
    assert missing.to_dict("records") == [{"fold": "2", "ID": "top", "wav": "$data_root/b.wav", "reason": "it failed"}]
    assert {name: [*table["emo_hyp"]] for name, table in tables.items()} == {
        "1": ["ang", "(cal)"],
        "2": ["hap", MISSING, "sad"],
    }
    for table in tables.values():
        predictions.write(tmp_path / "p.csv", table)
        assert predictions.read(tmp_path / "p.csv", may_lack=True).equals(table)
        with pytest.raises(UserError):  # of ours, every row has posteriors
            predictions.read(tmp_path / "p.csv")
    pooled = pd.concat(tables.values(), ignore_index=True)
    scores = metrics.scores(pooled)
    # ang 1/1, hap 1/2, sad 1/2; the F1 of (cal) and of what is missing is none.
    assert scores["wa"] == 3 / 5 and scores["ua"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert scores["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert scores["wf1"] == pytest.approx((1 * 1 + 2 * 2 / 3 + 2 * 2 / 3) / 5)
    assert (scores["ece"], scores["brier"], scores["wer"]) == (None, None, None)
    counts = metrics.confusion(pooled)
    assert [*counts.index] == ["ang", "hap", "sad"] and [*counts] == ["ang", "hap", "sad", "(cal)", MISSING]
    assert counts.loc["hap"].to_dict() == {"ang": 0, "hap": 1, "sad": 0, "(cal)": 0, MISSING: 1}
    assert [*metrics.classes(pooled)["n"]] == [1, 2, 2]
    assert of_foreign(clustered(pooled), mapped) == {"missing": 1, "outside": 1, "outside_classes": "cal 1"}


def clustered(pooled: pd.DataFrame) -> pd.DataFrame:
    return pooled.assign(spk_id="", recording="")


def test_calibration_is_of_what_has_posteriors_and_merged_labels_add_up():
    _, tables, _ = predicted(
        row("a", "angry", angry=0.5, rage=0.2, joy=0.3, calm=0.0),
        row("s2-a", "calm", line=3, angry=0.1, rage=0.1, joy=0.2, calm=0.6),
        labels=("rage", "joy", "calm"),
        label_map=LabelMap(Path("mine.csv"), {("", "rage"): "ang"}, {"rage": "ang"}),
    )
    first, second = tables["1"].iloc[0], tables["2"].set_index("ID").loc["s2-a"]
    shares = ["p_ang", "p_hap", "p_sad", "p_(cal)", f"p_{MISSING}"]
    assert first[shares].tolist() == pytest.approx([0.7, 0.3, 0, 0, 0])
    assert second[shares].tolist() == pytest.approx([0.2, 0.2, 0, 0.6, 0])
    pooled = pd.concat(tables.values(), ignore_index=True)
    of_two = (0.3**2 + 0.3**2 + 0.2**2 + 0.8**2 + 0.6**2) / 2
    assert metrics.scores(pooled)["brier"] == pytest.approx(of_two)
    assert metrics.scores(pooled)["ece"] == pytest.approx((abs(1 - 0.7) + abs(0 - 0.6)) / 2)
    assert metrics.reliability(pooled)["n"].sum() == 2


def test_a_missing_transcript_is_all_deletions():
    _, tables, _ = predicted(row("a", "ang", text="WELL"), row("b", "", line=3, text="WELL THEN"), text="hyp")
    one = tables["1"]
    assert [*one["wrd_hyp"]] == ["WELL", ""] and metrics.error_rates(one)["wer"] == 3 / 4


def test_the_fair_subset_is_of_the_classes_that_the_model_has():
    mapped, tables, _ = predicted(
        *(row("a", "ang"), row("b", "ang"), row("s2-a", "ang"), row("top", "hap"), row("é", "hap")),
        labels=("ang", "hap"),
        complete=True,
    )
    pooled = clustered(pd.concat(tables.values(), ignore_index=True))
    summary = of_foreign(pooled, mapped)
    assert (summary["fair_classes"], summary["fair_n"]) == ("ang hap", 3)
    assert summary["fair_wa"] == 2 / 3 and summary["fair_ua"] == pytest.approx((1 + 1 / 2) / 2)
    assert metrics.scores(pooled)["wa"] == 2 / 5
    assert np.isnan(summary["fair_wa_low"])  # of three utterances there is no interval


def test_labels_other_than_the_likeliest_posterior_are_counted():
    rows = [row("a", "ang", ang=0.4, sad=0.6), row("b", "ang", ang=0.6, sad=0.4), row("c", "ang")]
    rows += [row("d", "ang", ang=0.5, sad=0.5), row("e", "Angry", ang=0.6, sad=0.4), row("f", "", ang=0.6, sad=0.4)]
    mapped = map_labels(["ang", "sad", "Angry"], ["ang", "hap", "sad"])
    assert foreign.decisions_differ(rows, mapped) == 1


def test_predictions_without_any_label_are_said_to_have_none():
    given = files(row("a", ""))
    mapped = foreign.labels_of(given, ["ang", "hap", "sad"])
    with pytest.raises(UserError, match="no tested utterance has a prediction"):
        foreign.on_folds(given, mapped, UTTERANCES, ROOT, TESTS, ["1"])


def test_wrong_posteriors_alone_have_a_remedy_of_theirs():
    given = files(row("a"))
    given.wrong.append(Fault("p.csv", 2, "a", "p_ang '0,5' is not a number"))
    with pytest.raises(UserError) as error:
        match(given, UTTERANCES, ROOT, TESTS)
    assert "probabilities" in error.value.remedy

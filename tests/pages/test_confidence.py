"""What pages say of temperatures, and the table and the picture of confidence."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from local.pages import confidence, plots
from local.scoring.calibration import Temperature, risk_coverage


@pytest.fixture
def pooled() -> pd.DataFrame:
    """Forty predictions of two folds, half of them right, all at 0.9."""
    right = np.arange(40) % 2 == 0
    return pd.DataFrame(
        {
            "ID": [f"u{i:02d}" for i in range(40)],
            "emo": np.where(right, "ang", "sad"),
            **{"emo_hyp": "ang", "p_ang": 0.9, "p_sad": 0.1, "seed": 1, "recording": ""},
            "fold": ["a"] * 20 + ["b"] * 20,
            "spk_id": [f"s{i // 4}" for i in range(40)],
        }
    )


@pytest.fixture
def runs(tmp_path):
    folders = [tmp_path / "seed1" / fold for fold in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "decode.json").write_text(json.dumps({"inputs": {}, "outputs": {}, "facts": {"epoch": 3}}))
    return folders


@pytest.mark.parametrize(
    ("valid", "words"),
    [
        ("none", "there is none, as nothing validates (`--valid none`)"),
        ("oracle-OPTIMISTIC", "there is none, as the test set itself validates (`--valid oracle`)"),
        ("partner", "an earlier version decoded these runs: `--stage 3 --force true` fits it"),
    ],
)
def test_without_a_temperature_it_says_why(pooled, runs, valid, words):
    found = confidence.of_runs(runs, pooled, valid)
    assert words in found.said and [*found.tables] == ["as trained"]
    assert [row[0] for row in found.figures.rows] == ["as trained"] and found.figures.rows[0][1] == "40.00"


def test_a_test_on_another_corpus_has_the_temperature_of_the_training(pooled, runs, tmp_path):
    there = tmp_path / "other" / "from_own@speaker" / "n" / "seed1"
    runs[0].parent.rename(there.parent.mkdir(parents=True) or there)
    found = confidence.of_runs([there / run.name for run in runs], pooled, "partner")
    assert "there is none yet: stage 3 without `--test-corpus` fits it" in found.said


def test_with_temperatures(pooled, runs):
    for run, value in zip(runs, (1.0, 50 / 17), strict=True):
        Temperature(min(value, 20), 30, 1.0, 0.5, "partner", 3).write(run)
    found = confidence.of_runs(runs, pooled, "partner")
    assert "Temperature: 1.00 to 2.94; each run has one" in found.said and "30 utterances" in found.said
    (raw, *_), (scaled, *_), (difference, ece, span, *rest) = found.figures.rows
    assert (raw, scaled, difference, rest) == ("as trained", "with temperature", "difference", ["", "", ""])
    assert float(ece.replace("−", "-")) < 0 and " to " in span
    assert found.markdown()[0] == found.said and confidence.KEY in found.markdown()
    assert [row[0] for row in found.thresholds.rows] == ["0.6", "0.7", "0.8", "0.9"]
    of_first = found.tables["with temperature"]["p_ang"]
    assert of_first[0] == pytest.approx(0.9) and of_first[39] < 0.7


def test_one_of_another_checkpoint_does_not_count(pooled, runs):
    Temperature(2.0, 30, 1.0, 0.5, "partner", 3).write(runs[0])
    Temperature(3.0, 30, 1.0, 0.5, "partner", 2).write(runs[1])
    assert "2.00; 1 of 2 runs have one, and the others count with 1" in confidence.of_runs(runs, pooled, "x").said


def test_predictions_without_posteriors_have_no_confidence(pooled, runs):
    assert confidence.of_runs(runs, pooled.assign(p_ang=[np.nan] + [0.9] * 39), "partner") is None


def test_the_picture_tells_its_figures():
    curve = risk_coverage(np.linspace(1, 0.3, 1000), np.arange(1000) % 5 != 4)
    svg = plots.risk_coverage("risk", {"as trained": curve, "with temperature": curve / 2})
    assert "as trained: 20.00 at 25, 20.00 at 50, 20.00 at 75, 20.00 at 100." in svg
    assert "with temperature: 10.00 at 25" in svg and len(svg) < 40_000

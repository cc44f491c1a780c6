"""What an export says of its quality: worked out by hand, and the same as the experiment's own tables."""

from __future__ import annotations

import json

import pytest
from hand_made_runs import predict

from local.deploy import quality
from local.experiment.command_line import parse
from local.score import score
from local.scoring import scored

FOLDS = {"1A": 2, "1B": 3, "2A": 6, "2B": 4}  # emotions that are wrong, of 12


@pytest.fixture
def jobs(own_corpus):
    words = [*own_corpus, "--name", "n"]
    return words, {fold: predict(words, fold, wrong=wrong, lost=0) for fold, wrong in FOLDS.items()}


def test_a_run_is_described_by_its_own_test_set_and_its_training_set(jobs):
    _, runs = jobs
    facts = quality.of_runs([runs["1A"]], [7])
    assert facts["speakers"] == ["2A", "2B"] and "experiment" not in facts  # 1B validates
    # Four utterances of each of three emotions; the first two of the test set are wrong.
    assert facts["tested"]["ua"] == pytest.approx(10 / 12) and facts["tested"]["n"] == 12
    assert facts["tested"]["low"] < facts["tested"]["ua"] < facts["tested"]["high"]
    assert facts["tested"]["cluster"] == "recording"
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_an_ensemble_of_all_folds_is_described_as_the_experiment_is(jobs):
    words, runs = jobs
    score(parse(words))
    facts = quality.of_runs(list(runs.values()), [7] * 4)
    summary = scored.load(parse(words).experiment_folder).summary
    expected = {"ua": summary["ua"], "low": summary["ua_low"], "high": summary["ua_high"], "n": 48}
    assert expected.items() <= facts["tested"].items() and expected.items() <= facts["experiment"].items()
    assert facts["experiment"]["folds"] == "4/4" and facts["speakers"] == ["1A", "1B", "2A", "2B"]
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_other_weights_than_those_that_were_decoded_were_not_tested(jobs):
    _, runs = jobs
    assert "tested" not in quality.of_runs([runs["1A"]], [6])  # another epoch
    assert "tested" not in quality.of_runs([runs["1A"]], None)  # a mean of several
    (runs["1B"].folder / "predictions.csv").write_text("changed")
    assert "tested" not in quality.of_runs([runs["1A"], runs["1B"]], [7, 7])
    runs["1A"].decoding().path.unlink()
    assert "tested" not in quality.of_runs([runs["1A"]], [7])


def test_many_speakers_are_counted_and_unknown_ones_are_none(jobs, monkeypatch):
    _, runs = jobs
    monkeypatch.setattr(quality, "MOST_SPEAKERS", 1)
    assert quality.of_runs([runs["1A"]], None)["speakers"] == 2
    table = runs["1A"].manifests / "train.csv"
    table.write_text(table.read_text().replace(",2A,", ",,").replace(",2B,", ",,"))
    assert quality.of_runs([runs["1A"]], None)["speakers"] == []


def test_a_score_that_does_not_exist_is_none():
    entry = quality._plain({"ua": 0.5, "low": float("nan"), "cluster": "speaker"})
    assert entry == {"ua": 0.5, "low": None, "cluster": "speaker"}

"""Runs that are merged: they began as the training that merges them, or are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.core.errors import UserError
from local.core.markers import Marker
from local.experiment import task_runs

OWN = {
    **{"train.csv": "a", "valid.csv": "b", "tokenizer.model": "c", "valid": "partner", "encoder": "/x/whisper"},
    **{"encoder_version": "1", "alpha": 0.1, "freeze_layers": 2, "pooling": "mean", "ctc_run": "/x/ctc"},
}
RUN = {key: value for key, value in OWN.items() if key != "ctc_run"}


def test_a_run_of_the_same_fold_and_encoder_is_taken_wherever_its_encoder_lies():
    for changes in ({}, {"emotion_weight": 0.0}, {"encoder": "/y/whisper", "lr": 3}):
        task_runs.refuse_other("ctc_run", "RUN", RUN | changes, OWN)
    task_runs.refuse_other("emotion_run", "RUN", RUN | {"alpha": 0.0}, OWN)
    mapping = {"encoder": {"model_type": "wav2vec2"}}
    task_runs.refuse_other("ctc_run", "RUN", RUN | mapping | {"encoder_version": None}, OWN | mapping)


@pytest.mark.parametrize(
    ("key", "changes", "why"),
    [
        ("ctc_run", {"train.csv": "z"}, r"other utterances \(train.csv\), perhaps of those tested here"),
        ("ctc_run", {"valid.csv": None, "valid": "none"}, r"\(valid.csv, valid\)"),
        ("ctc_run", {"tokenizer.model": "z"}, r"\(tokenizer.model\)"),
        ("ctc_run", {"alpha": 0.0}, "has alpha 0: it has not learned that task"),
        ("emotion_run", {"emotion_weight": 0.0}, "has emotion_weight 0"),
        ("emotion_run", {"ctc_run": "x"}, "is merged itself"),
        ("emotion_run", {"lora": {"rank": 4}}, "has adapters"),
        ("emotion_run", {"encoder_version": "2"}, r"did not begin as this training: encoder_version \(2, here 1\)"),
        ("emotion_run", {"encoder_version": None, "encoder": "y"}, r"encoder \(y, here /x/whisper\)"),
        ("emotion_run", {"freeze_layers": 1}, r"freeze_layers \(1, here 2\)"),
        ("emotion_run", {"pooling": "sum"}, r"pooling \(sum, here mean\)"),
    ],
)
def test_any_other_run_is_refused(key, changes, why):
    with pytest.raises(UserError, match=f"{key}: RUN .*{why}"):
        task_runs.refuse_other(key, "RUN", RUN | changes, OWN)


def test_a_run_that_has_not_ended_or_of_another_seed_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no run of fold F and seed 1 whose training has ended"):
        task_runs.read("ctc_run", tmp_path, "F", 1)
    Marker(tmp_path / "train.json", RUN).write()
    (tmp_path / "env.json").write_text(json.dumps({"commit": "abc"}))
    assert task_runs.read("ctc_run", tmp_path, "F", 1) == RUN  # an older run does not say its seed
    (tmp_path / "env.json").write_text(json.dumps({"commit": "abc", "job": {"seed": 2}}))
    with pytest.raises(UserError, match="has seed 2, and here it is 1"):
        task_runs.read("ctc_run", tmp_path, "F", 1)

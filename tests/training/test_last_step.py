"""Epochs that another experiment has trained: what a run without the last step takes of them, and what it gives."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from table3_rows import EXPERIMENTS, run, workplace, write_corpus

from local.core import markers
from local.experiment.job import Job
from local.scoring import predictions, set_up
from local.scoring.scored import epochs
from local.training import last_step
from local.training.checkpoints import RunCheckpointer

ROW = "liu_local_global"
STAGES = ("train", "decode")


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    data = write_corpus(tmp_path_factory.mktemp("sounds"), {"A": 4, "B": 4, "C": 4}, odd=False)
    with workplace(tmp_path_factory.mktemp("rows"), data) as given:
        yield given


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    tensors = torch.load(RunCheckpointer(run_folder / "save").chosen().paramfiles["system"])
    return {name: each for name, each in tensors.items() if not name.startswith("elm.")}


@pytest.mark.slow
def test_a_run_without_the_last_step_is_the_one_that_trains_by_itself(words, monkeypatch):
    alone = run(words, ROW, *STAGES, name="alone", epochs=3, elm=False)
    assert "trained_in" not in json.loads((alone / "env.json").read_text())["job"]
    shutil.move(alone.parents[1], "alone")  # or it would be what `find` looks at, too
    alone = Path("alone", *alone.parts[-2:])
    row = run(words, ROW, *STAGES, epochs=3)
    with monkeypatch.context() as patch:
        patch.setattr("local.training.brain.EmotionBrain.fit_batch", None)  # no update is made
        taken = run(words, ROW, *STAGES, name=f"{ROW}-no_elm", epochs=3, elm=False)

    pd.testing.assert_frame_equal(*(predictions.read(each / "predictions.csv") for each in (taken, alone)))
    assert (taken / "predictions.csv").read_bytes() != (row / "predictions.csv").read_bytes()
    assert (taken / "hyperparams.yaml").read_bytes() == (alone / "hyperparams.yaml").read_bytes()
    facts, of_alone = (markers.read(each / "train.json") for each in (taken, alone))
    assert facts["facts"] == of_alone["facts"] and facts["inputs"] == of_alone["inputs"]
    found, expected = (pd.read_csv(each / "epochs.csv").drop(columns="seconds") for each in (taken, alone))
    pd.testing.assert_frame_equal(found, expected)
    tensors, others = weights(taken), weights(alone)
    assert tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors)

    told = json.loads((taken / "env.json").read_text())
    assert told["job"]["name"] == f"{ROW}-no_elm" and told["job"]["trained_in"] == ROW and len(told["resumed"]) == 1
    setup = dict(set_up.of_runs([taken], epochs([taken])))
    assert setup["trained once"] == f"in experiment {ROW}, with its last step" and "time" not in setup
    names = {path.parent.name for path in (taken / "save").glob("*/CKPT.yaml")}
    assert names == {path.parent.name for path in (row / "save").glob("*/CKPT.yaml")} - {
        RunCheckpointer(row / "save").chosen().path.name  # which was solved
    }
    one = next(iter(names))
    assert os.path.samefile(*(each / "save" / one / "system.ckpt" for each in (taken, row)))
    Job.of_run(taken)

    # Nothing is taken with other values, and by a run that has begun.
    run(words, ROW, "train", name="other", epochs=3, elm=False, lr=0.002)
    assert "trained_in" not in json.loads((EXPERIMENTS / "other/seed1/A/env.json").read_text())["job"]
    assert last_step.find(Job.of_run(taken)) is None

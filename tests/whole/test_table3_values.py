"""What each row of Table 3 is trained with, as its YAML builds it, against the values of its specification."""

from __future__ import annotations

import pytest
import tiny_models
from paths import REPOSITORY

from local.config import hparams
from local.training.optimisation import build_optimizer

FOLDER = REPOSITORY / "hparams" / "table3"
CONSTANT = {"scheduler": "get_constant_schedule"}
HALVED = {"scheduler": "ReduceLROnPlateau", "factor": 0.5, "patience": 2, "threshold": 0.0}  # after a third bad epoch
SCHEDULES = {  # of the other rows
    "wu_capsules": {"scheduler": "LossSteps", "factors": [0.5, 0.2, 0.1], "epochs": [8, 13, 17]},
    "sajjad_key_segments": HALVED,
    "liu_local_global": HALVED,
    "wang_dual_lstm": {"scheduler": "MultiStepLR", "milestones": [10, 20, 30], "gamma": 0.5},
    "superb_probe": {"scheduler": "ConstantLR", "factor": 1.0},
    "emotion2vec_probe": {"scheduler": "EpochCyclicLR", "base_lr": 5e-4, "max_lr": 1e-3, "step_size_up": 10},
}
COMMON = {"patience": 0, "selection": "valid_ua", "max_grad_norm": 5.0, "class_weights": None}
ADAM = {"optimizer": "Adam", "weight_decay": 0.0, "betas": (0.9, 0.999), "eps": 1e-8, "momentum": None}
RMSPROP = {"optimizer": "RMSprop", "weight_decay": 0.0, "betas": None, "eps": 1e-8, "momentum": 0.9}
ROWS = {
    "wu_capsules": {"epochs": 20, "batch_size": 16, "lr": 1e-3, "selection": "valid_wa"},
    "sajjad_key_segments": {"epochs": 50, "batch_size": 128, "lr": 1e-3, "patience": 10},
    "lu_asr_attention": {"epochs": 100, "batch_size": 32, "lr": 1e-4, "patience": 10, "max_grad_norm": 4.0},
    "liu_local_global": {"epochs": 30, "batch_size": 7, "lr": 1e-3, "patience": 8},  # 7 utterances: about 128 segments
    "wang_dual_lstm": {"epochs": 50, "batch_size": 128, "lr": 1e-3, "max_grad_norm": 0.0},
    "pappagari_xvector": {"epochs": 50, "batch_size": 128, "lr": 1e-3, "patience": 10, "selection": "valid_wf1"},
    "peng_asrnn": {"epochs": 60, "batch_size": 16, "lr": 3e-4, "patience": 10}
    | {"weight_decay": 1e-5, "class_weights": "balanced"},
    "superb_probe": {"batch_size": 4 * 8, "lr": 1e-4, "selection": "valid_wa", "max_grad_norm": 1.0}
    | {"epochs": 30_000 * 4 * 8 // 4000},  # 30,000 updates; a fold of IEMOCAP has about 4,000 utterances
    "emotion2vec_probe": {"epochs": 100, "batch_size": 128, "lr": 5e-4, "selection": "valid_wa"} | RMSPROP,
    "fine_tuning": {"epochs": 15, "batch_size": 64, "lr": 1e-4, "selection": "last", "class_weights": "balanced"},
}
SOLVED = ("egemaps_svm", "logmel_logistic", "majority")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return tiny_models.save(tmp_path_factory.mktemp("models") / "encoder", "wav2vec2-group")


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_trained_as_it_is_specified(row, encoder):
    file = FOLDER / f"{row}.yaml"
    upstream = {"upstream": encoder} if "upstream" in hparams.read_values(file) else {}
    values = hparams.build(hparams.resolve(file, upstream))
    scheduler, given = values["scheduler"], getattr(values["scheduler"], "keywords", {})
    assert {"scheduler": getattr(scheduler, "func", scheduler).__name__} | given == SCHEDULES.get(row, CONSTANT)
    expected = COMMON | ADAM | ROWS[row]
    optimizer = build_optimizer(values["optimizer"], values["system"], values["lr"], values["head_lr"])
    for group in optimizer.param_groups:
        found = values | {"optimizer": type(optimizer).__name__} | {"betas": None, "momentum": None} | group
        assert {name: found[name] for name in expected} == expected


def test_there_is_no_other_row_and_those_that_are_solved_have_no_epoch():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*ROWS, *SOLVED}
    assert [hparams.read_values(FOLDER / f"{row}.yaml")["epochs"] for row in SOLVED] == [0] * 3

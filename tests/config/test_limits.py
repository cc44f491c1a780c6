"""Values beyond what a training can use, or of another type, are refused before anything runs."""

from __future__ import annotations

import math

import pytest
from paths import REPOSITORY

from local.config.hparams import read_values
from local.config.limits import LIMITS, refuse_bad_values
from local.core.errors import UserError

SYSTEMS = sorted({*(REPOSITORY / "hparams").glob("*.yaml")} - {REPOSITORY / "hparams" / "running.yaml"})


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 1, "lr": 0, "warmup": 0, "weight_decay": 0},
        {"warmup": 1.0, "lr": 0.0, "ckpt_interval_minutes": 0.0005, "num_workers": 0},
        {"alpha": -1, "pooling": "max"},  # a system's own
        {},
    ],
)
def test_what_is_taken(values):
    refuse_bad_values(values, "own.yaml")


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("epochs", -1, "give a whole number of at least 0"),
        ("epochs", 2.0, "give a whole number of at least 0"),
        ("epochs", "ten", "give a whole number of at least 0"),
        ("epochs", True, "give a whole number of at least 0"),
        ("batch_size", -8, "give a whole number of at least 1"),
        ("patience", -1, "give a whole number of at least 0"),
        ("freeze_encoder_epochs", -2, "give a whole number of at least 0"),
        ("freeze_layers", 0.5, "give a whole number of at least 0"),
        ("micro_batch_seconds", 0, "give a number of at least 0.001"),
        ("lr", -1e-5, "give a number of at least 0"),
        ("lr", math.nan, "give a number of at least 0"),
        ("lr", math.inf, "give a number of at least 0"),
        ("lr", None, "give a number of at least 0"),
        ("warmup", 10, "give a number from 0 to 1"),
        ("num_workers", -1, "give a whole number of at least 0"),
        ("precision", "bf61", "take one of: auto fp32 tf32 bf16 fp16"),
        ("eval_precision", "auto", "take one of: fp32 tf32 bf16 fp16"),
        ("eval_precision", 16, "take one of: fp32 tf32 bf16 fp16"),
    ],
)
def test_what_is_refused(key, value, remedy):
    with pytest.raises(UserError) as refusal:
        refuse_bad_values({key: value}, "own.yaml")
    assert (refusal.value.what, refusal.value.remedy) == (f"own.yaml: {key} is {value!r}", remedy)


def test_the_yamls_of_the_repository_are_within_them_and_have_their_keys():
    every = {path.name: read_values(path) for path in SYSTEMS}
    for name, values in every.items():
        refuse_bad_values(values, name)
    assert LIMITS.keys() <= {key for values in every.values() for key in values}

"""What a device is taken to be good at."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from paths import REPOSITORY

from local.config import hparams
from local.data import device

VALUES = hparams.read_values(REPOSITORY / "hparams" / "mtl_wav2vec2.yaml")


def test_a_precision_that_is_given_stays():
    assert device.resolve_precision(VALUES | {"precision": "fp16", "device": "cpu"}) == "fp16"


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the system does not list the features of its CPU")
def test_a_cpu_trains_in_bf16_if_it_multiplies_it_in_hardware():
    able = "avx512_bf16" in Path("/proc/cpuinfo").read_text().split()
    assert device.resolve_precision(VALUES | {"device": "cpu"}) == ("bf16" if able else "fp32")


def test_limits_are_the_yamls_and_a_pass_costs_more_on_a_gpu_and_with_a_small_model():
    large, small = torch.nn.Linear(1000, 1000), torch.nn.Linear(100, 100)
    on_cpu, on_gpu = (device.limits(VALUES | {"device": name}, large) for name in ("cpu", "cuda:1"))
    assert on_cpu[:2] == on_gpu[:2] == (VALUES["micro_batch_size"], VALUES["micro_batch_seconds"])
    assert on_gpu.overhead > 10 * on_cpu.overhead > 0
    evaluation = device.evaluation_limits(VALUES | {"device": "cpu"}, small)
    assert evaluation.seconds == VALUES["eval_batch_seconds"]
    assert evaluation.overhead == pytest.approx(on_cpu.overhead * 1_001_000 / 10_100)

"""What a device is taken to be good at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from paths import REPOSITORY

from local.config import hparams
from local.core.errors import UserError
from local.data import device
from local.data.batches import UpdateSampler

VALUES = hparams.read_values(REPOSITORY / "hparams" / "mtl_wav2vec2.yaml")


def test_a_precision_that_is_given_stays():
    assert device.resolve_precision(VALUES | {"precision": "fp16", "device": "cuda"}) == "fp16"


@pytest.mark.parametrize("key", ["precision", "eval_precision"])
def test_fp16_on_a_cpu_is_refused(key):
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        device.resolve_precision(VALUES | {key: "fp16", "device": "cpu"})


def test_single_precision_is_rounded_to_tf32_only_when_that_is_asked_for(tf32_switches):
    for precision in ("fp32", "tf32", "bf16", "fp16", "tf32", "fp32"):
        name = device.use_precision(precision)
        assert name == ("fp32" if precision == "tf32" else precision)
        assert set(tf32_switches().values()) == ({"tf32", True} if precision == "tf32" else {"ieee", False})
        assert device.tf32_is_allowed() == (precision == "tf32")


def test_another_librarys_switches_are_overruled(tf32_switches):
    torch.backends.fp32_precision = "tf32"  # as transformers' trainer does
    device.use_precision("fp32")
    assert set(tf32_switches().values()) == {"ieee", False}
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    device.use_precision("fp32")
    assert set(tf32_switches().values()) == {"ieee", False}


def test_an_unknown_precision_is_refused():
    with pytest.raises(UserError, match="'fp8' is not known") as refusal:
        device.use_precision("fp8")
    assert "tf32" in refusal.value.remedy


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the system does not list the features of its CPU")
def test_a_cpu_trains_in_bf16_if_it_multiplies_it_in_hardware():
    able = "avx512_bf16" in Path("/proc/cpuinfo").read_text().split()
    assert device.resolve_precision(VALUES | {"device": "cpu"}) == ("bf16" if able else "fp32")


def test_a_cpu_whose_onednn_is_held_to_less_trains_in_fp32(monkeypatch):
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: False)
    assert device.resolve_precision(VALUES | {"device": "cpu"}) == "fp32"


def test_limits_are_the_yamls_and_a_pass_costs_more_on_a_gpu_and_with_a_small_model():
    large, small = torch.nn.Linear(1000, 1000), torch.nn.Linear(100, 100)
    on_cpu, on_gpu = (device.limits(VALUES | {"device": name}, large) for name in ("cpu", "cuda:1"))
    assert on_cpu[:2] == on_gpu[:2] == (VALUES["micro_batch_size"], VALUES["micro_batch_seconds"])
    assert on_gpu.overhead > 10 * on_cpu.overhead > 0
    evaluation = device.evaluation_limits(VALUES | {"device": "cpu"}, small)
    assert evaluation.seconds == VALUES["eval_batch_seconds"]
    assert evaluation.overhead == pytest.approx(on_cpu.overhead * 1_001_000 / 10_100)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "name", ["wu_capsules", "liu_local_global", "wang_dual_lstm", "pappagari_xvector", "peng_asrnn"]
)
def test_an_update_with_batch_norm_is_one_pass_whatever_the_device(name, kind):
    values = hparams.read_values(REPOSITORY / "hparams" / "table3" / f"{name}.yaml") | {"device": kind}
    large = torch.nn.Linear(2000, 3000)  # of a small system a pass costs much, so that it has few anyway
    normed = torch.nn.Sequential(large, torch.nn.BatchNorm1d(2))
    durations = np.random.default_rng(1).uniform(0.6, 34, 300)
    sampler = UpdateSampler(durations, values["batch_size"], device.limits(values, normed), seed=1)
    assert [part.ends_update for part in sampler.plan] == [True] * -(-300 // values["batch_size"])
    assert device.limits(values, large).overhead < 1000  # without batch norm, padding counts


def test_batch_norm_of_a_front_end_is_no_matter():
    system = torch.nn.ModuleDict({"front_end": torch.nn.BatchNorm1d(2)})
    values = VALUES | {"device": "cpu"}
    assert device.limits(values, system).overhead == device.batch_limits("cpu", system, 60).overhead


def test_a_gpu_that_is_not_of_cuda_is_not_taken(monkeypatch):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda: torch.device("mps"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device.infer_device() == device.full_name(None) == device.kind({"device": None}) == "cpu"


@pytest.mark.parametrize("name", [None, "cpu"])
def test_a_device_that_is_here(name):
    device.refuse_missing_device(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [("gpu", "'gpu' is not known"), ("mps", "'mps' is not"), ("cuda:99", "PyTorch finds"), ("cuda:x", "not known")],
)
def test_a_device_that_is_not_here_or_has_another_name(name, said):
    with pytest.raises(UserError, match=said):
        device.refuse_missing_device(name)

"""The memory of a training, by hand, against what autograd says that it keeps, and (slow) against a real peak."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import tiny_models
import torch
from paths import REPOSITORY
from torch import Tensor, nn

from local.data.batches import Limits, UpdateSampler
from local.data.noise import noise
from local.encoders import load_encoder
from local.systems import Outputs, System
from local.systems.mtl import MultiTaskSystem
from local.systems.peng_asrnn import PengAsrnn
from local.systems.statistics import StatisticsSystem
from local.systems.wu_capsules import WuCapsules
from local.training.memory import Counter, costs, micro_batches, numbers_kept, predict

VALUES = {"precision": "fp32", "device": "cpu", "augment": None, "eval_batch_seconds": 10}
VALUES |= {"eval_precision": "fp32", "optimizer": torch.optim.AdamW}


class Squares(System):
    """For N samples it makes a tensor of N numbers and two of (N / 640)^2, whose elements are products of frames."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1000))

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        frames = (wavs * self.scale[0]).reshape(len(wavs), -1, 640)
        return Outputs((frames @ frames.transpose(1, 2)).exp().mean((1, 2))[:, None])


def by_hand(size: int, seconds: float) -> float:
    """The waveforms, as many numbers again, and twice the products of 25 frames a second; 4 bytes each."""
    return 4 * size * (2 * 16_000 * seconds + 2 * (25 * seconds) ** 2)


def test_a_system_whose_cost_is_known_by_hand():
    kept, taken = costs(Squares(), augmented=False)
    assert kept([30.0] * 8) == pytest.approx(by_hand(8, 30.0), rel=1e-3)
    assert kept([0.64]) == pytest.approx(by_hand(1, 0.64), rel=1e-3)
    assert taken([1.92]) == pytest.approx(by_hand(1, 1.92), rel=1e-3)
    kept, _ = costs(Squares(), augmented=False, fused=True)  # as if the products were not kept
    assert kept([30.0] * 8) == pytest.approx(4 * 8 * 2 * 16_000 * 30, rel=0.02)


class Windows(System):
    """It copies windows of 1.6 s, with a step of 0.8 s: 2, 2 and 3 of them at the lengths that are tried."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        wavs = nn.functional.pad(wavs, (0, 25_600)) * self.scale
        return Outputs(wavs.unfold(1, 25_600, 12_800).contiguous().mean((1, 2))[:, None])


def test_what_grows_in_steps_is_not_taken_for_a_square():
    kept, _ = costs(Windows(), augmented=False)
    seconds = 30 + 2 * 31.6 + 38 * 1.6  # the waveform, padded and scaled, and its windows
    assert kept([30.0]) == pytest.approx(4 * 16_000 * seconds, rel=0.1)


class Joined(System):
    """It lays the utterances, of which it reads 20 s, one behind the other, scales all, and squares each."""

    most_seconds = 20.0

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        lengths = lengths.clamp(max=320_000)
        joined = torch.cat([wav[:length] for wav, length in zip(wavs, lengths.tolist(), strict=True)])
        scaled = joined * self.scale
        return Outputs(torch.stack([each.square().mean() for each in scaled.split(lengths.tolist())])[:, None])


def test_of_utterances_that_lie_one_behind_the_other_padding_takes_nothing():
    kept, taken = costs(Joined(), augmented=False)
    assert kept([20.0]) == kept([50.0]) == pytest.approx(4 * 16_000 * 4 * 20, rel=0.02)  # waveform and three of it
    # The waveforms are padded, what is joined and scaled is not, and one at a time is squared.
    assert kept([20.0, 5.0, 5.0]) == pytest.approx(4 * 16_000 * (60 + 2 * 30 + 20), rel=0.05)
    assert 0.1 < kept.padded < 0.4 and taken([50.0]) == taken([20.0]) > 0


def test_padding_counts_whole_where_all_is_padded():
    assert costs(Squares(), augmented=False)[0].padded > 0.9


@torch.no_grad()
def held(system: System, seconds: list[float]) -> float:
    """The most bytes that a pass of such utterances holds, counted as it is, without extrapolation."""
    wavs, lengths = noise(system, False, seconds)
    with torch.enable_grad(), Counter([wavs, *system.parameters(), *system.buffers()]) as counter:
        system.train()(wavs, lengths)
    return wavs.nbytes + counter.most


@pytest.mark.slow
@pytest.mark.parametrize("system", [WuCapsules, PengAsrnn])
@pytest.mark.parametrize("seconds", [[30.0] * 4, [14.0, 6.6, 4.9, 1.9, 7.0, 5.3]])
def test_systems_that_join_and_cut_utterances(system, seconds):
    made = system(4)
    kept, _ = costs(made, augmented=False)
    # Peng's lie on shelves, which are not filled to their ends.
    assert 0.75 * held(made, seconds) < kept(seconds) < 1.05 * held(made, seconds)


def test_what_is_cut_off_takes_no_memory():
    system = tiny().train()
    system.encoder.most_samples = 32_000
    kept, taken = costs(system, augmented=False)
    assert kept([60.0]) == kept([2.0]) > 0 and taken([60.0] * 2) == taken([2.0] * 2) > 0


def test_what_a_training_needs_by_hand():
    """Updates of 5 s + 5 s and of 30 s, which passes alone: the latter finds no gradient of its update."""
    sampler = UpdateSampler(np.array([5.0, 5.0, 30.0]), 3, Limits(8, 10, 1.0), seed=1)
    found = {(*sampler.durations[indices], later) for indices, later in micro_batches(sampler)}
    assert found == {(5.0, 5.0, False), (30.0, True)}
    need = predict(Squares(), VALUES, sampler, None)
    assert need.states == 3 * 4000 and need.process > 50e6  # a gradient, and two numbers for each parameter
    assert need.batch == pytest.approx(by_hand(1, 30.0), rel=1e-3)
    assert need.certain == need.process + need.states + need.batch
    two = predict(Squares(), VALUES, sampler, None, processes=2)
    assert two.states == 4 * 4000  # DDP copies gradients
    alike = UpdateSampler(np.full(4, 5.0), 4, Limits(8, 20, 1.0), seed=1)
    half = predict(Squares(), VALUES | {"precision": "bf16"}, alike, None)
    assert half.batch == pytest.approx(0.49 * by_hand(4, 5.0), rel=5e-3)
    # In validation 12 s are ten utterances of 1.2 s, or one of 30 s, however long it is.
    valid = np.array([*np.full(10, 1.2), 1.92])
    validated = predict(Squares(), VALUES | {"eval_batch_seconds": 12}, alike, valid)
    assert validated.validation == pytest.approx(by_hand(10, 1.2) - 4000, rel=0.02) and validated.training > 0


def test_the_plan_of_later_epochs_counts_and_the_sampler_stays_as_it_is():
    durations = np.random.default_rng(2).uniform(1, 9, 40)
    sampler = UpdateSampler(durations, 8, Limits(8, 20, 1.0), seed=1)
    before, found = list(sampler.plan), [durations[indices] for indices, _ in micro_batches(sampler)]
    assert sampler.plan == before and len(found) > 2 * len(before)
    assert all(len(each) * each.max() <= 20 for each in found)


@pytest.mark.parametrize(
    ("build", "numbers"),
    [
        (torch.optim.AdamW, 2),
        (lambda p: torch.optim.AdamW(p, fused=True, amsgrad=True), 3),
        (lambda p: torch.optim.SGD(p, lr=0.1), 0),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 1),
    ],
)
def test_the_numbers_that_an_optimizer_keeps(build, numbers):
    assert numbers_kept(build) == numbers


def tiny(**changes: object) -> MultiTaskSystem:
    encoder = load_encoder(tiny_models.config("wav2vec2-group", **changes).to_dict())
    return MultiTaskSystem(encoder, 4, 9, alpha=0.1)


def saved(system: System, size: int, seconds: float) -> float:
    """Bytes that autograd keeps of a pass, and the waveforms: not counted by the module under test."""
    sizes: dict[int, int] = {}
    weights = {tensor.data_ptr() for tensor in system.parameters()}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    n = round(seconds * 16_000)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = system(torch.randn(size, n), torch.full((size,), n))
    assert outputs.emotion.requires_grad
    return sum(sizes.values())


def test_an_encoder_keeps_what_autograd_says_at_lengths_that_were_not_tried():
    system = tiny(layerdrop=0.0).train()
    kept, _ = costs(system, augmented=False)
    for size, seconds in ((1, 2.56), (3, 1.28)):
        found, expected = kept([seconds] * size), saved(system, size, seconds)
        assert 0.98 * expected < found < 1.2 * expected  # more in the CNN, while it computes


def test_nothing_of_the_system_changes_nor_any_random_number():
    system = tiny(layerdrop=0.5, mask_time_prob=0.2)
    system.register_buffer("seen", torch.arange(3.0))
    system.encoder.register_forward_pre_hook(lambda *_: system.seen.add_(1)[3:].tolist() or None)
    before = {name: value.clone() for name, value in system.state_dict().items()}

    def draw() -> list[float]:
        return [torch.rand(()).item(), float(np.random.random()), random.random()]

    draws = []
    for predicted in (False, True):
        torch.manual_seed(3), np.random.seed(3), random.seed(3)
        if predicted:
            costs(system, augmented=False)
        draws.append(draw())
    assert draws[0] == draws[1] and system.training
    assert system.encoder.model.config.layerdrop == 0.5
    assert all(torch.equal(value, before[name]) for name, value in system.state_dict().items())
    assert all(parameter.grad is None for parameter in system.parameters())


def test_no_layer_of_a_whisper_is_skipped():
    source = tiny_models.config("whisper", encoder_layerdrop=0.5).to_dict()
    system, seen = MultiTaskSystem(load_encoder(source), 4, 9, alpha=0.1), []
    config = system.encoder.model.config
    system.encoder.register_forward_pre_hook(lambda *_: seen.append(config.encoder_layerdrop))
    costs(system, augmented=False)
    assert {*seen} == {0.0} and config.encoder_layerdrop == 0.5


def test_rows_of_a_front_end_and_a_system_that_takes_no_noise(monkeypatch):
    sampler = UpdateSampler(np.array([5.0, 5.0]), 2, Limits(8, 10, 1.0), seed=1)
    assert predict(StatisticsSystem(4), VALUES, sampler, None).batch < 100_000  # 80 numbers an utterance, however long
    assert predict(StatisticsSystem(4), VALUES | {"augment": object()}, sampler, None).batch > 2 * 5 * 16_000 * 4
    monkeypatch.setattr(Squares, "forward", lambda *_: 1 / 0)
    need = predict(Squares(), VALUES, sampler, None)
    assert need.training is None and need.states == 3 * 4000 and "batches not known" in str(need)


# Trains three updates of up to 48 padded seconds in a process of its own, and prints what was predicted and the most
# memory that it held besides files.
PROGRAM = """
import json, sys, threading, time
from pathlib import Path
sys.path[:0] = ["tests/support"]
from local.benchmark import ways
from local.config import hparams
from local.data.batches import UpdateSampler
from local.data.device import limits
from local.encoders import load_encoder
from local.systems.mtl import MultiTaskSystem
from local.training import memory

shape = {"model_type": "wav2vec2", "layerdrop": 0.0, "hidden_size": 192, "num_attention_heads": 4, "conv_dim": [64] * 7}
shape |= {"intermediate_size": 768, "num_hidden_layers": 4, "num_conv_pos_embedding_groups": 8}
ways.make(Path(sys.argv[1]), 24)
utterances = ways.utterances_of(Path(sys.argv[1]))
values = hparams.build(hparams.resolve(hparams.RUNNING, {})) | hparams.read_values(ways.YAML)
values |= {"device": "cpu", "precision": "fp32", "micro_batch_seconds": 48}
system = MultiTaskSystem(load_encoder(shape), 4, 32, alpha=0.1)
sampler = UpdateSampler(utterances.durations, values["batch_size"], limits(values, system), seed=1)
need = memory.predict(system, values, sampler, None)
held = []

def watch():
    while True:
        lines = Path("/proc/self/status").read_text().splitlines()
        held.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
        time.sleep(0.003)

threading.Thread(target=watch, daemon=True).start()
once = ways._training(utterances, system, values)
once(), once()
print(json.dumps([need.process, need.certain, need.predicted, max(held)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")
def test_a_real_peak(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True
    )
    process, certain, predicted, peak = json.loads(done.stdout)
    assert peak - process > 200e6  # or it would show nothing
    assert 0.95 * certain < peak and 0.75 * predicted < peak < 1.3 * predicted

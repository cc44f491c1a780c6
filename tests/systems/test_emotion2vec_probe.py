"""The probe of emotion2vec against plain modules of PyTorch, its size and its rates."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from system_checks import assert_alone_as_in_a_batch, inputs, learns_eight, losses_of_steps, sounds, trained_parameters

from local.config import hparams
from local.data.feature_store import FrameStore, kind_of_store
from local.encoders import build_encoder, load_encoder
from local.systems.emotion2vec_probe import Emotion2vecProbe
from local.training.optimisation import EpochCyclicLR, Length, Schedule, build_optimizer

YAML = hparams.RUNNING.parent / "table3" / "emotion2vec_probe.yaml"
SMALL = {"num_hidden_layers": 1, "intermediate_size": 4, "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return tiny_models.save(tmp_path_factory.mktemp("encoder") / "tiny", "whisper")


def probe(folder: str) -> Emotion2vecProbe:
    torch.manual_seed(1)
    return Emotion2vecProbe(load_encoder(folder, freeze=True), 4).eval()


def test_it_has_as_many_parameters_as_emotion2vecs():
    with torch.device("meta"):
        system = Emotion2vecProbe(build_encoder({"model_type": "wav2vec2", "hidden_size": 768} | SMALL, {}), 4)
    assert trained_parameters(system) == 197_892


@torch.no_grad()
def test_it_is_a_hidden_layer_per_frame_and_their_mean(folder):
    system, (wav,) = probe(folder), sounds(0.7)
    assert kind_of_store(system) is FrameStore
    frames, _ = system.encoder(wav[None], torch.tensor([len(wav)]))
    hidden = [torch.relu(system.projection.weight @ frame + system.projection.bias) for frame in frames[0]]
    expected = system.emotion_head.weight @ (sum(hidden) / len(hidden)) + system.emotion_head.bias
    torch.testing.assert_close(system(*inputs(system, [wav])).emotion[0], expected, atol=1e-5, rtol=0)


def test_its_logits_do_not_depend_on_the_batch(folder):
    assert_alone_as_in_a_batch(probe(folder), sounds(1.0, 2.0, 0.1, 0.01))


def test_two_runs_with_one_seed_have_equal_losses(folder):
    assert losses_of_steps(probe(folder), sounds(0.5, 0.6)) == losses_of_steps(probe(folder), sounds(0.5, 0.6))


def test_it_learns_eight(folder):
    assert learns_eight(probe(folder)) < 400


def test_the_yaml_has_its_optimizer_and_rates(folder):
    values = hparams.build(hparams.resolve(YAML, {"upstream": folder}))
    assert isinstance(values["system"], Emotion2vecProbe) and values["system"].encoder.freeze
    optimizer = build_optimizer(values["optimizer"], values["system"], values["lr"], values["head_lr"])
    schedule = Schedule(values["scheduler"], optimizer, Length(100, 3200, 0, values["lr"]))
    assert isinstance(schedule.inner, EpochCyclicLR) and not schedule.by_update
    (group,) = optimizer.param_groups
    assert (type(optimizer), group["weight_decay"]) == (torch.optim.RMSprop, 0)
    rates = []
    for epoch in range(1, 22):
        rates.append((group["lr"], group["momentum"]))
        optimizer.step()
        schedule.after_update(epoch)
        schedule.after_epoch(epoch, None)
    for epoch, expected in ((0, (5e-4, 0.9)), (5, (7.5e-4, 0.85)), (10, (1e-3, 0.8)), (20, (5e-4, 0.9))):
        assert rates[epoch] == pytest.approx(expected)

"""The probe of SUPERB: frame by frame as from the means that are stored, its size, and what every system must pass."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from system_checks import assert_alone_as_in_a_batch, inputs, learns_eight, losses_of_steps, sounds, trained_parameters

from local.config import hparams
from local.core.errors import UserError
from local.data.feature_store import RowStore, kind_of_store
from local.encoders import build_encoder, load_encoder
from local.inference import model_folder
from local.inference.model_folder import Model
from local.systems.superb_probe import SuperbProbe

YAML = hparams.RUNNING.parent / "table3" / "superb_probe.yaml"
BASE = {"model_type": "wav2vec2", "hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12}
SMALL = {"intermediate_size": 4, "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 2, "num_conv_pos_embedding_groups": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return tiny_models.save(tmp_path_factory.mktemp("encoder") / "tiny", "wav2vec2-group")


def probe(folder: str) -> SuperbProbe:
    torch.manual_seed(1)
    system = SuperbProbe(load_encoder(folder, freeze=True), 4)
    with torch.no_grad():
        system.layer_weights += torch.randn(3)
    return system.eval()


def test_it_has_as_many_parameters_as_that_of_superb():
    with torch.device("meta"):
        system = SuperbProbe(build_encoder(BASE | SMALL, {}), 4)
    assert trained_parameters(system) == 197_905
    assert system.layer_weights.shape == (13,) and system.weights == "no pretraining"


def test_it_is_uniform_at_first(folder):
    system = SuperbProbe(load_encoder(folder), 4)  # unfrozen, as of a model folder
    assert torch.equal(system.layer_weights.softmax(0), torch.full((3,), 1 / 3))
    assert system.weights == "tiny" and not system.train().encoder.training
    assert not any(each.requires_grad for each in system.encoder.parameters())


@torch.no_grad()
def test_frame_by_frame_as_from_the_means_that_are_stored(folder):
    system = probe(folder)
    wavs = sounds(3.0, 1.3, 0.1)
    stored = system(*inputs(system, wavs)).emotion
    for wav, found in zip(wavs, stored, strict=True):
        features, n_frames = system.encoder.features(wav[None], torch.tensor([len(wav)]))
        hidden = system.encoder.model.feature_projection(features)[0]
        outputs = system.encoder.model.encoder(hidden, torch.ones(1, int(n_frames), dtype=torch.bool))
        hidden = system.encoder.model.feature_projection(features)[0]
        transformer = system.encoder.model.encoder
        states = [transformer.layer_norm(hidden + transformer.pos_conv_embed(hidden))]
        for layer in transformer.layers:
            states.append(layer(states[-1]))
        torch.testing.assert_close(states[-1], outputs.last_hidden_state)
        shares = system.layer_weights.exp() / system.layer_weights.exp().sum()
        mixed = sum(share * state[0] for share, state in zip(shares, states, strict=True))
        by_frame = system.emotion_head(system.projection(mixed).mean(0))  # of [T, 256]
        torch.testing.assert_close(found, by_frame, atol=1e-5, rtol=0)


def test_its_inputs_are_a_row_per_state_and_logits_do_not_depend_on_the_batch(folder):
    system = probe(folder)
    assert kind_of_store(system) is RowStore
    assert inputs(system, sounds(1.0, 2.0))[0].shape == (2, 4, 32)  # 3 rows, and one of padding
    assert_alone_as_in_a_batch(system, sounds(1.0, 2.0, 0.1, 0.01))


def test_two_runs_with_one_seed_have_equal_losses(folder):
    assert losses_of_steps(probe(folder), sounds(0.5, 0.6)) == losses_of_steps(probe(folder), sounds(0.5, 0.6))


def test_it_learns_eight(folder):
    assert learns_eight(probe(folder)) < 400


@torch.no_grad()
def test_its_model_folder_gives_the_same(folder, tmp_path):
    system, wavs = probe(folder), sounds(1.0)[0][None]
    model_folder.write(tmp_path, Model(system, list("abcd"), [], [0], 2.0, {}))
    again = model_folder.read(tmp_path).system
    lengths = torch.tensor([wavs.shape[1]])
    torch.testing.assert_close(again(wavs, lengths).emotion, system(wavs, lengths).emotion)


# ---------------------------------------------------------------- the YAML


@pytest.mark.parametrize("name", ["superb_probe", "emotion2vec_probe"])
def test_without_an_encoder_the_yaml_names_the_key(name):
    file = YAML.with_name(f"{name}.yaml")
    with pytest.raises(UserError, match="upstream is null") as error:
        hparams.build(hparams.resolve(file, {}), file)
    assert "--upstream" in error.value.remedy


def test_the_yaml_builds_it(folder):
    values = hparams.build(hparams.resolve(YAML, {"upstream": folder}))
    system = values["system"]
    assert isinstance(system, SuperbProbe) and system.encoder.freeze and values["encoder"] == folder
    per_epoch = 4000 / values["batch_size"]  # of a fold of IEMOCAP
    assert values["epochs"] * per_epoch == 30_000

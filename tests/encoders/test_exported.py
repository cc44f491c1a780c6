"""The encoder of a model folder, to continue from: the same frames, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_folders
import torch
from safetensors.torch import load_file, save_file
from tiny_models import padded, waves

from local.core.errors import UserError
from local.encoders import load_encoder
from local.inference import model_folder
from local.inference.model_folder import Model
from local.systems.statistics import StatisticsSystem


@pytest.mark.parametrize("family", ["wav2vec2-group", "wavlm-layer", "w2v-bert", "whisper"])
@torch.no_grad()
def test_it_is_the_same_encoder_and_learns(tmp_path, family):
    model, batch = tiny_folders.write(tmp_path, family), padded(waves(9000, 4000))
    expected, n_frames = load_encoder(str(tmp_path / "encoder1")).eval()(*batch)
    encoder = load_encoder(str(model)).eval()
    frames, counts = encoder(*batch)
    assert torch.equal(frames, expected) and torch.equal(counts, n_frames)
    fixed = {"model.embed_positions.weight"}  # Whisper's sinusoids
    assert all(p.requires_grad for name, p in encoder.named_parameters() if name not in fixed)
    lowest = load_encoder(str(model), freeze_layers=1).eval()
    torch.testing.assert_close(lowest(*batch)[0], expected, rtol=1e-4, atol=1e-5)
    learning = [sum(p.requires_grad for p in each.parameters()) for each in (lowest, encoder)]
    assert 0 < learning[0] < 0.5 * learning[1]


@torch.no_grad()
def test_its_spec_augment_can_be_changed(tmp_path):
    model, batch = tiny_folders.write(tmp_path), padded(waves(16_000))
    assert "encoder.model.masked_spec_embed" in load_file(model / "model.safetensors")
    for value in (0.0, 0.5):
        encoder = load_encoder(str(model), spec_augment={"mask_time_prob": value, "mask_time_length": 2})
        assert encoder.model.config.mask_time_prob == value and encoder.train()(*batch)[0].isfinite().all()
    with pytest.raises(UserError, match="spec_augment: prob is no value"):
        load_encoder(str(model), spec_augment={"prob": 0.1})


def test_an_ensemble_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"model is an ensemble of 2 models") as refusal:
        load_encoder(str(tiny_folders.write(tmp_path, members=2)))
    assert refusal.value.remedy == "give a model of one fold: python -m local.export RUN MODEL"


def test_a_model_without_an_encoder_is_refused(tmp_path):
    model_folder.write(tmp_path, Model(StatisticsSystem(2), ["ang", "neu"], [], [0], 3.0))
    with pytest.raises(UserError, match="is a model of the system statistics, which has no encoder"):
        load_encoder(str(tmp_path))


def change_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_another_sample_rate_is_refused(tmp_path):
    model = tiny_folders.write(tmp_path)
    change_config(model, preprocessor={"do_normalize": True, "sampling_rate": 8000})
    with pytest.raises(UserError, match="it is a model of audio at 8000 Hz"):
        load_encoder(str(model))
    # So is that of any other folder.
    saved = tmp_path / "encoder1" / "preprocessor_config.json"
    saved.write_text(json.dumps(json.loads(saved.read_text()) | {"sampling_rate": 44_100}))
    with pytest.raises(UserError, match="encoder1 reads audio at 44100 Hz, and all audio here has 16000"):
        load_encoder(str(saved.parent))


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("encoder.model.encoder.layer_norm.bias", None, "is missing or not the encoder's"),
        ("encoder.model.encoder.layer_norm.bias", 5, r"is \[5\], not \[32\]"),
        ("encoder.model.more", 5, "is missing or not the encoder's"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, name, shape, said):
    model = tiny_folders.write(tmp_path)
    tensors = load_file(model / "model.safetensors")
    tensors.pop(name, None)
    save_file(tensors | ({name: torch.zeros(shape)} if shape else {}), model / "model.safetensors")
    with pytest.raises(UserError, match=rf"model.safetensors: {name} {said}"):
        load_encoder(str(model))


def test_sizes_are_compared_before_memory_is_taken_for_them(tmp_path):
    model = tiny_folders.write(tmp_path)
    config = json.loads((model / "config.json").read_text())["encoder"]
    change_config(model, encoder=config | {"intermediate_size": 100_000, "num_hidden_layers": 4})
    with pytest.raises(UserError, match=r"model.safetensors: encoder.model.encoder.layers.2.attention"):
        load_encoder(str(model))

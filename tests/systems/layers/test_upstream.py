"""local.systems.layers.upstream."""

import tiny_conformer
import tiny_folders
import tiny_models

from local.encoders import build_encoder, load_encoder
from local.systems.layers.upstream import frozen, pretraining


def test_an_encoder_is_frozen_whatever_it_was_loaded_for(tmp_path):
    encoder = frozen(load_encoder(tiny_models.save(tmp_path / "whisper-small", "whisper")))
    assert encoder.freeze and encoder.freeze_cnn and not encoder.train().training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert pretraining(encoder) == "whisper-small"
    assert pretraining(build_encoder({"model_type": "hubert", "num_hidden_layers": 0}, {})) == "no pretraining"


def test_tables_name_weights_of_a_model_folder_and_of_speechbrains(tmp_path):
    assert pretraining(load_encoder(str(tiny_folders.write(tmp_path)))) == "model"
    tiny_conformer.save(tmp_path / "conformer", tiny_conformer.text())
    assert pretraining(load_encoder(str(tmp_path / "conformer"))) == "conformer"

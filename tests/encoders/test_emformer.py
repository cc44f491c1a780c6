"""torchaudio's Emformer, against torchaudio's own pipeline on the same files of random weights."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
import torchaudio
from tiny_models import padded, waves
from torchaudio.models import RNNT, emformer_rnnt_model
from torchaudio.pipelines import EMFORMER_RNNT_BASE_LIBRISPEECH, RNNTBundle

from local.core.errors import UserError
from local.encoders import Encoder, build_encoder, description, emformer, load_encoder
from local.encoders.emformer import EmformerConfig

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SMALL |= {"time_reduction_input_dim": 8}
SAMPLES = (16000, 9999, 641, 640, 30)


def small(layers: int = 2) -> RNNT:
    """A transducer as `emformer_rnnt_base`, but small."""
    return emformer_rnnt_model(
        **{"input_dim": 80, "encoding_dim": 24, "num_symbols": 5, "segment_length": 16, "right_context_length": 4},
        **{"time_reduction_input_dim": 8, "time_reduction_stride": 4, "transformer_num_heads": 2},
        **{"transformer_ffn_dim": 32, "transformer_num_layers": layers, "transformer_dropout": 0.1},
        **{"transformer_activation": "gelu", "transformer_left_context_length": 30, "transformer_max_memory_size": 0},
        **{"transformer_weight_init_scale_strategy": "depthwise", "transformer_tanh_on_mem": True},
        **{"symbol_embedding_dim": 6, "num_lstm_layers": 2, "lstm_layer_norm": True, "lstm_layer_norm_epsilon": 1e-3},
        lstm_dropout=0.3,
    )


def save(folder: Path, model: RNNT, **changed: torch.Tensor) -> str:
    """The two files of a pipeline, some tensors of which are others, or None: left out."""
    folder.mkdir(exist_ok=True)
    tensors = {name: each for name, each in (model.state_dict() | changed).items() if each is not None}
    torch.save(tensors, folder / "emformer_rnnt_small.pt")
    statistics = {"mean": torch.linspace(5, 15, 80).tolist(), "invstddev": torch.linspace(0.2, 0.5, 80).tolist()}
    (folder / "global_stats_rnnt_small.json").write_text(json.dumps(statistics), encoding="utf-8")
    return str(folder)


@pytest.fixture(autouse=True)
def sizes(monkeypatch) -> None:
    monkeypatch.setattr(emformer, "EmformerConfig", partial(EmformerConfig, **SMALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    torch.manual_seed(1)
    return save(tmp_path_factory.mktemp("models") / "emformer", small())


@pytest.fixture
def encoder(folder) -> Encoder:
    return load_encoder(folder, freeze=True).eval()


@torch.no_grad()
def test_frames_are_those_of_torchaudios_pipeline(folder, encoder, monkeypatch):
    monkeypatch.setattr(torchaudio.utils, "_download_asset", lambda name: f"{folder}/{name}", raising=False)
    names = "emformer_rnnt_small.pt", small, "global_stats_rnnt_small.json", "no.model"
    bundle = RNNTBundle(*names, 4, 4, 16_000, 400, 80, 160, 16, 4)
    extractor, model = bundle.get_feature_extractor(), bundle._get_model()
    quiet = 3e-6 * waves(5000)[0]  # energies of 1 and less
    for wav in (*waves(16000, 9999, 3210, 640), quiet):
        features, length = extractor(wav)
        expected, _ = model.transcribe(features[None], length)
        frames, n_frames = encoder(wav[None], torch.tensor([len(wav)]))
        assert n_frames.tolist() == [(1 + len(wav) // 160) // 4] and frames.shape[2] == encoder.dim == 24
        torch.testing.assert_close(frames, expected, rtol=0, atol=1e-5)
        log_mels, n_spectra = encoder.log_mels(wav[None], torch.tensor([len(wav)]))
        torch.testing.assert_close(log_mels[0], features[: int(n_spectra)], rtol=0, atol=1e-5)
    assert encoder.seconds_per_frame == 0.04


@torch.no_grad()
def test_an_utterance_is_the_same_in_any_batch(encoder):
    wavs = waves(*SAMPLES)
    frames, n_frames = encoder(*padded(wavs))
    assert n_frames.tolist() == [25, 15, 1, 1, 1]
    for row, count, wav in zip(frames, n_frames.tolist(), wavs, strict=True):
        alone, n_alone = encoder(wav[None], torch.tensor([len(wav)]))
        assert n_alone.tolist() == [count]
        torch.testing.assert_close(row[:count], alone[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_its_description_builds_it_again(encoder):
    config, preprocessor = description(encoder)
    assert config["model_type"] == "emformer" and preprocessor == {}
    again = build_encoder(config, preprocessor, freeze=True).eval()
    again.load_state_dict(encoder.state_dict())
    batch = padded(waves(3000))
    assert torch.equal(again(*batch)[0], encoder(*batch)[0])
    assert not any(each.requires_grad for each in encoder.parameters()) and not encoder.train().model.training
    with torch.device("meta"):
        build_encoder(config, preprocessor)


def test_what_does_not_fit_is_refused_by_tensor_and_shape(tmp_path, folder):
    name = "transcriber.output_linear.weight"
    for changed, said in (
        ({name: torch.zeros(24, 31)}, rf"{name} is \[24, 31\], not \[24, 32\]"),
        ({name: None}, rf"{name}, \[24, 32\], is missing"),
        ({"encoder.x": torch.zeros(1)}, "encoder.x is not one of the network's"),
    ):
        with pytest.raises(UserError, match=said):
            load_encoder(save(tmp_path / "changed", small(), **changed))
    with pytest.raises(UserError, match=r"emformer_layers\.2\..* is not one"):
        load_encoder(save(tmp_path / "deep", small(layers=3)))
    with pytest.raises(UserError, match="is a file") as error:
        load_encoder(f"{folder}/emformer_rnnt_small.pt")
    assert "global_stats" in error.value.remedy
    with pytest.raises(UserError, match="spec_augment"):
        load_encoder(folder, spec_augment={"mask_time_prob": 0.1})


def test_files_that_cannot_be_used(tmp_path):
    place = Path(save(tmp_path / "model", small()))
    statistics = place / "global_stats_rnnt_small.json"
    for text in ("{", '{"mean": [1, 2], "invstddev": [1, 2]}', '{"mean": [NaN]}', "[]"):
        statistics.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"global_stats_rnnt_small\.json cannot be used"):
            load_encoder(str(place))
    save(place, small())
    torch.save({"x": print}, place / "emformer_rnnt_small.pt")
    with pytest.raises(UserError, match="more than weights, perhaps code"):
        load_encoder(str(place))
    (place / "another.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 global_stats\*\.json and 2 \*\.pt"):
        load_encoder(str(place))


@pytest.mark.slow
@torch.no_grad()
def test_the_published_model_is_that_of_torchaudios_own_bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(emformer, "EmformerConfig", EmformerConfig)
    bundle, files = EMFORMER_RNNT_BASE_LIBRISPEECH, tmp_path / "files"
    torch.manual_seed(1)
    place = Path(save(files, bundle._rnnt_factory_func()))  # the published layout, of random weights
    (place / "emformer_rnnt_small.pt").rename(place / Path(bundle._rnnt_path).name)
    (place / "global_stats_rnnt_small.json").rename(place / Path(bundle._global_stats_path).name)
    monkeypatch.setattr(torchaudio.utils, "_download_asset", lambda name: place / Path(name).name, raising=False)
    extractor, model = bundle.get_feature_extractor(), bundle._get_model()
    encoder = load_encoder(str(place), freeze=True).eval()
    for wav in waves(48000, 7001):
        features, length = extractor(wav)
        expected, _ = model.transcribe(features[None], length)
        frames, n_frames = encoder(wav[None], torch.tensor([len(wav)]))
        assert frames.shape == expected.shape == (1, int(n_frames), 1024)
        torch.testing.assert_close(frames, expected, rtol=0, atol=1e-4)


def test_another_network_of_torchaudio_is_refused(tmp_path):
    place = save(tmp_path / "conformer", small())
    conformer = torchaudio.models.Conformer(80, num_heads=2, ffn_dim=8, num_layers=1, depthwise_conv_kernel_size=3)
    torch.save(conformer.state_dict(), f"{place}/emformer_rnnt_small.pt")
    with pytest.raises(UserError, match=r"emformer_rnnt_small\.pt: the tensor transcriber\.\S+, \[.*\], is missing"):
        load_encoder(place)

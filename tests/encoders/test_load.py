"""Encoders, against transformers on the same weights and against themselves at other batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
import torch.nn.functional as F
import transformers
from paths import SHARED
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES, STEADY, WAVEFORM, WHISPER_SECONDS, padded, waves
from transformers import AutoFeatureExtractor, AutoModel, BertConfig, BertModel, WhisperModel

from local.audio.header import SAMPLE_RATE
from local.audio.recordings import load
from local.core.errors import UserError
from local.encoders import Encoder, length_mask, load_encoder

WHISPER = SHARED / "models" / "whisper-tiny.en-encoder"
NEMO = SHARED / "data" / "nemo4" / "samples"
SPEC_AUGMENT = {"mask_time_prob": 0.3, "mask_time_length": 5, "apply_spec_augment": True}
STEADY_BUT_MASKED = STEADY | SPEC_AUGMENT


def changes(family: str, values: dict) -> dict:
    """The values that a family's configuration takes."""
    if family != "whisper":
        return values
    return {key: value for key, value in values.items() if key.startswith(("mask", "apply"))}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    """One folder per family, with the family's own dropout and SpecAugment."""
    root = tmp_path_factory.mktemp("encoders")
    return {family: tiny_models.save(root / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def encoders(folders) -> dict[str, Encoder]:
    """What is loaded from each folder, in evaluation mode, to be left as it is."""
    return {family: load_encoder(folder).eval() for family, folder in folders.items()}


def alone(encoder, wav: torch.Tensor) -> torch.Tensor:
    """Encode one utterance by itself: [T, d], its true frames."""
    frames, n_frames = encoder(wav[None], torch.tensor([len(wav)]))
    return frames[0, : n_frames[0]]


@torch.no_grad()
def largest_difference(encoder, wavs: list[torch.Tensor]) -> float:
    """How far any true frame in a batch is from what it is alone."""
    frames, n_frames = encoder(*padded(wavs))
    singles = [alone(encoder, wav) for wav in wavs]
    assert n_frames.tolist() == [len(single) for single in singles]
    assert n_frames.min() >= 1 and frames.shape[1] >= n_frames.max()
    pairs = zip(frames, singles, strict=True)
    return max((row[: len(single)] - single).abs().max().item() for row, single in pairs)


# The same alone and in any batch


@pytest.mark.parametrize(
    "samples",
    [(16000, 8000, 12345, 401, 300), (300, 16000), (1, 399, 400, 719, 720), (8000, 8000, 7999), (1, 20000)],
    ids=str,
)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_utterance_is_the_same_in_any_batch(encoders, family, samples):
    assert largest_difference(encoders[family], waves(*samples)) < 1e-4


@pytest.mark.parametrize("family", WAVEFORM)
def test_the_same_in_any_batch_without_normalising(tmp_path, family):
    encoder = load_encoder(tiny_models.save(tmp_path, family, do_normalize=False)).eval()
    assert not encoder.normalise
    assert largest_difference(encoder, waves(16000, 8000, 401, 300)) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_silence_is_finite_and_changes_no_other_utterance(encoders, family):
    wavs = [torch.zeros(9000), *waves(12000, 3000), torch.zeros(100)]
    assert largest_difference(encoders[family], wavs) < 1e-4
    assert alone(encoders[family], wavs[0]).isfinite().all()


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "whisper"])
@torch.no_grad()
def test_samples_beyond_the_end_are_never_read(encoders, family):
    # More than `forward` promises (zeros there), and true of these families for all but utterances under one frame.
    # Whisper's last window looks up to 40 samples beyond the end, so for it the zeros are a condition.
    encoder = encoders[family]
    wavs, lengths = padded(waves(16000, 8000, 12345, 2000))
    noisy = torch.where(length_mask(lengths, wavs.shape[1]), wavs, torch.randn_like(wavs))
    (frames, n_frames), (others, _) = encoder(wavs, lengths), encoder(noisy, lengths)
    for row, other, length in zip(frames, others, n_frames, strict=True):
        torch.testing.assert_close(row[:length], other[:length], rtol=0, atol=1e-5)


# The same as transformers


@pytest.mark.parametrize("do_normalize", [True, False])
@pytest.mark.parametrize("family", WAVEFORM)
@torch.no_grad()
def test_waveform_encoders_equal_transformers_at_batch_1(tmp_path, family, do_normalize):
    folder = tiny_models.save(tmp_path, family, do_normalize)
    encoder = load_encoder(folder).eval()
    model, extractor = AutoModel.from_pretrained(folder).eval(), AutoFeatureExtractor.from_pretrained(folder)
    for wav in waves(16000, 8017, 400, 719):
        inputs = extractor(wav.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        expected = model(inputs["input_values"]).last_hidden_state[0]
        torch.testing.assert_close(alone(encoder, wav), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [family for family in WAVEFORM if "layer" in family])
@torch.no_grad()
def test_layer_norm_encoders_equal_transformers_in_a_batch(encoders, folders, family):
    # With an attention mask transformers treats layer norm checkpoints rightly (group norm ones it does not).
    model = AutoModel.from_pretrained(folders[family]).eval()
    wavs = waves(16000, 8017, 4000)
    extractor = AutoFeatureExtractor.from_pretrained(folders[family])
    inputs = extractor([w.numpy() for w in wavs], sampling_rate=SAMPLE_RATE, padding=True, return_tensors="pt")
    expected = model(**inputs).last_hidden_state
    frames, n_frames = encoders[family](*padded(wavs))
    for row, other, length in zip(frames, expected, n_frames, strict=True):
        # Of order 1, by other kernels than alone: their sums in another order differ by some 100 eps.
        torch.testing.assert_close(row[:length], other[:length], rtol=0, atol=256 * torch.finfo(torch.float32).eps)


@torch.no_grad()
def test_w2v_bert_equals_transformers_at_batch_1(encoders, folders):
    model = AutoModel.from_pretrained(folders["w2v-bert"]).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folders["w2v-bert"])
    for wav in waves(16000, 8017, 720, 1000):
        inputs = extractor(wav.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        expected = model(**inputs).last_hidden_state[0, : inputs["attention_mask"].sum()]
        torch.testing.assert_close(alone(encoders["w2v-bert"], wav), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", WAVEFORM)
@torch.no_grad()
def test_frame_counts_of_the_waveform_families(encoders, folders, family):
    wavs, lengths = padded(waves(400, 719, 720, 8000, 16000, 12345))
    expected = AutoModel.from_pretrained(folders[family])._get_feat_extract_output_lengths(lengths).tolist()
    assert (expected[0], expected[4]) == (1, 49)
    assert encoders[family](wavs, lengths)[1].tolist() == expected


@pytest.mark.parametrize(("family", "first"), [("w2v-bert", 720), ("whisper", 320)])
@torch.no_grad()
def test_frame_counts_of_the_spectral_families(encoders, family, first):
    samples = [first, 721, 1000, 8000, 16000, 12345]
    # w2v-BERT: windows of 25 ms every 10 ms, in pairs; Whisper: a spectrum every 10 ms, every second one a frame.
    by_hand = [(1 + (n - 400) // 160) // 2 if family == "w2v-bert" else -(-(n // 160) // 2) for n in samples]
    assert by_hand[0] == 1
    assert encoders[family](*padded(waves(*samples)))[1].tolist() == by_hand


# Whisper


@torch.no_grad()
def test_whisper_spectra_equal_its_feature_extractor(encoders, folders):
    extractor = AutoFeatureExtractor.from_pretrained(folders["whisper"])
    full = SAMPLE_RATE * WHISPER_SECONDS
    wavs = [wav * torch.linspace(1.0, 1e-6, len(wav)) for wav in waves(full, 16000, 12345, 320)]
    spectra, n_spectra = encoders["whisper"].spectra(*padded(wavs))
    assert n_spectra.tolist() == [full // 160, 100, 77, 2]
    for row, wav, length in zip(spectra, wavs, n_spectra, strict=True):
        expected = extractor(wav.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")["input_features"][0]
        # In a full window the extractor mirrors the signal at its end, where here silence follows.
        length = length - 1 if len(wav) == full else length
        torch.testing.assert_close(row[:, :length], expected[:, :length], rtol=0, atol=1e-4)
        assert (row[:, n_spectra.max() if len(wav) == full else length :] == 0).all()


@torch.no_grad()
def test_whisper_with_a_full_window_equals_transformers(encoders, folders):
    (wav,) = waves(SAMPLE_RATE * WHISPER_SECONDS)
    wav[-400:] = 0
    extractor = AutoFeatureExtractor.from_pretrained(folders["whisper"])
    inputs = extractor(wav.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    model = WhisperModel.from_pretrained(folders["whisper"]).encoder.eval()
    expected = model(inputs["input_features"]).last_hidden_state[0]
    assert len(expected) == WHISPER_SECONDS * 50
    torch.testing.assert_close(alone(encoders["whisper"], wav), expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_whisper_over_the_true_length_equals_its_layers_by_hand(encoders, folders):
    extractor = AutoFeatureExtractor.from_pretrained(folders["whisper"])
    model = WhisperModel.from_pretrained(folders["whisper"]).encoder.eval()
    for wav in waves(16000, 12345, 700):
        features = extractor(wav.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")["input_features"]
        hidden = F.gelu(model.conv2(F.gelu(model.conv1(features[:, :, : len(wav) // 160])))).transpose(1, 2)
        hidden = hidden + model.embed_positions.weight[: hidden.shape[1]]
        for layer in model.layers:
            hidden = layer(hidden, None)
        torch.testing.assert_close(alone(encoders["whisper"], wav), model.layer_norm(hidden)[0], rtol=0, atol=1e-4)


def test_whisper_refuses_more_than_it_can_read(encoders):
    assert encoders["whisper"].max_samples == SAMPLE_RATE * WHISPER_SECONDS
    with pytest.raises(ValueError, match=r"3\.1 s of audio: this encoder reads 3 s"):
        encoders["whisper"](*padded(waves(int(3.1 * SAMPLE_RATE))))


@torch.no_grad()
def test_the_real_whisper_on_real_speech():
    if not WHISPER.is_dir() or not NEMO.is_dir():
        pytest.skip("no real checkpoint or no nEMO beside the repository: ../shared/models, ../shared/data/nemo4")
    paths = sorted(NEMO.iterdir())
    wavs = [load(path).wav for path in (paths[0], paths[1000], paths[2000])]
    wavs.append(wavs[0][:4000])
    encoder = load_encoder(str(WHISPER)).eval()
    assert (encoder.dim, encoder.max_samples) == (384, 30 * SAMPLE_RATE)
    assert len({len(wav) for wav in wavs}) > 2
    assert largest_difference(encoder, wavs) < 1e-4


# SpecAugment


@pytest.mark.parametrize("family", FAMILIES)
def test_spec_augment_is_drawn_from_numpy_and_in_training_only(tmp_path, family):
    encoder = load_encoder(tiny_models.save(tmp_path, family, **changes(family, STEADY_BUT_MASKED)))
    batch = padded(waves(16000, 8000))

    def encode(seed: int, training: bool) -> torch.Tensor:
        np.random.seed(seed)  # torch's generator goes on from where it is
        frames, n_frames = encoder.train(training)(*batch)
        return torch.cat([row[:length] for row, length in zip(frames, n_frames, strict=True)])

    assert torch.equal(encode(1, training=True), encode(1, training=True))
    assert not torch.equal(encode(1, training=True), encode(2, training=True))
    assert torch.equal(encode(1, training=False), encode(2, training=False))
    assert not torch.equal(encode(1, training=False), encode(1, training=True))


@pytest.mark.parametrize("family", ["wav2vec2-group", "wav2vec2-layer", "wavlm-group", "data2vec-audio"])
def test_spec_augment_masks_the_frames_and_features_that_transformers_masks(tmp_path, family):
    folder = tiny_models.save(tmp_path, family, **STEADY_BUT_MASKED, mask_feature_prob=0.2, mask_feature_length=4)
    encoder, model = load_encoder(folder).train(), AutoModel.from_pretrained(folder).train()
    model.config.mask_feature_min_masks = 0  # without which transformers' WavLM fails
    (wav,) = waves(16000)
    inputs = AutoFeatureExtractor.from_pretrained(folder)(wav.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    np.random.seed(3)
    # Without a mask transformers draws one; without padding the draws are the same.
    expected = model(inputs["input_values"], attention_mask=torch.ones(1, 16000).long()).last_hidden_state[0]
    np.random.seed(3)
    torch.testing.assert_close(alone(encoder, wav), expected, rtol=0, atol=5e-5)


def test_spec_augment_hides_whole_spans_and_never_padding(tmp_path):
    encoder = load_encoder(tiny_models.save(tmp_path, "wav2vec2-layer", **STEADY_BUT_MASKED)).train()
    n_frames = torch.tensor([200, 60, 12, 5, 4, 1])
    hidden = torch.zeros(6, 200)
    for seed in range(20):
        np.random.seed(seed)
        mask = encoder._spec_augment_mask(n_frames, 200)
        assert not (mask & ~length_mask(n_frames, 200)).any()
        for row in mask[:4]:  # long enough for a span of 5
            runs = "".join("x" if hide else " " for hide in row.tolist()).split()
            assert runs and min(map(len, runs)) >= 5
        assert not mask[4:].any()
        hidden += mask
    # 0.3 of the frames at most, less what overlaps.
    assert 0.2 < hidden[0].mean() / 20 < 0.3


@pytest.mark.parametrize("family", FAMILIES)
def test_spec_augment_takes_short_batches(folders, family):
    encoder = load_encoder(folders[family]).train()
    encoder.model.config.apply_spec_augment = True  # Whisper's default is not to
    for samples in [(300, 400), (1,), (3520, 300), (3600,)]:
        frames, _ = encoder(*padded(waves(*samples)))
        frames.sum().backward()
        assert frames.isfinite().all()


# Freezing


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_encoder_learns_nothing_and_stays_in_evaluation_mode(encoders, folders, family):
    encoder = load_encoder(folders[family], freeze=True).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    wavs, lengths = padded(waves(8000, 4000))
    frames, _ = encoder(wavs.requires_grad_(), lengths)
    assert not frames.requires_grad
    with torch.no_grad():
        expected, _ = encoders[family](wavs, lengths)
    torch.testing.assert_close(frames, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "w2v-bert"])
@pytest.mark.parametrize("freeze_cnn", [True, False])
def test_with_a_frozen_cnn_all_but_the_cnn_learns(tmp_path, family, freeze_cnn):
    encoder = load_encoder(tiny_models.save(tmp_path, family, **changes(family, STEADY)), freeze_cnn=freeze_cnn)
    encoder.train()(*padded(waves(8000, 4000)))[0].square().sum().backward()
    cnn = ("model.feature_extractor.", "model.conv1.", "model.conv2.")
    # A mask embedding learns only where SpecAugment hides something; Whisper's positions are fixed.
    idle = ("model.masked_spec_embed", "model.embed_positions.weight")
    learning = {name for name, p in encoder.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    named = {name for name, _ in encoder.named_parameters() if not name.startswith(idle)}
    assert any(name.startswith(cnn) for name in named)
    assert learning == ({name for name in named if not name.startswith(cnn)} if freeze_cnn else named)


# What is refused


def test_w2v_bert_has_no_cnn_to_freeze(folders):
    with pytest.raises(UserError, match="has no CNN"):
        load_encoder(folders["w2v-bert"], freeze_cnn=True)


@pytest.mark.parametrize("do_normalize", [True, False])
def test_from_scratch(do_normalize):
    encoder = load_encoder(tiny_models.config("hubert-layer").to_dict() | {"do_normalize": do_normalize}).eval()
    assert (encoder.dim, encoder.max_samples, encoder.normalise) == (32, None, do_normalize)
    assert largest_difference(encoder, waves(8000, 4000)) < 1e-4


@pytest.mark.parametrize("source", [{}, {"model_type": "nonsuch"}, {"model_type": "bert"}])
def test_from_scratch_only_known_encoders(source):
    with pytest.raises(UserError, match="model_type is") as error:
        load_encoder(source)
    assert "wav2vec2" in error.value.remedy


def test_a_missing_folder(tmp_path):
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("model_type", [None, "nonsuch"])
def test_a_config_without_a_known_model(tmp_path, model_type):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type} if model_type else {}))
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(str(tmp_path))


def test_another_architecture(tmp_path):
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=5, **small)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="the architecture 'bert' is not supported") as error:
        load_encoder(str(tmp_path))
    assert "w2v" not in error.value.what and "wav2vec2-bert" in error.value.remedy


@pytest.mark.parametrize("damage", ["absent", "cut short"])
def test_weights_absent_or_cut_short(tmp_path, damage):
    folder, weights = tiny_models.save(tmp_path, "wav2vec2-group"), tmp_path / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    if damage == "cut short":
        weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(folder)


def test_without_a_preprocessor_waveforms_are_normalised_with_a_warning(tmp_path, caplog):
    folder = tiny_models.save(tmp_path, "wav2vec2-group", do_normalize=False)
    (tmp_path / "preprocessor_config.json").unlink()
    assert load_encoder(folder).normalise
    assert "has no preprocessor_config.json" in caplog.text


@pytest.mark.parametrize("family", ["w2v-bert", "whisper"])
def test_without_a_preprocessor_spectra_cannot_be_made(tmp_path, family):
    folder = tiny_models.save(tmp_path, family)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("family", "key"),
    [("w2v-bert", "add_adapter"), ("wavlm-group", "add_adapter"), ("hubert-group", "conv_pos_batch_norm")],
)
def test_architectures_that_would_break_the_contract(tmp_path, family, key):
    with pytest.raises(UserError, match=key):
        load_encoder(tiny_models.save(tmp_path, family, **{key: True}))


# The weights of a checkpoint


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", ["wav2vec2-group", "w2v-bert", "whisper"])
def test_weights_saved_in_16_bits_are_trained_in_single_precision(tmp_path, family, dtype):
    saved = tiny_models.model(family, **changes(family, STEADY)).to(dtype)
    saved.save_pretrained(tmp_path)
    tiny_models.extractor(family).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    encoder = load_encoder(str(tmp_path)).train()
    weights = dict(encoder.model.named_parameters())
    expected = (saved.encoder if family == "whisper" else saved).state_dict()
    assert all(torch.equal(weight, expected[name].float()) for name, weight in weights.items())
    assert {value.dtype for value in (*weights.values(), *encoder.buffers())} == {torch.float32}

    before = {name: weight.detach().clone() for name, weight in weights.items()}
    learning = torch.optim.AdamW(weights.values(), lr=5e-5, weight_decay=0.0)
    encoder(*padded(waves(8000)))[0].square().sum().backward()
    reached = {name: weight.grad.abs() > 1e-6 for name, weight in weights.items() if weight.grad is not None}
    learning.step()
    moved = [(weights[name] != before[name])[where] for name, where in reached.items()]
    assert torch.cat(moved).float().mean() > 0.999


def test_a_type_of_numbers_among_the_values_changes_nothing():
    encoder = load_encoder(tiny_models.config("wav2vec2-group").to_dict() | {"dtype": "bfloat16"})
    assert {weight.dtype for weight in encoder.parameters()} == {torch.float32}


def rewrite(folder: Path, change: Callable[[str, torch.Tensor], dict], pickled: bool = False) -> str:
    """Write the weights of a folder again: `change` makes of a tensor those that take its place."""
    path, weights = folder / "model.safetensors", {}
    for name, tensor in load_file(path).items():
        weights |= change(name, tensor)
    path.unlink()
    if pickled:
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, path, metadata={"format": "pt"})
    return str(folder)


HEADS = {
    "Wav2Vec2ForCTC": ("wav2vec2-group", "lm_head.bias, lm_head.weight,"),
    "Wav2Vec2ForPreTraining": ("wav2vec2-layer", "(7 tensors),"),
    "Wav2Vec2ForSequenceClassification": ("wav2vec2-group", "... (4 tensors),"),
    "HubertForCTC": ("hubert-layer", "lm_head"),
    "WavLMForXVector": ("wavlm-group", "tensors)"),
    "Data2VecAudioForCTC": ("data2vec-audio", "lm_head"),
    "Wav2Vec2BertForCTC": ("w2v-bert", "lm_head"),
    "WhisperForConditionalGeneration": ("whisper", ""),
    "WhisperForAudioClassification": ("whisper", "classifier"),  # no decoder in it
}


@pytest.mark.parametrize("kind", HEADS)
def test_models_with_heads_are_encoders_whose_heads_are_named(tmp_path, caplog, kind):
    family, told = HEADS[kind]
    config = tiny_models.config(family, **({"vocab_size": 9} if family == "w2v-bert" else {}))
    model = getattr(transformers, kind)(config)
    model.save_pretrained(tmp_path)
    tiny_models.extractor(family).save_pretrained(tmp_path)
    weights = load_encoder(str(tmp_path)).model.state_dict()
    inner = getattr(model, model.base_model_prefix, model)
    expected = (inner.get_encoder() if family == "whisper" else inner).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights.items())
    lines = [record.getMessage() for record in caplog.records if record.name == "local.encoders.load"]
    assert len(lines) == bool(told) and told in "".join(lines)


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("family", ["wav2vec2-group", "hubert-layer", "wavlm-group"])
def test_older_names_of_the_weight_norm_are_read(tmp_path, caplog, family, pickled):
    expected = load_encoder(tiny_models.save(tmp_path, family)).model.state_dict()
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}

    def older(name: str, tensor: torch.Tensor) -> dict:
        stem, _, new = name.partition("pos_conv_embed.conv.")
        return {f"{stem}pos_conv_embed.conv.{names[new]}" if new in names else name: tensor}

    weights = load_encoder(rewrite(tmp_path, older, pickled)).model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items()) and not caplog.text


def test_what_spec_augment_writes_may_be_absent(tmp_path, caplog):
    tiny_models.save(tmp_path, "wav2vec2-group")
    load_encoder(rewrite(tmp_path, lambda name, tensor: {} if name == "masked_spec_embed" else {name: tensor}))
    assert not caplog.text


@pytest.mark.parametrize(
    ("family", "change", "named"),
    [
        (
            "wav2vec2-group",
            lambda name, tensor: {f"module.{name}": tensor},
            ["(50 tensors)", "they have module.encoder"],
        ),
        (
            "wav2vec2-group",
            lambda name, tensor: {} if ".layers.1." in name else {name: tensor},
            ["encoder.layers.1.attention.k_proj.bias, ", "... (16 tensors)"],
        ),
        (
            "data2vec-audio",
            lambda name, tensor: {} if name == "encoder.layer_norm.bias" else {name: tensor},
            ["lack encoder.layer_norm.bias"],
        ),
        (
            "w2v-bert",
            lambda name, tensor: {
                name: tensor[:, :5].clone() if name == "feature_projection.projection.weight" else tensor
            },
            ["feature_projection.projection.weight [32, 5] instead of [32, 160]"],
        ),
        # As WhisperEncoder saves itself
        (
            "whisper",
            lambda name, tensor: {name.removeprefix("encoder."): tensor},
            ["encoder.conv1.bias", "they have conv1"],
        ),
        (
            "whisper",
            lambda name, tensor: {} if "layers.0.fc1" in name else {name: tensor},
            ["encoder.layers.0.fc1.bias"],
        ),
    ],
    ids=["prefix", "layer", "tensor", "size", "whisper prefix", "whisper layer"],
)
def test_weights_that_would_be_random_are_refused_by_name(tmp_path, family, change, named):
    tiny_models.save(tmp_path, family)
    with pytest.raises(UserError) as refusal:
        load_encoder(rewrite(tmp_path, change))
    assert all(words in refusal.value.what for words in [str(tmp_path), *named])
    assert "decoder" not in refusal.value.what.partition("lack")[2].partition(";")[0]


# SpecAugment


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_spec_augment_comes_before_the_checkpoints(tmp_path, family):
    folder = tiny_models.save(tmp_path, family, mask_time_prob=0.0)
    plain = load_encoder(folder).train()
    changed = load_encoder(folder, spec_augment={"mask_time_prob": 0.3, "mask_time_length": 3}).train()
    batch = padded(waves(16000, 9000))
    lengths = torch.tensor([40, 20])
    assert plain._spec_augment_mask(lengths, 40) is None
    assert 0.1 < changed._spec_augment_mask(lengths, 40).float().mean() < 0.6
    assert changed(*batch)[0].isfinite().all()
    if family != "whisper":  # what replaces a frame, which the checkpoint lacks, is drawn as transformers does
        drawn = changed.model.masked_spec_embed
        assert 0 <= drawn.min() < 0.3 and 0.7 < drawn.max() < 1
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, changed.state_dict()[name])
    off = load_encoder(folder, spec_augment={"mask_time_prob": 0.3, "apply_spec_augment": False}).train()
    assert off._spec_augment_mask(lengths, 40) is None
    assert plain._spec_augment_mask(lengths, 40) is None


def test_spec_augment_of_a_mapping_and_its_keys(tmp_path, caplog):
    mapping = tiny_models.config("wav2vec2-group", mask_time_prob=0.0).to_dict()
    assert load_encoder(mapping, spec_augment={"mask_time_prob": 0.3}).model.config.mask_time_prob == 0.3
    assert mapping["mask_time_prob"] == 0.0
    with pytest.raises(UserError, match="spec_augment: mask_prob is no value"):
        load_encoder(mapping, spec_augment={"mask_prob": 0.3})
    with pytest.raises(UserError, match="mask_feature_prob is no value of SpecAugment of a whisper"):
        load_encoder(tiny_models.save(tmp_path / "1", "whisper"), spec_augment={"mask_feature_prob": 0.3})
    folder = tiny_models.save(tmp_path / "2", "wav2vec2-group", mask_time_prob=0.1)
    load_encoder(folder, spec_augment={"mask_time_prob": 0.0})  # then it has no use for what replaces a frame
    assert "masked_spec_embed" not in caplog.text

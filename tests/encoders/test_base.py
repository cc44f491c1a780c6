"""The lowest layers of an encoder, frozen and run apart, against transformers' and SpeechBrain's own models."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tiny_conformer
import tiny_models
import torch
from tiny_models import FAMILIES, STEADY, WHISPER_SECONDS, padded, waves
from torch.overrides import TorchFunctionMode
from transformers import AutoFeatureExtractor, AutoModel

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.encoders import Encoder, load_encoder

RESTLESS = {name: 0.5 for name in STEADY if name != "mask_time_prob"} | {"mask_time_prob": 0.0}
# One of each kind of transformer; the others are the same but for their CNN.
KINDS = ("wav2vec2-group", "wavlm-layer", "data2vec-audio", "w2v-bert", "whisper")
OTHERS = [pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES if family not in KINDS]
MASKS = {"mask_time_prob": 0.3, "mask_time_length": 6, "apply_spec_augment": True}


def frozen(folder: Path, family: str, layers: int = 1, **changes) -> Encoder:
    """A tiny encoder of two layers, as many of which are frozen."""
    if family == "whisper":
        own = {"hidden_dropout": "dropout", "layerdrop": "encoder_layerdrop"}
        names = ("mask", "apply", "dropout", "encoder", "attention", "activation")
        changes = {own.get(key, key): value for key, value in changes.items()}
        changes = {key: value for key, value in changes.items() if key.startswith(names)}
    return load_encoder(tiny_models.save(folder, family, **changes), freeze_layers=layers)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> Callable[[str], Encoder]:
    """One of a family, without dropout and SpecAugment, its lowest of two layers frozen; each made once."""
    root = tmp_path_factory.mktemp("models")
    return cache(lambda family: frozen(root / family, family, **STEADY))


@pytest.fixture(scope="module")
def conformers(tmp_path_factory) -> tuple[Encoder, torch.nn.Module]:
    """Such a conformer, and SpeechBrain's own."""
    folder = tmp_path_factory.mktemp("models") / "conformer"
    theirs = tiny_conformer.save(folder, tiny_conformer.text())
    return load_encoder(str(folder), freeze_layers=1).eval(), theirs


@pytest.mark.parametrize("family", [*KINDS, *OTHERS])
@torch.no_grad()
def test_hidden_states_are_those_of_transformers(encoders, family):
    encoder = encoders(family).eval()
    folder = encoder.model.name_or_path
    model, extractor = AutoModel.from_pretrained(folder).eval(), AutoFeatureExtractor.from_pretrained(folder)
    model = model.encoder if family == "whisper" else model
    (wav,) = waves(WHISPER_SECONDS * SAMPLE_RATE)  # what Whisper's own is given without padding
    wav[-400:] = 0.0  # the last window of its own looks beyond the end, into a mirror
    inputs = extractor(wav.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    inputs = {key: value for key, value in inputs.items() if key in ("input_values", "input_features")}
    expected = model(**inputs, output_hidden_states=True)
    hidden, n_frames = encoder.lowest(*padded([wav]))
    torch.testing.assert_close(hidden, expected.hidden_states[1], rtol=0, atol=2e-5)
    frames, _ = encoder(hidden, n_frames)
    torch.testing.assert_close(frames, expected.last_hidden_state, rtol=0, atol=2e-5)


@torch.no_grad()
def test_hidden_states_are_those_of_speechbrain(conformers):
    encoder, theirs = conformers
    states = []
    lowest = theirs.transformer_encoder.transformer.encoder.layers[0]
    hook = lowest.register_forward_hook(lambda module, inputs, outputs: states.append(outputs[0]))
    (wav,) = waves(9999)
    expected = theirs(wav[None], torch.ones(1))
    hook.remove()
    hidden, n_frames = encoder.lowest(*padded([wav]))
    torch.testing.assert_close(hidden, states[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder(hidden, n_frames)[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [*KINDS, "conformer", *OTHERS])
@torch.no_grad()
def test_an_utterance_is_the_same_in_any_batch(encoders, conformers, family):
    encoder = conformers[0] if family == "conformer" else encoders(family).eval()
    wavs = waves(16000, 8017, 1300, 401)
    hidden, n_frames = encoder.lowest(*padded(wavs))
    frames, _ = encoder(hidden, n_frames)
    for row, state, count, wav in zip(frames, hidden, n_frames.tolist(), wavs, strict=True):
        alone, n_alone = encoder.lowest(*padded([wav]))
        assert n_alone.tolist() == [count]
        torch.testing.assert_close(state[:count], alone[0, :count], rtol=0, atol=1e-5)
        torch.testing.assert_close(row[:count], encoder(alone, n_alone)[0][0, :count], rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [*KINDS, *OTHERS])
def test_the_upper_layers_learn_as_if_nothing_were_stored_and_the_lowest_not_at_all(encoders, family):
    """Gradients against those of the whole encoder on waveforms, by transformers' forward; 16 bits lie between."""
    folder = encoders(family).model.name_or_path
    kept, whole = load_encoder(folder, freeze_layers=1).train(), load_encoder(folder).train()
    batch = padded(waves(16000, 8017, 1300))
    weight = torch.randn(3, 50, 32, generator=torch.Generator().manual_seed(2))
    hidden, n_frames = kept.lowest(*batch)
    before = {name: value.clone() for name, value in kept.state_dict().items()}
    for encoder, inputs in ((whole, batch), (kept, (hidden.half(), n_frames))):
        frames, n_frames = encoder(*inputs)
        true = torch.arange(frames.shape[1])[:, None] < n_frames[:, None, None]
        (frames * weight[:, : frames.shape[1]] * true).sum().backward()
    gradients = {name: each.grad for name, each in kept.named_parameters() if each.grad is not None}
    expected = {name: each.grad for name, each in whole.named_parameters() if name in gradients}
    assert any(".layers.1." in name for name in gradients) and not any(".layers.0." in name for name in gradients)
    scale = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=2e-3 * scale.item())
    torch.optim.AdamW([each for each in kept.parameters() if each.requires_grad], lr=0.1, weight_decay=0.1).step()
    changed = {name for name, value in kept.state_dict().items() if not torch.equal(value, before[name])}
    # A bias of keys has no gradient but for rounding; Whisper's has none at all.
    assert {name for name in gradients if not name.endswith("k_proj.bias")} <= changed <= gradients.keys()
    learning = {name for name, each in kept.named_parameters() if each.requires_grad}
    assert learning == gradients.keys()
    with torch.no_grad():
        assert torch.equal(kept.lowest(*batch)[0], hidden)


@pytest.mark.parametrize("family", [*KINDS, *OTHERS])
@torch.no_grad()
def test_nothing_is_random_below_what_is_trained(tmp_path, family):
    encoder = frozen(tmp_path, family, **RESTLESS)
    batch = padded(waves(16000, 8017))
    hidden, n_frames = encoder.eval().lowest(*batch)
    torch.manual_seed(1)
    assert torch.equal(encoder.train().lowest(*batch)[0], hidden)
    assert any(not torch.equal(encoder(hidden, n_frames)[0], encoder(hidden, n_frames)[0]) for _ in range(5))
    encoder.held = True
    assert torch.equal(encoder.train()(hidden, n_frames)[0], encoder(hidden, n_frames)[0])


# SpecAugment


@pytest.mark.parametrize("family", ["wav2vec2-group", "w2v-bert", "whisper"])
@torch.no_grad()
def test_spec_augment_of_stored_frames(tmp_path, family, monkeypatch):
    features = {} if family == "whisper" else {"mask_feature_prob": 0.2, "mask_feature_length": 4}
    encoder = frozen(tmp_path, family, **STEADY | MASKS | features).train()
    monkeypatch.setattr(encoder, "through", lambda layers, hidden, n_frames: hidden)
    monkeypatch.setattr(encoder, "leave", lambda hidden: hidden)
    hidden = torch.randn(2, 60, 32, generator=torch.Generator().manual_seed(2))
    hidden[1, 40:] = 99.0  # padding, which no mean may have
    np.random.seed(3)
    shown, _ = encoder(hidden.half(), torch.tensor([60, 40]))
    for row, given, length in zip(shown, hidden.half().float(), (60, 40), strict=True):
        mean, masked = given[:length].mean(0), (row != given)[:length]
        torch.testing.assert_close(row[:length], torch.where(masked, mean, given[:length]), rtol=0, atol=1e-5)
        whole = masked.all(1)
        assert 0.05 < whole.float().mean() < 0.6
        spans = "".join("x" if each else " " for each in whole.tolist()).split()
        assert min(map(len, spans)) == (3 if family == "whisper" else 6)  # spectra are 10 ms apart, frames 20
        columns = masked[~whole].all(0)
        assert torch.equal(masked[~whole].any(0), columns) and (columns.sum() >= 4) == bool(features)
    assert torch.equal(encoder.eval()(hidden, torch.tensor([60, 40]))[0], hidden)


def test_masked_frames_have_transformers_gradients_to_the_last_bit(tmp_path, monkeypatch):
    """Sums in another order are as right, but a training with them ends elsewhere than it did before."""
    encoder = load_encoder(tiny_models.save(tmp_path, "wav2vec2-group", **STEADY | MASKS)).train()
    hidden, slope = (torch.randn(5, 60, 32, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    n_frames = torch.tensor([60, 40, 60, 35, 60])
    mask = encoder._spec_augment_mask(n_frames, 60)
    monkeypatch.setattr(encoder, "_spec_augment_mask", lambda *_: mask)

    def gradients(masked) -> tuple[torch.Tensor, ...]:
        of = hidden.clone().requires_grad_()
        return torch.autograd.grad(masked(of * 1), (of, encoder.model.masked_spec_embed), slope)

    found = gradients(lambda hidden: encoder._masked_embeddings(hidden, n_frames))
    expected = gradients(lambda hidden: encoder.model._mask_hidden_states(hidden, mask_time_indices=mask))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@torch.no_grad()
def test_masks_go_to_the_device_as_frames_and_features_and_mask_as_one_of_all_numbers(tmp_path):
    """The same to the last bit as by a mask of [B, T, d], which would be as many bytes to copy as there are numbers."""
    encoder = frozen(tmp_path, "wav2vec2-group", **STEADY | MASKS, mask_feature_prob=0.2, mask_feature_length=4)
    encoder.train()
    hidden, n_frames = torch.randn(2, 60, 32, generator=torch.Generator().manual_seed(2)), torch.tensor([60, 40])
    copied: list[int] = []

    class Copies(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.Tensor.to and args[0].dtype == torch.bool:
                copied.append(args[0].numel())
            return function(*args, **(kwargs or {}))

    np.random.seed(3)
    with Copies():
        shown = encoder._spec_augment(hidden, n_frames)
    assert sorted(copied) == [2 * 32, 2 * 60]  # features, frames
    np.random.seed(3)
    whole = encoder._spec_augment_mask(n_frames, 60)[:, :, None] | encoder._feature_mask(2)[:, None, :]
    true = (torch.arange(60) < n_frames[:, None])[:, :, None]
    mean = hidden.masked_fill(~true, 0.0).sum(1, keepdim=True) / true.sum(1, keepdim=True)
    assert torch.equal(shown, torch.where(whole, mean, hidden))


# How many


def test_all_layers_are_the_whole_encoder(tmp_path):
    encoder = frozen(tmp_path, "wav2vec2-layer", layers=2)
    assert encoder.freeze and not encoder.frozen_layers and not encoder.train().model.encoder.layers[0].training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_none_is_what_it_was(tmp_path):
    encoder = frozen(tmp_path, "wav2vec2-layer", layers=0)
    assert not (encoder.freeze or encoder.freeze_cnn or encoder.frozen_layers)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_more_than_there_are_is_refused_with_the_number(tmp_path):
    with pytest.raises(UserError, match="freeze_layers is 3, and the encoder has 2 layers") as refusal:
        frozen(tmp_path, "whisper", layers=3)
    assert "at most 2" in refusal.value.remedy


def test_a_family_whose_layers_cannot_be_run_apart_is_refused_by_name():
    with pytest.raises(UserError, match="freeze_layers: the layers of emformer pass on") as refusal:
        load_encoder(
            {
                "model_type": "emformer",
                "hidden_size": 8,
                "num_attention_heads": 2,
                "intermediate_size": 8,
                "num_hidden_layers": 2,
                "time_reduction_input_dim": 2,
            },
            freeze_layers=1,
        )
    assert "freeze to True" in refusal.value.remedy

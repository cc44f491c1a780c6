"""Which hidden states the heads read: against transformers' own hidden states; stored and frozen."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tiny_conformer
import tiny_models
import torch
from tiny_models import STEADY, WHISPER_SECONDS, padded, waves
from transformers import AutoFeatureExtractor, AutoModel

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.data.feature_store import CnnStore, FrameStore, LayerStore, StateStore, kind_of_store
from local.data.noise import noise
from local.encoders import Encoder, load_encoder
from local.encoders.base import LAST
from local.systems.layers.layer_choice import LayerChoice
from local.systems.mtl import MultiTaskSystem

KINDS = ("wav2vec2-group", "hubert-layer", "wavlm-layer", "data2vec-audio", "w2v-bert", "whisper")
BATCH = padded(waves(16000, 9017, 1300))


def slow(*families: str) -> list:
    """Families that the soak tests alone take: only the file of each differs."""
    return [pytest.param(family, marks=pytest.mark.slow) for family in families]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Callable[[str], str]:
    """The folder of a tiny encoder of two layers, each made once."""
    root = tmp_path_factory.mktemp("models")

    @cache
    def make(family: str) -> str:
        if family == "conformer":
            tiny_conformer.save(root / family, tiny_conformer.text())
            return str(root / family)
        return tiny_models.save(root / family, family, **({} if family == "whisper" else STEADY))

    return make


def system(folder: str, emotion: str | int = "last", ctc: str | int = "last", **loading) -> MultiTaskSystem:
    torch.manual_seed(3)
    encoder = load_encoder(folder, **loading)
    made = MultiTaskSystem(encoder, 4, 6, 0.1, emotion_layers=emotion, ctc_layer=ctc)
    if made.layers.weights is not None:
        with torch.no_grad():
            made.layers.weights.copy_(torch.tensor([0.5, -1.0, 1.5]))
    return made.eval()


def taking(folder: str, *numbers: int, **loading) -> Encoder:
    encoder = load_encoder(folder, **loading)
    encoder.take(numbers)
    return encoder.eval()


# Against transformers


@pytest.mark.parametrize("family", KINDS)
@torch.no_grad()
def test_states_are_those_of_transformers(folders, family):
    folder = folders(family)
    model, extractor = AutoModel.from_pretrained(folder).eval(), AutoFeatureExtractor.from_pretrained(folder)
    model = model.encoder if family == "whisper" else model
    (wav,) = waves(WHISPER_SECONDS * SAMPLE_RATE)
    wav[-400:] = 0.0  # Whisper's last window looks beyond the end, into a mirror
    inputs = extractor(wav.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
    inputs = {key: value for key, value in inputs.items() if key in ("input_values", "input_features")}
    expected = model(**inputs, output_hidden_states=True)
    states, n_frames = taking(folder, LAST, 0, 1, 2).states(*padded([wav]))
    assert [*states] == [LAST, 0, 1, 2] and n_frames.tolist() == [states[0].shape[1]]
    for number in (0, 1, 2):
        torch.testing.assert_close(states[number], expected.hidden_states[number], rtol=0, atol=2e-5)
    torch.testing.assert_close(states[LAST], expected.last_hidden_state, rtol=0, atol=2e-5)
    assert torch.allclose(states[LAST], states[2], atol=2e-5) == (family not in ("hubert-layer", "wavlm-layer"))


@torch.no_grad()
def test_the_sum_is_by_hand_and_begins_with_equal_weights(folders):
    made = system(folders("wavlm-layer"), "weighted")
    states, n_frames = made.encoder.states(*BATCH)
    mixed, of_tokens, counts = made.layers(made.encoder, *BATCH)
    shares = np.exp([0.5, -1.0, 1.5]) / np.exp([0.5, -1.0, 1.5]).sum()
    expected = sum(share * states[number].double() for number, share in enumerate(shares))
    torch.testing.assert_close(mixed, expected.float(), rtol=0, atol=1e-5)
    assert made.layers.shares() == pytest.approx(shares, abs=1e-7) and torch.equal(n_frames, counts)
    assert torch.equal(of_tokens, load_encoder(folders("wavlm-layer")).eval()(*BATCH)[0])
    assert LayerChoice(load_encoder(folders("whisper")), "weighted").shares() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("family", ["hubert-layer", *slow(*KINDS[2:], "wav2vec2-group", "conformer")])
@torch.no_grad()
def test_an_utterance_is_the_same_in_any_batch(folders, family):
    made = system(folders(family), "weighted", 1)
    together = made(*BATCH)
    for row, wav in enumerate(waves(16000, 9017, 1300)):
        alone = made(*padded([wav]))
        count = int(alone.n_frames)
        torch.testing.assert_close(alone.emotion[0], together.emotion[row], rtol=0, atol=1e-5)
        torch.testing.assert_close(alone.tokens[0, :count], together.tokens[row, :count], rtol=0, atol=2e-5)


# By default nothing differs


@torch.no_grad()
def test_the_default_is_the_encoders_output_to_the_bit(folders):
    made, plain = system(folders("wav2vec2-group")), load_encoder(folders("wav2vec2-group")).eval()
    frames, n_frames = plain(*BATCH)
    outputs = made(*BATCH)
    assert torch.equal(outputs.tokens, made.token_head(frames))
    assert torch.equal(outputs.emotion, made.emotion_head(made.pooling(frames, n_frames)))
    assert not made.encoder.taken and not [name for name in made.state_dict() if name.startswith("layers.")]
    assert made.settings() == {"alpha": 0.1, "pooling": "mean"} and made.learned() == {}
    assert all(parameter.requires_grad for parameter in made.parameters())


@pytest.mark.parametrize("family", ["wav2vec2-group", "w2v-bert", "whisper"])
def test_the_output_among_states_is_that_without_them_in_training_too(tmp_path, family):
    """The same dropout, masks and skipped layers, which the same generators draw, and the same gradients."""
    values = {"mask_time_prob": 0.3, "mask_time_length": 4, "apply_spec_augment": True}
    own = {"dropout": 0.3, "encoder_layerdrop": 0.4} if family == "whisper" else {"layerdrop": 0.4}
    folder = tiny_models.save(tmp_path, family, **values, **own)
    found = []
    for numbers in ((), (LAST, 0)):
        encoder = load_encoder(folder).train()
        if numbers:
            encoder.take(numbers)
        torch.manual_seed(4)
        np.random.seed(4)
        made = [encoder(*BATCH)[0] if not numbers else encoder.states(*BATCH)[0][LAST] for _ in range(3)]
        made[-1][:, :3].square().sum().backward()
        gradients = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
        found.append((made, gradients))
    (plain, expected), (states, gradients) = found
    assert all(map(torch.equal, plain, states))
    assert gradients.keys() == expected.keys()
    assert all(torch.equal(gradients[name], gradient) for name, gradient in expected.items())


def test_a_skipped_layer_passes_on_its_input(tmp_path):
    encoder = load_encoder(tiny_models.save(tmp_path, "wav2vec2-group", **STEADY | {"layerdrop": 1.0})).train()
    encoder.take((0, 1, 2))
    states, _ = encoder.states(*BATCH)
    assert torch.equal(states[0], states[1]) and torch.equal(states[1], states[2])


# What is not needed


@pytest.mark.parametrize("family", ["wav2vec2-group", "wavlm-layer", "whisper"])
def test_layers_above_the_highest_are_not_computed_and_do_not_learn(folders, family, monkeypatch):
    made = system(folders(family), 1, 0).train()
    above = made.encoder.layers()[1]
    monkeypatch.setattr(above, "forward", lambda *_, **__: pytest.fail("it is computed"))
    outputs = made(*BATCH)
    (outputs.emotion.sum() + outputs.tokens[:, :3].sum()).backward()
    unused = {id(p) for module in (above, *made.encoder.after_layers()) for p in module.parameters()}
    learning = {id(p): name for name, p in made.named_parameters() if p.requires_grad}
    assert not unused & learning.keys()
    with_gradient = {name for name, p in made.named_parameters() if p.grad is not None}
    # What SpecAugment puts in the place of a frame has none without a mask; WavLM's upper layers have no bias.
    assert {*learning.values()} - with_gradient <= {"encoder.model.masked_spec_embed"}


def test_the_weights_learn_as_heads_do(folders):
    made = system(folders("wav2vec2-group"), "weighted").train()
    made(*BATCH).emotion.square().sum().backward()
    assert made.layers.weights.grad.abs().min() > 0
    assert abs(float(made.layers.weights.grad.sum())) < 1e-4 * float(
        made.layers.weights.grad.abs().sum()
    )  # of a softmax
    assert any(made.layers.weights is parameter for head in made.heads() for parameter in head.parameters())


# Refusals


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"emotion": 3}, "emotion_layers is 3, and the encoder has 2 blocks"),
        ({"emotion": -1}, "emotion_layers is -1"),
        ({"emotion": "all"}, "emotion_layers is 'all'"),
        ({"emotion": True}, "emotion_layers is True"),
        ({"ctc": "weighted"}, "ctc_layer is 'weighted'"),
        ({"ctc": "9"}, "ctc_layer is '9'"),
    ],
)
def test_wrong_values_are_refused_with_the_range(folders, values, message):
    with pytest.raises(UserError, match=message) as error:
        system(folders("wav2vec2-group"), **values)
    assert "a number from 0 (the input of block 1) to 2" in error.value.remedy


def test_a_number_may_come_as_text_from_the_command_line(folders):
    assert system(folders("wav2vec2-group"), "1").settings()["emotion_layers"] == 1


def test_an_encoder_whose_layers_cannot_be_run_apart_has_the_last_alone():
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "num_hidden_layers": 1}
    emformer = load_encoder({"model_type": "emformer", **sizes, "time_reduction_input_dim": 2})
    with pytest.raises(UserError, match="ctc_layer is 1: the layers of a emformer") as error:
        LayerChoice(emformer, ctc=1)
    assert error.value.remedy == "set ctc_layer to last"


# What is stored


def rows(made: MultiTaskSystem, wavs: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch from the store of a system, in 16 bits."""
    kind = kind_of_store(made)
    stored = [kind.compute(made.encoder, wav[None], torch.tensor([len(wav)])).half() for wav in wavs]
    assert {each.shape[1] for each in stored} == {kind.width(made.encoder)}
    return padded(stored)


@pytest.mark.parametrize("family", ["wavlm-layer", *slow("wav2vec2-group", "w2v-bert", "whisper", "conformer")])
@pytest.mark.parametrize(
    ("loading", "emotion", "ctc", "kind", "states"),
    [
        ({"freeze": True}, "weighted", "last", StateStore, 4),
        ({"freeze": True}, 1, 1, StateStore, 1),
        ({"freeze_layers": 1}, "weighted", "last", LayerStore, 2),
        ({"freeze_layers": 1}, "weighted", 0, LayerStore, 2),
        ({"freeze_layers": 1}, "last", 2, LayerStore, 1),
        ({"freeze_layers": 1}, 0, 1, StateStore, 2),  # so nothing is left that could learn
    ],
)
@torch.no_grad()
def test_stored_states_are_those_of_the_waveforms(folders, family, loading, emotion, ctc, kind, states):
    made = system(folders(family), emotion, ctc, **loading)
    assert kind_of_store(made) is kind and made.encoder.width == states * made.encoder.dim
    expected = made(*BATCH)
    for mode in (False, True):  # in training mode nothing is random here but dropout of what is not frozen
        if mode and not made.encoder.freeze:
            continue
        found = made.train(mode)(*rows(made, waves(16000, 9017, 1300)))
        torch.testing.assert_close(found.emotion, expected.emotion, rtol=0, atol=5e-3)
        assert torch.equal(found.n_frames, expected.n_frames)
        for row, count in enumerate(found.n_frames.tolist()):
            torch.testing.assert_close(found.tokens[row, :count], expected.tokens[row, :count], rtol=0, atol=2e-2)


def test_masks_of_stored_states_are_the_same_in_all(tmp_path):
    features = {"mask_feature_prob": 0.2, "mask_feature_length": 4, "mask_time_prob": 0.3, "mask_time_length": 6}
    folder = tiny_models.save(tmp_path, "wav2vec2-group", **STEADY | features)
    encoder = taking(folder, LAST, 0, 1, freeze_layers=1).train()
    given = torch.randn(2, 60, 64, generator=torch.Generator().manual_seed(2))
    np.random.seed(3)
    shown = encoder._spec_augment(given, torch.tensor([60, 40]))
    masked = (shown != given).unflatten(2, (2, 32))
    assert masked[:, :, 0].any() and torch.equal(masked[:, :, 0], masked[:, :, 1])
    states, _ = encoder.states(given.half(), torch.tensor([60, 40]))
    assert [*states] == [LAST, 0, 1]


def test_other_states_are_another_store(folders):
    """What is stored for the output alone keeps its name, as without this choice."""
    folder = folders("wav2vec2-group")
    plain, states = load_encoder(folder, freeze=True), taking(folder, 0, 1, freeze=True)
    assert plain.signature() != states.signature() != taking(folder, 0, 2, freeze=True).signature()
    lower, same = load_encoder(folder, freeze_layers=1), taking(folder, LAST, 2, freeze_layers=1)
    assert lower.lowest_signature() == same.lowest_signature()
    assert lower.lowest_signature() != taking(folder, LAST, 0, freeze_layers=1).lowest_signature()
    assert kind_of_store(system(folder, freeze=True)) is FrameStore
    assert kind_of_store(system(folder, "weighted", freeze_cnn=True)) is CnnStore


@pytest.mark.parametrize("loading", [{}, {"freeze": True}, {"freeze_layers": 1}, {"freeze_cnn": True}], ids=str)
def test_noise_for_the_memory_has_the_width_of_the_store(folders, loading):
    made = system(folders("wav2vec2-group"), "weighted", **loading).train()
    outputs = made(*noise(made, False, [1.0, 0.5]))
    assert outputs.emotion.isfinite().all() and outputs.emotion.shape == (2, 4)


def test_another_folder_with_the_choice_builds_the_same(folders, tmp_path: Path):
    made = system(folders("hubert-layer"), "weighted", 1)
    again = system(folders("hubert-layer"), **{"emotion": "weighted", "ctc": 1})
    assert made.settings() == {"alpha": 0.1, "pooling": "mean", "emotion_layers": "weighted", "ctc_layer": 1}
    assert made.state_dict().keys() == again.state_dict().keys()
    assert made.learned()["layer_shares"] == made.layers.shares()

"""local.features.hidden_states against the hidden states that transformers gives."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from transformers import AutoModel

from local.data.feature_store import RowStore
from local.encoders import load_encoder
from local.encoders.base import pad_batch
from local.features.hidden_states import HiddenStates

SAMPLES = (9000, 160, 5123)


def batch(*samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    return pad_batch(tiny_models.waves(*samples)), torch.tensor(samples)


@pytest.fixture(scope="module", params=tiny_models.FAMILIES)
def made(request, tmp_path_factory) -> tuple[str, HiddenStates, str]:
    folder = tiny_models.save(tmp_path_factory.mktemp(request.param), request.param)
    return request.param, HiddenStates(load_encoder(folder, freeze=True).eval()), folder


@torch.no_grad()
def test_states_are_those_of_transformers(made):
    """Of an utterance alone, where they need no mask; of Whisper, whose model wants 30 s, by its own blocks."""
    family, front_end, folder = made
    wavs, lengths = batch(9000)
    wavs = wavs[:, :9000]
    rows, n_rows = front_end(wavs, lengths)
    assert rows.shape == (1, 3, 32) and n_rows.tolist() == [front_end.rows_each] == [3]
    extractor = tiny_models.extractor(family)
    inputs = extractor(wavs[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    if family == "whisper":
        model = front_end.encoder.model
        hidden, expected = inputs["input_features"][:, :, : 9000 // 160], []
        hidden = torch.nn.functional.gelu(model.conv2(torch.nn.functional.gelu(model.conv1(hidden)))).transpose(1, 2)
        hidden = hidden + model.embed_positions.weight[: hidden.shape[1]]
        for layer in model.layers:
            expected.append(hidden)
            hidden = layer(hidden, None)
        expected.append(model.layer_norm(hidden))
    else:
        inputs.pop("attention_mask", None)
        outputs = AutoModel.from_pretrained(folder).eval()(**inputs, output_hidden_states=True)
        expected = [*outputs.hidden_states[:-1], outputs.last_hidden_state]  # its last may lack the final layer norm
    assert len(expected) == 3
    for row, state in zip(rows[0], expected, strict=True):
        torch.testing.assert_close(row, state[0].mean(0), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_rows_are_the_same_alone_and_in_a_batch(made):
    _, front_end, _ = made
    together, _ = front_end(*batch(*SAMPLES))
    for wav, row in zip(tiny_models.waves(*SAMPLES), together, strict=True):
        alone, _ = front_end(wav[None], torch.tensor([len(wav)]))
        torch.testing.assert_close(alone[0], row, atol=1e-5, rtol=1e-5)


def test_its_blocks_keep_no_hooks_and_its_encoder_is_not_its_own(made):
    _, front_end, _ = made
    hooks = [len(module._forward_pre_hooks) for module in front_end.encoder.modules()]
    front_end(*batch(4000))
    assert hooks == [len(module._forward_pre_hooks) for module in front_end.encoder.modules()]
    assert list(front_end.state_dict()) == list(front_end.parameters()) == []
    assert front_end.max_samples == front_end.encoder.max_samples and front_end.width == front_end.encoder.dim
    front_end.to("meta")
    assert next(front_end.encoder.parameters()).is_meta


def test_other_weights_or_another_preprocessor_have_another_store(tmp_path):
    class Audio:
        fingerprint = "audio"

    def fingerprint(place: str, **values) -> str:
        folder = tiny_models.save(tmp_path / place, "wav2vec2-group", **values)
        return RowStore.fingerprint(Audio, HiddenStates(load_encoder(folder, freeze=True)))

    first = fingerprint("1")
    assert fingerprint("2") == first
    assert len({first, fingerprint("3", seed=2), fingerprint("4", do_normalize=False)}) == 3

"""Utterances one behind the other, against transformers' own models on each alone."""

from __future__ import annotations

import pytest
import tiny_models
import torch
from tiny_models import STEADY, WAVEFORM, padded, waves
from transformers import AutoModel

from local.data import device
from local.encoders import description, load_encoder, packing, plain
from local.encoders.packing import PackingEncoder, pack, unpack


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch):
    monkeypatch.setattr(packing, "LEAST", 0)


@pytest.mark.parametrize("family", WAVEFORM)
def test_output_and_gradient_are_those_of_each_utterance_alone(tmp_path, family):
    folder = tiny_models.save(tmp_path / family, family, do_normalize=False, **STEADY)
    encoder, model = load_encoder(folder).train(), AutoModel.from_pretrained(folder).train()
    seen = []
    encoder.layers()[0].register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    wavs = waves(5000, 12_345, 801, 9999)
    rows, n_frames = encoder(*padded(wavs))
    assert seen == [(1, int(n_frames.sum()), encoder.dim)]  # no frame is padding
    alone = [model(wav[None]).last_hidden_state[0] for wav in wavs]
    weights = [torch.randn(one.shape, generator=torch.Generator().manual_seed(len(one))) for one in alone]
    for row, length, one in zip(rows, n_frames.tolist(), alone, strict=True):
        torch.testing.assert_close(row[:length], one, rtol=0, atol=2e-5)
    sum((row[: len(w)] * w).sum() for row, w in zip(rows, weights, strict=True)).backward()
    sum((one * w).sum() for one, w in zip(alone, weights, strict=True)).backward()
    theirs = {name: weight.grad for name, weight in model.named_parameters()}
    ours = {name: weight.grad for name, weight in encoder.model.named_parameters()}
    assert ours.keys() == theirs.keys()
    for name, grad in ours.items():
        assert (grad is None) == (theirs[name] is None), name
        if grad is not None:
            torch.testing.assert_close(grad, theirs[name], rtol=1e-4, atol=2e-5 * float(theirs[name].abs().max() + 1))


@pytest.mark.parametrize("family", ["wav2vec2-group", "whisper"])
@pytest.mark.parametrize("changes", [{}, {"take": (0, 1, 2)}, {"freeze_layers": 1}])
def test_every_state_is_as_where_utterances_pass_side_by_side(tmp_path, monkeypatch, family, changes):
    folder = tiny_models.save(tmp_path / "encoder", family, **STEADY)
    found = []
    for packs in (True, False):
        monkeypatch.setattr(PackingEncoder, "is_packed", lambda _, x, packs=packs: packs and len(x) > 1)
        encoder = load_encoder(folder, freeze_layers=changes.get("freeze_layers", 0)).train()
        seen = []
        encoder.layers()[-1].register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(len(inputs[0])))
        if "take" in changes:
            encoder.take(changes["take"])
            states, n_frames = encoder.states(*padded(waves(5000, 12_345, 801)))
        else:
            rows, n_frames = encoder(*padded(waves(5000, 12_345, 801)))
            states = {0: rows}
        true = [
            torch.cat([one[:n] for one, n in zip(state, n_frames.tolist(), strict=True)]) for state in states.values()
        ]
        assert seen == [1 if packs else 3]
        torch.stack(true).square().sum().backward()
        found.append((true, [weight.grad for weight in encoder.parameters() if weight.grad is not None]))
    assert len(found[0][1]) == len(found[1][1]) > 10
    torch.testing.assert_close(*found, rtol=1e-4, atol=2e-4)


def plain_encoder(folder):
    """The one that a model folder has."""
    return plain.build(*description(load_encoder(folder)))


@pytest.mark.parametrize("load", [load_encoder, plain_encoder])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_without_a_gradient_every_encoder_packs(tmp_path, load, precision):
    torch.manual_seed(1)
    encoder = load(tiny_models.save(tmp_path / "encoder", "wav2vec2-group", **STEADY))
    encoder.load_state_dict({name: torch.randn_like(weight) / 9 for name, weight in encoder.state_dict().items()})
    seen = []
    encoder.layers()[0].register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[:2])))
    wavs = waves(5000, 8000)
    encoder.held = True  # then it has none in training, though what comes after it has
    rows, n_frames = encoder.train()(*padded(wavs))
    assert seen.pop() == (1, 39) and not rows.requires_grad and int(n_frames.sum()) == 39
    with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        encoder.held = False
        rows, n_frames = encoder.eval()(*padded(wavs))
        assert seen == [(1, 39)]
        for row, wav, length in zip(rows, wavs, n_frames.tolist(), strict=True):
            alone = encoder(wav[None], torch.tensor([len(wav)]))[0][0]
            # Of what tells the utterance's frames apart: to mix it with another's would change so much.
            varies = float((alone - alone.mean(0)).abs().max())
            share = 1e-4 if precision == torch.float32 else 0.1
            torch.testing.assert_close(row[:length].float(), alone.float(), rtol=0, atol=share * varies)


@pytest.mark.parametrize(
    ("kind", "several", "packed"), [("cpu", False, True), ("cpu", True, False), ("cuda", False, False)]
)
def test_seconds_of_a_micro_batch_are_those_that_are_computed(tmp_path, kind, several, packed):
    encoder = load_encoder(tiny_models.save(tmp_path / "encoder", "wav2vec2-group", **STEADY))
    if several:
        encoder.take((1, 2))
    values, system = {"device": kind, "micro_batch_size": 8, "micro_batch_seconds": 60}, torch.nn.Module()
    system.encoder = encoder
    assert device.limits(values, system).packed is packed
    assert device.evaluation_limits(values | {"eval_batch_seconds": 60}, system).packed is packed


def test_pack_and_unpack_are_inverse():
    hidden, n_frames = torch.randn(3, 7, 2), torch.tensor([4, 7, 1])
    packed = pack(hidden, n_frames)
    assert packed.shape == (1, 12, 2)
    expected = hidden * (torch.arange(9)[:7] < n_frames[:, None])[..., None]
    torch.testing.assert_close(unpack(packed, n_frames, 7), expected)
    assert unpack(packed, n_frames, 9).shape == (3, 9, 2)

"""A BiLSTM and attention over a frozen encoder: parameters, shapes, batches, masks, learning, the encoder untouched."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_conformer
import tiny_models
import torch
from system_checks import (
    assert_alone_as_in_a_batch,
    at_random,
    inputs,
    learns_eight,
    losses_of_steps,
    sounds,
    trained_parameters,
)
from tiny_training import LABELS, VALUES, Corpus, Interruption, Recorder, assert_same, completed, fit, log_of

from local.core.errors import UserError
from local.data.batches import Limits, UpdateSampler
from local.data.dataset import Utterances
from local.data.feature_store import FrameStore, RowStore, kind_of_store
from local.encoders import Encoder, load_encoder
from local.inference import model_folder
from local.inference.model_folder import Model
from local.systems.lu_asr_attention import AsrAttentionSystem
from local.training.checkpoints import RunCheckpointer

POOLINGS = ("attention", "mean", "max", "mlp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return tiny_models.save(tmp_path_factory.mktemp("models") / "tiny-wav2vec2", "wav2vec2-layer")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory) -> Encoder:
    """An encoder that reads spectra."""
    saved = tiny_models.save(tmp_path_factory.mktemp("models") / "tiny-whisper", "whisper")
    return load_encoder(saved, freeze=True)


def of_dimension(dim: int) -> AsrAttentionSystem:
    """The head on frames of a size."""
    encoder = torch.nn.Module()
    encoder.dim, encoder.max_samples, encoder.seconds_per_frame, encoder.freeze = dim, None, 0.02, True
    return AsrAttentionSystem(4, encoder=encoder, pretrained="x")


def test_the_parameters_and_the_labels(folder):
    counts = {1536: 887_044, 512: 362_756, 768: 493_828, 1024: 624_900}
    assert {dim: trained_parameters(of_dimension(dim)) for dim in counts} == counts
    system = AsrAttentionSystem(4)
    assert trained_parameters(system) == 223_492 and system.weights == "no ASR"
    assert system.certainty == "known (head), substitute encoder"
    system = AsrAttentionSystem(4, asr_encoder=folder)
    assert system.weights == "tiny-wav2vec2" and trained_parameters(system) == 512 * (32 + 64) + 67_844
    assert (kind_of_store(system), kind_of_store(AsrAttentionSystem(4))) == (FrameStore, RowStore)


def test_the_shapes_of_three_seconds(folder):
    system = AsrAttentionSystem(4).eval()
    rows, n_rows = inputs(system, sounds(3.0))
    assert n_rows.tolist() == [298] and rows.shape[2] == 80
    frames, n_frames = system.frames(rows, n_rows)
    assert frames.shape == (1, 99, 240) and n_frames.tolist() == [99]
    assert torch.equal(frames[0, 1], system.standardise(rows[0, 3:6]).flatten())
    system = AsrAttentionSystem(4, asr_encoder=folder).eval()
    frames, n_frames = system.frames(*inputs(system, sounds(3.0)))
    assert n_frames.tolist() == [149] and frames.shape[2] == 32
    assert system.pooled(frames, n_frames).shape == (1, 256)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_utterance_has_the_same_logits_alone_in_a_batch_and_from_its_waveform(folder, pooling):
    wavs = [*sounds(1.0, 1.7, 0.3), *(wav[:length] for wav, length in zip(sounds(1, 1), (1600, 160), strict=True))]
    torch.manual_seed(2)
    assert_alone_as_in_a_batch(AsrAttentionSystem(4, pooling=pooling, bias=True, layer_norm=True), wavs)
    assert_alone_as_in_a_batch(AsrAttentionSystem(4, asr_encoder=folder, pooling=pooling, dropout=0.2), wavs)


@torch.no_grad()
def test_poolings_are_those_of_the_true_frames(folder):
    torch.manual_seed(2)
    frames, n_frames = torch.randn(2, 7, 32), torch.tensor([7, 3])
    for pooling, expected in (("mean", lambda states: states.mean(0)), ("max", lambda states: states.amax(0))):
        system = AsrAttentionSystem(4, asr_encoder=folder, pooling=pooling).eval()
        states, _ = system.lstm(frames[1:, :3])
        torch.testing.assert_close(system.pooled(frames, n_frames)[1], expected(states[0]))
    system = AsrAttentionSystem(4, asr_encoder=folder, pooling="mlp").eval()
    torch.testing.assert_close(system.pooled(frames, n_frames)[1], system.hidden(frames[1, :3].mean(0)).relu())
    with pytest.raises(UserError, match="pooling"):
        AsrAttentionSystem(4, pooling="sum")


@torch.no_grad()
def test_the_logits_are_those_of_the_layers_one_by_one():
    made, rows = at_random(AsrAttentionSystem(4, dropout=0.2)), torch.randn(1, 17, 80, dtype=torch.double)
    normal = (rows[0, :15] - made.standardise.mean) / made.standardise.deviation
    states, _ = made.lstm(1.2 * torch.stack([normal[3 * step : 3 * step + 3].flatten() for step in range(5)]))
    attention, vectors = made.attention, []
    for head in range(8):
        rows_of = slice(32 * head, 32 * head + 32)
        keys, values = (states @ each.weight[rows_of].T for each in (attention.key, attention.value))
        vectors.append((keys @ attention.query[head] / 32**0.5).softmax(0) @ values)
    expected = made.emotion_head(1.2 * torch.cat(vectors))
    torch.testing.assert_close(made(rows, torch.tensor([17])).emotion[0], expected, rtol=1e-5, atol=1e-6)


def test_in_training_one_mask_of_each_kind_and_none_in_use(folder):
    torch.manual_seed(2)
    system = AsrAttentionSystem(4).train()
    rows = torch.full((40, 300, 80), 5.0)
    frames, _ = system.frames(rows, torch.tensor([300, 240] * 20))
    assert frames.shape == (40, 100, 240)
    masked = frames.view(40, 300, 80) == 0
    stretches = [int(masked[row, :240].all(1).sum()) for row in range(40)]
    bands = [int(masked[row, :240].all(0).sum()) for row in range(40)]
    assert 60 < max(stretches) <= 100 and 15 < max(bands) <= 27 and len(set(stretches)) > 20
    assert torch.equal(system.eval().frames(rows, torch.tensor([300] * 40))[0], rows.view(40, 100, 240))
    system = AsrAttentionSystem(4, asr_encoder=folder).train()
    frames, _ = system.frames(rows, torch.tensor([300, 240] * 20))
    stretches = (frames == 0).all(2).sum(1).tolist()
    assert 35 < max(stretches) <= 50 and min(stretches) < 10  # 1 s of 20 ms each
    plain = AsrAttentionSystem(4, asr_encoder=folder, masks=False).train()
    assert torch.equal(plain.frames(rows, torch.tensor([300] * 40))[0], rows)


def test_of_eight_encodings_one_is_drawn_in_training_and_the_clean_one_used_otherwise(whisper):
    system = AsrAttentionSystem(4, encoder=whisper, encodings=8)
    assert kind_of_store(system) is RowStore and system.front_end.width == 8 * 32
    rows = torch.arange(8.0).repeat_interleave(32).expand(800, 5, 256)
    n_rows = torch.full((800,), 5)
    torch.manual_seed(1)
    drawn, _ = system.train().frames(rows, n_rows)
    assert drawn.shape == (800, 5, 32) and (drawn == drawn[:, :1, :1]).all()
    assert all(70 < count < 130 for count in drawn[:, 0, 0].long().bincount(minlength=8).tolist())
    torch.manual_seed(1)
    assert torch.equal(system.frames(rows, n_rows)[0], drawn)
    assert (system.eval().frames(rows, n_rows)[0] == 0).all()
    (wav,) = sounds(0.8)
    stored, n_stored = system.frames(*inputs(system, [wav]))
    plain = AsrAttentionSystem(4, encoder=whisper, encodings=8, masks=False).eval()
    assert kind_of_store(plain) is FrameStore
    fresh, n_fresh = plain.frames(*inputs(plain, [wav]))
    assert n_fresh.tolist() == n_stored.tolist() and torch.equal(stored[:, : int(n_fresh)], fresh[:, : int(n_fresh)])


def test_encodings_batches_and_seeds(whisper, folder):
    torch.manual_seed(2)
    wavs = sounds(0.2, 0.3)
    assert_alone_as_in_a_batch(AsrAttentionSystem(4, encoder=whisper, encodings=3, time_warp=True), wavs)
    runs = []
    for _ in range(2):
        torch.manual_seed(4)
        system = AsrAttentionSystem(4, encoder=whisper, encodings=3)
        runs.append(losses_of_steps(system, sounds(0.2, 0.3), steps=3))
    assert runs[0] == runs[1] and len(set(runs[0])) == 3
    # Of an encoder that reads the waveform its frames are masked.
    assert kind_of_store(AsrAttentionSystem(4, asr_encoder=folder, encodings=8)) is FrameStore
    assert kind_of_store(AsrAttentionSystem(4, encoder=whisper)) is FrameStore  # as run folders from before have it


def test_time_is_warped_where_there_are_spectra_to_warp(folder, whisper):
    times = torch.arange(300.0)[None, :, None].expand(50, 300, 80).contiguous()
    rows = torch.tensor([300] * 50)
    system = AsrAttentionSystem(4, time_warp=True).train()
    torch.manual_seed(1)
    frames, _ = system.frames(times, rows)
    warped = frames.view(50, 300, 80)
    assert not torch.equal(torch.where(warped == 0, times, warped), times)
    assert torch.equal(system.eval().frames(times, rows)[0].view(50, 300, 80), times)
    for values in ({"asr_encoder": folder, "encodings": 8}, {"encoder": whisper}, {"masks": False}):
        with pytest.raises(UserError, match="time_warp"):
            AsrAttentionSystem(4, time_warp=True, **values)
    with pytest.raises(UserError, match="encodings is 0"):
        AsrAttentionSystem(4, encodings=0)


def test_stored_frames_equal_fresh_ones_and_the_encoder_is_not_trained(folder):
    system = AsrAttentionSystem(4, asr_encoder=folder)
    before = {name: tensor.clone() for name, tensor in system.encoder.state_dict().items()}
    losses = losses_of_steps(system, sounds(0.5, 0.7, 0.6, 0.4))
    assert len(set(losses)) == 5
    after = system.encoder.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    (wav,) = sounds(0.8)
    fresh, n_fresh = system.eval().frames(wav[None], torch.tensor([len(wav)]))
    stored, n_stored = system.frames(*inputs(system, [wav]))
    count = int(n_fresh)
    assert n_fresh.tolist() == n_stored.tolist() and torch.equal(fresh[0, :count], stored[0, :count])


@pytest.mark.parametrize("name", ["no ASR", "encoder"])
def test_it_learns_eight_utterances_and_no_chance_is_in_a_seed(folder, name):
    source = folder if name == "encoder" else None
    runs = []
    for _ in range(2):
        torch.manual_seed(4)
        runs.append(losses_of_steps(AsrAttentionSystem(4, asr_encoder=source), sounds(0.7, 0.6, 0.5, 0.8)))
    assert runs[0] == runs[1]
    torch.manual_seed(3)
    assert learns_eight(AsrAttentionSystem(4, asr_encoder=source, masks=False), seconds=0.6) <= 400


def test_what_is_measured_is_of_every_frame_of_the_training_set():
    system = AsrAttentionSystem(4).eval()
    batches = [inputs(system, sounds(0.5, 1.0)), inputs(system, sounds(0.3))]
    system.measure(batches)
    rows = torch.cat([row[:count] for batch in batches for row, count in zip(*batch, strict=True)])
    torch.testing.assert_close(system.standardise.mean, rows.mean(0))
    torch.testing.assert_close(system.standardise.deviation, rows.std(0, correction=0))


def test_the_settings_build_it_again_with_an_encoder_of_the_same_shape(folder):
    for values in ({"pooling": "max"}, {"asr_encoder": folder, "bias": True, "layer_norm": True}):
        system = AsrAttentionSystem(4, **values).eval()
        shape = {} if system.encoder is None else {"encoder": AsrAttentionSystem(4, asr_encoder=folder).encoder}
        again = AsrAttentionSystem(4, **shape, **system.settings()).eval()
        again.load_state_dict(system.state_dict())
        batch = inputs(system, sounds(0.5))
        assert torch.equal(again(*batch).emotion, system(*batch).emotion) and again.weights == system.weights
    with torch.device("meta"):
        AsrAttentionSystem(4)


def test_random_weights_are_told():
    mapping = {"model_type": "whisper", "d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2}
    mapping |= {"encoder_ffn_dim": 32, "decoder_layers": 1, "decoder_ffn_dim": 8, "vocab_size": 60}
    mapping |= {"decoder_attention_heads": 2, "max_source_positions": 100, "max_target_positions": 4}
    mapping |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    assert AsrAttentionSystem(4, asr_encoder=mapping).weights == "random whisper"


def train_on_encodings(folder: Path, corpus: Corpus, encoder: Encoder, interrupt: tuple | None = None) -> Recorder:
    """Two epochs of updates on the stored encodings of the corpus, or until the interruption."""
    torch.manual_seed(1)
    system = AsrAttentionSystem(len(LABELS), encoder=encoder, encodings=3)
    plain = corpus.utterances()
    rows = {
        name: RowStore.compute(system.front_end, wav[None], torch.tensor([len(wav)]))
        for name, wav in plain.audio.items()
    }
    training = Utterances(corpus.table, rows, LABELS, corpus.tokenizer)
    values = completed(VALUES | {"epochs": 2})
    sampler = UpdateSampler(training.durations, values["batch_size"], Limits(4, 1e9, 1e9), values["seed"])
    brain = Recorder(system, values, folder, sampler, LABELS, corpus.tokenizer, RunCheckpointer(folder / "save"))
    brain.training, brain.interrupt = training, interrupt
    return fit(brain, training)


@pytest.mark.slow
def test_a_resumed_training_draws_the_same_encodings(tmp_path, whisper):
    corpus = Corpus(tmp_path)
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = train_on_encodings(tmp_path / "whole", corpus, whisper)
    with pytest.raises(Interruption):
        train_on_encodings(tmp_path / "cut", corpus, whisper, ("update", 2, 3))
    resumed = train_on_encodings(tmp_path / "cut", corpus, whisper)
    assert log_of(resumed) == log_of(whole)
    assert_same(resumed.system.state_dict(), whole.system.state_dict())


EMFORMER = {"model_type": "emformer", "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
EMFORMER |= {"intermediate_size": 32, "time_reduction_input_dim": 8}


@pytest.mark.parametrize("kind", ["emformer", "conformer"])
@torch.no_grad()
def test_recognisers_of_other_libraries(tmp_path, kind):
    """Labels, parameters, eight encodings, batches, and a model folder without the encoder's own files."""
    torch.manual_seed(1)
    source = EMFORMER if kind == "emformer" else str(tmp_path / "conformer")
    if kind == "conformer":
        tiny_conformer.save(tmp_path / "conformer", tiny_conformer.text())
    system = AsrAttentionSystem(4, asr_encoder=source, encodings=2).eval()
    assert system.weights == ("random emformer" if kind == "emformer" else "conformer")
    assert trained_parameters(system) == 512 * (24 + 64) + 67_844
    assert kind_of_store(system) is RowStore and system.seconds_per_frame == 0.04
    assert_alone_as_in_a_batch(system, sounds(0.3, 0.2, 0.02))
    model_folder.write(tmp_path / "model", Model(system, ["ang", "hap", "neu", "sad"], [], [0], 10.0))
    again = model_folder.read(tmp_path / "model").system
    wavs, lengths = torch.stack(sounds(0.5, 0.5)), torch.tensor([8000, 5000])
    assert torch.equal(again(wavs, lengths).emotion, system(wavs, lengths).emotion)
    assert again.weights == system.weights

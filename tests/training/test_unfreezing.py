"""Gradual unfreezing: what is trained in which epoch, the optimizer's state, and that it resumes to the last bit."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_training import Corpus, Interruption, assert_same, build, fit, log_of

from local.core.errors import UserError
from local.encoders import load_encoder, task_vectors
from local.training import unfreezing

PLAN = {"unfreeze": {"every": 1, "layers": 1}}  # of an encoder of two layers
UPDATES = 3  # in an epoch


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    return fit(build(corpus, tmp_path_factory.mktemp("whole") / "run", **PLAN), corpus.utterances())


def trained(brain, epoch: int) -> set[str]:
    """The names of the parameters with a gradient in an epoch, without the heads."""
    updates = brain.raw[(epoch - 1) * UPDATES : epoch * UPDATES]
    return {name for update in updates for name in update if name.startswith("encoder.")}


def test_layers_are_trained_from_the_top_and_what_is_before_them_with_the_lowest(whole):
    assert len(whole.raw) == 3 * UPDATES and trained(whole, 1) == set()
    assert trained(whole, 2) and all(".layers.1." in name for name in trained(whole, 2))
    third = trained(whole, 3)
    assert {name for name in third if ".layers.1." in name} == trained(whole, 2)
    assert any(".layers.0." in name for name in third) and any("feature_extractor" in name for name in third)
    assert all("emotion_head.weight" in update for update in whole.raw)


def test_moments_begin_with_the_layer_and_rates_go_on(whole):
    for name, parameter in whole.system.named_parameters():
        state = whole.optimizer.state.get(parameter, {})
        with_gradient = sum(name in update for update in whole.raw)  # layer drop may leave one out
        assert int(state.get("step", 0)) == with_gradient
        assert with_gradient <= UPDATES * (1 if ".layers.0." in name else 2 if ".layers.1." in name else 3)
    rates = [encoder for encoder, _ in whole.rates]
    assert len(rates) == 3 * UPDATES and rates[2:] == sorted(rates[2:], reverse=True) and rates[-1] < rates[UPDATES]


@pytest.mark.parametrize("interrupt", [("update", 2, 2), ("update", 3, 1)], ids=str)
def test_a_run_that_is_resumed_ends_as_one_that_was_not(whole, corpus, tmp_path, interrupt):
    brain = build(corpus, tmp_path / "run", **PLAN)
    brain.interrupt = interrupt
    with pytest.raises(Interruption):
        fit(brain, corpus.utterances())
    second = fit(build(corpus, tmp_path / "run", system_seed=99, **PLAN), corpus.utterances())
    # Not byte for byte: where states of the optimizer are loaded and others begun, pickle writes their names twice.
    for part in ("system", "optimizer", "scheduler"):
        assert_same(getattr(second, part).state_dict(), getattr(whole, part).state_dict())
    assert log_of(second) == log_of(whole)


def test_layers_that_are_never_reached_are_told(whole, corpus, tmp_path, caplog):
    """Of two layers, and one that is frozen: by hand."""
    encoder = whole.system.encoder

    def said(every: int, layers: int, epochs: int) -> str:
        values = SimpleNamespace(unfreeze={"every": every, "layers": layers}, epochs=epochs)
        return unfreezing.unreached(values, encoder)

    assert said(1, 1, 3) == said(1, 2, 2) == said(2, 5, 3) == ""
    assert "lowest 1 of 2 layers" in said(1, 1, 2) and "begin in epoch 3, and epochs is 2" in said(1, 1, 2)
    assert "lowest 2 of 2 layers" in said(3, 2, 3) and "begin in epoch 4" in said(3, 2, 3)
    assert "begin in epoch 7" in said(3, 1, 6)
    assert unfreezing.unreached(SimpleNamespace(unfreeze={}, epochs=1), None) == ""
    brain = build(corpus, tmp_path / "run", unfreeze={"every": 3, "layers": 1})
    with caplog.at_level(logging.WARNING), pytest.raises(Interruption):
        brain.interrupt = ("update", 1, 1)
        fit(brain, corpus.utterances())
    assert [line for line in caplog.messages if line.startswith("unfreeze: the lowest 2 of 2 layers")]


@pytest.mark.parametrize(
    ("every", "layers", "epochs", "plan", "begins"),
    [
        (1, 1, 3, "the heads from epoch 1, the highest 1 of 2 layers from epoch 2, ALL from epoch 3", {2: 1, 3: 2}),
        (2, 1, 4, "the heads from epoch 1, the highest 1 of 2 layers from epoch 3", {3: 1}),
        (2, 7, 9, "the heads from epoch 1, ALL from epoch 3", {3: 2}),
        (3, 1, 3, "the heads alone", {}),
        (0, 0, 9, "", {}),
    ],
)
def test_the_log_says_what_begins_when(whole, every, layers, epochs, plan, begins):
    """By hand, of an encoder of two layers."""
    encoder, every_layer = whole.system.encoder, "all 2 layers and what is before them"
    unfreeze = {"every": every, "layers": layers} if every else {}
    values = SimpleNamespace(unfreeze=unfreeze, epochs=epochs, freeze_encoder_epochs=0)
    assert unfreezing.plan(values, encoder) == plan.replace("ALL", every_layer)
    named = {epoch: what for epoch in range(1, epochs + 1) if (what := unfreezing.begun(values, encoder, epoch))}
    assert named == {epoch: every_layer if n == 2 else "the highest 1 of 2 layers" for epoch, n in begins.items()}


def test_of_many_layers_the_log_names_the_first_and_the_last_step():
    encoder = load_encoder({"model_type": "wav2vec2", **SIZES, "num_hidden_layers": 5}, freeze_layers=1)
    values = SimpleNamespace(unfreeze={"every": 2, "layers": 1}, epochs=20, freeze_encoder_epochs=0)
    first, last = "the heads from epoch 1, the highest 1 of 4 layers from epoch 3", "all 4 layers from epoch 9"
    assert unfreezing.plan(values, encoder) == f"{first}, 1 more after each 2 epochs, {last}"
    at_once = SimpleNamespace(unfreeze={}, epochs=3, freeze_encoder_epochs=2)
    assert unfreezing.plan(at_once, encoder) == "the heads from epoch 1, the encoder from epoch 3"
    assert [unfreezing.begun(at_once, encoder, epoch) for epoch in (1, 2, 3, 4)] == ["", "", "the encoder", ""]
    at_once.epochs = 2
    assert unfreezing.plan(at_once, encoder) == "the heads alone"
    never = load_encoder({"model_type": "wav2vec2", **SIZES}, freeze=True)
    assert unfreezing.plan(at_once, never) == unfreezing.begun(at_once, never, 3) == ""
    assert unfreezing.plan(at_once, None) == ""
    values.unfreeze = {"every": 2}
    with pytest.raises(UserError, match="its keys are every and layers"):
        unfreezing.plan(values, encoder)


def test_an_epoch_that_trains_more_says_so(corpus, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        fit(build(corpus, tmp_path / "run", **PLAN), corpus.utterances())
    assert [line for line in caplog.messages if "begins to train" in line] == [
        "epoch 2 begins to train the highest 1 of 2 layers",
        "epoch 3 begins to train all 2 layers and what is before them",
    ]


def test_a_layer_that_waits_is_in_evaluation_mode(whole, corpus, tmp_path: Path):
    encoder = build(corpus, tmp_path / "run", **PLAN).system.encoder
    values = SimpleNamespace(unfreeze={"every": 2, "layers": 1}, freeze_encoder_epochs=0)
    seen = []
    for epoch in range(1, 7):
        unfreezing.hold(values, encoder, epoch)
        encoder.train()
        lower, upper = encoder.layers()
        learns = [any(p.requires_grad for p in layer.parameters()) for layer in (lower, upper)]
        seen.append((encoder.held, lower.training, upper.training, *learns))
    assert seen[0] == seen[1] == (True, False, False, False, False)
    assert seen[2] == seen[3] == (False, False, True, False, True)
    assert seen[4] == seen[5] == (False, True, True, True, True)


def test_frozen_layers_stay_frozen():
    encoder = load_encoder({"model_type": "wav2vec2", **SIZES}, freeze_layers=1)
    values = SimpleNamespace(unfreeze={"every": 1, "layers": 5}, freeze_encoder_epochs=0)
    before = {name for name, p in encoder.named_parameters() if p.requires_grad}
    unfreezing.hold(values, encoder, 1)
    unfreezing.hold(values, encoder, 2)
    assert {name for name, p in encoder.named_parameters() if p.requires_grad} == before
    assert encoder.resting == 0 and not encoder.train().layers()[0].training


SIZES = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    **{"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
}


@pytest.mark.parametrize(
    ("given", "loading", "message"),
    [
        ({"every": 2}, {}, "unfreeze is {'every': 2}"),
        ({"every": 2, "epoch": 1}, {}, "its keys are every and layers"),
        ({"every": 0, "layers": 1}, {}, "unfreeze: every is 0"),
        ({"every": 1, "layers": True}, {}, "unfreeze: layers is True"),
        ({"every": 1, "layers": 1}, {"freeze": True}, "the whole encoder is frozen"),
        ({"every": 1, "layers": 1}, {"freeze_layers": 2}, "the whole encoder is frozen"),
        ({"every": 1, "layers": 1}, None, "the system has no encoder"),
    ],
)
def test_what_cannot_be_is_refused(given, loading, message):
    encoder = None if loading is None else load_encoder({"model_type": "wav2vec2", **SIZES}, **loading)
    with pytest.raises(UserError, match=message) as error:
        unfreezing.refuse_wrong(SimpleNamespace(unfreeze=given, freeze_encoder_epochs=0), encoder)
    assert ("freeze_layers to 0" in error.value.remedy) == ("frozen" in message)


def test_both_ways_to_wait_are_refused():
    encoder = load_encoder({"model_type": "wav2vec2", **SIZES})
    values = SimpleNamespace(unfreeze={"every": 1, "layers": 1}, freeze_encoder_epochs=1)
    with pytest.raises(UserError, match="unfreeze and freeze_encoder_epochs"):
        unfreezing.refuse_wrong(values, encoder)


def test_a_merged_encoder_has_nothing_to_unfreeze():
    encoder = load_encoder({"model_type": "wav2vec2", **SIZES})
    weights = encoder.model.state_dict()
    task_vectors.add(encoder, {"ctc": weights, "emotion": weights}, 0.5)
    values = SimpleNamespace(unfreeze={"every": 1, "layers": 1}, freeze_encoder_epochs=0)
    with pytest.raises(UserError, match="unfreeze: of a merged encoder no layer is trained"):
        unfreezing.refuse_wrong(values, encoder)

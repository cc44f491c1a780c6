"""The Brain at work: a tiny wav2vec 2.0 on sixteen tones and noises."""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import speechbrain.nnet.schedulers as speechbrain
import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.time_domain import DropChunk, SpeedPerturb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import (
    Corpus,
    Interruption,
    Recorder,
    assert_same,
    assert_same_runs,
    build,
    checkpoints,
    fit,
    log_of,
)

from local.core.errors import UserError
from local.data.batches import Limits, UpdateSampler
from local.data.dataset import Utterances
from local.systems.layers.batch_norm import VectorNorm
from local.training.checkpoints import RunCheckpointer, best
from local.training.epoch_log import EPOCH_COLUMNS, EpochLog
from local.training.skipped import PATIENCE


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


# Precision


@pytest.mark.parametrize(("precision", "eval_precision"), [("fp32", "fp32"), ("tf32", "fp32"), ("bf16", "tf32")])
def test_each_stage_computes_in_its_precision(corpus, tmp_path, tf32_switches, precision, eval_precision):
    """On a CPU TF32 changes nothing: what is looked at is whether a GPU might."""
    brain = build(corpus, tmp_path, epochs=1, precision=precision, eval_precision=eval_precision)
    assert tf32_switches()["matmul_flag"] == (precision == "tf32")
    seen = set()

    def note(*_) -> None:
        seen.add((brain.system.training, *tf32_switches().values()))

    brain.system.encoder.register_forward_hook(note)
    brain.system.emotion_head.register_full_backward_hook(note)
    fit(brain, corpus.utterances(corpus.table[:7]))
    expected = {True: precision == "tf32", False: eval_precision == "tf32"}
    assert {(training, flag) for training, *_, flag in seen} == set(expected.items())
    assert all(set(flags) in ({"ieee", False}, {"tf32", True}) for _, *flags in seen)


def test_in_bf16_no_pass_takes_weights_of_an_earlier_update(corpus, tmp_path):
    """Autocast keeps what it has cast: weights of the update before, or those of validation, without gradients."""
    brain = build(corpus, tmp_path, epochs=2, precision="bf16", eval_precision="bf16")
    passes = []

    def note(head: torch.nn.Linear, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        expected = torch.nn.functional.linear(inputs[0].bfloat16(), head.weight.bfloat16(), head.bias.bfloat16())
        passes.append(brain.system.training)
        assert output.dtype == torch.bfloat16 and torch.equal(output, expected)

    gradients = []
    brain.system.emotion_head.register_forward_hook(note)
    brain.system.emotion_head.weight.register_hook(lambda gradient: gradients.append(bool(gradient.any())))
    fit(brain, corpus.utterances(corpus.table[:7]))
    assert passes.count(True) == 10 and passes.count(False) == 4 and gradients == [True] * 10


# The log


@torch.no_grad()
def direct_means(brain: Recorder, utterances: Utterances) -> list[float]:
    """CE, CTC and accuracy over utterances that pass through the model as one batch."""
    batch = utterances.collate([utterances[index] for index in range(len(utterances))])
    outputs = brain.system(batch.wavs, batch.lengths)
    losses = brain.system.losses(outputs, batch.targets)
    correct = outputs.emotion.argmax(1) == batch.targets.emotion
    return [losses.ce.item(), losses.ctc.item(), correct.double().mean().item()]


def test_epochs_csv(corpus, tmp_path):
    brain = fit(build(corpus, tmp_path, epochs=2), corpus.utterances(corpus.table[:7]))
    log = pd.read_csv(tmp_path / "epochs.csv")
    assert tuple(log.columns) == EPOCH_COLUMNS
    assert log["epoch"].tolist() == [1, 2]
    assert not log.isna().any(axis=None)
    assert log["ctc_left_out"].tolist() == [2, 2]  # those without a transcript
    assert log["skipped_updates"].tolist() == [0, 0]
    assert log["best"].iloc[0] == 1
    for part in ("train", "valid"):
        expected = log[f"{part}_ce"] + 0.1 * log[f"{part}_ctc"]
        np.testing.assert_allclose(log[f"{part}_loss"], expected, rtol=1e-6)
    assert log["train_loss"].iloc[1] < log["train_loss"].iloc[0]
    assert len((tmp_path / "train_log.txt").read_text().splitlines()) == 2
    # The means over batches of 4 and 3 are those over the 7 utterances.
    brain.modules.eval()
    expected = direct_means(brain, corpus.utterances(corpus.table[:7]))
    assert log.iloc[-1][["valid_ce", "valid_ctc", "valid_wa"]].tolist() == pytest.approx(expected, rel=1e-5)


def test_the_means_of_an_epoch_are_those_over_its_utterances(corpus, tmp_path):
    brain = fit(build(corpus, tmp_path, steady=True, lr=0.0, head_lr=0.0, epochs=1), None)  # 4 + 2, 4 + 2, 4
    row = pd.read_csv(tmp_path / "epochs.csv").iloc[0]
    expected = direct_means(brain, brain.training)
    assert row[["train_ce", "train_ctc", "train_wa"]].tolist() == pytest.approx(expected, rel=1e-5)
    assert row["ctc_left_out"] == 2


def test_epochs_csv_without_validation(corpus, tmp_path):
    fit(build(corpus, tmp_path, epochs=2), None)
    log = pd.read_csv(tmp_path / "epochs.csv")
    assert tuple(log.columns) == EPOCH_COLUMNS and len(log) == 2
    empty = [name for name in log if log[name].isna().all()]
    assert empty == [name for name in EPOCH_COLUMNS if name.startswith("valid_")]
    assert not log.drop(columns=empty).isna().any(axis=None)


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every figure of the event files in a folder, as (step, value) in the order that they were written."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}, purge_orphaned_data=False).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def expected_of(log: Path) -> dict[str, list[tuple[int, float]]]:
    """The figures of epochs.csv, in single precision and under the names that TensorBoard shows."""
    table = pd.read_csv(log, dtype=str).astype(float).astype({"epoch": int}).set_index("epoch").astype(np.float32)
    columns = {name: column.dropna() for name, column in table.items() if column.notna().any()}
    tags = {name: f"{name[6:]}/{name[:5]}" if name[:6] in ("train_", "valid_") else name for name in columns}
    return {tags[name]: list(column.items()) for name, column in columns.items()}


@pytest.mark.parametrize("valid", [True, False])
def test_tensorboard_shows_epochs_csv(corpus, tmp_path, valid):
    fit(build(corpus, tmp_path, tensorboard=True), corpus.utterances(corpus.table[:7]) if valid else None)
    found = shown(tmp_path / "tensorboard")
    assert found == expected_of(tmp_path / "epochs.csv")
    assert {"loss/train", "lr", "seconds"} <= set(found) and ("wer/valid" in found) == valid
    assert [step for step, _ in found["loss/train"]] == [1, 2, 3]


def test_tensorboard_shows_each_epoch_in_its_place_though_one_lacks_a_figure(tmp_path):
    log = EpochLog(tmp_path, tensorboard=True)
    log.begin([{"epoch": 1, "lr": 0.5}, {"epoch": 2, "lr": 0.25, "train_loss": 3.0}])
    assert shown(tmp_path / "tensorboard") == {"lr": [(1, 0.5), (2, 0.25)], "loss/train": [(2, 3.0)]}


def test_without_tensorboard_nothing_is_written_for_it(corpus, tmp_path):
    for values in ({}, {"tensorboard": False}):  # a YAML of before had no such key
        fit(build(corpus, tmp_path, epochs=1, **values), None)
    assert not (tmp_path / "tensorboard").exists()


# The same run again, and in pieces


@pytest.fixture(
    scope="module", params=[True, pytest.param(False, marks=pytest.mark.slow)], ids=["validated", "unvalidated"]
)
def uninterrupted(request, corpus, tmp_path_factory) -> Recorder:
    valid = corpus.utterances(corpus.table[::3]) if request.param else None
    return fit(build(corpus, tmp_path_factory.mktemp("whole")), valid)


def test_the_same_seed_gives_the_same_weights(corpus, tmp_path, uninterrupted):
    valid = corpus.utterances(corpus.table[::3]) if uninterrupted.has_valid else None
    assert_same_runs(fit(build(corpus, tmp_path), valid), uninterrupted)
    other = fit(build(corpus, tmp_path / "other", seed=6), valid)
    assert not torch.equal(other.system.emotion_head.weight, uninterrupted.system.emotion_head.weight)


CUTS = [("TRAIN", 2), ("update", 2, 3), ("TRAIN", 3), ("update", 1, 3)]


@pytest.mark.parametrize(
    ("uninterrupted", "where"),
    [
        *((True, cut) for cut in (*CUTS, ("VALID", 2))),
        (False, CUTS[1]),
        *(pytest.param(False, cut, marks=pytest.mark.slow) for cut in CUTS if cut != CUTS[1]),
    ],
    ids=str,
    indirect=["uninterrupted"],
)
def test_an_interrupted_run_ends_as_the_uninterrupted_does(corpus, tmp_path, uninterrupted, where):
    valid = corpus.utterances(corpus.table[::3]) if uninterrupted.has_valid else None
    first = build(corpus, tmp_path)
    first.interrupt = where
    with pytest.raises(Interruption):
        fit(first, valid)
    # The weights that the new process begins with do not matter once there is a checkpoint.
    seed = 1 if where[1] == 1 else 99
    assert_same_runs(fit(build(corpus, tmp_path, system_seed=seed), valid), uninterrupted)


def test_resuming_drops_a_row_whose_checkpoint_is_lost(corpus, tmp_path, uninterrupted):
    valid = corpus.utterances(corpus.table[::3]) if uninterrupted.has_valid else None
    first = build(corpus, tmp_path)
    first.interrupt = ("TRAIN", 2)
    with pytest.raises(Interruption):
        fit(first, valid)
    row = (tmp_path / "epochs.csv").read_text().splitlines()[1]
    with open(tmp_path / "epochs.csv", "a") as file:
        file.write("2" + row[1:] + "\n")
    assert_same_runs(fit(build(corpus, tmp_path, system_seed=99), valid), uninterrupted)


class Bomb:
    """A part of a checkpoint whose saving is cut off by a power cut in epoch 2."""

    def __init__(self, brain: Recorder) -> None:
        brain.checkpointer.add_recoverable("bomb", self, custom_save_hook=self.save)
        self.brain = brain

    def save(self, _, path: Path) -> None:
        if self.brain.epoch_counter.current == 2:
            path.write_bytes(b"half of wh")
            raise Interruption
        path.touch()


def test_a_resumed_run_shows_no_epoch_twice(corpus, tmp_path, uninterrupted):
    valid = corpus.utterances(corpus.table[::3]) if uninterrupted.has_valid else None
    first = build(corpus, tmp_path, tensorboard=True)
    Bomb(first)
    with pytest.raises(Interruption):
        fit(first, valid)
    assert [step for step, _ in shown(tmp_path / "tensorboard")["seconds"]] == [1, 2]
    # Its second epoch is trained again, in other seconds. And TensorBoard changes nothing of a run.
    assert_same_runs(fit(build(corpus, tmp_path, system_seed=99, tensorboard=True), valid), uninterrupted)
    assert shown(tmp_path / "tensorboard") == expected_of(tmp_path / "epochs.csv")


@pytest.mark.parametrize("order", ["first", "last"])
def test_a_checkpoint_cut_short_is_not_resumed_from(corpus, tmp_path, uninterrupted, order):
    valid = corpus.utterances(corpus.table[::3]) if uninterrupted.has_valid else None
    first = build(corpus, tmp_path)
    held = dict(first.checkpointer.recoverables)
    if order == "first":
        first.checkpointer.recoverables.clear()
    Bomb(first)
    first.checkpointer.recoverables.update(held)
    with pytest.raises(Interruption):
        fit(first, valid)
    second = fit(build(corpus, tmp_path, system_seed=99), valid)
    assert_same_runs(second, uninterrupted)


def test_a_finished_run_is_left_as_it_is(corpus, tmp_path):
    first = fit(build(corpus, tmp_path), None)
    before = (tmp_path / "epochs.csv").read_text()
    second = fit(build(corpus, tmp_path, system_seed=99), None)
    assert second.batches == []
    assert_same(second.system.state_dict(), first.system.state_dict())
    assert (tmp_path / "epochs.csv").read_text() == before


def test_a_run_whose_epochs_csv_is_gone_is_refused(corpus, tmp_path):
    fit(build(corpus, tmp_path), None)
    text = (tmp_path / "epochs.csv").read_text()
    for left, lost in (("", 1), (text[: text.index("\n3,") + 1], 3)):
        (tmp_path / "epochs.csv").write_text(left)
        with pytest.raises(UserError, match=rf"epochs.csv lacks epoch {lost}, and .* epoch 3") as error:
            fit(build(corpus, tmp_path), None)
        assert "--force true" in error.value.remedy and (tmp_path / "epochs.csv").read_text() == left


CHANGED = {
    "scheduler": speechbrain.NewBobScheduler(2e-3, improvement_threshold=0.5),
    "optimizer": torch.optim.RAdam,
    "augment": Augmenter(
        augmentations=[SpeedPerturb(16_000, [80, 125]), DropChunk(drop_length_high=800, noise_factor=0.1)],
        min_augmentations=0,
    ),
    "freeze_encoder_epochs": 1,
    "selection": "loss",
}


@pytest.fixture(scope="module")
def of_other_parts(corpus, tmp_path_factory) -> Recorder:
    """A run with them that nothing interrupted."""
    brain = build(corpus, tmp_path_factory.mktemp("other parts"), **copy.deepcopy(CHANGED))
    return fit(brain, corpus.utterances(corpus.table[::3]))


@pytest.mark.parametrize("where", [("TRAIN", 2), ("update", 2, 3), ("TRAIN", 3)], ids=str)
def test_an_interrupted_run_with_other_parts_ends_as_the_uninterrupted_does(corpus, tmp_path, of_other_parts, where):
    valid, whole = corpus.utterances(corpus.table[::3]), of_other_parts
    first = build(corpus, tmp_path / "part", **copy.deepcopy(CHANGED))
    first.interrupt = where
    with pytest.raises(Interruption):
        fit(first, valid)
    second = fit(build(corpus, tmp_path / "part", system_seed=99, **copy.deepcopy(CHANGED)), valid)
    # Not byte for byte: where states of the optimizer are loaded and others begun, pickle writes their names twice.
    for part in ("system", "optimizer", "scheduler"):
        assert_same(getattr(second, part).state_dict(), getattr(whole, part).state_dict())
    assert log_of(second) == log_of(whole)
    lrs = [row["lr"] for row in whole.log.rows]
    assert lrs[:2] == [2e-3, 2e-3] and lrs[2] == 1e-3  # no epoch has half the loss of the one before
    assert whole.checkpointer.chosen().meta["score"] == -min(row["valid_loss"] for row in whole.log.rows)


@pytest.mark.parametrize("valid", [True, False])
def test_an_epoch_that_has_ended_leaves_nothing_to_resume_whoever_ends_it(corpus, tmp_path, valid):
    """As the benchmark ends its rounds, which logs and saves nothing."""
    brain = build(corpus, tmp_path, epochs=3, table=corpus.table[:4], batch_size=2)
    brain.end_epoch = lambda: None
    fit(brain, corpus.utterances(corpus.table[:1]) if valid else None)
    assert brain.progress is None and len(brain.names) == 6


def test_the_encoder_is_trained_after_its_frozen_epochs(corpus, tmp_path):
    brain = build(corpus, tmp_path, freeze_encoder_epochs=2, weight_decay=0.5)
    encoder, before = brain.system.encoder, {}
    trained = []

    def note(*_) -> None:
        if not brain.system.training:
            return
        epoch = brain.epoch_counter.current
        state = {name: value.clone() for name, value in encoder.state_dict().items()}
        moved = any(not torch.equal(value, state[name]) for name, value in before.items())
        trained.append((epoch, moved, encoder.training, brain.system.token_head.training))
        before.update(state)

    encoder.register_forward_hook(note)
    fit(brain, corpus.utterances(corpus.table[:7]))
    assert {each[1:] for each in trained if each[0] <= 2} == {(False, False, True)}  # in evaluation mode, too
    assert {each[2:] for each in trained if each[0] == 3} == {(True, True)} and trained[-1][1]
    raw = [{name.partition(".")[0] for name in gradients} for gradients in brain.raw]
    assert raw == [{"token_head", "emotion_head"}] * 6 + [{"encoder", "token_head", "emotion_head"}] * 3


def test_on_stored_lowest_layers_an_interrupted_run_ends_as_the_uninterrupted_does(corpus, tmp_path):
    """And what is frozen is, to the last bit, what it was, in spite of weight decay."""

    def stored(folder: str, where: tuple | None = None) -> Recorder:
        brain = build(corpus, tmp_path / folder, freeze_layers=1, epochs=2)
        encoder, valid = brain.system.encoder, corpus.utterances(corpus.table[::3])
        brain.before = {name: each.clone() for name, each in encoder.named_parameters() if not each.requires_grad}
        wavs = brain.training.audio
        hidden = {name: encoder.lowest(wav[None], torch.tensor([len(wav)]))[0][0].half() for name, wav in wavs.items()}
        brain.training.audio = valid.audio = hidden
        brain.interrupt = where
        return fit(brain, valid)

    whole = stored("whole")
    with pytest.raises(Interruption):
        stored("part", ("update", 2, 3))
    assert_same_runs(stored("part"), whole)
    state = dict(whole.system.encoder.named_parameters())
    assert "model.encoder.layers.0.attention.k_proj.weight" in whole.before
    assert all(torch.equal(state[name], each) for name, each in whole.before.items())
    assert {name for name in whole.raw[0] if name.startswith("encoder.")} == {
        f"encoder.{name}" for name in state.keys() - whole.before.keys()
    }


def test_a_training_ends_when_it_gets_no_better(corpus, tmp_path, caplog):
    """With a rate of 0 no epoch is better than the first."""
    caplog.set_level(logging.INFO)
    still = {"lr": 0.0, "head_lr": 0.0, "weight_decay": 0.0, "epochs": 9, "patience": 2}
    valid = corpus.utterances(corpus.table[:7])
    first = build(corpus, tmp_path, **still)
    first.interrupt = ("TRAIN", 3)
    with pytest.raises(Interruption):
        fit(first, valid)
    brain = fit(build(corpus, tmp_path, **still), valid)
    assert [row["epoch"] for row in brain.log.rows] == [1, 2, 3]
    assert "no epoch since 1 has a better ua: the training ends" in caplog.text
    again = fit(build(corpus, tmp_path, **still), valid)  # before its marker is written, it may be killed
    assert again.batches == [] and again.checkpointer.chosen().meta["epoch"] == 1
    assert [row["epoch"] for row in again.log.rows] == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patience": 3}, "patience: it follows a figure"),
        ({"scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau}, "scheduler: it follows a figure"),
    ],
)
def test_what_follows_a_figure_needs_a_validation_set(corpus, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        fit(build(corpus, tmp_path, **changes), None)


# Updates


def test_learning_rates_warm_up_and_decay_to_0(corpus, tmp_path):
    brain = fit(build(corpus, tmp_path, epochs=4), None)
    updates, warm = 12, 3  # 16 utterances by 6 are 3 updates an epoch; a quarter of 12
    scale = [step / warm if step < warm else (updates - step) / (updates - warm) for step in range(updates)]
    np.testing.assert_allclose(brain.rates, [[2e-3 * s, 1e-2 * s] for s in scale], rtol=1e-12)
    assert [group["lr"] for group in brain.optimizer.param_groups] == [0, 0]
    log = pd.read_csv(tmp_path / "epochs.csv")[["lr", "head_lr"]]
    np.testing.assert_allclose(log, brain.rates[2::3], rtol=1e-12)  # those of each epoch's last update


def test_the_optimizer_is_adamw_with_the_heads_in_a_group_of_their_own(corpus, tmp_path):
    brain = build(corpus, tmp_path)
    brain.init_optimizers()
    body, heads = brain.optimizer.param_groups
    assert type(brain.optimizer) is torch.optim.AdamW
    for group in (body, heads):
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.01)
    names = {id(p): name for name, p in brain.system.named_parameters()}
    heads = {names[id(p)] for p in heads["params"]}
    assert heads == {f"{head}_head.{kind}" for head in ("token", "emotion") for kind in ("weight", "bias")}
    assert len(body["params"]) + len(heads) == len(names)


def test_all_parameter_groups_are_clipped_together(corpus, tmp_path):
    brain = fit(build(corpus, tmp_path, max_grad_norm=0.05), None)
    assert len(brain.clipped) == 9
    for raw, clipped in zip(brain.raw, brain.clipped, strict=True):
        norm = np.sqrt(sum(gradient.double().square().sum().item() for gradient in raw.values()))
        assert norm > 0.05
        assert any(name.startswith("emotion_head") for name in raw)
        for name, gradient in raw.items():
            torch.testing.assert_close(clipped[name], gradient * (0.05 / norm), rtol=1e-4, atol=1e-9)


def test_a_max_grad_norm_of_0_clips_nothing(corpus, tmp_path):
    brain = fit(build(corpus, tmp_path, max_grad_norm=0, epochs=1), None)
    assert_same(brain.clipped, brain.raw)


def direct_gradients(brain: Recorder, indices: list[int]) -> dict[str, torch.Tensor]:
    """The gradient of the mean loss over utterances that pass through the model as one batch."""
    batch = brain.training.collate([brain.training[index] for index in indices])
    brain.system.zero_grad()
    brain.system.losses(brain.system(batch.wavs, batch.lengths), batch.targets).total.backward()
    return {name: p.grad.clone() for name, p in brain.system.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("size", "seconds"), [(1, 1e9), (3, 1e9), (8, 1e9), (8, 0.7), (3, 0.3)])
def test_an_update_is_the_mean_over_its_utterances_however_it_is_cut(corpus, tmp_path, size, seconds):
    # The learning rate is 0, so that every update's gradient is that of the first weights. 16 = 7 + 7 + 2.
    values = {"lr": 0.0, "head_lr": 0.0, "weight_decay": 0.0, "max_grad_norm": 0.0, "epochs": 1, "batch_size": 7}
    limits = {"micro_batch_size": size, "micro_batch_seconds": seconds}
    brain = fit(build(corpus, tmp_path, steady=True, **limits, **values), None)
    order = np.random.default_rng([5, 1]).permutation(16)
    updates = [order[:7].tolist(), order[7:14].tolist(), order[14:].tolist()]
    assert len(brain.clipped) == brain.optimizer_step == 3
    if seconds == 1e9:
        assert max(len(batch) for batch in brain.batches) == min(size, 7)
    longest = [(len(batch), batch.lengths.max() / 16_000) for batch in brain.batches]
    assert all(n == 1 or n * duration <= seconds for n, duration in longest) and (seconds > 1 or len(longest) > 8)
    brain.modules.train()
    for found, indices in zip(brain.clipped, updates, strict=True):
        expected = direct_gradients(brain, indices)
        scale = max(gradient.abs().max().item() for gradient in expected.values())
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-5 * scale)


def test_alpha_0_trains_all_but_the_token_head(corpus, tmp_path):
    brain = build(corpus, tmp_path, alpha=0.0, epochs=1, weight_decay=0.5)
    before = {name: value.clone() for name, value in brain.system.state_dict().items()}
    after = fit(brain, None).system.state_dict()
    assert all(
        torch.equal(before[name], after[name]) == name.startswith("token_head") for name in before if "head" in name
    )
    assert not any(name.startswith("token_head") for gradients in brain.clipped for name in gradients)


def test_the_plan_depends_on_seed_and_epoch_alone():
    def plan(seed: int, *epochs: int) -> list[list[int]]:
        sampler = UpdateSampler(np.arange(20.0), 4, Limits(2, 60, 1), seed)
        for epoch in epochs:
            np.random.seed(epoch)
            torch.manual_seed(epoch)
            sampler.set_epoch(epoch)
        return list(sampler)

    assert plan(1, 3) == plan(1, 1, 2, 3) == plan(1, 7, 3)
    assert plan(1, 3) != plan(1, 4)
    assert plan(1, 3) != plan(2, 3)
    assert plan(1) == plan(1, 1)


# What is not finite


def test_an_update_that_is_not_finite_is_skipped_whole(corpus, tmp_path, caplog):
    # Without warm-up, for its first update has a learning rate of 0.
    brain = build(corpus, tmp_path, table=corpus.spoilt("u05"), epochs=2, warmup=0.0)
    with caplog.at_level(logging.WARNING):
        fit(brain, None)
    spoilt = ["u05" in names for names in brain.names]
    assert sum(spoilt) == 2 and len(spoilt) == 6
    assert brain.moved == [not one for one in spoilt]
    log = pd.read_csv(tmp_path / "epochs.csv")
    assert log["skipped_updates"].tolist() == [1, 1]
    assert np.isfinite(log["train_loss"]).all()
    assert sum("skipped: the loss is nan" in record.getMessage() for record in caplog.records) == 2
    # A skipped update counts in the schedule.
    assert brain.optimizer_step == 6
    np.testing.assert_allclose(log["lr"], [2e-3 * 4 / 6, 2e-3 * 1 / 6])  # of the third of six, and the last
    assert all(p.isfinite().all() for p in brain.system.parameters())


def test_a_gradient_that_is_not_finite_is_skipped_too(corpus, tmp_path, caplog):
    brain = build(corpus, tmp_path, epochs=1)
    # The loss is finite, its gradient is not.
    brain.system.emotion_head.bias.register_hook(lambda gradient: gradient * torch.inf)
    before = {name: value.clone() for name, value in brain.system.state_dict().items()}
    fit(brain, None)
    assert_same(dict(brain.system.state_dict()), before)
    assert pd.read_csv(tmp_path / "epochs.csv")["skipped_updates"].tolist() == [3]
    assert "the gradient's norm is" in caplog.text


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_skipped_update_leaves_no_trace_in_batch_norm(corpus, tmp_path, what):
    names = [f"u{index:02d}" for index in range(16)] if what == "loss" else []
    brain = build(corpus, tmp_path, table=corpus.spoilt(*names), epochs=1)
    head, norm = brain.system.emotion_head, VectorNorm(brain.system.pooling.size)
    brain.system.emotion_head = torch.nn.Sequential(norm, head)
    if what == "gradient":
        head.bias.register_hook(lambda gradient: gradient * torch.inf)
    fit(brain, None)
    assert pd.read_csv(tmp_path / "epochs.csv")["skipped_updates"].tolist() == [3]
    assert norm.num_batches_tracked > 0  # it was at work
    assert not norm.running_mean.any() and (norm.running_var == 1).all()


def test_ten_skipped_in_a_row_end_the_run(corpus, tmp_path):
    names = [f"u{index:02d}" for index in range(16)]
    brain = build(corpus, tmp_path, table=corpus.spoilt(*names), batch_size=1, micro_batch_size=1)
    with pytest.raises(UserError, match="10 updates in a row had to be skipped, the last because the loss is nan"):
        fit(brain, None)
    assert len(brain.batches) == PATIENCE == 10


def test_skipped_updates_that_are_not_in_a_row_do_not_end_it(corpus, tmp_path):
    order = np.random.default_rng([5, 1]).permutation(16)
    names = [f"u{index:02d}" for index in order if index != order[8]]  # 8, a good one, 7
    brain = build(corpus, tmp_path, table=corpus.spoilt(*names), batch_size=1, micro_batch_size=1, epochs=1)
    fit(brain, None)
    assert pd.read_csv(tmp_path / "epochs.csv")["skipped_updates"].tolist() == [15]


def test_an_epoch_of_skipped_updates_alone_is_logged(corpus, tmp_path):
    names = [f"u{index:02d}" for index in range(16)]
    fit(build(corpus, tmp_path, table=corpus.spoilt(*names), epochs=1), corpus.utterances())
    log = pd.read_csv(tmp_path / "epochs.csv")
    assert log["skipped_updates"].tolist() == [3]
    assert log["train_loss"].isna().all() and log["valid_loss"].notna().all()


# The choice of a checkpoint


@pytest.mark.parametrize(
    ("scores", "epoch"),
    [
        ([(0.5, 0.9), (0.7, 0.9), (0.6, 0.1)], 2),  # best UA
        ([(0.7, 0.9), (0.7, 0.5), (0.7, 0.8)], 2),  # tie: lower WER
        ([(0.6, 0.5), (0.7, 0.5), (0.7, 0.5)], 2),  # tie: earliest
        ([(0.7, None), (0.7, None), (0.6, None)], 1),  # no transcripts
        ([(None, None), (None, None), (None, None)], 3),  # no validation
        ([(0.0, 1.0), (0.0, 1.5), (0.0, 1.2)], 1),
    ],
)
def test_the_checkpoint_that_is_chosen(tmp_path, scores, epoch):
    checkpointer = RunCheckpointer(tmp_path, {"layer": torch.nn.Linear(1, 1)})
    for number, (ua, wer) in enumerate(scores, 1):
        checkpointer.save_and_keep({"epoch": number, "ua": ua, "wer": wer}, last=1)
    checkpointer.save_within_epoch(epoch=4, updates=7)  # whose scores are not known yet
    assert checkpointer.chosen().meta["epoch"] == epoch


def test_a_run_keeps_its_latest_two_and_the_best_for_each_of_them(corpus, tmp_path):
    brain = fit(build(corpus, tmp_path, epochs=5), corpus.utterances(corpus.table[::3]))
    log = pd.read_csv(tmp_path / "epochs.csv")
    ranks = log.sort_values(["valid_ua", "valid_wer", "epoch"], ascending=[False, True, True])["epoch"]
    expected, until_4 = ranks.iloc[0], ranks[ranks < 5].iloc[0]
    assert {meta["epoch"] for meta in checkpoints(brain)} == {expected, until_4, 4, 5}
    chosen = brain.checkpointer.find_checkpoint(importance_key=best)
    assert chosen.meta["epoch"] == expected
    assert chosen.meta["ua"] == pytest.approx(log["valid_ua"][expected - 1], abs=1e-12)


# Transcripts


@pytest.mark.parametrize(("alpha", "warnings"), [(0.1, 1), (0.0, 0)])
def test_an_all_blank_output_is_warned_of_once(corpus, tmp_path, caplog, alpha, warnings):
    brain = build(corpus, tmp_path, alpha=alpha, epochs=6, lr=1e-5)
    with torch.no_grad():
        brain.system.token_head.bias[0] = 50.0
    fit(brain, corpus.utterances(corpus.table[:4]))
    messages = [record.getMessage() for record in caplog.records if "all blank" in record.getMessage()]
    assert len(messages) == warnings
    assert all(message.startswith("epoch 2:") for message in messages)  # a third of 6


def test_without_transcripts_there_is_nothing_to_warn_of(corpus, tmp_path, caplog):
    brain = build(corpus, tmp_path, epochs=2)
    fit(brain, corpus.utterances(corpus.table[corpus.table["wrd"] == ""]))
    assert "all blank" not in caplog.text
    assert pd.read_csv(tmp_path / "epochs.csv")["valid_wer"].isna().all()


# Further heads

RATED = {
    "heads": {"gender": 0.3, "valence": 0.8, "arousal": 0.0},
    "head_classes": {"gender": ["F", "M"]},
    "steady": True,
    "epochs": 1,
}


def test_an_update_with_a_ccc_is_the_same_however_it_is_cut(corpus, tmp_path):
    """16 utterances, 6 an update, whole and one by one; some lack a label, two an emotion."""
    whole, cut = (
        fit(build(corpus, tmp_path / str(size), table=corpus.rated(), micro_batch_size=size, **RATED), None)
        for size in (6, 1)
    )
    assert len(whole.raw) == 3 and len(cut.batches) == 16
    assert cut.update_losses == pytest.approx(whole.update_losses, rel=1e-5)
    for found, expected in zip(cut.raw, whole.raw, strict=True):
        assert found.keys() == expected.keys() and "further_heads.valence.linear.weight" in found
        assert not any("arousal" in name for name in found)
        scale = max(gradient.abs().max().item() for gradient in expected.values())
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-5 * scale)
    one, other = (pd.read_csv(each.folder / "epochs.csv").drop(columns="seconds") for each in (cut, whole))
    pd.testing.assert_frame_equal(one, other, rtol=1e-4)
    row = other.iloc[0]
    counts = ["emotion_left_out", "gender_left_out", "valence_left_out", "arousal_left_out", "ctc_left_out"]
    assert row[counts].tolist() == [2, 4, 2, 16, 2]
    parts = row["train_ce"] + 0.1 * row["train_ctc"] + 0.3 * row["train_gender"] + 0.8 * row["train_valence"]
    assert row["train_loss"] == pytest.approx(parts)


def test_in_bf16_an_update_with_a_ccc_that_is_cut_by_seconds_is_the_same_within_its_rounding(corpus, tmp_path):
    """Cut and whole differ by no more than bf16 and single precision do; a CCC of each part alone is far off."""
    given = RATED | {"precision": "bf16", "micro_batch_size": 6}
    whole, cut = (
        fit(build(corpus, tmp_path / str(place), table=corpus.rated(), micro_batch_seconds=seconds, **given), None)
        for place, seconds in enumerate((1e9, 0.5))
    )
    assert (len(whole.batches), len(cut.batches), len(whole.raw)) == (3, 13, 3)
    assert cut.update_losses == pytest.approx(whole.update_losses, rel=2**-8)
    for found, expected in zip(cut.raw, whole.raw, strict=True):
        assert found.keys() == expected.keys()
        for of in ("", "further_heads.valence"):  # all, and what has its gradient from the CCC alone
            rows = [
                torch.cat([each[name].flatten() for name in each if name.startswith(of)]) for each in (found, expected)
            ]
            assert (rows[0] - rows[1]).norm() < 0.05 * rows[1].norm()  # of parts alone 0.4 to 1


def test_a_cut_update_with_a_ccc_has_the_same_dropout_in_both_passes(corpus, tmp_path):
    """The second pass meets the predictions of which the first took the moments."""
    brain = build(corpus, tmp_path, table=corpus.rated(), **RATED | {"steady": False, "dropout": 0.5})
    seen = []
    brain.system.further_heads["valence"].register_forward_hook(lambda _, __, made: seen.append(made.detach()))
    fit(brain, None)
    assert len(seen) == 2 + 2 + 2 + 2 + 1  # updates of 4 + 2, 4 + 2, and 4, which is not cut
    for first in (0, 4):
        for one, other in zip(seen[first : first + 2], seen[first + 2 : first + 4], strict=True):
            assert torch.equal(one, other) and len(one) > 1


@torch.no_grad()
def test_validation_has_the_ccc_of_the_whole_set(corpus, tmp_path):
    brain = build(corpus, tmp_path, table=corpus.rated(), **RATED)
    valid = corpus.utterances(corpus.rated()[:7].assign(emo=corpus.table["emo"]), brain.system.tasks)
    with torch.enable_grad():
        fit(brain, valid)  # batches of 4 and 3
    row = pd.read_csv(tmp_path / "epochs.csv").iloc[0]
    brain.modules.eval()
    batch = valid.collate([valid[index] for index in range(7)])
    losses = brain.system.losses(brain.system(batch.wavs, batch.lengths), batch.targets)
    names = [f"valid_{name}" for name in ("loss", "ce", "gender", "valence")]
    assert row[names].tolist() == pytest.approx(
        [*map(float, (losses.total, losses.ce, *losses.tasks[:2, 0]))], rel=1e-4
    )
    assert math.isnan(row["valid_arousal"]) and math.isnan(row["train_arousal"])  # nobody has a label


def test_transcripts_alone_are_learnt(corpus, tmp_path):
    values = {"emotion_weight": 0.0, "alpha": 1.0, "selection": "valid_loss", "weight_decay": 0.5}
    with pytest.raises(UserError, match="emotion_weight is 0: the emotion head is not trained") as refused:
        build(corpus, tmp_path / "refused", **values | {"selection": "valid_ua"})
    assert refused.value.remedy.startswith("set selection to valid_wer or valid_cer if transcripts are trained")
    brain = build(corpus, tmp_path, epochs=4, **values)
    before = copy.deepcopy(brain.system.emotion_head.state_dict())
    fit(brain, corpus.utterances(corpus.table[::3]))
    assert_same(brain.system.emotion_head.state_dict(), before)
    log = pd.read_csv(tmp_path / "epochs.csv")
    assert log["train_ctc"].iloc[-1] < 0.8 * log["train_ctc"].iloc[0]
    assert log[["train_wa", "valid_wa", "valid_ua", "valid_f1"]].isna().all(axis=None)
    assert best(brain.checkpointer.chosen())[1] == pytest.approx(-log["valid_loss"].min())

"""The last step in closed form: what it is given, what it leaves, and that a run killed in it ends the same."""

from __future__ import annotations

import contextlib
import csv
import logging
from pathlib import Path

import pytest
import torch
from tiny_training import LABELS, VALUES, Corpus, Interruption, Recorder, assert_same, assert_same_runs, completed
from torch import nn

from local.core import progress_json, signals
from local.core.errors import UserError
from local.data.batches import Limits, UpdateSampler, sorted_batches
from local.data.dataset import loader
from local.systems import Outputs, System
from local.systems.statistics import StatisticsSystem
from local.training import epoch_log, optimisation
from local.training.brain import EmotionBrain
from local.training.checkpoints import RunCheckpointer, epoch

LIMITS = Limits(4, 1e9, 1e9)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


class Solving(StatisticsSystem):
    """Least squares on the statistics, in place of the trained weights; with a random number, and in the wrong classes.

    So what it solves is worse than any epoch. Notes what it is given.
    """

    solves = True

    def __init__(self) -> None:
        super().__init__(len(LABELS), n_mels=8)
        self.register_buffer("drawn", torch.zeros(1))
        self.kill, self.calls, self.began_with = False, [], {}

    def solve(self, training, validation) -> None:
        assert not self.training and not torch.is_grad_enabled()
        self.began_with = {name: each.clone() for name, each in self.state_dict().items()}
        sets = [list(training), list(training), None if validation is None else list(validation)]
        self.calls.append(sets)
        rows = torch.cat([self.standardised(*batch) for *batch, _ in sets[0]])
        labels = torch.cat([labels for *_, labels in sets[0]])
        wrong = 1 - 2 * nn.functional.one_hot(labels, len(LABELS)).float()
        gram = rows.T @ rows + torch.eye(rows.shape[1])
        if self.kill:
            raise Interruption
        self.emotion_head.weight.copy_(torch.linalg.solve(gram, rows.T @ wrong).T)
        self.emotion_head.bias.zero_()
        self.drawn.copy_(torch.rand(1))


class Majority(System):
    """Without any weights: the logarithms of the shares of the emotions."""

    solves = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shares", torch.zeros(len(LABELS)))

    def forward(self, wavs, lengths) -> Outputs:
        return Outputs(self.shares.log().expand(len(wavs), -1))

    def solve(self, training, validation) -> None:
        labels = torch.cat([labels for *_, labels in training])
        self.shares.copy_(labels.bincount(minlength=len(LABELS)) / len(labels))


def build(corpus: Corpus, folder: Path, system: System | None = None, **changes) -> Recorder:
    """A Brain of a system in a folder."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)
    system = system or Solving()
    training = corpus.utterances()
    sampler = UpdateSampler(training.durations, VALUES["batch_size"], LIMITS, VALUES["seed"])
    checkpointer = RunCheckpointer(folder / "save")
    values = completed(VALUES | {"epochs": 2} | changes)
    brain = Recorder(system, values, folder, sampler, LABELS, corpus.tokenizer, checkpointer)
    brain.training = training
    return brain


def fit(brain: EmotionBrain, corpus: Corpus, validated: bool = True) -> EmotionBrain:
    """Train to the end, or to the interruption."""
    valid = corpus.utterances(corpus.table[:7])
    of_valid = [loader(valid, sorted_batches(valid.durations, LIMITS)) for _ in range(2)] if validated else (None, None)
    measured = loader(brain.training, sorted_batches(brain.training.durations, LIMITS))
    train_set = loader(brain.training, brain.train_sampler)
    with contextlib.suppress(Interruption):
        brain.fit(brain.epoch_counter, train_set, of_valid[0], measured, of_valid[1], progressbar=False)
    return brain


def rows_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "epochs.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(brain: EmotionBrain) -> dict[int, dict[str, str]]:
    """The checksums of the files of each checkpoint."""
    return {epoch(each): each.meta["files"] for each in brain.checkpointer.list_checkpoints()}


@pytest.fixture(scope="module", params=[True, False], ids=["validated", "unvalidated"])
def whole(request, corpus, tmp_path_factory) -> tuple[EmotionBrain, bool]:
    brain = build(corpus, tmp_path_factory.mktemp("whole") / "run")
    return fit(brain, corpus, request.param), request.param


def test_it_is_given_both_sets_and_the_chosen_weights_and_is_chosen(corpus, whole, tmp_path):
    brain, validated = whole
    (sets,) = brain.system.calls
    expected = [each for _, each in sorted(zip(corpus.table["ID"], brain.training.emotions, strict=True))]
    assert [label for *_, labels in sets[0] for label in labels.tolist()].count(0) == expected.count(0) == 8
    assert sum(len(lengths) for _, lengths, _ in sets[0]) == 16
    assert_same(sets[0], sets[1])
    assert (sets[2] is None) != validated and (not validated or sum(len(each) for *_, each in sets[2]) == 7)
    rows = rows_of(brain.folder)
    assert [(row["epoch"], row["solved"], row["best"]) for row in rows[1:]][-1] == ("3", "1", "1") and len(rows) == 3
    assert not any(rows[2][name] for name in rows[2] if name.startswith("train_") or name in ("lr", "skipped_updates"))
    chosen = brain.checkpointer.chosen()
    assert chosen.meta["epoch"] == 3 and chosen.meta["solved"] is True
    if validated:
        assert float(rows[2]["valid_ua"]) < max(float(row["valid_ua"]) for row in rows[:2])  # chosen all the same
    # The epochs before are those of the same training without it, and it began with the weights of the best of them.
    torch.manual_seed(1)
    plain = Solving()
    plain.solves = False
    other = fit(build(corpus, tmp_path / "plain", plain), corpus, validated)
    without = [{name: text for name, text in row.items() if name not in ("solved", "seconds")} for row in rows]
    assert [{name: text for name, text in row.items() if name != "seconds"} for row in rows_of(other.folder)] == (
        without[:2]
    )
    RunCheckpointer(tmp_path / "plain" / "save", {"system": plain}).load_checkpoint(other.checkpointer.chosen())
    assert_same(brain.system.began_with, plain.state_dict())
    assert_same(brain.optimizer.state_dict(), other.optimizer.state_dict())
    assert_same(brain.scheduler.state_dict(), other.scheduler.state_dict())


@pytest.mark.parametrize("where", ["in it", ("VALID", 3), ("TRAIN", 2)], ids=str)
def test_killed_in_it_or_before_it_is_saved_it_ends_the_same(corpus, whole, tmp_path, where):
    expected, validated = whole
    broken = build(corpus, tmp_path / "run")
    if where == "in it":
        broken.system.kill = True
    elif validated or where[0] == "TRAIN":
        broken.interrupt = where
    fit(broken, corpus, validated)
    resumed = fit(build(corpus, tmp_path / "run"), corpus, validated)
    assert_same_runs(resumed, expected)
    assert files(resumed) == files(expected)
    again = build(corpus, tmp_path / "run")  # a run that has ended is left as it is
    fit(again, corpus, validated)
    assert again.system.calls == [] and again.moved == []
    assert_same_runs(again, expected)


def test_asked_to_end_in_it_it_ends_and_says_so(corpus, tmp_path, caplog):
    brain = build(corpus, tmp_path / "run", epochs=0)
    measure = brain.system.measure

    def asked(batches) -> None:
        brain.asked_to_end.number = 15
        measure(batches)

    brain.system.measure = asked
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as ended:
        fit(brain, corpus)
    assert ended.value.code == signals.exit_code(15) and "stopped by signal 15 in the last step" in caplog.text
    assert not (tmp_path / "run" / "epochs.csv").exists()
    assert progress_json.read(tmp_path / "run").solved is False


@pytest.mark.parametrize("validated", [True, False])
def test_without_epochs_and_without_weights_it_is_all(corpus, tmp_path, validated):
    brain = fit(build(corpus, tmp_path / "run", Majority(), epochs=0), corpus, validated)
    assert brain.optimizer_step == 0 and brain.system.shares.tolist() == [0.5, 0.5]
    (row,) = rows_of(tmp_path / "run")
    assert (row["epoch"], row["solved"], row["train_loss"], row["lr"]) == ("1", "1", "", "")
    assert bool(row["valid_ua"]) == validated
    assert brain.checkpointer.chosen().meta["epoch"] == 1
    resumed = fit(build(corpus, tmp_path / "run", Majority(), epochs=0), corpus, validated)
    assert_same_runs(resumed, brain)


def test_it_follows_a_training_that_patience_ended(corpus, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        brain = fit(build(corpus, tmp_path / "run", epochs=9, patience=1, lr=0.0, head_lr=0.0), corpus)
    assert caplog.text.count("the training ends") == 1  # the last step says nothing of better epochs
    assert [row["solved"] for row in rows_of(tmp_path / "run")] == ["0", "0", "1"]
    resumed = fit(build(corpus, tmp_path / "run", epochs=9, patience=1, lr=0.0, head_lr=0.0), corpus)
    assert len(rows_of(tmp_path / "run")) == 3
    assert_same_runs(resumed, brain)


def test_what_a_reader_sees_of_it(tmp_path, caplog):
    log = epoch_log.EpochLog(tmp_path, tensorboard=False, text=False, epochs=10, solves=True)
    log.begin([])
    with caplog.at_level(logging.INFO, logger=epoch_log.__name__):
        log.add({"epoch": 10, "lr": 1e-3, "train_loss": 1.0, "valid_loss": 1.0, "valid_ua": 0.5, "seconds": 2.0})
        log.add({"epoch": 11, "valid_loss": 1.5, "valid_ua": 0.25, "solved": 1, "seconds": 1.0})
    lines = [record.getMessage() for record in caplog.records if record.name == epoch_log.__name__]
    assert lines[1] == "epoch 11 (solved)  valid loss  1.500 UA  25.00  1.0 s"
    assert "epoch: 11, solved: 1 - valid loss" in (tmp_path / "train_log.txt").read_text()
    read = epoch_log.EpochLog(tmp_path, tensorboard=False, text=False, epochs=10, solves=True).read()
    assert [(row["solved"], row["best"]) for row in read] == [(0, 1), (1, 1)]


@pytest.mark.parametrize(
    ("system", "epochs", "said"),
    [
        (StatisticsSystem(2), 0, r"x\.yaml: epochs is 0, and StatisticsSystem has no last step"),
        (Majority(), 3, r"x\.yaml: epochs is 3, and nothing of Majority is trained by updates"),
    ],
)
def test_epochs_that_a_system_cannot_have_are_refused(system, epochs, said):
    with pytest.raises(UserError, match=said):
        optimisation.refuse_without_training(system, epochs, "x.yaml")
    optimisation.refuse_without_training(system, 3 - epochs, "x.yaml")

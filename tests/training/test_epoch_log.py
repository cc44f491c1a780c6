"""The figures of a system that writes no text, and what a system measures before its first update."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from tiny_training import LABELS, VALUES, Corpus, Interruption, Recorder, assert_same_runs

from local.data.batches import Limits, UpdateSampler, sorted_batches
from local.data.dataset import loader
from local.scoring.scored import OF_TEXT
from local.systems.statistics import StatisticsSystem
from local.training.checkpoints import RunCheckpointer
from local.training.epoch_log import EPOCH_COLUMNS

LIMITS = Limits(4, 1e9, 1e9)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


class Measuring(StatisticsSystem):
    """Counts what it is given to measure."""

    def __init__(self) -> None:
        super().__init__(len(LABELS))
        self.counts: list[int] = []

    def measure(self, batches) -> None:
        def counted():
            for wavs, lengths in batches:
                assert not self.training and not torch.is_grad_enabled()
                self.counts.append(len(lengths))
                yield wavs, lengths

        super().measure(counted())


def train(corpus: Corpus, folder: Path, interrupt: tuple | None = None) -> Recorder:
    """Train in a folder, to the end or to the interruption."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)
    training, valid = corpus.utterances(), corpus.utterances(corpus.table[:7])
    sampler = UpdateSampler(training.durations, VALUES["batch_size"], LIMITS, VALUES["seed"])
    checkpointer = RunCheckpointer(folder / "save")
    brain = Recorder(Measuring(), VALUES, folder, sampler, LABELS, corpus.tokenizer, checkpointer)
    brain.interrupt = interrupt
    train_set, valid_set, measured = (
        loader(utterances, batches)
        for utterances, batches in (
            (training, sampler),
            (valid, sorted_batches(valid.durations, LIMITS)),
            (training, sorted_batches(training.durations, LIMITS)),
        )
    )
    try:
        brain.fit(brain.epoch_counter, train_set, valid_set, measured, progressbar=False)
    except Interruption:
        assert interrupt
    return brain


def test_nothing_of_text_is_logged(corpus, tmp_path):
    brain = train(corpus, tmp_path / "run")
    with open(tmp_path / "run" / "epochs.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [name for name in EPOCH_COLUMNS if name not in OF_TEXT]
    assert all(row["train_loss"] == row["train_ce"] and row["valid_ua"] for row in rows) and len(rows) == 3
    text = (tmp_path / "run" / "train_log.txt").read_text()
    assert not any(word in text for word in ("ctc", "wer", "cer"))
    assert {checkpoint.meta["wer"] for checkpoint in brain.checkpointer.list_checkpoints()} == {None}


def test_the_whole_training_set_is_measured_once_and_not_when_resumed(corpus, tmp_path):
    whole = train(corpus, tmp_path / "whole")
    assert sum(whole.system.counts) == len(corpus.table)
    expected = StatisticsSystem(len(LABELS))
    expected.measure(
        (batch.wavs, batch.lengths)
        for batch in loader(corpus.utterances(), sorted_batches(corpus.utterances().durations, LIMITS))
    )
    assert torch.equal(whole.system.mean, expected.mean) and whole.system.mean.abs().max() > 1
    train(corpus, tmp_path / "broken", interrupt=("TRAIN", 3))
    resumed = train(corpus, tmp_path / "broken")
    assert resumed.system.counts == []
    assert_same_runs(resumed, whole)

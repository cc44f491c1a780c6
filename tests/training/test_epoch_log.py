"""The logs of a training: train_log.txt as SpeechBrain's recipes write it, train.log, an older epochs.csv, no text."""

from __future__ import annotations

import csv
import logging
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from system_checks import targets
from tiny_training import LABELS, VALUES, Corpus, Interruption, Recorder, assert_same_runs, completed
from torch import nn

from local.data.batches import Limits, UpdateSampler, sorted_batches
from local.data.dataset import Batch, loader
from local.scoring.scored import OF_TEXT
from local.systems import Losses, Outputs
from local.systems.statistics import StatisticsSystem
from local.training import epoch_log
from local.training.checkpoints import RunCheckpointer
from local.training.epoch_log import EPOCH_COLUMNS, EpochLog, add_test_scores, epoch_line, learning_rates

ROW = {
    **{"epoch": 3, "lr": 1.89e-3, "head_lr": 5e-3, "train_loss": 8.97, "train_ce": 1.13, "train_ctc": 39.2},
    **{"train_wa": 0.4786, "valid_loss": 7.18, "valid_ce": 0.935, "valid_ctc": 31.21, "valid_wa": 0.5625},
    **{"valid_ua": 0.5625, "valid_f1": 0.513, "valid_wer": 1.0843, "valid_cer": 1.0, "ctc_left_out": 2},
    **{"skipped_updates": 0, "seconds": 6.94},
}
LINE = (
    "epoch  3/20  lr 1.89e-03 head_lr 5.00e-03  train loss  8.970 CE  1.130 CTC 39.200 WA  47.86  "
    "valid loss  7.180 CE  0.935 CTC 31.210 WA  56.25 UA  56.25 F1  51.30 WER 108.43 CER 100.00  6.9 s"
)
TEXT = (
    "epoch: 3, lr: 1.89e-03, head_lr: 5.00e-03 - train loss: 8.97, train CE: 1.13, train CTC: 39.20, train WA: 47.86"
    " - valid loss: 7.18, valid CE: 9.35e-01, valid CTC: 31.21, valid WA: 56.25, valid UA: 56.25, valid F1: 51.30,"
    " valid WER: 108.43, valid CER: 100.00\n"
)
TEST = "Epoch loaded: 3 - test WA: 83.33, test UA: 80.00, test F1: 79.00, test WER: 33.33, test CER: 12.50\n"
SCORES = {"n": 48, "wa": 5 / 6, "ua": 0.8, "f1": 0.79, "wf1": 0.7, "wer": 1 / 3, "cer": 0.125, "ece": 0.1}


def test_an_epoch_in_each_log(tmp_path, caplog):
    log = EpochLog(tmp_path, tensorboard=False, epochs=20)
    log.begin([])
    with caplog.at_level(logging.INFO, logger=epoch_log.__name__):
        log.add(ROW)
        log.add(ROW | {"epoch": 4, "valid_ua": 0.5, "seconds": 7.0})
    messages = [record.getMessage() for record in caplog.records if record.name == epoch_log.__name__]
    assert messages[0] == f"{LINE} *" and messages[1].startswith("epoch  4/20") and messages[1].endswith("7.0 s")
    lines = (tmp_path / "train_log.txt").read_text().splitlines(keepends=True)
    assert lines[0] == TEXT and len(lines) == 2
    table = (tmp_path / "epochs.csv").read_text().splitlines()
    assert table[0] == ",".join(EPOCH_COLUMNS) and table[0].endswith(",best,seconds")
    assert table[1].startswith("3,0.00189,0.005,8.97,") and table[1].endswith(",1.0843,1.0,2,0,1,6.94")
    assert table[2].endswith(",0,7.0")


def test_the_accuracy_is_a_count_in_full_precision():
    batch = Batch([*"abc"], torch.zeros(3, 8), torch.full((3,), 8), targets(torch.tensor([0, 1, 1])), [""] * 3)
    outputs = Outputs(torch.eye(2)[[0, 0, 0]])
    tally = epoch_log.Tally()
    tally.add(Losses(torch.tensor(0.5), torch.tensor(0.5)), outputs, batch)
    found = epoch_log.means(tally.total(), "train")
    assert found["train_wa"] == 1 / 3 and found["train_ce"] == 0.5


def test_the_loss_of_a_head_that_is_a_number_is_that_of_the_whole_set():
    table = pd.DataFrame({"ref_valence": [1.0, 2.0, 3.0, math.nan], "hyp_valence": [1.0, 1.0, 2.5, 9.0]})
    table = table.assign(ref_gender="F", hyp_gender="M")
    # Means 2 and 1.5, variances 2/3 and 1/2, covariance 1/2: CCC 2/2 / (2/3 + 1/2 + 1/4) = 12/17, of three of four.
    valence = 3 / 4 * 5 / 17
    of_batches = {"valid_loss": 2.0, "valid_valence": 0.9, "valid_gender": 0.7}
    found = epoch_log.of_whole_set(of_batches, table, {"gender": 3.0, "valence": 0.5})
    assert found == pytest.approx(
        {"valid_loss": 2 + 0.5 * (valence - 0.9), "valid_valence": valence} | {"valid_gender": 0.7}
    )
    assert epoch_log.of_whole_set({"valid_loss": 2.0}, table, {"valence": 0.5}) == {"valid_loss": 2.0}


def test_what_lacks_a_label_is_counted_and_has_no_part_in_a_mean():
    # 4 utterances, one left out of CTC, one without an emotion; of two tasks all lack the second's label.
    total = [8.0, 6.0, 2.0, 2.0, 4.0, 1.0, 1.0, 2.0, 0.0, 3.0, 4.0]
    found = epoch_log.means(total, "train", ["gender", "valence"])
    assert found == {
        **{"train_loss": 2.0, "train_ce": 1.5, "train_ctc": 0.5, "train_wa": 2 / 3, "train_gender": 0.5},
        **{"ctc_left_out": 1, "emotion_left_out": 1, "gender_left_out": 3, "valence_left_out": 4},
    }
    assert epoch_log.means([0.0] * 11, "valid", ["gender", "valence"]) == {}


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ([], f"{LINE} *"),
        (["best"], LINE),
        ([name for name in ROW if name.startswith("valid_")], LINE.partition("  valid")[0] + "  6.9 s"),
        (["lr"], LINE.replace("lr 1.89e-03 head_lr", "head_lr") + " *"),
        (["valid_wer", "valid_cer"], LINE.replace(" WER 108.43 CER 100.00", "") + " *"),
    ],
)
def test_what_does_not_exist_is_not_in_the_line(missing, line):
    row = {name: value for name, value in (ROW | {"best": 1}).items() if name not in missing}
    assert epoch_line(row, 20) == line
    assert epoch_line(dict.fromkeys(missing) | row, 20) == line


def test_a_weighted_f1_is_in_per_cent_as_the_others():
    assert " WF1  51.50" in epoch_line(ROW | {"valid_wf1": 0.515}, 20)


def test_the_test_set_ends_the_log_once(tmp_path):
    log = EpochLog(tmp_path, tensorboard=False, epochs=20)
    log.begin([ROW])
    add_test_scores(tmp_path, 2, SCORES | {"wa": 0.0})
    add_test_scores(tmp_path, 3, SCORES)
    assert (tmp_path / "train_log.txt").read_text() == TEXT + TEST
    add_test_scores(tmp_path, 3, SCORES | {"wer": None, "cer": None})
    assert (tmp_path / "train_log.txt").read_text() == TEXT + TEST.partition(", test WER")[0] + "\n"
    log.begin([ROW])  # trained further, it is no more true
    assert (tmp_path / "train_log.txt").read_text() == TEXT


def test_the_table_of_an_earlier_version_is_continued(tmp_path):
    old = [name for name in EPOCH_COLUMNS if name not in ("head_lr", "best")]
    rows = [ROW | {"epoch": epoch, "valid_ua": ua} for epoch, ua in ((1, 0.5), (2, 0.75), (3, 0.25))]
    text = "\n".join(",".join(str(row[name]) for name in old) for row in rows)
    (tmp_path / "epochs.csv").write_text(f"{','.join(old)}\n{text}\n")
    log = EpochLog(tmp_path, tensorboard=False, epochs=20)
    read = log.read()
    assert [row["best"] for row in read] == [1, 1, 0] and "head_lr" not in read[0]
    log.begin(read)
    assert (tmp_path / "train_log.txt").read_text().startswith("epoch: 1, lr: 1.89e-03 - train loss: 8.97")
    log.add(ROW | {"epoch": 4, "valid_ua": 0.8})
    again = EpochLog(tmp_path, tensorboard=False, epochs=20).read()
    assert [(row["best"], row["head_lr"]) for row in again] == [(1, None), (1, None), (0, None), (1, 0.005)]


def test_learning_rates_are_those_of_the_groups():
    body, head = nn.Linear(2, 2), nn.Linear(2, 1)
    groups = [{"params": list(body.parameters()), "lr": 1e-4}, {"params": list(head.parameters()), "lr": 1e-3}]
    optimizer = torch.optim.SGD(groups)
    assert learning_rates(optimizer.param_groups, [head]) == {"lr": 1e-4, "head_lr": 1e-3}
    optimizer.param_groups[1]["lr"] = 5e-4
    assert learning_rates(optimizer.param_groups[::-1], [head]) == {"lr": 1e-4, "head_lr": 5e-4}
    assert learning_rates(torch.optim.SGD(groups[1:]).param_groups, [head]) == {"head_lr": 5e-4}  # a frozen encoder
    assert learning_rates(torch.optim.SGD(groups[:1]).param_groups, []) == {"lr": 1e-4}


# A system that writes no text, and what a system measures before its first update

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
    brain = Recorder(Measuring(), completed(VALUES), folder, sampler, LABELS, corpus.tokenizer, checkpointer)
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
    text = (tmp_path / "run" / "train_log.txt").read_text().lower()
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

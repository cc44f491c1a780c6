"""What a running job tells: rarely, and right."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from local.core import progress_json
from local.core.progress_json import Progress
from local.training import progress
from local.training.epoch_log import EpochLog, Tally
from local.training.progress import ProgressFile, in_decoding, in_epoch, of_features

SUMS = [12.0, 3.0, 90.0, 2.0, 4.0, 1.0]  # of four utterances: loss 3


def log_of(folder: Path, *rows: tuple[int, float | None, float]) -> EpochLog:
    log = EpochLog(folder, tensorboard=False, epochs=20)
    log.begin([{"epoch": epoch, "valid_ua": ua, "seconds": seconds} for epoch, ua, seconds in rows])
    return log


def test_in_the_first_epoch_only_its_own_updates_are_known(tmp_path):
    found = in_epoch(log_of(tmp_path), 1, (12, 48), Tally(sums=SUMS), seconds=6.0)
    # 24 s an epoch, of which 18 are left; and 19 more.
    assert found == Progress(12, 48, 1, 20, 3.0, seconds_left=18 + 19 * 24)


def test_later_it_lasts_as_long_as_the_epoch_before(tmp_path):
    log = log_of(tmp_path, (1, 0.5, 50.0), (2, 0.75, 40.0), (3, 0.25, 30.0))
    found = in_epoch(log, 4, (12, 48), Tally(sums=SUMS), seconds=6.0)
    assert found == Progress(12, 48, 4, 20, 3.0, 0.25, 0.75, 2, 24 + 16 * 30)
    # An epoch that takes longer than the one before is about to end.
    assert in_epoch(log, 20, (48, 48), Tally(sums=SUMS), seconds=99.0).seconds_left == 0


def test_without_validation_or_a_finite_update_yet(tmp_path):
    found = in_epoch(log_of(tmp_path, (1, None, 30.0)), 2, (1, 48), Tally(), seconds=1.0)
    assert found == Progress(1, 48, 2, 20, best_epoch=1, seconds_left=29 + 18 * 30)


def test_of_features(tmp_path, monkeypatch):
    monkeypatch.setattr("local.training.progress.INTERVAL", 0.0)
    write = of_features(tmp_path)
    write(0, 48, math.inf)
    assert progress_json.read(tmp_path) == Progress(None, None, features=False)
    write(12, 48, 3.5)
    assert progress_json.read(tmp_path) == Progress(12, 48, seconds_left=3.5, features=True)


def test_in_decoding():
    assert in_decoding(12, 48, 4.0) == Progress(12, 48, seconds_left=12.0)


def test_it_is_written_once_a_second_at_most_and_by_one_process(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    file, due = ProgressFile(tmp_path), []
    for step in range(50):  # of 0.1 s
        now[0] = 100 + step / 10 + 1e-6
        due.append(file.is_due())
        if due[-1]:
            file.write(Progress(step, 50))
    assert [step for step, one in enumerate(due) if one] == [0, 10, 20, 30, 40]
    assert progress_json.read(tmp_path) == Progress(40, 50)
    monkeypatch.setattr(progress.distributed, "rank", lambda: 1)
    now[0] = 1000
    assert not file.is_due()


@pytest.mark.parametrize("epochs", [0, 1])
def test_no_number_makes_it_fail(tmp_path, epochs):
    log = EpochLog(tmp_path, tensorboard=False, epochs=epochs)
    log.begin([])
    assert in_epoch(log, 1, (0, 1), Tally(), seconds=0.0).seconds_left is not None

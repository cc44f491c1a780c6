"""progress.json: written whole, read with care, and gone when the job is."""

from __future__ import annotations

import os

import pytest

from local.core import progress_json
from local.core.progress_json import Progress

PROGRESS = Progress(31, 48, 3, 20, 4.1, 0.5625, None, None, 130.5)


def test_what_is_written_is_read(tmp_path):
    assert progress_json.read(tmp_path) is None
    for progress in (PROGRESS, Progress(1, 2)):
        progress.write(tmp_path)
        assert progress_json.read(tmp_path) == progress
    assert os.listdir(tmp_path) == ["progress.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "{}", '{"done": 1}', '{"done": 1, "total": "x"}', "[" * 10_000])
def test_what_is_damaged_or_of_another_version_is_nothing(tmp_path, text):
    (tmp_path / "progress.json").write_text(text)
    assert progress_json.read(tmp_path) is None


def test_it_does_not_wait_for_the_disk_and_a_full_one_ends_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("it waited"))
    PROGRESS.write(tmp_path)
    PROGRESS.write(tmp_path / "progress.json")  # no folder
    assert progress_json.read(tmp_path) == PROGRESS


def test_it_is_removed_before_and_after(tmp_path):
    PROGRESS.write(tmp_path)
    with pytest.raises(SystemExit), progress_json.cleared(tmp_path):
        assert os.listdir(tmp_path) == []
        PROGRESS.write(tmp_path)
        raise SystemExit
    assert os.listdir(tmp_path) == []

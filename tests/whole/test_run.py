"""tests/run.sh: what it calls, in which order, and when it stops."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from paths import REPOSITORY

STYLE = ["shellcheck", "ruff check", "ruff format"]


@pytest.fixture
def house(tmp_path) -> Path:
    """A copy of the script, with programs that note how they are called; `FAIL=NAME` lets one fail."""
    for folder in ("tests/text", "local/shell", "recipes", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("tests/run.sh", "tests/soak.sh", "tests/text/test_a.py", "run.sh", "local/shell/a.sh", "recipes/a.sh"):
        (tmp_path / name).touch()
    shutil.copy(REPOSITORY / "tests" / "run.sh", tmp_path / "tests")
    (tmp_path / "path.sh").write_text("PATH=$PWD/bin:$PATH\n")
    for name in ("pytest", "ruff", "shellcheck"):
        (tmp_path / "bin" / name).write_text('#!/bin/sh\necho "${0##*/} $*" >>calls\n[ "${0##*/}" != "$FAIL" ]\n')
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def calls(house: Path, *words: str, fail: str = "", code: int = 0) -> list[str]:
    (house / "calls").unlink(missing_ok=True)
    command = [str(house / "tests" / "run.sh"), *words]
    done = subprocess.run(command, env=os.environ | {"FAIL": fail}, stdout=subprocess.PIPE)
    assert done.returncode == code
    return (house / "calls").read_text().splitlines()


def beginnings(lines: list[str]) -> list[str]:
    """The names of the programs, of ruff with its command."""
    return [" ".join(line.split()[: 2 if line.startswith("ruff") else 1]) for line in lines]


def test_style_comes_first_and_a_fault_of_style_ends_it(house):
    assert beginnings(calls(house)) == [*STYLE, "pytest"]
    assert beginnings(calls(house, fail="ruff", code=1)) == STYLE[:2]


@pytest.mark.parametrize("words", [["tests/text/test_a.py"], ["tests/text", "-x"], ["tests/text/test_a.py::test_b"]])
def test_tests_that_are_named_run_before_style(house, words):
    lines = calls(house, *words)
    assert beginnings(lines) == ["pytest", *STYLE]
    assert lines[0].endswith(" ".join(words)) and ("--numprocesses 0 " in lines[0]) == words[0].count("test_a.py")
    assert beginnings(calls(house, *words, fail="pytest", code=1)) == ["pytest"]


def test_a_link_calls_what_it_leads_to(house, tmp_path_factory):
    link = tmp_path_factory.mktemp("elsewhere") / "tests" / "run.sh"
    link.parent.mkdir()
    link.symlink_to(house / "tests" / "run.sh")
    assert subprocess.run([link], env=os.environ | {"FAIL": "shellcheck"}).returncode == 1
    assert (house / "calls").read_text().startswith("shellcheck ")

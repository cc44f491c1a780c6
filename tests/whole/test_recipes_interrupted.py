"""Recipes that are interrupted or killed, and their calls of run.sh, for which something that waits stands in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from paths import copy_project


@pytest.fixture
def house(tmp_path) -> Path:
    """A copy of the project, beside folders for a corpus and an encoder."""
    for name in ("corpus", "encoder"):
        (tmp_path / name).mkdir()
    return copy_project(tmp_path / "house", "recipes")


WAITING = """#!/usr/bin/env bash
trap 'touch "$(dirname "$0")/ended"; exit 143' TERM
for call in first second; do # as run.sh, of the same recipe
  [[ -e $(dirname "$0")/$call ]] || break
done
touch "$(dirname "$0")/$call"
[[ $call == second || -z ${FIRST_ENDS:-} ]] || exit 0
while :; do sleep 0.05; done
"""


def began(house: Path, call: str, **more) -> subprocess.Popen:
    """A recipe whose first or second call of run.sh waits for a signal."""
    (house / "run.sh").write_text(WAITING)
    environment = os.environ | ({"FIRST_ENDS": "1"} if call == "second" else {})
    command = [house / "recipes/nemo_alpha.sh", "corpus", "encoder"]
    running = subprocess.Popen(command, cwd=house.parent, env=environment, **more)
    while not (house / call).exists() and running.poll() is None:
        time.sleep(0.02)
    return running


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("call", ["first", "second"])
def test_a_signal_to_a_recipe_reaches_run_sh(house, sent, code, call):
    running = began(house, call)
    running.send_signal(sent)
    assert running.wait(60) == code and (house / "ended").exists()


def test_a_recipe_that_was_started_with_ctrl_c_ignored_waits_for_run_sh(house):
    """As one in the background of a script, which Ctrl-C reaches with the whole group."""
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), "start_new_session": True}
    running = began(house, "second", **ignore)
    os.killpg(running.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(1)
    running.terminate()
    assert running.wait(60) == 143 and (house / "ended").exists()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
def test_run_sh_ends_with_a_recipe_that_is_killed(house):
    began(house, "first").kill()
    until = time.monotonic() + 60
    while not (house / "ended").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert (house / "ended").exists()

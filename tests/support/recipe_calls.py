"""What a recipe asks of run.sh, for which a recorder stands in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from paths import OPTIONS, REPOSITORY, copy_project

from local.experiment.command_line import parse
from local.experiment.options import Options

RECORDER = """\
#!/usr/bin/env bash
shopt -s nullglob
calls=("$(dirname "$0")"/calls/*)
printf '%s\\n' "$PWD" "$@" >"$(dirname "$0")/calls/${#calls[@]}"
[[ -z ${RECORDER_FAILS:-} || "$*" != *"--name $RECORDER_FAILS"* ]] || exit 1
exit "${RECORDER_CODE:-0}"
"""


def make_house(tmp_path: Path) -> Path:
    """Make a copy of the project whose run.sh writes down what it is asked, and folders for a corpus and an encoder.

    The user's folder is beside it.
    """
    place = tmp_path / "house"
    place.mkdir()
    copy_project(place, "recipes")
    (place / "run.sh").write_text(RECORDER + OPTIONS)
    (place / "calls").mkdir()
    for name in ("corpus", "encoder"):
        (tmp_path / name).mkdir()
    return place


def recipe(house: Path, name: str, *words: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a recipe from beside the house."""
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    command = [house / "recipes" / f"{name}.sh", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=house.parent, env=variables)


def asked(house: Path) -> list[list[str]]:
    """The words of each call of run.sh; it was called from the user's folder."""
    calls = [
        path.read_text().splitlines() for path in sorted((house / "calls").iterdir(), key=lambda path: int(path.name))
    ]
    assert {call[0] for call in calls} <= {str(house.parent)}
    return [call[1:] for call in calls]


def understood(house: Path, monkeypatch) -> list[Options]:
    """What the real run.sh and its stages make of each call."""
    shutil.copy(REPOSITORY / "run.sh", house)
    monkeypatch.chdir(house)
    script = 'caller=${PWD%/*}; . local/shell/parse_options.sh; parse_options "$@"; printf "%s\\n" "${options[@]}"'
    commands = [["bash", "-euc", script, "bash", *words] for words in asked(house)]
    return [
        parse(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines())
        for command in commands
    ]

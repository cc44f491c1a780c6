"""No name, option or file of the current folder is run by a shell or by Python; nor is a pickle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from paths import REPOSITORY, copy_project
from traps import Payload, springs

pytestmark = pytest.mark.usefixtures("every_lock_by_itself")

NAME = "; rm -rf x 'q' \"d\" $(touch sprung) `touch sprung` $HOME * \\ & | > sprung\ntouch sprung; #é"
FIRE = "a[$(touch sprung)]"


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A copy of the project in a folder that a shell would choke on, and a corpus in one like it."""
    if not (REPOSITORY / ".venv" / "requirements.txt").exists():
        pytest.skip("path.sh has not made .venv yet")
    top = tmp_path_factory.mktemp("top")
    place, data = copy_project(top / NAME, "recipes"), top / f"data {NAME}"
    (data / "wav").mkdir(parents=True)
    rows = []
    for number in range(8):
        name = NAME.replace("\n", " ") + f"{number}.wav"
        soundfile.write(data / "wav" / name, 0.1 * np.sin(np.arange(4000 + 99 * number)), 16_000)
        text = "$(touch sprung); `touch sprung`"
        rows.append({"wav": f"wav/{name}", "emo": ("a", "b")[number % 2], "spk_id": "ABCD"[number // 2], "wrd": text})
    pd.DataFrame(rows).to_csv(data / "t.csv", index=False)
    return place


def run_sh(house: Path, *given: object, script: str = "run.sh") -> subprocess.CompletedProcess:
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [house / script, *map(str, given)]
    return subprocess.run(command, cwd=house.parent, env=variables, capture_output=True, text=True)


def sprung(house: Path) -> list[Path]:
    return [path for path in house.parent.rglob("sprung") if ".venv" not in path.parts]


def test_a_folder_named_like_a_command_is_a_folder(house):
    bystander = house.parent / "x"
    bystander.mkdir()
    table, yaml = house.parent / f"data {NAME}" / "t.csv", house / "hparams" / "mini.yaml"
    ended = run_sh(house, "--corpus", "csv", "--data", table, "--hparams", yaml, "--stage", 0, "--stop-stage", 1)
    assert ended.returncode == 0, ended.stderr
    folds = house / "manifests" / "t" / "speaker"
    assert sorted(path.name for path in folds.iterdir() if path.is_dir()) == ["A", "B", "C", "D"]
    assert "$(touch sprung)" in (folds / "A" / "test.csv").read_text(encoding="utf-8")
    assert sprung(house) == [] and bystander.is_dir()


OPTIONS = ("stage", "stop-stage", "folds", "seeds", "name", "jobs", "protocol", "valid", "corpus")


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_never_a_command(house, option):
    assert run_sh(house, f"--{option}", FIRE).returncode == 2
    assert sprung(house) == []


def test_an_option_of_a_recipe_is_never_a_command(house):
    folder = house / "hparams"
    assert run_sh(house, folder, folder, "--stop-stage", FIRE, script="recipes/nemo_alpha.sh").returncode == 2
    assert sprung(house) == []


@pytest.mark.parametrize("source", ["https://example.org/evil.yaml", "hub:evil", "pipe", "/dev/stdin"])
def test_a_yaml_is_a_file_on_the_disk(house, source):
    if source == "pipe":
        source = house.parent / "pipe"
        os.mkfifo(source)
    ended = run_sh(house, "--hparams", source)
    assert ended.returncode == 2 and "there is no such file" in ended.stderr


def in_environment(house: Path, where: Path, *command: object) -> subprocess.CompletedProcess:
    """Run a command somewhere after `. ./path.sh`."""
    shell = 'cd -- "$1" && . ./path.sh && cd -- "$2" && "${@:3}"'
    words = ["bash", "-c", shell, "-", *map(str, (house, where, *command))]
    return subprocess.run(words, capture_output=True, text=True)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before 3.11 Python looks first where it is started")
def test_modules_in_the_current_folder_are_not_loaded(house, tmp_path, trap):
    (tmp_path / "local").mkdir()
    for file in ("local/__init__.py", "pandas.py", "numpy.py"):
        (tmp_path / file).write_text(f"open({str(trap)!r}, 'w')")
    ended = in_environment(house, tmp_path, "python", "-m", "local.compare", "a", "b")
    assert (ended.returncode, ended.stderr[:7]) == (2, "error: ")


def test_every_pickle_is_read_for_its_weights_alone(house, tmp_path, trap):
    torch.save(Payload(trap), tmp_path / "a.pt")
    springs(trap, lambda: torch.load(tmp_path / "a.pt", weights_only=False))
    code = "import sys, torch; torch.load(sys.argv[1], weights_only=False)"
    ended = in_environment(house, tmp_path, "python", "-c", code, tmp_path / "a.pt")
    assert ended.returncode == 1 and "UnpicklingError" in ended.stderr


def test_docstrings_are_kept_without_which_transformers_builds_no_encoder(house, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    code = "import local.core.errors; print(local.core.errors.__doc__ is not None)"
    assert in_environment(house, tmp_path, "python", "-c", code).stdout == "True\n"

"""Recipes with --backend slurm: their calls of run.sh side by side. A recorder stands in for run.sh."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import OPTIONS, copy_project

from local.corpora.manifest import COLUMNS

# run.sh, which says what it was asked and, from stage 2 on, waits until all five alphas have come that far.
RECORDER = """\
#!/usr/bin/env bash
cd "$(dirname "$0")"
echo "$*" >>calls
trap 'echo ended >>calls; exit 143' TERM
if [[ $* == *"--stage 2"* ]]; then
  until [[ $(grep -c -e "--stage 2" calls) == 5 && -e go ]]; do sleep 0.05; done
  [[ $* != *"--alpha 0.01 "* ]] || exit 1
fi
"""


@pytest.fixture
def recipe(tmp_path) -> Iterator[subprocess.Popen]:
    copy_project(tmp_path, "recipes")
    (tmp_path / "run.sh").write_text(RECORDER)
    (tmp_path / "corpus").mkdir()
    command = ["recipes/ablation_alpha.sh", "corpus", "--backend=slurm", "--stop-stage", "3"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as going:
        yield going


def calls(folder: Path, count: int, recipe: subprocess.Popen) -> list[str]:
    """What run.sh was asked, when it has been called so often; the recipe goes on until then."""
    while True:
        ended = recipe.poll() is not None
        if (folder / "calls").exists() and len(lines := (folder / "calls").read_text().splitlines()) >= count:
            return lines
        assert not ended, "too few calls"
        time.sleep(0.05)


def test_a_recipe_has_all_its_experiments_in_the_queue_at_once(tmp_path, recipe):
    asked = calls(tmp_path, 10, recipe)
    (tmp_path / "go").touch()
    assert recipe.wait() == 1  # that of alpha 0.01, after all have ended
    assert sum("--stop-stage 1 --" in call for call in asked) == 5
    assert sum("--stage 2 --" in call for call in asked) == 5
    assert len({call.partition("--name ")[2].split()[0] for call in asked}) == 5


def test_a_recipe_that_is_interrupted_ends_its_calls(tmp_path, recipe):
    calls(tmp_path, 10, recipe)
    recipe.send_signal(signal.SIGINT)
    assert recipe.wait() == 130
    assert calls(tmp_path, 15, recipe).count("ended") == 5


def test_table_3_has_all_rows_in_the_queue_and_names_those_that_failed(tmp_path):
    copy_project(tmp_path, "recipes")
    (tmp_path / "run.sh").write_text(
        '#!/usr/bin/env bash\necho "$*" >>"$(dirname "$0")/calls"; [[ $* != *"--name peng_asrnn "* ]]\n' + OPTIONS
    )
    (tmp_path / "corpus").mkdir()
    words = ["corpus", "--backend=slurm", "--stop-stage", "3", "--rows", "peng_asrnn majority"]
    done = subprocess.run(["recipes/table3.sh", *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: peng_asrnn failed; its messages are above\n")
    first, *rows = (tmp_path / "calls").read_text().splitlines()
    assert first.endswith("--stop-stage 1")
    assert sorted(row.partition("--name ")[2].split()[0] for row in rows) == ["majority", "peng_asrnn"]
    assert all("--stage 2 --" in row for row in rows)


def test_price_of_a_protocol_names_what_failed_in_the_queue_and_goes_on_without_it(tmp_path):
    copy_project(tmp_path, "recipes")
    (tmp_path / "run.sh").write_text(f'#!/usr/bin/env bash\n[[ $* != *"_valid_none --stage 2"* ]]\n{OPTIONS}')
    table = tmp_path / "manifests" / "mini" / "all.csv"
    table.parent.mkdir(parents=True)
    rows = "".join(f"{name},1.0,$data_root/a.wav,{name},F,,,,{emo},\n" for name, emo in (("a", "ang"), ("b", "sad")))
    table.write_text(",".join(COLUMNS) + "\n" + rows)
    words = ["--backend=slurm", "--stop-stage", "3", "--protocol", "speaker"]
    done = subprocess.run(["recipes/price_of_a_protocol.sh", *words], cwd=tmp_path, capture_output=True, text=True)
    what = "results/mini/speaker/price_statistics_valid_none failed; its messages are above"
    assert (done.returncode, done.stderr) == (1, f"error: {what}\n")
    assert done.stdout.startswith("No table of compare")

"""Measuring stages that handle rows, on few rows; and what so many hours need, against sums by hand."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pandas as pd
import pytest
from paths import REPOSITORY

from local.benchmark import __main__ as benchmark
from local.benchmark import page, plan, rows, synthetic
from local.core.errors import UserError

STAGES = ["0 corpus", "1 folds", "2 a job's texts", "2 a job's epoch", "4 score, 10 jobs", "5 report"]
PLACES = "".join(f"<!-- benchmark {place} -->\nold\n<!-- /benchmark {place} -->\n" for place in ("rows", "plan"))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """The folder of a measurement on few rows, and what it found."""
    place = tmp_path_factory.mktemp("place")
    return place, rows.measure(place, rows.LEAST, Path(sys.pycache_prefix or place / "bytecode"))


@pytest.mark.slow
def test_a_small_real_run(measured):
    place, found = measured
    assert [row["stage"] for row in found] == STAGES
    assert all(row["seconds"] > 0 and row["peak"] > 20e6 and row["utterances"] == rows.LEAST for row in found)
    written = {row["stage"]: row["written"] for row in found}
    manifests = sum(path.stat().st_size for path in place.glob("manifests/**/*.*"))
    assert written["0 corpus"] + written["1 folds"] == pytest.approx(manifests, rel=1e-3) and manifests > 100_000
    assert written["2 a job's texts"] == written["2 a job's epoch"] == 0
    folds = pd.read_csv(place / "results/noise/session/single/folds.csv")
    assert len(folds) == rows.SESSIONS and folds["n"].sum() == rows.LEAST
    assert (place / "results/noise/session/single/report.html").exists()


@pytest.mark.slow
def test_all_utterances_of_a_recording_are_one_file(measured):
    data = measured[0] / "data"
    table = pd.read_csv(data / "noise.csv", dtype=str)
    files = table["wav"].map(lambda wav: os.stat(data / wav).st_ino)
    assert files.nunique() == table["recording"].nunique() == len({(data / wav).read_bytes() for wav in table["wav"]})
    assert (table.groupby("recording")["session"].nunique() == 1).all() and table["wav"].is_unique


def test_a_couple_says_two_thousand_utterances(tmp_path):
    table = synthetic._who(12_000, synthetic.Shape(3, 6))
    assert table["spk_id"].nunique() == 12 and table["session"].nunique() == 3 and table["ID"].is_unique
    assert table.groupby(table["spk_id"].str[:2]).size().tolist() == [2000] * 6
    assert (table.groupby("session")["spk_id"].nunique() == 4).all()
    assert (table.groupby("recording")[["session", "style"]].nunique() == 1).all(axis=None)


def lines(stage: str, *sizes: tuple[int, float, float, float]) -> list[dict]:
    """Rows of a measurement: utterances, seconds, MB of memory, MB written."""
    return [
        {"stage": stage, "utterances": n, "seconds": s, "peak": p * 1e6, "written": w * 1e6} for n, s, p, w in sizes
    ]


def test_the_table_has_a_line_per_stage_and_size():
    found = lines("1 folds", (20_000, 3, 120, 30)) + lines("0 corpus", (20_000, 1, 80, 3))
    found += lines("1 folds", (2_000_000, 150, 3000, 3000.04))
    assert page.of_rows(found) == [
        ["1 folds", 20_000, "3.0", "150.0", "120", "30.0"],
        ["1 folds", 2_000_000, "150.0", "75.0", "3000", "3000.0"],
        ["0 corpus", 20_000, "1.0", "50.0", "80", "3.0"],
    ]


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    """A page with figures of two sizes, of which the larger count."""
    path = tmp_path / "page.md"
    path.write_text(f"{PLACES}<!-- benchmark cpu -->\n<!-- /benchmark cpu -->\n")
    small = [row for stage in STAGES for row in lines(stage, (1000, 9, 900, 90))]
    figures = {"0 corpus": (200, 5000, 100), "1 folds": (100, 1500, 1500), "2 a job's texts": (10, 1, 0)}
    figures |= {"2 a job's epoch": (5, 1, 0), "4 score, 10 jobs": (30, 1, 0), "5 report": (40, 1, 0)}
    large = [row for stage, found in figures.items() for row in lines(stage, (1_000_000, *found))]
    page.put(path, "rows", page.rows_page("command", "machine", small + large))
    ways = [{"way": "c", "jobs": 1, "round": 1, "seconds": 2, "audio": 20, "flops": 1, "peak": 1}]
    ways[0] |= dict.fromkeys(page.KINDS.values(), 1)
    stores = [{"stage": "audio store", "hours": h, "utterances": 9, "seconds": h, "peak": 1} for h in (1, 20)]
    page.put(path, "cpu", page.page("command", "machine", ways, stores, 1, 1))
    return path


def test_what_ten_thousand_hours_need_by_hand(readme):
    text = plan.plan("command", [10_000], readme)
    found = {line[0]: line[3] for line in (line.strip("| ").split(" | ") for line in text.splitlines()[2:])}
    n = 10_000 * 5531 / 7
    assert found["utterances"] == "7.9 million"
    times = {"stage 0": 200, "stage 1, ten folds": 100, "start of a job, audio apart": 15, "stage 4, ten jobs": 30}
    assert {name: found[name] for name in times} == {name: f"{n * us / 6e7:.3g} min" for name, us in times.items()}
    sizes = {"memory of stage 0": 5000, "memory of stage 1": 1500, "manifests": 1600}
    assert {name: found[name] for name in sizes} == {name: f"{n * size / 1e9:.3g} GB" for name, size in sizes.items()}
    assert found["audio store"] == "1.15 TB"  # 115.2 MB an hour
    assert found["making the store"] == "2.78 h"  # a second an hour
    assert found["CNN cache"] == f"{10_000 * 3600 * 49.9 * 1024 / 1e12:.3g} TB"
    assert found["jobs"] == "150" and found["checkpoints of a job"] == "4.56 GB"
    assert found["epoch of a job, processor"] == "810 h"  # 8,100 h at 10 audio-s/s
    gpu = 8100 * 3600 * 42e9 / (0.3 * 989e12)  # 42 GFLOP, see test_benchmark
    hours, unit = found["epoch of a job, H100"].split()
    assert unit == "h" and float(hours) == pytest.approx(gpu / 3600, rel=0.05)
    assert float(found["all jobs, one H100"].split()[0].replace(",", "")) == pytest.approx(1500 * gpu / 3600, rel=0.05)


def test_a_page_without_measurements_is_told_to_measure(readme, tmp_path):
    page.put(readme, "cpu", "nothing\n")
    with pytest.raises(UserError, match="no figures of 'c'"):
        plan.plan("command", [1], readme)


def test_the_plan_is_written_to_its_place(readme, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", "--plan", "7 10000", "--readme", str(readme)])
    benchmark.main()
    out = capsys.readouterr().out
    assert out.startswith("    python -m local.benchmark --plan '7 10000' --readme") and "| 7 h | 10,000 h |" in out
    assert f"<!-- benchmark plan -->\n\n{out}\n<!-- /benchmark plan -->" in readme.read_text()


def test_rows_are_measured_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rows, "measure", lambda place, n, bytecode: lines("1 folds", (n, 2, 100, 1)))
    monkeypatch.setattr(benchmark.stages, "load_all", lambda bytecode: None)
    (tmp_path / "page.md").write_text(PLACES)
    words = ["--rows", "400 800", "--readme", str(tmp_path / "page.md"), "--json", str(tmp_path / "rows.json")]
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    benchmark.main()
    assert "| 1 folds | 800 | 2.0 | 2500.0 | 100 | 1.0 |" in (tmp_path / "page.md").read_text()
    assert [row["utterances"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]] == [400, 800]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rows", "400", "--plan", "7"], "too much at a time"),
        (["--rows", "400", "--hours", "1"], "too much at a time"),
        (["--rows", "399"], "399 utterances are too few"),
        (["--rows", "1.5"], "--rows '1.5'"),
        (["--plan", "-1"], "--plan '-1'"),
    ],
)
def test_what_cannot_be_measured_is_refused(words, told, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 2 and told in capsys.readouterr().err


def test_the_readme_has_a_place_for_both():
    for place in ("rows", "plan"):
        page.around(REPOSITORY / "README.md", place)

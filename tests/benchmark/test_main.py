"""The command: what it refuses, and what it measures, prints and writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tiny_models
from paths import REPOSITORY

from local.benchmark import __main__ as benchmark
from local.benchmark import machine, page, stages
from local.benchmark.synthetic import iemocap_durations

MARKED = "".join(f"<!-- benchmark {place} -->\nold\n<!-- /benchmark {place} -->\n" for place in ("cpu", "rows", "plan"))


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; return what it prints."""

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["benchmark", *words])
        benchmark.main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ways", "z"], "there is no way 'z'"),
        (["--ways", ""], "there is nothing to measure"),
        (["--ways", "a predict"], "need a command each"),
        (["--ways", "statistics a"], "need a command each"),
        (["--ways", "../hparams/statistics"], "there is no way '../hparams/statistics'"),
        (["--jobs", "1 0"], "--jobs: '1 0' are not numbers greater than 0"),
        (["--jobs", "two"], "--jobs: 'two'"),
        (["--hours", "1 nan"], "--hours: '1 nan'"),
        (["--hours", "0.01"], "0.01 h are 8 utterances, too few"),
        (["--readme", "page.md"], "page.md has no place for the tables of cpu"),
        (["--readme", "absent.md"], "absent.md cannot be read"),
        (["--rows", "400", "--plan", "7"], "too much at a time"),
        (["--rows", "400", "--hours", "1"], "too much at a time"),
        (["--rows", "399"], "399 utterances are too few"),
        (["--rows", "1.5"], "--rows: '1.5'"),
        (["--plan", "-1"], "--plan: '-1'"),
    ],
)
def test_what_cannot_be_measured_or_written_is_refused_first(words, message, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("page.md").write_text("# Title\n")
    with pytest.raises(SystemExit) as ended:
        run(*words)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "") and message in err and Path("page.md").read_text() == "# Title\n"


@pytest.mark.slow
def test_a_small_real_run(run, tmp_path, monkeypatch):
    encoder, file = tiny_models.save(tmp_path / "encoder", "wav2vec2-group"), tmp_path / "page.md"
    file.write_text(MARKED)
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(machine, "GEMM_SECONDS", 0.05)
    words = ["--utterances", "4", "--rounds", "1", "--ways", "many", "--jobs", "1 2", "--encoder", str(encoder)]
    out = run(*words, "--json", str(tmp_path / "rows.json"), "--readme", str(file))
    lines = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    assert [(line[0], line[2]) for line in lines[2:]] == [("many", "1"), ("many", "2")]
    one, two = json.loads((tmp_path / "rows.json").read_text())["rows"]  # the rounds that warm up do not count
    assert (one["jobs"], two["jobs"]) == (1, 2) and two["flops"] == 2 * one["flops"] > 0
    assert two["audio"] == 2 * one["audio"] == pytest.approx(2 * iemocap_durations(4).sum(), abs=2e-3)
    assert f"<!-- benchmark cpu -->\n{out}<!-- /benchmark cpu -->" in file.read_text()
    assert page.render(page.load(file)["cpu"]) == out


def test_rows_are_measured_alone(run, tmp_path, monkeypatch):
    row = {"stage": "1 folds", "seconds": 2, "peak": 100e6, "written": 1e6}
    monkeypatch.setattr(stages, "measure_rows", lambda folder, n, bytecode: [row | {"utterances": n}])
    monkeypatch.setattr(stages, "load_all", lambda bytecode: None)
    file = tmp_path / "page.md"
    file.write_text(MARKED)
    run("--rows", "400 800", "--readme", str(file), "--json", str(tmp_path / "rows.json"))
    assert "| 1 folds | 800 | 2.0 | 2500.0 | 100 | 1.0 | – |" in file.read_text()
    assert [row["utterances"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]] == [400, 800]


def test_the_plan_is_written_to_its_place(run, tmp_path):
    file = tmp_path / "page.md"
    file.write_text(MARKED)
    file.with_suffix(".json").write_bytes(benchmark.PAGE.with_suffix(".json").read_bytes())
    file.with_name("GPU.json").write_bytes(benchmark.PAGE.with_name("GPU.json").read_bytes())
    out = run("--plan", "7 10000", "--readme", str(file))
    assert out.startswith("    python -m local.benchmark --plan '7 10000' --readme") and "| 7 h | 10,000 h |" in out
    assert f"<!-- benchmark plan -->\n{out}<!-- /benchmark plan -->" in file.read_text()
    assert page.load(file)["plan"]["hours"] == [7, 10_000]
    assert run("--plan", "7 10000").splitlines()[1:] == out.splitlines()[1:]  # from the page of this repository

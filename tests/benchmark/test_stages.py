"""The corpus of noise, and small real measurements of the stages on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from paths import REPOSITORY

from local.benchmark import page, stages, synthetic
from local.benchmark.synthetic import iemocap_durations
from local.core.errors import UserError

HOURS = ["0 corpus", "1 folds", "audio store", "4 score, 10 jobs", "4 score, 20 jobs", "compare 2 alphas"]
HOURS += ["5 report beside them"]
ROWS = ["0 corpus", "1 folds", "2 a job's texts", "2 a job's epoch", "4 score, 10 jobs", "5 report"]
WATCH = [sys.executable, "-m", "local.benchmark.watch", sys.executable, "-c"]


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where processes keep Python's bytecode: where it is already, or in a folder that they share."""
    return Path(sys.pycache_prefix or tmp_path_factory.mktemp("bytecode"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of 0.3 h of noise."""
    return synthetic.corpus(tmp_path_factory.mktemp("corpus"), synthetic.size(0.3))


def test_durations_are_iemocaps():
    durations = iemocap_durations(5531)
    assert durations.mean() == pytest.approx(4.55, abs=0.01) and durations.sum() / 3600 == pytest.approx(6.99, abs=0.02)
    assert np.quantile(durations, [0.5, 0.9, 0.95, 0.99]) == pytest.approx([3.58, 8.7, 11.1, 15.5], abs=0.02)
    assert durations.min() == pytest.approx(0.58, abs=0.01) and durations.max() == pytest.approx(34.1, abs=0.3)


def test_seven_hours_have_as_many_utterances_as_iemocap():
    assert synthetic.size(7) == 5531
    with pytest.raises(UserError, match="too few"):
        synthetic.size(0.04)


def test_the_corpus_has_the_hours_and_can_be_read(corpus):
    table = pd.read_csv(corpus, keep_default_na=False)
    infos = [soundfile.info(corpus.parent / wav) for wav in table["wav"]]
    assert {(info.samplerate, info.channels, info.subtype) for info in infos} == {(16_000, 1, "PCM_16")}
    seconds = sum(info.duration for info in infos)
    assert seconds / 3600 == pytest.approx(0.3, rel=0.01) and len(table) == synthetic.size(0.3)
    assert len({(corpus.parent / wav).read_bytes() for wav in table["wav"]}) == len(table)
    assert table["wrd"].str.len().sum() / seconds == pytest.approx(12.3, rel=0.05)
    assert len(set(" ".join(table["wrd"]).split())) > 1000


def test_the_corpus_is_spoken_as_iemocap_is(corpus):
    table = pd.read_csv(corpus)
    assert table["ID"].is_unique and table["spk_id"].nunique() == 10 and table["session"].nunique() == 5
    assert (table.groupby("session")["spk_id"].nunique() == 2).all()
    assert (table.groupby("spk_id")["emo"].nunique() == 4).all()
    of_recording = table.groupby("recording")
    assert of_recording.size().max() == 37 and (of_recording["session"].nunique() == 1).all()
    assert (of_recording["spk_id"].nunique() == 2).all()


def test_a_couple_says_two_thousand_utterances():
    table = synthetic._who(12_000, synthetic.Shape(3, 6))
    assert table["spk_id"].nunique() == 12 and table["session"].nunique() == 3 and table["ID"].is_unique
    assert table.groupby(table["spk_id"].str[:2]).size().tolist() == [2000] * 6
    assert (table.groupby("session")["spk_id"].nunique() == 4).all()
    assert (table.groupby("recording")[["session", "style"]].nunique() == 1).all(axis=None)


def test_the_memory_of_a_command_is_its_own():
    """This process has torch loaded and holds more than the command does."""
    programs = ("x = b'x' * 1", "x = b'x' * 100_000_000", "raise SystemExit(3)")
    little, much, failed = (
        json.loads(subprocess.run([*WATCH, each], cwd=REPOSITORY, stdout=subprocess.PIPE).stdout) for each in programs
    )
    assert little["peak"] < 40e6 and much["peak"] - little["peak"] == pytest.approx(100e6, rel=0.1)
    assert (little["code"], much["code"], failed["code"]) == (0, 0, 3)


def test_a_stage_that_fails_ends_the_measurement(tmp_path, bytecode, monkeypatch, capfd):
    monkeypatch.setattr(synthetic, "FEWEST", 1)
    with pytest.raises(UserError, match=r"python -m local.prepare .* ended with code 2"):
        stages.measure_hours(tmp_path, 0.002, bytecode)
    assert "error:" in capfd.readouterr().err


def test_the_modules_that_are_measured_exist():
    assert all(find_spec(f"local.{name}") for name in stages.MODULES)


@pytest.mark.slow
def test_a_small_real_run_on_hours(tmp_path, bytecode):
    before = {path: path.stat().st_mtime_ns for path in (REPOSITORY / "manifests", REPOSITORY / "results")}
    here = Path.cwd()
    rows = stages.measure_hours(tmp_path, 0.06, bytecode, alphas=("0.1", "1"), seeds=("1",))
    assert [row["stage"] for row in rows] == HOURS and Path.cwd() == here
    assert all(row["seconds"] > 0 and row["peak"] > 20e6 for row in rows)
    hours = sum(soundfile.info(path).duration for path in tmp_path.glob("data/**/*.wav")) / 3600
    assert [row["hours"] for row in rows] == pytest.approx([hours] * 7) and rows[0]["utterances"] == 47
    assert (tmp_path / "manifests/noise/audio.i16").stat().st_size == pytest.approx(2 * 16_000 * 3600 * hours)
    for name in ("single", "alpha0.1", "alpha1"):
        folds = pd.read_csv(tmp_path / "results/noise/speaker" / name / "folds.csv")
        assert len(folds) == 10 and folds["n"].sum() == 47
        assert 0.5 < np.average(folds["wa"], weights=folds["n"]) < 0.95
        assert np.average(folds["wer"], weights=folds["n"]) == pytest.approx(synthetic.WRONG_WORDS, abs=0.05)
    assert "alpha0.1" in (tmp_path / "results/noise/speaker/alpha1/report.html").read_text()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert page.of_stages(rows)[2]["seconds per hour"] == pytest.approx(rows[2]["seconds"] / hours)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> tuple[Path, list[dict]]:
    """The folder of a measurement on few rows, and its rows."""
    folder = tmp_path_factory.mktemp("rows")
    return folder, stages.measure_rows(folder, stages.FEWEST, bytecode)


@pytest.mark.slow
def test_a_small_real_run_on_rows(measured):
    folder, rows = measured
    assert [row["stage"] for row in rows] == ROWS
    assert all(row["seconds"] > 0 and row["peak"] > 20e6 and row["utterances"] == stages.FEWEST for row in rows)
    written = {row["stage"]: row["written"] for row in rows}
    manifests = sum(path.stat().st_size for path in folder.glob("manifests/**/*.*"))
    assert written["0 corpus"] + written["1 folds"] == pytest.approx(manifests, rel=1e-3) and manifests > 100_000
    assert written["2 a job's texts"] == written["2 a job's epoch"] == 0
    folds = pd.read_csv(folder / "results/noise/session/single/folds.csv")
    assert len(folds) == stages.SESSIONS and folds["n"].sum() == stages.FEWEST
    assert (folder / "results/noise/session/single/report.html").exists()


@pytest.mark.slow
def test_all_utterances_of_a_recording_are_one_file(measured):
    data = measured[0] / "data"
    table = pd.read_csv(data / "noise.csv", dtype=str)
    files = table["wav"].map(lambda wav: os.stat(data / wav).st_ino)
    assert files.nunique() == table["recording"].nunique() == len({(data / wav).read_bytes() for wav in table["wav"]})
    assert (table.groupby("recording")["session"].nunique() == 1).all() and table["wav"].is_unique

"""Which folder is meant: every kind of folder of a small tree of results, given as a run, an experiment and a seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.core.errors import UserError
from local.experiment.folders import EXPERIMENT_FORM, RUN_FORM, corpus_elsewhere, experiment_of, run_of, seed_of

ONE, MANY, FEW = (Path(f"results/own/speaker/{name}") for name in ("one", "many", "few"))
RUNS = [
    ONE / "seed3/1A",
    *(MANY / f"seed{seed}" / f"{fold:02}F" for seed in (1, 2, 10) for fold in range(1, 6)),
    FEW / "seed1/1A",
    FEW / "seed1/1B",
]


@pytest.fixture(autouse=True)
def tree(tmp_path, monkeypatch):
    """Three experiments: of one run, of three seeds with five folds each, and of one seed with two folds."""
    monkeypatch.chdir(tmp_path)
    for run in RUNS:
        (run / "save").mkdir(parents=True)
        (run / "hyperparams.yaml").touch()
    Path("results/own/speaker/empty/slurm").mkdir(parents=True)


def answer(function, folder: Path) -> Path | tuple[str, list[str]]:
    """What a function returns, or its error: what is wrong, and the paths that it offers."""
    try:
        return function(folder)
    except UserError as error:
        lines = error.remedy.splitlines()
        return error.what, [line.strip() for line in lines[1:]] or [lines[0].removeprefix("give ")]


@pytest.mark.parametrize("given", [ONE, ONE / "seed3", ONE / "seed3/1A"])
def test_of_an_experiment_of_one_run_either_is_meant(given):
    assert (run_of(given), experiment_of(given), seed_of(given)) == (ONE / "seed3/1A", ONE, ONE / "seed3")


def test_of_an_experiment_of_one_seed_the_seed_is_plain():
    assert seed_of(FEW) == seed_of(FEW / "seed1") == FEW / "seed1"
    assert experiment_of(FEW) == experiment_of(FEW / "seed1") == FEW
    assert answer(run_of, FEW) == (f"{FEW} holds 2 runs, and one is wanted", [str(run) for run in RUNS[-2:]])
    assert answer(run_of, FEW / "seed1")[1] == [str(run) for run in RUNS[-2:]]
    what = f"{FEW}/seed1/1A is one of the 2 runs of its seed"
    assert answer(seed_of, FEW / "seed1/1A") == (what, [f"{FEW}/seed1"])
    what = f"{FEW}/seed1/1B has 1 of the 2 runs of an experiment, and a whole one is wanted"
    assert answer(experiment_of, FEW / "seed1/1B") == (what, [str(FEW)])


def test_of_many_the_paths_to_type_are_listed_by_seed_and_fold():
    what, paths = answer(run_of, MANY)
    assert what == f"{MANY} holds 15 runs, and one is wanted"
    assert paths == [*map(str, RUNS[1:11]), "... and 5 more"]
    assert paths[-2] == f"{MANY}/seed2/05F"  # seed 10 comes last
    assert answer(experiment_of, MANY / "seed2")[1] == answer(experiment_of, RUNS[4])[1] == [str(MANY)]
    assert answer(seed_of, MANY) == (
        f"{MANY} holds the runs of 3 seeds",
        [f"{MANY}/seed1", f"{MANY}/seed2", f"{MANY}/seed10"],
    )
    assert run_of(RUNS[4]) == RUNS[4] and seed_of(MANY / "seed10") == MANY / "seed10" and experiment_of(MANY) == MANY


@pytest.mark.parametrize("above", ["results", "results/own", "results/own/speaker"])
def test_a_folder_above_names_what_is_below(above):
    folder = Path(above)
    whole = Path.cwd() if len(folder.parts) < 3 else Path()  # a short path is made whole
    few, many, one = (str(whole / each) for each in (FEW, MANY, ONE))
    what, experiments = answer(experiment_of, folder)
    assert experiments == [few, many, one] and what.endswith("is not an experiment's folder, but holds 3")
    assert answer(run_of, folder)[1][0] == f"{few}/seed1/1A"
    seeds = [f"{few}/seed1", *(f"{many}/seed{seed}" for seed in (1, 2, 10)), f"{one}/seed3"]
    assert answer(seed_of, folder)[1] == seeds


def test_from_within_the_folders(monkeypatch):
    here = Path.cwd()
    monkeypatch.chdir(ONE / "seed3" / "1A")
    assert experiment_of(Path(".")) == experiment_of(Path("..")) == here / ONE
    monkeypatch.chdir(here / MANY)
    assert run_of(Path("seed1/01F")) == here / RUNS[1]
    assert answer(experiment_of, Path("seed1"))[1] == [str(here / MANY)]


@pytest.mark.parametrize("name", ["empty", "absent", "empty/slurm"])
def test_a_folder_without_runs_is_told_the_form(name):
    folder = Path("results/own/speaker") / name
    what = "is missing" if name == "absent" else "is not a run folder: it has no hyperparams.yaml"
    assert answer(run_of, folder) == (f"{folder} {what}", [RUN_FORM])
    assert answer(seed_of, folder) == (f"{folder} holds no run", [f"{EXPERIMENT_FORM}/seed<S>"])
    assert experiment_of(folder) == folder  # what it lacks is said by who reads its tables


def test_a_folder_within_a_run_is_told_the_run():
    assert answer(run_of, RUNS[0] / "save")[1] == [str(RUNS[0])]


def test_a_path_with_blanks_is_quoted(tmp_path):
    folder = tmp_path / "my results"
    Path("results").rename(folder)
    _, paths = answer(run_of, folder / "own/speaker/few")
    assert paths[0] == f"'{folder}/own/speaker/few/seed1/1A'"


def test_the_corpus_of_models_that_are_tested_elsewhere(monkeypatch):
    assert corpus_elsewhere(Path("results/nemo@4class/from_ravdess@4class@speaker/n")) == "nemo@4class"
    assert corpus_elsewhere(Path("results/nemo/speaker/n")) == corpus_elsewhere(ONE) == ""

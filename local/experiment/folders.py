"""The folder that a command needs, of the one that the user gave.

A run is `results/<corpus>/<protocol>/<name>/seed<S>/<fold>`, an experiment all runs of one name. Where an experiment
has one run only, either means the other; where it has more, a `UserError` lists the paths from which to choose.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from local.core.errors import UserError

OF_RUN = "hyperparams.yaml"  # with this file a folder is a run folder
REFEREE = "referee.json"  # with this file a folder is no experiment, but of a model that was not trained here
RUN_FORM = "results/<corpus>/<protocol>/<name>/seed<S>/<fold>"
EXPERIMENT_FORM = "results/<corpus>/<protocol>/<name>"
SHOWN = 10  # paths in a message


def run_of(folder: Path, otherwise: str = "") -> Path:
    """The run folder that a folder means: itself, or the one run of an experiment or of a seed.

    A `UserError` if it is neither, or has several runs; `otherwise` is what else may be given then.
    """
    folder = _whole(folder)
    runs = [] if _is_run(folder) else _runs_below(folder)
    if len(runs) == 1 and _is_experiment_or_seed(folder):
        return runs[0]
    if runs:
        _refuse(f"{folder} holds {len(runs)} runs, and one is wanted", f"give one of them{otherwise}", runs)
    refuse_not_a_run(folder)
    return folder


def refuse_not_a_run(folder: Path) -> None:
    """Raise a UserError for a folder in which no training was begun, or that is missing."""
    if not _is_run(folder):
        what = f"is not a run folder: it has no {OF_RUN}" if folder.is_dir() else "is missing"
        inside = [parent for parent in folder.parents if _is_run(parent)]
        raise UserError(f"{folder} {what}", f"give {_quoted(inside[0]) if inside else RUN_FORM}")


def experiment_of(folder: Path) -> Path:
    """The experiment's folder that a folder means: itself, or the experiment whose only run or seed it is.

    A `UserError` if the experiment has other runs besides, or if the folder holds several experiments.
    """
    folder = _whole(folder)
    experiment = folder.parents[1] if _is_run(folder) else folder.parent if _is_seed(folder) else folder
    if experiment != folder:
        here, runs = _runs_below(folder), _runs_below(experiment)
        if len(here) < len(runs):
            what = f"{folder} has {len(here)} of the {len(runs)} runs of an experiment, and a whole one is wanted"
            raise UserError(what, f"give {_quoted(experiment)}")
    elif not _is_experiment_or_seed(folder) and (below := _runs_below(folder)):
        experiments = list(dict.fromkeys(run.parents[1] for run in below))
        _refuse(f"{folder} is not an experiment's folder, but holds {len(experiments)}", "give one", experiments)
    return experiment


def seed_of(folder: Path) -> Path:
    """The seed's folder, of whose runs an ensemble is made, that a folder means: itself, or the one of an experiment.

    Also that of a run without others of its seed. A `UserError` if there are several seeds, or none.
    """
    folder = _whole(folder)
    seed = folder.parent if _is_run(folder) else folder
    if seed != folder and len(runs := _runs_below(seed)) > 1:
        raise UserError(f"{folder} is one of the {len(runs)} runs of its seed", f"give {_quoted(seed)}")
    if _is_seed(seed):
        return seed
    seeds = list(dict.fromkeys(run.parent for run in _runs_below(folder)))
    if len(seeds) == 1 and seeds[0].parent == folder:
        return seeds[0]
    if seeds:
        _refuse(f"{folder} holds the runs of {len(seeds)} seeds", "give one of them", seeds)
    raise UserError(f"{folder} holds no run", f"give {EXPERIMENT_FORM}/seed<S>")


def corpus_elsewhere(experiment: Path) -> str:
    """The corpus of an experiment whose models were trained on another; empty for one that was trained on its own."""
    from local.splits import naming  # which the others do without

    experiment = _whole(experiment)
    return experiment.parents[1].name if naming.trained_on(experiment.parent.name) else ""


def _whole(folder: Path) -> Path:
    """The path as given, or from the root if it is too short to have the folders above in it."""
    return Path(os.path.abspath(folder)) if len(folder.parts) < 3 or ".." in folder.parts else folder


def _is_run(folder: Path) -> bool:
    return (folder / OF_RUN).is_file()


def _is_seed(folder: Path) -> bool:
    return re.fullmatch(r"seed\d+", folder.name) is not None and any(map(_is_run, _folders(folder)))


def _is_experiment_or_seed(folder: Path) -> bool:
    return _is_seed(folder) or any(map(_is_seed, _folders(folder)))


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def _runs_below(folder: Path) -> list[Path]:
    """The run folders at or below a folder of `results`, by path; none in run folders."""
    depth = ("", "*/", "seed*/*/", "*/seed*/*/", "*/*/seed*/*/", "*/*/*/seed*/*/")
    return sorted({path.parent for form in depth for path in folder.glob(form + OF_RUN)}, key=_in_order)


def _in_order(run: Path) -> tuple[Path, int, str]:
    number = run.parent.name.removeprefix("seed")
    return run.parents[1], int(number) if number.isdecimal() else 0, run.name


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _refuse(what: str, remedy: str, paths: Sequence[Path]) -> None:
    """Raise a UserError whose remedy lists paths, a line each."""
    if len(paths) == 1:
        raise UserError(what, f"give {_quoted(paths[0])}")
    lines = [f"    {_quoted(path)}" for path in paths[:SHOWN]]
    more = [f"    ... and {len(paths) - SHOWN} more"] if len(paths) > SHOWN else []
    raise UserError(what, "\n".join([f"{remedy}:", *lines, *more]))

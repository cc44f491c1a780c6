"""Where the project and the data shared with it are, and copies of the project to try it in."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import cache_from_source
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # sums differ in their last digits with the number of threads


def copy_project(folder: Path, *more: str) -> Path:
    """Copy the project, with `more` of its folders than `local` and `hparams`, into a folder; share its environment.

    And what has been compiled of it, which otherwise every copy would compile again.
    """
    folder.mkdir(exist_ok=True)
    for name in ("run.sh", "path.sh", "requirements.txt"):
        shutil.copy(REPOSITORY / name, folder)
    for name in ("local", "hparams", *more):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    ours, theirs = (Path(cache_from_source(place / "local" / "train.py")).parent for place in (REPOSITORY, folder))
    if sys.pycache_prefix and ours.exists() and not theirs.exists():
        shutil.copytree(ours, theirs, copy_function=os.link)
    return folder


# The help of run.sh on its options, from which recipes take their form: for what stands in for it.
OPTIONS = "".join(
    line for line in (REPOSITORY / "run.sh").read_text().splitlines(keepends=True) if line.startswith("#   --")
)

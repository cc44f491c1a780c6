"""What the stages other than training cost, each run as a user would, on noise of IEMOCAP's durations.

Measured for a number of hours: stage 0, stage 1, the audio store, stage 4 for one experiment of ten folds, and
what a table like the paper's ablation costs: five alphas with three seeds and ten folds each, 150 jobs, scored
one experiment after the other, compared pair by pair, and stage 5 for one of the five.
Each is a process of its own that runs once; its seconds are those from its start to its end, loading Python and
its libraries included, whose bytecode is there already. The files have just been written: the system has them in
memory, where that is large enough. All of it stands in temporary folders (20 h: some 5 GB), nothing in this
repository.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from local.benchmark import synthetic
from local.core.errors import UserError
from local.corpora import manifest

REPOSITORY = Path(__file__).resolve().parents[2]
ALPHAS = ("0", "0.001", "0.01", "0.1", "1")
SEEDS = ("1", "2", "3")


def measure(
    place: Path, hours: float, bytecode: Path, alphas: tuple[str, ...] = ALPHAS, seeds: tuple[str, ...] = SEEDS
) -> list[dict[str, Any]]:
    """Measure the stages on a corpus of so many hours.

    Parameters
    ----------
    place
        An empty folder, for the corpus, its manifests and results.
    hours
        Of audio.
    bytecode
        Where Python keeps it, see `load_all`.
    alphas, seeds
        Of the ablation.

    Returns
    -------
    A row per stage: `stage`, `hours` that the corpus has, `utterances`, `seconds`, `peak` bytes of memory.

    Raises
    ------
    UserError
        A stage has failed; its own message stands above.
    """
    with standing_in(place):
        corpus = ["--corpus", "csv", "--data", str(synthetic.corpus(Path("data"), synthetic.size(hours)))]
        corpus += ["--hparams", str(REPOSITORY / "hparams" / "mtl_wav2vec2.yaml")]
        timed = partial(watched, bytecode)
        rows = [
            timed("0 corpus", ["prepare", *corpus]),
            timed("1 folds", ["folds", *corpus]),
            timed("audio store", ["audio_store", *corpus]),
        ]
        single, ablation = [*corpus, "--name", "single"], [_experiment(corpus, alpha, seeds) for alpha in alphas]
        for experiment in (single, *ablation):
            synthetic.decoded(experiment)
        jobs = 10 * len(alphas) * len(seeds)
        rows += [
            timed("4 score, 10 jobs", ["score", *single]),
            timed(f"4 score, {jobs} jobs", *(["score", *experiment] for experiment in ablation)),
            timed(f"compare {len(alphas)} alphas", ["compare", *(f"results/noise/speaker/{_name(a)}" for a in alphas)]),
            timed("5 report beside them", ["report", *ablation[-1]]),
        ]
        table = manifest.read(Path("manifests/noise/all.csv"))
    size = {"hours": float(table["duration"].sum()) / 3600, "utterances": len(table)}
    return [row | size for row in rows]


def load_all(bytecode: Path) -> None:
    """Load the stages' modules once, so that no measurement has to compile them."""
    names = ("prepare", "folds", "audio_store", "score", "compare", "report", "benchmark.rows")
    words = "import " + ", ".join(f"local.{name}" for name in names)
    subprocess.run([sys.executable, "-c", words], env=environment(bytecode), check=True)


def environment(bytecode: Path) -> dict[str, str]:
    """Variables with which Python finds `local` from anywhere, and keeps bytecode there, whatever it is told here."""
    kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(bytecode)}
    return os.environ | {"PYTHONPATH": str(REPOSITORY)} | kept


def _name(alpha: str) -> str:
    return f"alpha{alpha}"


def _experiment(corpus: list[str], alpha: str, seeds: tuple[str, ...]) -> list[str]:
    return [*corpus, "--name", _name(alpha), "--seeds", " ".join(seeds), "--", "--alpha", alpha]


def watched(bytecode: Path, stage: str, *commands: list[str]) -> dict[str, Any]:
    """Run modules of `local` one after another: the sum of their seconds, the largest of their peaks."""
    watch = [sys.executable, "-m", "local.benchmark.watch", sys.executable, "-m"]
    found = []
    for module, *words in commands:
        line = [*watch, f"local.{module}", *words]
        answer = subprocess.run(line, env=environment(bytecode), stdout=subprocess.PIPE, check=True).stdout
        found.append(json.loads(answer))
        if found[-1]["code"]:
            raise UserError(
                f"{shlex.join(['python', *line[4:]])} ended with code {found[-1]['code']}", "see its message above"
            )
    row = {"seconds": sum(one["seconds"] for one in found), "peak": max(one["peak"] for one in found)}
    print(f"  {stage}: {row['seconds']:.1f} s", file=sys.stderr)
    return {"stage": stage} | row


@contextlib.contextmanager
def standing_in(place: Path) -> Iterator[None]:
    """Make a folder the current one: manifests and results stand below it."""
    before = Path.cwd()
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)

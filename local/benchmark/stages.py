"""What the stages other than training cost, each run as a user would, on noise of IEMOCAP's durations.

    python -m local.benchmark.stages corpus N | runs OPTIONS | texts OPTIONS | epoch OPTIONS

runs a step of `measure_rows`. `measure_hours` measures stages 0 and 1, the audio store, stage 4 for one experiment of
ten folds, and an ablation like the paper's: five alphas, three seeds and ten folds, 150 jobs, scored one experiment
after the other, compared pair by pair, with stage 5 for one of them.

`measure_rows` measures what handles rows, not audio, on up to millions of utterances, in ten sessions that are the
folds: stages 0, 1, 4 and 5, and what a training job does before its first update, `texts` (read the manifests, make
what the loader draws from) and `epoch` (draw its updates, cut the validation set into batches). All utterances of a
recording are hard links to one small file, each of which the leak audit must read whole, as their bytes are equal.

Each runs once, in a process of its own, whose seconds include loading Python and its libraries, from bytecode. The
files have just been written and are in memory if that is large enough. All are temporary (20 h: some 5 GB).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.benchmark import synthetic
from local.benchmark.machine import look, others
from local.config import hparams
from local.core.errors import UserError
from local.corpora import manifest
from local.data.batches import Limits, UpdateSampler, sorted_batches
from local.data.dataset import Utterances
from local.data.device import OVERHEAD
from local.experiment.command_line import parse
from local.experiment.job import Job

REPOSITORY = Path(__file__).resolve().parents[2]
YAML = ["--hparams", str(REPOSITORY / "hparams" / "mtl_wav2vec2.yaml")]
MODULES = ("prepare", "folds", "audio_store", "score", "compare", "report", "benchmark.stages")
SINGLE = ["--name", "single"]
ALPHAS = ("0", "0.001", "0.01", "0.1", "1")
SEEDS = ("1", "2", "3")
SESSIONS = 10
UTTERANCES_PER_COUPLE = 2000
FEWEST = 400  # utterances: every session has two recordings
RATE = 1000  # samples per second, the fewest that stage 0 takes


def measure_hours(
    folder: Path, hours: float, bytecode: Path, alphas: tuple[str, ...] = ALPHAS, seeds: tuple[str, ...] = SEEDS
) -> list[dict[str, Any]]:
    """Measure the stages, and an ablation of these alphas and seeds, on a corpus of so many hours.

    `folder` is empty, for the corpus, its manifests and results; `bytecode` is where Python keeps it, see `load_all`.
    Returns a row per stage: `stage`, `hours` that the corpus has, `utterances`, `seconds`, `peak` bytes of memory, and
    the share of the CPUs' time that went to `others`.
    """
    with current_folder(folder):
        corpus = ["--corpus", "csv", "--data", str(synthetic.corpus(Path("data"), synthetic.size(hours))), *YAML]
        stages = (("0 corpus", "prepare"), ("1 folds", "folds"), ("audio store", "audio_store"))
        rows = [run(bytecode, stage, [module, *corpus]) for stage, module in stages]
        single, asked = [*corpus, *SINGLE], ["--seeds", " ".join(seeds), "--", "--alpha"]
        ablation = [[*corpus, "--name", f"alpha{alpha}", *asked, alpha] for alpha in alphas]
        folders = [f"results/noise/speaker/alpha{alpha}" for alpha in alphas]
        for experiment in (single, *ablation):
            synthetic.write_runs(parse(experiment))
        jobs = 10 * len(alphas) * len(seeds)
        rows += [
            run(bytecode, "4 score, 10 jobs", ["score", *single]),
            run(bytecode, f"4 score, {jobs} jobs", *(["score", *experiment] for experiment in ablation)),
            run(bytecode, f"compare {len(alphas)} alphas", ["compare", *folders]),
            run(bytecode, "5 report beside them", ["report", *ablation[-1]]),
        ]
        table = manifest.read(Path("manifests/noise/all.csv"))
    size = {"hours": float(table["duration"].sum()) / 3600, "utterances": len(table)}
    return [row | size for row in rows]


def measure_rows(folder: Path, n: int, bytecode: Path) -> list[dict[str, Any]]:
    """Measure the stages that handle rows on a corpus of n utterances, as `measure_hours` does.

    Returns a row per stage: `stage`, `utterances`, `seconds`, `peak` bytes of memory, `others` and `written` bytes.
    """
    options = ["--corpus", "csv", "--data", "data/noise.csv", "--protocol", "session", *SINGLE, *YAML]
    rows = []
    with current_folder(folder):
        for stage, *command in (
            ("", "benchmark.stages", "corpus", str(n)),
            ("0 corpus", "prepare", *options),
            ("1 folds", "folds", *options),
            ("2 a job's texts", "benchmark.stages", "texts", *options),
            ("2 a job's epoch", "benchmark.stages", "epoch", *options),
            ("", "benchmark.stages", "runs", *options),
            ("4 score, 10 jobs", "score", *options),
            ("5 report", "report", *options),
        ):
            before = _bytes_written()
            row = run(bytecode, stage or command[1], command)
            rows += [row | {"utterances": n, "written": _bytes_written() - before}] if stage else []
    return rows


def load_all(bytecode: Path) -> None:
    """Load the stages' modules once, so that no measurement has to compile them."""
    imports = "import " + ", ".join(f"local.{name}" for name in MODULES)
    subprocess.run([sys.executable, "-c", imports], env=_environment(bytecode), check=True)


def run(bytecode: Path, stage: str, *commands: list[str]) -> dict[str, Any]:
    """Run modules of `local` one after another: the sum of their seconds, the largest of their peaks."""
    results, before = [], look()
    for module, *arguments in commands:
        command = [sys.executable, "-m", f"local.{module}", *arguments]
        watch = [sys.executable, "-m", "local.benchmark.watch", *command]
        output = subprocess.run(watch, env=_environment(bytecode), stdout=subprocess.PIPE, check=True).stdout
        results.append(json.loads(output))
        if code := results[-1]["code"]:
            raise UserError(f"{shlex.join(['python', *command[1:]])} ended with code {code}", "see its message above")
    seconds, peak = sum(result["seconds"] for result in results), max(result["peak"] for result in results)
    print(f"  {stage}: {seconds:.1f} s", file=sys.stderr)
    return {"stage": stage, "seconds": seconds, "peak": peak, "others": others(before, look())}


def _environment(bytecode: Path) -> dict[str, str]:
    """Variables with which Python finds `local` from any folder, and keeps its bytecode, whatever the caller's say."""
    kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(bytecode)}
    return os.environ | {"PYTHONPATH": str(REPOSITORY)} | kept


@contextlib.contextmanager
def current_folder(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _bytes_written() -> int:
    return sum(path.stat().st_size for folder in ("manifests", "results") for path in Path(folder).rglob("*.*"))


def step(name: str, *arguments: str) -> None:
    """Run a step of `measure_rows` that is no stage; see the module's docstring."""
    if name == "corpus":
        n = int(*arguments)
        couples = max(SESSIONS, n // UTTERANCES_PER_COUPLE)
        synthetic.corpus(Path("data"), n, synthetic.Shape(SESSIONS, couples, RATE, "PCM_U8", one_file=True))
        return
    options = parse(list(arguments))
    if name == "runs":
        synthetic.write_runs(options)
        return
    job = Job(options, options.all_folds()[0], 1)
    tables = (manifest.read(job.manifests / f"{part}.csv") for part in ("train", "valid"))
    if name == "texts":
        for table in tables:
            Utterances(table, {}, job.labels, job.tokenizer)
    elif name == "epoch":  # as for a GPU
        train, valid = (table["duration"].to_numpy() for table in tables)
        values, overhead = hparams.read_values(options.hparams), OVERHEAD["cuda"]
        limits = Limits(values["micro_batch_size"], values["micro_batch_seconds"], overhead)
        UpdateSampler(train, values["batch_size"], limits, seed=1)
        sorted_batches(valid, Limits(sys.maxsize, values["eval_batch_seconds"], overhead))


if __name__ == "__main__":
    step(*sys.argv[1:])

"""What the stages that handle rows, not audio, cost on millions of utterances.

    python -m local.benchmark.rows corpus N | decoded OPTIONS | texts OPTIONS | epoch OPTIONS

Measured for a number of utterances of IEMOCAP's durations, two thousand of a couple of speakers, in ten sessions that
are the folds: stages 0 and 1; what a training job does with rows before its first update, `texts` (read the manifests,
make what the loader draws from) and `epoch` (draw its updates, cut the validation part into batches); and stages 4 and
5 of an experiment of ten folds. No audio is decoded: a recording is one file of some kilobytes, which bears the names
of all its utterances. To the audit these are files with the same bytes, each of which it has to read whole.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from local.benchmark import stages, synthetic
from local.config import hparams
from local.core.errors import UserError
from local.corpora import manifest
from local.data.batches import Limits, UpdateSampler, sorted_batches
from local.data.dataset import Utterances
from local.data.device import OVERHEAD
from local.experiment.job import Job
from local.experiment.options import parse

SESSIONS = 10
OF_A_COUPLE = 2000  # utterances
LEAST = 400  # utterances: every session has two recordings
RATE = 1000  # samples per second, the fewest that stage 0 takes
PARTS = ("train", "valid")


def measure(place: Path, n: int, bytecode: Path) -> list[dict[str, Any]]:
    """Measure the stages on a corpus of so many utterances.

    Parameters
    ----------
    place
        An empty folder, for the corpus, its manifests and results.
    n
        Utterances.
    bytecode
        Where Python keeps it, see `local.benchmark.stages.load_all`.

    Returns
    -------
    A row per stage: `stage`, `utterances`, `seconds`, `peak` bytes of memory, `written` bytes of files.

    Raises
    ------
    UserError
        A stage has failed; its own message stands above.
    """
    refuse_few(n)
    with stages.standing_in(place):
        ours, rows = "benchmark.rows", []
        words = ["--corpus", "csv", "--data", "data/noise.csv", "--protocol", "session", "--name", "single"]
        words += ["--hparams", str(stages.REPOSITORY / "hparams" / "mtl_wav2vec2.yaml")]
        for stage, *command in (
            ("", ours, "corpus", str(n)),
            ("0 corpus", "prepare", *words),
            ("1 folds", "folds", *words),
            ("2 a job's texts", ours, "texts", *words),
            ("2 a job's epoch", ours, "epoch", *words),
            ("", ours, "decoded", *words),
            ("4 score, 10 jobs", "score", *words),
            ("5 report", "report", *words),
        ):
            before = _size()
            row = stages.watched(bytecode, stage or command[1], command)
            rows += [row | {"utterances": n, "written": _size() - before}] if stage else []
    return rows


def refuse_few(n: int) -> None:
    """Refuse fewer utterances than every speaker saying every emotion in several recordings takes.

    Raises
    ------
    UserError
        They are too few.
    """
    if n < LEAST:
        raise UserError(f"{n} utterances are too few for ten sessions", f"take {LEAST} or more")


def _size() -> int:
    return sum(path.stat().st_size for folder in ("manifests", "results") for path in Path(folder).rglob("*.*"))


def corpus(n: str) -> None:
    """Make the corpus."""
    couples = max(SESSIONS, int(n) // OF_A_COUPLE)
    synthetic.corpus(Path("data"), int(n), synthetic.Shape(SESSIONS, couples, RATE, "PCM_U8", one_file=True))


def decoded(*words: str) -> None:
    """Leave what stages 2 and 3 would."""
    synthetic.decoded(list(words))


def texts(*words: str) -> None:
    """Make what the loaders of a training job draw from, audio apart."""
    job = _job(*words)
    for part in PARTS:
        Utterances(manifest.read(job.manifests / f"{part}.csv"), {}, job.labels, job.tokenizer)


def epoch(*words: str) -> None:
    """Draw the updates of an epoch and the batches of its validation, as for a GPU."""
    job = _job(*words)
    train, valid = (manifest.read(job.manifests / f"{part}.csv")["duration"].to_numpy() for part in PARTS)
    values, overhead = hparams.read_values(job.options.hparams), OVERHEAD["cuda"]
    limits = Limits(values["micro_batch_size"], values["micro_batch_seconds"], overhead)
    UpdateSampler(train, values["batch_size"], limits, seed=1)
    sorted_batches(valid, Limits(sys.maxsize, values["eval_batch_seconds"], overhead))


def _job(*words: str) -> Job:
    options = parse(list(words))
    return Job(options, options.all_folds()[0], 1)


if __name__ == "__main__":
    {"corpus": corpus, "decoded": decoded, "texts": texts, "epoch": epoch}[sys.argv[1]](*sys.argv[2:])

"""./run.sh --status: the state of the jobs of experiments.

    python -m local.status OPTIONS

takes the options of run.sh. Without `--name` it shows every experiment of the corpus, without
`--corpus` of all corpora. It reads what the jobs have written to `results`, and asks Slurm about those
that were submitted. No torch, seconds, and nothing is written.
"""

from __future__ import annotations

from local.core.errors import as_command
from local.experiment.command_line import parse, read
from local.experiment.options import RESULTS

if __name__ == "__main__":
    as_command(parse)()  # --help and wrong options end here, before what takes seconds to load

import functools
import glob
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from local.core import lock, progress_json
from local.experiment.folders import REFEREE
from local.experiment.shared import trained_as
from local.jobs import slurm
from local.jobs.job_lines import epoch_rows, joined, planned_epochs, progress_parts, result
from local.jobs.process import JobLog

STATES = ("stressed", "decoded", "trained", "running", "queued", "waiting", "interrupted", "failed")
STEPS = ("train", "decode", "stress")
SIGNALLED = 128  # exit codes from here on, and those below 0, are of jobs that a signal ended
BEATS = 3  # heartbeats of a lock that may be missed: clocks differ


def experiments(words: list[str]) -> dict[Path, frozenset[str]]:
    """The folders of the experiments to show, with the names of jobs that the options add to those begun."""
    given, options = read(words)[0], parse(words).tested()
    names = (given.corpus and options.corpus, given.protocol and options.protocol_name, given.name and options.name)
    pattern = "/".join(glob.escape(name) or "*" for name in names)
    found = filter(Path.is_dir, RESULTS.glob(pattern))  # a recipe's tables are beside the experiments
    trained = (folder for folder in found if not (folder / REFEREE).exists())
    folders = [folder for folder in trained if any(folder.glob("seed*")) or submitted(folder)]
    jobs = dict.fromkeys(folders, frozenset())
    if options.experiment_folder in jobs:  # else its folds may be unknown
        folds = options.chosen_folds()
        jobs[options.experiment_folder] = frozenset(f"seed{seed}/{fold}" for seed in options.seeds for fold in folds)
    return jobs


def submitted(experiment: Path) -> set[str]:
    """The names of the jobs that were ever submitted to Slurm."""
    return {name for step in STEPS for name in slurm.submitted_ids(experiment, step)}


def rows(experiment: Path, names: Iterable[str]) -> list[tuple[str, str, str]]:
    """Name, state and details of an experiment's jobs, those in `names` and those begun, by seed and fold."""
    seeds = [seed for seed in experiment.glob("seed*") if seed.name[4:].isdecimal()]
    begun = {f"{run.parent.name}/{run.name}" for seed in seeds for run in seed.iterdir() if run.is_dir()}
    every = sorted({*names, *begun, *submitted(experiment)}, key=lambda name: (int(name[4:].split("/")[0]), name))
    queues = {step: functools.cache(functools.partial(queue, experiment, step)) for step in STEPS}
    return [(name, *state(experiment / name, queues)) for name in every]


def queue(experiment: Path, step: str) -> dict[str, tuple[str, slurm.Entry]]:
    """An experiment's jobs that are with Slurm: id and entry, by name."""
    ids = slurm.submitted_ids(experiment, step)
    known = slurm.queue_entries(experiment, step) if ids else {}
    if known is None:
        print("squeue does not answer: jobs in its queue are not shown as such", file=sys.stderr)
        known = {}
    return {
        name: (job_id, known[job_id])
        for name, job_id in ids.items()
        if job_id in known and known[job_id].state not in slurm.ENDED
    }


def state(run: Path, queues: dict[str, Callable[[], dict[str, tuple[str, slurm.Entry]]]]) -> tuple[str, str]:
    """The state of one job, one of `STATES`, and details.

    Parameters
    ----------
    run
        Its run folder, which may not exist yet.
    queues
        For each of `STEPS` a function that returns what `queue` does.
    """
    if (run / "stress.json").exists() and not (run / "stress").exists():  # where the cases are that are being added
        return "stressed", result(run, "stress")
    decoded = (run / "decode.json").exists()
    step = "stress" if decoded else "decode" if (run / "train.json").exists() else "train"
    log = run / f"{step}.log"
    start = JobLog(log).last_start()
    epochs = {"train": _epochs(run), "decode": "decodes", "stress": "stress test"}[step]
    holder = _holder(run / ".lock")
    job_id, entry = queues[step]().get(f"{run.parent.name}/{run.name}", ("", None))
    if decoded and entry is None and (start is None or start.code == 0):  # stage 7 runs on request only
        return "decoded", _of_training(run, result(run, "decode"))
    if entry is not None and entry.state != "RUNNING":
        why = entry.reason if entry.state == "PENDING" else entry.state.lower()
        return "queued", f"job {job_id}, {why}, {epochs}"
    if entry is not None or holder:
        # What a killed job has left is no progress: its lock has no heartbeat.
        if holder and (now := progress_json.read(run)):
            epochs = joined(progress_parts(now))
        where = f"job {job_id} on {entry.nodes}" if entry else lock.describe(holder)
        since = f"since {start.time}" if start and start.time else ""
        return "running", ", ".join(filter(None, (epochs, where, since)))
    if start is None:
        return ("waiting", "") if step == "train" else ("trained", _of_training(run, result(run, "train")))
    if not start.has_ended or not 0 <= (start.code or 0) < SIGNALLED:
        return "interrupted", f"{epochs}; the same command continues"
    code = "" if start.code is None else f"code {start.code}: "
    return "failed", f"{code}{start.last_error}, see {log}"


def _of_training(run: Path, said: str) -> str:
    """What is said of a run, and the fold that was trained in its place."""
    fold = trained_as(run)
    return ", ".join(filter(None, [said, f"the training of {fold}" if fold else ""]))


def _epochs(run: Path) -> str:
    """How many epochs of a training are done."""
    done = sum(not row.get("solved") for row in epoch_rows(run))
    return f"{done} of {planned_epochs(run)} epochs" if done else "no epoch yet"


def _holder(path: Path) -> tuple[int, str] | None:
    """Process and host of a lock whose holder runs, or on another host has sent a heartbeat of late."""
    held = lock.holder(path)
    if held is None or lock.is_of_this_host(held):
        return held
    try:
        beat = path.stat().st_mtime
    except FileNotFoundError:  # let go of since it was read
        return None
    return held if time.time() - beat < BEATS * lock.STALE else None


@as_command
def main() -> None:
    """Show the state of the jobs."""
    shown = experiments(sys.argv[1:])
    if not shown:
        print("nothing of that has been begun")
    for experiment, names in sorted(shown.items()):
        table = rows(experiment, names)
        counts = Counter(word for _, word, _ in table)
        print(f"== {experiment}: {', '.join(f'{counts[word]} {word}' for word in STATES if counts[word])}")
        width = max((len(name) for name, _, _ in table), default=0)
        for name, word, more in table:
            print(f"  {name:{width}}  {word:11}  {more}".rstrip())


if __name__ == "__main__":
    main()

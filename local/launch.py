"""Stages 2, 3, 6 and 7 over folds and seeds: jobs side by side on this machine or on Slurm, one log each.

    python -m local.launch {train,decode,export,stress} OPTIONS

Each GPU has one job or, with `--jobs`, as many as fit in its memory; without a GPU the CPU's threads are
divided among the jobs (two jobs with all threads each run ten times slower than alone), of which there is
one at a time, or as many as there is room for where the YAML says how many `threads` each has. A job that
fails does not stop the others; the exit code is 1 when any has failed.
"""

from __future__ import annotations

from local.core.errors import UserError, as_command
from local.experiment.command_line import parse_step
from local.experiment.options import Options

if __name__ == "__main__":
    as_command(parse_step)()  # --help and wrong options end here, before what takes seconds to load

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from local.config import pretrained
from local.config.hparams import ROUNDING
from local.core import conditions, markers, tasks
from local.core.files import digest
from local.core.lock import locked
from local.core.markers import Marker
from local.corpora import manifest
from local.data import store
from local.experiment import borrowed, shared
from local.experiment.encoder_version import refuse_missing
from local.experiment.job import Job, begun_inputs, has_checkpoint
from local.jobs.job_lines import clock, result, scores_line
from local.jobs.machine import gpu_slots, run_all
from local.jobs.process import JobLog, JobProcess, add_options, step_command
from local.scoring import calibration, metrics, predictions, scored
from local.scoring.provenance import OF_FOLD

MOST_RUNS = 3  # with other values, to name
POOLED = {"train.csv", "valid.csv"}  # inputs in which folds differ, and which stage 4 compares for each run
STAGES = {"train": 2, "decode": 3, "stress": 7}
# The file of the run folder that a job writes when it has held all the memory that it needs: in
# training after an epoch, in the others at the end.
PROOFS = {"train": "epochs.csv", "decode": "predictions.csv", "stress": "stress.csv"}
SIZES = {"train": "micro_batch_seconds"} | dict.fromkeys(("decode", "stress"), "eval_batch_seconds")  # what bounds it


def pending_jobs(step: str, options: Options, words: list[str]) -> list[JobProcess]:
    """List the jobs that are not done; `UserError` where one is done with other inputs."""
    waiting, jobs = [], Job.all(options)
    sources = shared.sources(jobs) if step == "train" else {}
    for job in jobs:
        name = f"seed{job.seed}/{job.fold}"
        label = job.fold if len(options.seeds) == 1 else name
        if job.is_done(step):
            print(f"  {label} already done{', ' if (what := result(job.folder, step)) else ''}{what}")
            continue
        if step == "train":
            job.refuse_tested_speakers()
        if job in sources:  # see `take_trainings`
            continue
        one = ("--folds", job.fold, "--seeds", str(job.seed))
        command = step_command(step, words, *one, processes=options.processes)
        waiting.append(JobProcess(name, command, job.folder / f"{step}.log", job.folder / PROOFS[step], label))
    return waiting


def other_values(options: Options) -> list[str]:
    """Which runs that are not among the jobs have other values or sets, trained or with a checkpoint.

    Stage 4 pools no two such.
    """
    jobs, folds, found = {job.folder for job in Job.all(options)}, options.all_folds(), []
    for run in scored.runs_with(options.experiment_folder, "hyperparams.yaml"):
        is_trained = (run / "train.json").exists()
        if run in jobs or run.name not in folds or not (is_trained or has_checkpoint(run)):
            continue
        job = Job(options, run.name, scored.seed_of(run))
        old = markers.read(run / "train.json")["inputs"] if is_trained else begun_inputs(run) or {}
        new = job.training() if is_trained else job.beginning()
        moved = [key for key, name in pretrained.VERSIONS.items() if old.get(name, "") == new.inputs.get(name)]
        if changes := new.changes(old, but={*ROUNDING, *OF_FOLD, *moved} - POOLED):
            found.append(f"{run.parent.name}/{run.name}: {', '.join(changes)}")
    return found


def refuse_other_values(options: Options, resumes: bool) -> None:
    """Refuse to train beside runs with other values or sets, where stage 4 would.

    With `--force`, by which runs may be trained again one by one, and where one of the jobs resumes, it is only said.
    """
    if not (found := other_values(options)):
        return
    shown = "; ".join(found[:MOST_RUNS]) + f"; and {len(found) - MOST_RUNS} more" * (len(found) > MOST_RUNS)
    folder = options.experiment_folder
    if options.force or resumes:
        print(f"  stage 4 will refuse these runs beside others of other values or sets: {shown}; train them again, too")
        return
    raise UserError(
        f"{folder} has runs with other values or sets, and no table pools them ({shown})",
        "--name NAME for another experiment; or train all again with --force true",
    )


def take_trainings(options: Options, words: list[str]) -> None:
    """Let jobs take the training of another fold with the same sets, once that has ended, and say so in their logs."""
    for job, source in shared.sources(Job.all(options)).items():
        if not shared.is_trained(source):
            continue
        log = JobLog(job.folder / "train.log")
        with locked(job.folder / ".lock", f"works in {job.folder}"):
            if job.is_done("train"):  # of two commands the other has done it
                continue
            log.begin(step_command("train", words, "--folds", job.fold, "--seeds", str(job.seed)))
            log.add(said := shared.take(job, source))
            log.end(0, 0)
        print(f"  {said}" + (f" (seed {job.seed})" if len(options.seeds) > 1 else ""))


def check_setup(words: list[str], waiting: list[JobProcess], at_a_time: int) -> None:
    """Build the set-up of a job once, whose faults would be those of all jobs; exit where that fails, as they would.

    Jobs run `at_a_time`, and their memory adds up. In a process of its own, so that this one needs no torch.
    """
    seed, fold = waiting[0].name.removeprefix("seed").split("/")
    run_command("check", *add_options(words, "--folds", fold, "--seeds", seed, "--jobs", str(at_a_time)))


def build_audio_store(options: Options, words: list[str]) -> None:
    """Make the audio store before the jobs start, which would wait for it; exit where that fails, as they would.

    In a process of its own, so that this one needs no torch.
    """
    if not store.is_built(*options.audio()):
        run_command("audio_store", *(("--corpus", options.corpus) if options.source else words))


def run_command(name: str, *words: str | Path) -> None:
    """Run a command of `local`; exit as it does where it fails."""
    sys.stdout.flush()
    if code := subprocess.run([sys.executable, "-m", f"local.{name}", *words]).returncode:
        sys.exit(code)


def launch(step: str, options: Options, words: list[str]) -> list[JobProcess]:
    """Run all jobs; return those that failed."""
    if step != "train":
        options = options.tested()
    print(f"== stage {STAGES[step]}: {step} {options.experiment_folder}")
    if step == "decode":  # of trainings that ended after their command had
        take_trainings(replace(options.source or options, force=False), words)
    if options.source:
        borrowed.borrow(options)
    waiting = pending_jobs(step, options, words)
    if step == "train" and waiting:
        refuse_other_values(options, any(has_checkpoint(run.folder) for run in waiting))
    if waiting and step == "stress":
        print(stress_cost(options, [run.name for run in waiting]))
    failed = run_jobs(step, options, words, waiting) if waiting else []
    if step == "train":
        take_trainings(options, words)
    return failed


def run_jobs(step: str, options: Options, words: list[str], waiting: list[JobProcess]) -> list[JobProcess]:
    """Run the jobs that are not done; return those that failed."""
    slots = None if options.backend == "slurm" else gpu_slots(options, len(waiting))
    for key in pretrained.KEYS if step == "train" else ():
        refuse_missing(options.values.get(key), key)
    # What has left a checkpoint was set up before, with the same values; but perhaps on a machine with more memory, of
    # which a job looks only at what itself needs.
    resumes = not options.force and any(has_checkpoint(run.folder) for run in waiting)
    on_cpu = slots is not None and not slots.names
    if step == "train" and (not resumes or (on_cpu and slots.count > 1)):
        check_setup(words, waiting, slots.count if slots else 1)
    build_audio_store(options, words)
    if slots is None:
        from local.jobs import slurm  # submitit takes a second to load

        failed = slurm.run_all(waiting, step, options)
    else:
        most_threads = 0 if slots.names else options.values["threads"]
        failed = run_all(waiting, slots, options.processes if step == "train" else 1, most_threads)
    if step == "decode":
        print_pooled(Job.all(options))
    return failed


def stress_cost(options: Options, names: list[str]) -> str:
    """Say how much audio stage 7 is to compute for the jobs of these names."""
    cases = conditions.cases(options.stress)
    jobs = [job for job in Job.all(options) if f"seed{job.seed}/{job.fold}" in names]
    seconds = [each for job in jobs for each in manifest.read(job.manifests / "test.csv")["duration"]]
    total = sum(case.lasting(each) for case in cases for each in seconds)
    tested = f"{len(cases)} cases x {clock(sum(seconds))} of test audio"
    return f"  {tested}: {clock(total)} of audio, less what is done already"


def print_pooled(jobs: list[Job]) -> None:
    """Print the scores of all predictions together, if several jobs have some."""
    decoded = [job.folder for job in jobs if (job.folder / "decode.json").exists()]
    if len(decoded) > 1:
        pooled = pd.concat([predictions.read(run / "predictions.csv") for run in decoded], ignore_index=True)
        values = jobs[0].options.values
        scores = metrics.scores(pooled, tasks.emotions_trained(values), tasks.transcripts_trained(values))
        of_all = "" if len(decoded) == len(jobs) else f" ({len(decoded)} of {len(jobs)} jobs)"
        print(f"  pooled {scores_line(scores)}{of_all}")


def failure_report(run: JobProcess, step: str) -> str:
    """Say that a job failed, with the end of its log, and what to do if memory was short."""
    lines = run.failure()
    if any("out of memory" in line for line in run.last_lines(10)):
        lines.append(f"  try: fewer --jobs, or a smaller --{SIZES[step]}")
    return "\n".join(lines)


def export(job: Job) -> None:
    """Export a trained job to `model` in its run folder, unless that is done."""
    trained, out = job.training().path, job.folder / "model"
    markers.read(trained)
    temperature = job.folder / calibration.NAME  # of stage 3, which may come after a first export
    inputs = {"training": digest(trained), "temperature": digest(temperature) if temperature.exists() else ""}
    marker = Marker(job.folder / "model.json", inputs, if_known=("temperature",))
    if marker.is_done(f"export of {job.folder}", job.options.force, redo=True):
        print(f"{out} is exported already")
        return
    run_command("export", job.folder, out, "--force")
    marker.write(path for path in out.rglob("*") if path.is_file())
    print(out)


@as_command
def main() -> None:
    """Run one stage's jobs."""
    step, words, options = parse_step()
    if step == "export":
        print(f"== stage 6: export {options.experiment_folder}\n")
        for job in Job.all(options):
            export(job)
        return
    failed = launch(step, options, words)
    for run in failed:
        print(failure_report(run, step), file=sys.stderr)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()

"""Train and decode one job again from its run folder, and tell whether the figures agree.

    python -m local.rerun results/<corpus>/<protocol>/<name>/seed<S>/<fold>

`hyperparams.yaml` there says what is computed; `env.json` which job it is, on what device, in which
precision and with how many threads. The job is run again with these, on the manifests that stand
here, in `results/<corpus>/<protocol>/<name>-rerun/seed<S>/<fold>`, an experiment of its own. A rerun
that was interrupted goes on; one that has ended is made anew.

Exit codes: 0 predictions.csv is the same, byte for byte; 1 it is not, or the job failed (its log is
named); 2 the run cannot be made again here, and why.

On a processor the same seed, machine and number of threads give the same bytes. On a GPU they need
not: PyTorch's documentation of `torch.use_deterministic_algorithms` lists CTCLoss among the operations
whose gradient on CUDA has no deterministic form, so that this switch would refuse every training with
alpha above 0; and cuDNN is free to choose among convolutions that sum in different orders.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from local.config.trust import refuse_foreign
from local.core import markers
from local.core.errors import Parser, UserError, as_command
from local.core.files import digest
from local.corpora import manifest
from local.experiment.job import Job, begun_inputs, options_of_run, read_environment, refuse_not_a_run
from local.experiment.options import MANIFESTS, parse
from local.jobs.gpus import gpus
from local.jobs.process import JobProcess, step_command
from local.pages.markdown import percent, table
from local.scoring import metrics, predictions

PARTS = ("train.csv", "valid.csv", "test.csv", "tokenizer.model")
APART = ("job", "packages", "slurm_job")  # of env.json: not the environment, or shown one by one
ON_GPU = "on a GPU, CTC's gradient is not deterministic: equal figures are not to be expected"
DIRTY = "a commit ends in -dirty: changes that no commit holds were run, and may have been others"


def read_finished(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read env.json and decode.json of a run folder.

    Raises
    ------
    UserError
        It is no run folder, its run has not ended, it is of a version that did not tell enough, or its YAML
        would build what is not of this project.
    """
    refuse_not_a_run(run)
    refuse_foreign(run)
    for name in ("env.json", "train.json", "decode.json", "predictions.csv"):
        if not (run / name).exists():
            raise UserError(f"{run} has no {name}: its run has not ended", "run stages 2 and 3 for it first")
    environment, decoding = read_environment(run), markers.read(run / "decode.json")
    if decoding["inputs"]["training"] != digest(run / "train.json"):
        raise UserError(f"{run} was trained anew after its predictions were made", "run stage 3 for it first")
    predictions.read(run / "predictions.csv")  # whether it can be compared, before anything is run
    return environment, decoding


def rerun_options(run: Path, environment: dict[str, Any]) -> list[str]:
    """The options that run the job again under another name, with what was settled on the first time."""
    asked = environment["job"]
    settled = [f"--{name}={environment[name]}" for name in ("device", "precision")]
    return [*options_of_run(run, asked | {"name": f"{asked['name']}-rerun"}), "--", *settled]


def check_job(run: Path, environment: dict[str, Any], decoding: dict[str, Any]) -> Job:
    """The job to run, when it can be run here.

    Raises
    ------
    UserError
        Its corpus or its device is absent, or its manifests are not what they were.
    """
    asked = environment["job"]
    stages = f"./run.sh --stop-stage 1 {shlex.join(asked['options'])}"
    if not (MANIFESTS / asked["corpus"] / "all.csv").exists():
        raise UserError(f"corpus '{asked['corpus']}' of {run} is not prepared here", stages)
    if environment["device"].startswith("cuda") and not gpus():
        raise UserError(
            f"{run} was trained on {environment['device']}, and no GPU is here", "run it where there is one"
        )
    job = Job.asked_for(parse(rerun_options(run, environment)))
    then = begun_inputs(run) | {"test.csv": decoding["inputs"]["test.csv"]}
    now = {part: digest(job.manifests / part) for part in PARTS if (job.manifests / part).exists()}
    changed = [part for part in PARTS if then.get(part) != now.get(part)]
    if changed:
        raise UserError(
            f"{job.manifests} is not what {run} was made of: {', '.join(changed)} changed",
            f"bring back the corpus as it was, then {stages}",
        )
    refuse_absent_audio(job)
    return job


def refuse_absent_audio(job: Job) -> None:
    """Refuse a job some of whose audio files are gone."""
    utterances = pd.concat([manifest.read(path) for path in sorted(job.manifests.glob("*.csv"))])
    wavs = manifest.resolve(utterances["wav"], job.options.data_root)
    absent = [wav for wav in wavs if not Path(wav).exists()]
    if absent:
        raise UserError(
            f"{len(absent)} of {len(wavs)} audio files of {job.manifests} are absent, the first {absent[0]}",
            f"bring the corpus back to {job.options.data_root}, or run stage 0 with --data and --force true",
        )


def repeat(job: Job, words: list[str], threads: dict[str, int], processes: int = 1) -> JobProcess | None:
    """Train and decode the job, as the launcher would; return the step that failed.

    Parameters
    ----------
    job, words
        What to run, and the options that say so.
    threads
        How many each process of a step is to have.
    processes
        How many train it together.
    """
    overwrite = must_start_over(job)
    for step, count in threads.items():
        force = ["--force=true"] if overwrite and step == "train" else []
        if not force and job.is_done(step):
            continue
        command = step_command(step, words, *force, processes=processes)
        run = JobProcess(step, command, job.folder / f"{step}.log")
        print(f"  {step}, threads: {count}, log: {run.log}", flush=True)
        run.start(0, os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(count)))
        try:
            code = run.end()
        except BaseException:  # Ctrl-C, or a fault of this program: leave no orphan
            run.process.terminate()
            run.end()
            raise
        if code:
            return run
    return None


def must_start_over(job: Job) -> bool:
    """Whether the job's folder holds a rerun that has ended, or one of other inputs."""
    old, yaml = begun_inputs(job.folder), job.folder / "hyperparams.yaml"
    if old is None:
        return False
    # The earlier version wrote a comment before the YAML.
    same = old == job.beginning().inputs and yaml.exists() and yaml.read_text(encoding="utf-8").endswith(job.yaml)
    return not same or (job.folder / "decode.json").exists()


def differences(run: Path, again: Path) -> list[str]:
    """Say what differs between the predictions and the environments of a run and its rerun, which do differ."""
    environments = [read_environment(folder) for folder in (run, again)]
    tables = [predictions.read(folder / "predictions.csv") for folder in (run, again)]
    unlike = environment_rows(*environments)
    lines = [f"different: {describe_predictions(*tables)}", ""]
    lines += [*table(["", "run", "rerun"], both_scores(*tables) + unlike), ""]
    if not unlike:
        lines.append("the environments are the same, as far as env.json tells")
    if environments[1]["device"].startswith("cuda"):
        lines.append(ON_GPU)
    if any(environment["commit"].endswith("-dirty") for environment in environments):
        lines.append(DIRTY)
    if markers.read(run / "decode.json")["outputs"]["predictions.csv"] != digest(run / "predictions.csv"):
        lines.append(f"{run / 'predictions.csv'} is not what decoding wrote: it was changed afterwards")
    return lines


def describe_predictions(old: pd.DataFrame, new: pd.DataFrame) -> str:
    """Count what differs between two tables of predictions, and give the largest difference of a posterior."""
    pairs = old.merge(new, on="ID", suffixes=("", "_new"))
    posteriors = [name for name in old if name.startswith(predictions.POSTERIOR) and name in new]
    distance = pd.concat([(pairs[name] - pairs[f"{name}_new"]).abs() for name in posteriors], axis=1).max(axis=1)
    said = [
        f"{(pairs[name] != pairs[f'{name}_new']).sum()} of {len(pairs)} {word}"
        for name, word in (("emo_hyp", "emotions"), ("wrd_hyp", "transcripts"))
    ]
    said.append(f"a posterior by up to {distance.max():.8f}")
    if distance.max() > 0:
        said[-1] += f" ({pairs['ID'][distance.idxmax()]})"
    if alone := len(set(old["ID"]) ^ set(new["ID"])):
        said.append(f"{alone} utterances in one of them alone")
    return ", ".join(said)


def both_scores(old: pd.DataFrame, new: pd.DataFrame) -> list[list[object]]:
    """Rows of WA, UA and WER of both."""
    scores = [metrics.scores(each) for each in (old, new)]
    return [[name.upper(), *(percent(each[name]) for each in scores)] for name in ("wa", "ua", "wer")]


def environment_rows(old: dict[str, Any], new: dict[str, Any]) -> list[list[object]]:
    """Rows of what differs between two env.json, packages one by one."""
    flat = [
        {name: value for name, value in each.items() if name not in APART} | each["packages"] for each in (old, new)
    ]
    names = [name for name in flat[0] | flat[1] if flat[0].get(name) != flat[1].get(name)]
    return [[name, *(each.get(name, "–") for each in flat)] for name in names]


@as_command
def main() -> None:
    """Repeat a run and compare."""
    parser = Parser(prog="python -m local.rerun", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="results/<corpus>/<protocol>/<name>/seed<S>/<fold>")
    run = parser.parse_args().run
    environment, decoding = read_finished(run)
    again = check_job(run, environment, decoding)
    print(f"== rerun {run} as {again.folder}")
    # Stage 3 may have been run apart from stage 2.
    threads = {"train": environment["threads"], "decode": decoding["facts"].get("threads", environment["threads"])}
    failed = repeat(again, rerun_options(run, environment), threads, environment.get("processes", 1))
    if failed is not None:
        print(f"error: {failed.name} failed\n  see {failed.log}", file=sys.stderr)
        sys.exit(1)
    old, new = run / "predictions.csv", again.folder / "predictions.csv"
    if old.read_bytes() != new.read_bytes():
        print("\n".join(differences(run, again.folder)))
        sys.exit(1)
    scores = metrics.scores(predictions.read(new))
    print(f"identical: {scores['n']} predictions, WA {percent(scores['wa'])}, WER {percent(scores['wer'])}")


if __name__ == "__main__":
    main()

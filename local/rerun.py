"""Train and decode one job again from its run folder, and compare the predictions.

    python -m local.rerun results/<corpus>/<protocol>/<name>/seed<S>/<fold>

An experiment's folder is taken as well if it has one run. `hyperparams.yaml` says what is computed; `env.json`
which job it is, on what device, in which precision and with how many threads. The job is repeated with these, on
the manifests that are here, in `results/<corpus>/<protocol>/<name>-rerun/seed<S>/<fold>`, an experiment of its own.
A rerun that was interrupted is resumed; one that has ended is overwritten.

Exit codes: 0 predictions.csv is the same, byte for byte; 1 it is not, or the job failed (the end of its
log is shown); 2 the run cannot be repeated here, and why.

On a CPU the same seed, machine, packages and number of threads give the same bytes. On a GPU they need not:
`torch.use_deterministic_algorithms` refuses CTCLoss, whose gradient has no deterministic form on CUDA,
and cuDNN may choose among convolutions that sum in different orders.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.config import pretrained
from local.config.trust import refuse_foreign
from local.core import markers
from local.core.counted import counted
from local.core.errors import Parser, UserError, as_command
from local.core.files import digest
from local.corpora import manifest
from local.experiment.borrowed import CHECKPOINTS
from local.experiment.command_line import parse
from local.experiment.folders import RUN_FORM, refuse_not_a_run, run_of
from local.experiment.job import Job, begun_inputs, options_of_run, read_environment
from local.experiment.options import MANIFESTS
from local.jobs.gpus import gpus
from local.jobs.process import JobProcess, step_command
from local.pages.markdown import percent, table
from local.scoring import predictions

if TYPE_CHECKING:
    import pandas as pd

MANIFEST_FILES = ("train.csv", "valid.csv", "test.csv", "tokenizer.model")
# Of env.json: not the environment, or compared one by one.
NOT_COMPARED = (
    *("job", "packages", "slurm_job", "started", "resumed", "command"),
    "audio",  # compared where both say it
    *("device_name", "parameters", "trained_parameters"),  # they follow from others, and an earlier version wrote none
)
ON_GPU = "on a GPU, CTC's gradient is not deterministic: do not expect equal figures"
DIRTY = "a commit ends in -dirty: the runs had changes without a commit, which may differ"


def read_finished(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read env.json and decode.json of a run folder.

    `UserError` when it is no run folder, it is not trained and decoded, an earlier version wrote too little of it, or
    its YAML would build what is not of this project.
    """
    refuse_not_a_run(run)
    refuse_foreign(run)
    if (run / CHECKPOINTS).is_symlink():
        trained = os.path.relpath((run / CHECKPOINTS).resolve().parent)
        raise UserError(f"{run} is a test of what was trained in {trained}", f"python -m local.rerun {trained}")
    for name in ("env.json", "train.json", "decode.json", "predictions.csv"):
        if not (run / name).exists():
            raise UserError(f"{run} has no {name}: it is not trained and decoded yet", "run stages 2 and 3 for it")
    environment, decoding = read_environment(run), markers.read(run / "decode.json")
    if decoding["inputs"]["training"] != digest(run / "train.json"):
        raise UserError(f"{run} was trained again after its predictions were made", "run stage 3 for it first")
    predictions.read(run / "predictions.csv")  # whether it can be compared, before anything is run
    return environment, decoding


def rerun_options(run: Path, environment: dict[str, Any]) -> list[str]:
    """The options that run the job again under another name, with the device and the precision of the run."""
    job = environment["job"]
    fixed = [f"--{name}={environment[name]}" for name in ("device", "precision")]
    return [*options_of_run(run, job | {"name": f"{job['name']}-rerun"}), "--", *fixed]


def check_job(run: Path, environment: dict[str, Any], decoding: dict[str, Any]) -> Job:
    """The job to run; `UserError` where its corpus or its device is missing, or its manifests have changed."""
    corpus, options = environment["job"]["corpus"], environment["job"]["options"]
    stages = f"./run.sh --stop-stage 1 {shlex.join(options)}"
    if not (MANIFESTS / corpus / "all.csv").exists():
        raise UserError(f"corpus '{corpus}' of {run} is not prepared here", stages)
    if environment["device"].startswith("cuda") and not gpus():
        what = f"{run} was trained on {environment['device']}, and no GPU is here"
        raise UserError(what, "run it where there is one")
    job = Job.all(parse(rerun_options(run, environment)))[0]
    old = begun_inputs(run) | decoding["inputs"]
    new = job.digests(*MANIFEST_FILES, known=old)
    if changed := [name for name in MANIFEST_FILES if old.get(name) != new.get(name)]:
        raise UserError(
            f"{job.manifests} is not what {run} was made of: {', '.join(changed)} changed",
            f"restore the corpus as it was, then {stages}",
        )
    for key, name in pretrained.VERSIONS.items():
        versions = (old.get(name), job.beginning().inputs.get(name))
        if None not in versions and versions[0] != versions[1]:
            raise UserError(
                f"the {key} {job.options.values[key]} is not what {run} was trained from: its files changed",
                f"restore the {key} as it was",
            )
    refuse_missing_audio(job)
    return job


def refuse_missing_audio(job: Job) -> None:
    """Raise a UserError where audio files of a job are missing."""
    import pandas as pd  # takes half a second to load

    utterances = pd.concat([manifest.read(path) for path in sorted(job.manifests.glob("*.csv"))])
    wavs = manifest.resolve(utterances["wav"], job.options.data_root)
    if missing := [wav for wav in wavs if not Path(wav).exists()]:
        raise UserError(
            f"{len(missing)} of {len(wavs)} audio files of {job.manifests} are missing, the first {missing[0]}",
            f"restore the corpus in {job.options.data_root}, or run stage 0 with --data and --force true",
        )


def repeat(job: Job, words: list[str], threads: dict[str, int], processes: int = 1) -> JobProcess | None:
    """Train and decode a job, given by `words`, as the launcher would; return the step that failed.

    `threads` are those of each process of a step; `processes` train together.
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
    same = not job.beginning().changes(old) and yaml.exists() and yaml.read_text(encoding="utf-8").endswith(job.yaml)
    return not same or (job.folder / "decode.json").exists()


def differences(run: Path, again: Path) -> list[str]:
    """Say what differs in the predictions and the environments of a run and its rerun."""
    environments = [read_environment(folder) for folder in (run, again)]
    tables = [predictions.read(folder / "predictions.csv") for folder in (run, again)]
    changed = environment_rows(*environments)
    lines = [f"different: {describe_predictions(*tables)}", ""]
    lines += [*table(["", "run", "rerun"], score_rows(*tables) + changed), ""]
    if not changed:
        lines.append("the environments are the same, by env.json")
    starts = environments[0].get("resumed", [])
    if differing := dict.fromkeys(row[0] for start in starts for row in environment_rows(environments[0], start)):
        lines.append(f"{run} was resumed with another {', '.join(differing)}: it cannot be repeated exactly")
    if environments[1]["device"].startswith("cuda"):
        lines.append(ON_GPU)
    if any(environment["commit"].endswith("-dirty") for environment in environments):
        lines.append(DIRTY)
    if markers.read(run / "decode.json")["outputs"]["predictions.csv"] != digest(run / "predictions.csv"):
        lines.append(f"{run / 'predictions.csv'} is not what decoding wrote: it was changed afterwards")
    return lines


def describe_predictions(old: pd.DataFrame, new: pd.DataFrame) -> str:
    """Count what differs between two tables of predictions, and give the largest difference of a posterior."""
    import pandas as pd

    pairs = old.merge(new, on="ID", suffixes=("", "_new"))
    posteriors = [name for name in old if name.startswith(predictions.POSTERIOR) and name in new]
    distance = pd.concat([(pairs[name] - pairs[f"{name}_new"]).abs() for name in posteriors], axis=1).max(axis=1)
    counts = [
        f"{(pairs[name] != pairs[f'{name}_new']).sum()} of {len(pairs)} {word}"
        for name, word in (("emo_hyp", "emotions"), ("wrd_hyp", "transcripts"))
        if name in old and name in new
    ]
    largest = f" ({pairs['ID'][distance.idxmax()]})" if distance.max() > 0 else ""
    counts.append(f"a posterior by up to {distance.max():.8f}{largest}")
    if unmatched := len(set(old["ID"]) ^ set(new["ID"])):
        counts.append(f"{counted(unmatched, 'utterance')} in one of them only")
    return ", ".join(counts)


def score_rows(old: pd.DataFrame, new: pd.DataFrame) -> list[list[object]]:
    """Rows of WA, UA and, where there is one, WER of both."""
    from local.scoring import metrics

    scores = [metrics.scores(each) for each in (old, new)]
    names = [name for name in ("wa", "ua", "wer") if scores[0][name] is not None]
    return [[name.upper(), *(percent(each[name]) for each in scores)] for name in names]


def environment_rows(old: dict[str, Any], new: dict[str, Any]) -> list[list[object]]:
    """Rows of what differs between two env.json, packages one by one."""
    flat = [
        {name: value for name, value in each.items() if name not in NOT_COMPARED} | each["packages"]
        for each in (old, new)
    ]
    if old.get("audio") and new.get("audio"):
        for rows, each in zip(flat, (old, new), strict=True):
            rows |= {f"audio of {name}": contents for name, contents in each["audio"].items()}
    names = [name for name in flat[0] | flat[1] if flat[0].get(name) != flat[1].get(name)]
    return [[name, *(each.get(name, "–") for each in flat)] for name in names]


@as_command
def main() -> None:
    """Repeat a run and compare."""
    parser = Parser(prog="python -m local.rerun", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help=f"{RUN_FORM}, or an experiment of one run")
    run = run_of(parser.parse_args().run)
    environment, decoding = read_finished(run)
    again = check_job(run, environment, decoding)
    print(f"== rerun {run} as {again.folder}")
    # Stage 3 may have had other threads than stage 2.
    threads = {"train": environment["threads"], "decode": decoding["facts"].get("threads", environment["threads"])}
    failed = repeat(again, rerun_options(run, environment), threads, environment.get("processes", 1))
    if failed is not None:
        print("\n".join(failed.failure()), file=sys.stderr)
        sys.exit(1)
    old, new = run / "predictions.csv", again.folder / "predictions.csv"
    if old.read_bytes() != new.read_bytes():
        print("\n".join(differences(run, again.folder)))
        sys.exit(1)
    from local.scoring import metrics  # takes half a second to load

    scores = metrics.scores(predictions.read(new))
    of_text = "" if scores["wer"] is None else f", WER {percent(scores['wer'])}"
    print(f"identical: {scores['n']} predictions, WA {percent(scores['wa'])}{of_text}")


if __name__ == "__main__":
    main()

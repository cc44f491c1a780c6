"""The set-up of stage 2, built once before any of its jobs starts: what all of them would fail of ends here.

    python -m local.check OPTIONS --folds FOLD --seeds SEED [-- OVERRIDES]

builds what the YAML describes, the encoder with its weights, and on it the trainer, for one job; it trains nothing,
and writes nothing. An error in it has exit code 2.
"""

from __future__ import annotations

from local.core.errors import UserError, as_command
from local.experiment.options import parse

if __name__ == "__main__":
    as_command(parse)()  # --help and wrong options end here, before what takes seconds to load

import logging
import tempfile
from pathlib import Path
from typing import Any

from local.config import hparams, keys  # logs before anything of SpeechBrain
from local.config.objects import reason
from local.core import logs
from local.corpora import manifest
from local.data.batches import UpdateSampler
from local.data.class_weights import class_weights
from local.data.dataset import Utterances
from local.data.device import limits, refuse_missing_device, use_precision
from local.experiment.job import Job
from local.training import environment, optimisation
from local.training.brain import EmotionBrain
from local.training.checkpoints import RunCheckpointer
from local.training.selection import refuse_without_use


def check(job: Job) -> int:
    """Build the set-up of a job as its training would, but on the CPU; return the number of its parameters.

    `UserError` where that fails, whatever the reason.
    """
    try:
        values = hparams.build(job.yaml, job.options.hparams)
        system = values["system"]
        refuse_unread(job.options.hparams, values.get("encoder"))
        table = job.options.table
        table = table[table[job.classes].isin(job.labels)]
        Utterances(table, {}, job.labels, job.tokenizer, job.classes).refuse_longer_than(system.max_samples)
        optimisation.refuse_without_training(system, values["epochs"], str(job.options.hparams))
        class_weights(values["class_weights"], job.labels, [])
        refuse_precision(job, values)
        values |= {"device": "cpu"} | dict.fromkeys(("precision", "eval_precision"), "fp32")
        durations = manifest.read(job.manifests / "train.csv")["duration"].to_numpy()
        sampler = UpdateSampler(durations, values["batch_size"], limits(values, system), job.seed)
        with tempfile.TemporaryDirectory() as folder:
            checkpointer = RunCheckpointer(Path(folder) / "save")
            brain = EmotionBrain(system, values, Path(folder), sampler, job.labels, job.tokenizer, checkpointer)
            brain.init_optimizers()
            has_valid = (job.manifests / "valid.csv").exists()
            refuse_without_use(brain.hparams, has_valid, brain.scheduler.follows_figure, system.encoder)
    except UserError:
        raise
    except Exception as error:  # of any class: the YAML can build any object
        raise UserError(
            f"{job.options.hparams}: the training cannot be set up: {reason(error)}", "correct the YAML or its override"
        ) from error
    return sum(parameter.numel() for parameter in system.parameters())


def refuse_unread(file: Path, encoder: Any) -> None:
    """`UserError` for keys of an encoder of random weights, a mapping, that transformers would accept and not read.

    Not where it is loaded: run folders of earlier versions may have such keys.
    """
    if not isinstance(encoder, dict):
        return
    from local.encoders import KNOWN, refuse_undeclared

    if encoder.get("model_type") not in KNOWN:
        return
    extractor = {key: value for key, value in encoder.items() if key == "do_normalize"}
    try:
        refuse_undeclared({key: value for key, value in encoder.items() if key not in extractor}, extractor)
    except UserError as error:
        line, _ = keys.entries(file.read_text(encoding="utf-8"))["encoder"]
        raise UserError(f"{file}, line {line}: {error.what}", error.remedy) from None


def refuse_precision(job: Job, values: dict[str, Any]) -> None:
    """`UserError` for a device or a precision that this machine has not; of a cluster's nodes, names alone count."""
    if job.options.backend == "slurm":
        on_nodes = {key: "fp32" for key in ("precision", "eval_precision") if values[key] == "fp16"}
        values = values | {"device": "cpu"} | on_nodes
    refuse_missing_device(values["device"])
    resumes = (job.folder / "save").is_dir() and not job.options.force
    first = environment.first_start(job, RunCheckpointer(job.folder / "save")) if resumes else None
    for precision in (environment.held_precision(values, first), values["eval_precision"]):
        use_precision(precision)


@as_command
def main() -> None:
    """Build the set-up of a job."""
    logs.log_to_stderr()
    logging.disable(logging.WARNING)  # each job's log has them
    print(f"  set-up: {check(Job.all(parse())[0]):,} parameters")


if __name__ == "__main__":
    main()

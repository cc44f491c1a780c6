"""The set-up of stage 2, built once before any of its jobs starts: what all of them would fail of ends here.

    python -m local.check OPTIONS --folds FOLD --seeds SEED [-- OVERRIDES]

builds what the YAML describes, the encoder with its weights, and on it the trainer, for one job; it trains nothing,
and writes nothing. An error in it has exit code 2.
"""

from __future__ import annotations

from local.core import garbage
from local.core.errors import UserError, as_command
from local.experiment.command_line import parse

if __name__ == "__main__":
    as_command(parse)()  # --help and wrong options end here, before what takes seconds to load
    garbage.ignore()

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from local.config import cluster, hparams, keys  # logs before anything of SpeechBrain
from local.config.objects import reason
from local.core import free_memory, logs
from local.corpora import manifest
from local.data.batches import UpdateSampler
from local.data.class_weights import class_weights
from local.data.dataset import Utterances
from local.data.device import full_name, kind, limits, refuse_missing_device, resolve_precision, use_precision
from local.data.feature_store import refuse_augmented
from local.experiment.job import Job
from local.training import environment, heads, memory, optimisation, room, unfreezing
from local.training.brain import EmotionBrain
from local.training.checkpoints import RunCheckpointer
from local.training.selection import refuse_without_use


def check(job: Job) -> list[str]:
    """Build the set-up of a job as its training would, but on the CPU; say in lines what it is.

    `UserError` where that fails, whatever the reason.
    """
    job.refuse_other_task_runs()
    try:
        values = hparams.build(job.yaml, job.options.hparams)
        system = values["system"]
        refuse_unread(job.options.hparams, values.get("encoder"))
        table = job.options.used
        table = table[table[job.classes].isin(job.labels)]
        Utterances(table, {}, job.labels, job.tokenizer, job.classes).refuse_longer_than(system.max_samples)
        optimisation.refuse_without_training(system, values["epochs"], str(job.options.hparams))
        class_weights(values["class_weights"], job.labels, [])
        refuse_precision(job, values)
        if values["augment"] is not None:
            refuse_augmented(system)
        path = job.manifests / "train.csv"
        training = manifest.read(path)
        Utterances(training, {}, job.labels, job.tokenizer, job.classes).refuse_unlabelled(path, system)
        durations = training["duration"].to_numpy()
        origin = job.origin()
        said = heads.take(system, origin, job.labels, job.tokenizer.pieces, str(job.options.hparams)) if origin else []
        lines = [*said, *filter(None, [job.heard()]), *check_memory(job, values, durations)]
        values |= {"device": "cpu"} | dict.fromkeys(("precision", "eval_precision"), "fp32")
        sampler = UpdateSampler(durations, values["batch_size"], limits(values, system), job.seed)
        with tempfile.TemporaryDirectory() as folder:
            checkpointer = RunCheckpointer(Path(folder) / "save")
            brain = EmotionBrain(system, values, Path(folder), sampler, job.labels, job.tokenizer, checkpointer)
            brain.init_optimizers()
            valid = job.manifests / "valid.csv"
            refuse_without_use(brain.hparams, valid.exists(), brain.scheduler.follows_figure, system.encoder)
            if valid.exists():
                validation = Utterances(manifest.read(valid), {}, job.labels, job.tokenizer, job.classes)
                brain.selection.refuse_without_reference(validation.texts, validation.emotions)
            unfreezing.refuse_wrong(brain.hparams, system.encoder)
            never = unfreezing.unreached(brain.hparams, system.encoder)
    except UserError:
        raise
    except Exception as error:  # of any class: the YAML can build any object
        raise UserError(
            f"{job.options.hparams}: the training cannot be set up: {reason(error)}", "correct the YAML or its override"
        ) from error
    return [
        f"set-up: {sum(parameter.numel() for parameter in system.parameters()):,} parameters",
        *lines,
        *([f"warning: {never}"] if never else []),
    ]


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


def check_memory(job: Job, values: dict[str, Any], durations: np.ndarray) -> list[str]:
    """Say in a line what memory the jobs need that run at a time; `UserError` where there is not as much.

    Nothing is said of a system that is solved in closed form alone, nor of a cluster's GPUs; of its nodes what the YAML
    asks for is known. The launcher itself sees how many jobs fit on one GPU.
    """
    options, system = job.options, values["system"]
    count, block = (options.jobs or 1) * options.processes, cluster.slurm_block(options.values)
    if options.backend == "slurm":
        if cluster.nodes_and_gpus(options.values, options.processes)[2] or "mem_gb" not in block:
            return []
        values, count, size = values | {"device": "cpu"}, 1, float(block["mem_gb"] << 30)
        there = free_memory.Room(size, size, "slurm.mem_gb")
    else:
        there = free_memory.room(full_name(values["device"]))
        count = 1 if kind(values) == "cuda" else count
    if not values["epochs"]:
        return []
    values = values | {"precision": resolve_precision(values)}
    sampler = UpdateSampler(
        *(durations, values["batch_size"], limits(values, system), job.seed), world_size=options.processes
    )
    valid = job.manifests / "valid.csv"
    lengths = manifest.read(valid)["duration"].to_numpy() if valid.exists() else None
    need = memory.predict(system, values, sampler, lengths, options.processes)
    room.refuse_too_large(need, there, count, values)
    return [room.said(need, there, count)]


@as_command
def main() -> None:
    """Build the set-up of a job."""
    logs.log_to_stderr()
    logging.disable(logging.WARNING)  # each job's log has them
    for line in check(Job.all(parse())[0]):
        print(f"  {line}")
    garbage.collect()


if __name__ == "__main__":
    main()

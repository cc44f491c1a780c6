"""Stage 2, one job: train one fold with one seed.

    python -m local.train OPTIONS --folds FOLD --seeds SEED [-- OVERRIDES]

writes the run folder. A job that was interrupted resumes from its latest checkpoint; one that is done
is skipped. Asked to end (SIGTERM, Ctrl-C), it saves and exits after the running update. Several
processes train it together when torchrun starts them (see `local.training.distributed`).
"""

from __future__ import annotations

from local.core import garbage
from local.core.errors import as_command
from local.core.free_memory import room
from local.experiment.command_line import parse

if __name__ == "__main__":
    as_command(parse)()  # --help and wrong options end here, before what takes seconds to load
    garbage.ignore()

import contextlib
import logging
import os
import sys
from typing import Any

from speechbrain.utils.distributed import run_on_main
from speechbrain.utils.seed import seed_everything
from torch.utils.data import DataLoader

from local.config import hparams  # logs before anything of SpeechBrain
from local.core import logs, progress_json
from local.core.lock import locked_or_refused
from local.data.batches import UpdateSampler, sorted_batches
from local.data.class_weights import class_weights
from local.data.dataset import Utterances, loader
from local.data.device import evaluation_limits, full_name, kind, limits, refuse_missing_device
from local.data.feature_store import model_inputs, refuse_augmented
from local.data.store import AudioStore
from local.data.task_targets import count_line
from local.experiment import shared, speakers
from local.experiment.job import Job
from local.systems import System
from local.training import distributed, environment, heads, last_step, memory, optimisation
from local.training.brain import EmotionBrain
from local.training.checkpoints import RunCheckpointer
from local.training.progress import of_features
from local.training.room import refuse_too_large, said

logger = logging.getLogger(__name__)


def train(job: Job, source: Job | None = None) -> None:
    """Train a job to its end, or let it take the training of another, `source`."""
    if distributed.max_over_processes(job.is_done("train")):
        logger.info("%s is trained already", job.folder)
        return
    if distributed.max_over_processes(source is not None and shared.is_trained(source)):
        run_on_main(lambda: logger.info(shared.take(job, source)))
        return
    other = last_step.find(job)
    if distributed.max_over_processes(other is not None):
        run_on_main(last_step.take_epochs, (job, other))
    else:
        run_on_main(job.begin)
    seed_everything(job.seed, verbose=False)  # the weights of the heads
    values = hparams.build(job.yaml, job.options.hparams)
    garbage.collect()
    values["device"] = distributed.process_device(values["device"])
    refuse_missing_device(values["device"])
    values["device"] = full_name(values["device"])
    checkpointer = RunCheckpointer(job.folder / "save")
    first = environment.first_start(job, checkpointer)
    values["precision"] = environment.held_precision(values, first)
    system = values["system"]
    origin = job.origin()
    taken = heads.take(system, origin, job.labels, job.tokenizer.pieces, str(job.options.hparams)) if origin else []
    training, validation = utterances(job, values)
    system.learn_labels(training.tasks)
    optimisation.refuse_without_training(system, values["epochs"], str(job.options.hparams))
    weights = class_weights(values["class_weights"], job.labels, training.emotions)
    for each in filter(None, (training, validation)):
        each.class_weights = weights
    sampler = UpdateSampler(
        *(training.durations, values["batch_size"], limits(values, system), job.seed),
        *(distributed.rank(), distributed.world_size()),
    )
    memory_line = check_memory(values, sampler, validation)
    brain = EmotionBrain(system, values, job.folder, sampler, job.labels, job.tokenizer, checkpointer)
    if validation is not None:
        brain.selection.refuse_without_reference(validation.texts, validation.emotions)
    run_on_main(environment.write, (job, brain.device, values["precision"], first, system))
    lines = environment.summary(job, brain.device, values, training, validation)
    lines += label_lines(system, training, validation)
    for line in filter(None, [*lines, *(taken if first is None else []), memory_line]):
        logger.info(line)
    train_set = loader(training, sampler, values["num_workers"], kind(values))
    valid_set, measured = valid_loader(validation, values), measured_loader(training, values)
    validated = None if validation is None else measured_loader(validation, values)
    brain.fit(brain.epoch_counter, train_set, valid_set, measured, validated, progressbar=sys.stderr.isatty())
    run_on_main(write_marker, (job, checkpointer))


def check_memory(values: dict[str, Any], sampler: UpdateSampler, validation: Utterances | None) -> str:
    """Say what memory this process needs; `UserError` where there is not as much here, as perhaps on a cluster's node.

    Before the model is on its device. Nothing is said of a system that is solved in closed form alone.
    """
    if not values["epochs"]:
        return ""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if kind(values) == "cpu" else 1
    valid = None if validation is None else validation.durations
    need = memory.predict(values["system"], values, sampler, valid, distributed.world_size())
    there = room(values["device"])
    refuse_too_large(need, there, here, values)
    return said(need, there, here)


def utterances(job: Job, values: dict[str, Any]) -> tuple[Utterances, Utterances | None]:
    """The training set and the validation set, if there is one; all of them short enough for the system."""
    system, augmented = values["system"], values["augment"] is not None
    if augmented:
        refuse_augmented(system)
    store = AudioStore.of(*job.options.audio())
    if not augmented:  # else the rows of a front end differ from epoch to epoch
        store = model_inputs(store, system, full_name(values["device"]), of_features(job.folder))
    train, valid = (job.manifests / name for name in ("train.csv", "valid.csv"))
    read = (store, job.labels, job.tokenizer, job.classes, system.tasks)
    training = Utterances.of(train, *read)
    validation = Utterances.of(valid, *read) if valid.exists() else None
    for each in filter(None, (training, validation)):
        each.refuse_longer_than(system.max_samples)
    training.refuse_unlabelled(train, system)
    return training, validation


def label_lines(system: System, training: Utterances, validation: Utterances | None) -> list[str]:
    """Say how many utterances have no label of a task, whose term in the loss they lack; nothing where there is one."""
    if not (system.tasks or training.unlabelled):
        return []
    sets = {"training": training, "validation": validation}
    counts = [
        f"{name} set {count_line(each.emotions, each.tasks, each.texts if system.writes_text else ())}"
        for name, each in sets.items()
        if each is not None
    ]
    return [f"utterances without a label, left out of that head's loss: {'; '.join(counts)}"]


def valid_loader(validation: Utterances | None, values: dict[str, Any]) -> DataLoader | None:
    """The batches of the validation set, if there is one; of several processes each has its share."""
    if validation is None:
        return None
    batches = sorted_batches(validation.durations, evaluation_limits(values, values["system"]))
    share = batches[distributed.rank() :: distributed.world_size()]
    return loader(validation, share, values["num_workers"], kind(values))


def measured_loader(utterances: Utterances, values: dict[str, Any]) -> DataLoader:
    """Batches of a whole set in a fixed order, for what a system measures or solves of it in every process."""
    batches = sorted_batches(utterances.durations, evaluation_limits(values, values["system"]))
    return loader(utterances, batches, device=kind(values))


def write_marker(job: Job, checkpointer: RunCheckpointer) -> None:
    """Mark the job as trained, with the epoch whose checkpoint is chosen."""
    chosen = checkpointer.chosen()
    outputs = [job.folder / "epochs.csv", chosen.path / "CKPT.yaml"]
    heard = {} if job.classes == speakers.EMOTIONS else {"corpus": job.options.corpus, "speakers": job.labels}
    if warning := job.heard():  # by the model that it continued from
        heard |= {"heard": warning}
    job.training().write(outputs, config=job.options.hparams.name, epoch=chosen.meta["epoch"], **heard)
    ua = chosen.meta["ua"]
    logger.info(
        "%s is trained; epoch %d%s is chosen%s",
        *(job.folder, chosen.meta["epoch"], " (solved)" if chosen.meta.get("solved") else ""),
        "" if ua is None else f", valid UA {100 * ua:.2f}",
    )


@as_command
def main() -> None:
    """Run one job."""
    logs.log_to_stderr()
    options = parse()
    distributed.join_group(options.values["device"])
    jobs = Job.all(options)
    sources = shared.sources(jobs)
    for job in jobs:
        with contextlib.ExitStack() as stack:
            if distributed.rank() == 0:
                stack.enter_context(locked_or_refused(job.folder / ".lock", f"works in {job.folder}"))
                stack.enter_context(progress_json.cleared(job.folder))
            train(job, sources.get(job))


if __name__ == "__main__":
    main()

"""Stage 3, one job: emotion posteriors and greedy transcripts of the test set.

    python -m local.decode OPTIONS --folds FOLD --seeds SEED [-- OVERRIDES]

takes the checkpoint that was chosen: by the YAML's `selection`, of the last epoch if there is no validation set, or of
a last step in closed form. It writes `predictions.csv` and, with the temperature that fits its posteriors on the
validation set best, `temperature.json` (see `local.scoring.calibration`). The scores end `decode.log` and
`train_log.txt`; stage 4 has more. The model is the one that the run folder's hyperparams.yaml describes.

With `--last-epoch true` the last epoch is decoded as well, if it is not the chosen one, to `predictions_last.csv`,
for its scores and nothing else.
"""

from __future__ import annotations

from local.core import garbage
from local.core.errors import as_command
from local.experiment.command_line import parse

if __name__ == "__main__":
    as_command(parse)()  # --help and wrong options end here, before what takes seconds to load
    garbage.ignore()

import functools
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from speechbrain.utils.autocast import AMPConfig, TorchAutocast
from tqdm import tqdm

from local.config.trust import refuse_foreign
from local.core import logs, markers, progress_json
from local.core.lock import locked_or_refused
from local.data.batches import sorted_batches
from local.data.dataset import Utterances, loader
from local.data.device import evaluation_limits, full_name, kind, use_precision
from local.data.feature_store import model_inputs
from local.data.store import AudioStore, Store, contents
from local.experiment.job import Job
from local.jobs.job_lines import scores_line
from local.scoring import calibration, last_epoch, metrics, predictions, task_scores
from local.splits import naming, protocols
from local.systems import System
from local.training.chosen import last_of, load_chosen, load_last
from local.training.epoch_log import add_test_scores
from local.training.progress import ProgressFile, in_decoding, of_features

logger = logging.getLogger(__name__)


@torch.inference_mode()
def decode(job: Job) -> None:
    """Decode the test set of a trained job."""
    if job.is_done("decode"):
        logger.info("%s is decoded already", job.folder)
        return
    refuse_foreign(job.folder, own=job.yaml)
    of_last = job.decoding_of_last()
    if of_last.facts() is None:  # or an earlier training's
        for path in (of_last.path, job.folder / last_epoch.PREDICTIONS):
            path.unlink(missing_ok=True)
    if job.options.force or job.decoding().facts() is None:
        decode_chosen(job)
    if job.options.last_epoch:
        decode_last(job)


def decode_chosen(job: Job) -> None:
    """Decode with the chosen checkpoint."""
    epoch, system, predict = loaded(job, load_chosen)
    path, table = job.folder / "predictions.csv", predict("test.csv")
    predictions.write(path, table)
    outputs = [path, *write_temperature(job, predict, epoch, system.emotion_weight > 0)]
    scores = scores_of(table, system)
    add_test_scores(job.folder, epoch, scores)
    facts = {"epoch": epoch, "threads": torch.get_num_threads(), "scores": scores}
    facts["audio"] = contents(job.options.audio()[0], job.options.audio_name)
    job.decoding().write(outputs, **facts, **system.learned())
    logger.info("decoded with epoch %d: %s", epoch, path)
    for line in (scores_line(scores), *(task_scores.line(name, table) for name in system.tasks)):
        logger.info(line)


def decode_last(job: Job) -> None:
    """Decode with the last epoch, of a job that is decoded with the chosen one; nothing where they are the same.

    The marker has the epoch, None where a training ends in closed form: see `local.training.chosen.last_of`.
    """
    epoch, marker = last_of(job), job.decoding_of_last()
    if epoch is None:
        logger.info("the last epoch is not decoded: a last step in closed form is the end of the training")
        return marker.write(epoch=None)
    if epoch == markers.read(job.decoding().path)["facts"]["epoch"]:
        logger.info("the last epoch, %d, is the chosen one", epoch)
        return marker.write(epoch=epoch)
    epoch, system, predict = loaded(job, load_last)
    path, table = job.folder / last_epoch.PREDICTIONS, predict("test.csv")
    predictions.write(path, table)
    scores = scores_of(table, system)
    marker.write([path], epoch=epoch, threads=torch.get_num_threads(), scores=scores)
    logger.info("decoded with the last epoch, %d, for these figures alone: %s; %s", epoch, path, scores_line(scores))


def scores_of(table: pd.DataFrame, system: System) -> dict[str, float | int | None]:
    """The scores of a system's predictions, None of a head that was not trained, as its weight is 0."""
    return metrics.scores(table, system.emotion_weight > 0, getattr(system, "alpha", 1) > 0)


def loaded(job: Job, load: Callable[[Job, System], int]) -> tuple[int, System, Callable[[str], pd.DataFrame]]:
    """Build a job's system with the weights that `load` takes: their epoch, the system, and what predicts a set."""
    values = job.built()
    running = job.options.values  # device and batch sizes are those of this call, not of training
    device = full_name(running["device"])
    system = values["system"].to(device).eval()
    epoch = load(job, system)
    garbage.collect()
    # After the checkpoint is loaded: the features of a frozen CNN depend on its weights.
    store = model_inputs(AudioStore.of(*job.options.audio()), system, device, of_features(job.folder))
    precision = AMPConfig.from_name(use_precision(values["eval_precision"]))  # after the features of a CNN are computed
    autocast = TorchAutocast(device.split(":")[0], dtype=precision.dtype)
    return epoch, system, functools.partial(predicted, job, system, store, autocast)


def predicted(job: Job, system: System, store: Store, autocast: TorchAutocast, name: str) -> pd.DataFrame:
    """The predictions of a system for a set of the fold, the name of its manifest; see `local.scoring.predictions`."""
    running = job.options.values  # device and batch sizes are those of this call, not of training
    device = full_name(running["device"])
    utterances = Utterances.of(job.manifests / name, store, job.labels, job.tokenizer, tasks=system.tasks)
    utterances.refuse_longer_than(system.max_samples)
    batches = sorted_batches(utterances.durations, evaluation_limits(running, system))
    batches = loader(utterances, batches, running["num_workers"], kind(running))
    rows, progress_file, began = [], ProgressFile(job.folder), time.monotonic()
    for batch in tqdm(batches, disable=not sys.stderr.isatty()):
        batch = batch.to(device)
        with autocast:
            outputs = system(batch.wavs, batch.lengths)
        rows += batch.prediction_rows(outputs, job.labels, job.tokenizer, system.tasks)
        if progress_file.is_due():
            progress_file.write(in_decoding(len(rows), len(utterances), time.monotonic() - began))
    return predictions.frame(rows, job.labels, system.writes_text, system.tasks)


def write_temperature(
    job: Job, predict: Callable[[str], pd.DataFrame], epoch: int, emotions_trained: bool = True
) -> list[Path]:
    """Fit the temperature on the validation set, and write it; return its file, if there is one.

    The test set never plays a role, so there is none where nothing validates, or the test set does; nor is there one of
    an emotion head that was not trained. Models that are tested on another corpus have that of their own.
    """
    path = job.folder / calibration.NAME
    if not emotions_trained:
        path.unlink(missing_ok=True)  # of an earlier version
        logger.info("no temperature: emotion_weight is 0, so the emotion head is not trained")
        return []
    if job.options.source:
        return [path] if path.exists() else []
    path.unlink(missing_ok=True)
    if job.valid == protocols.ORACLE or not (job.manifests / "valid.csv").exists():
        logger.info("no temperature: %s", naming.VALID_WORDS[job.valid])
        return []
    found = calibration.of_validation(predict("valid.csv"), job.options.valid_name, epoch)
    fitted = "temperature %.3f, of %d utterances that validate: negative log-likelihood %.4f to %.4f"
    logger.info(fitted, found.value, found.n, found.nll, found.nll_scaled)
    return [found.write(job.folder)]


@as_command
def main() -> None:
    """Decode one job."""
    logs.log_to_stderr()
    for job in Job.all(parse().tested()):
        with locked_or_refused(job.folder / ".lock", f"works in {job.folder}"), progress_json.cleared(job.folder):
            decode(job)


if __name__ == "__main__":
    main()

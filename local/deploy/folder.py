"""Write a trained fold, or the folds of a seed as an ensemble, as one folder that loads in four ways."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import torch

from local.core.counted import counted
from local.core.errors import UserError
from local.core.files import replace_folder, temporary_of
from local.data.dataset import Utterances
from local.data.device import use_precision
from local.data.store import AudioStore
from local.deploy import card, huggingface, onnx
from local.deploy.gather import load_ensemble, load_trained
from local.experiment.job import Job
from local.experiment.shared import trained_as
from local.inference import model_folder
from local.inference.model_folder import Model
from local.scoring import scored
from local.splits import naming, protocols
from local.training.environment import cpu_name

logger = logging.getLogger(__name__)

MEASURED = 100  # utterances to measure the cost of 8 bits on
CONTENTS = {
    "config.json": "what the model is; with `model.safetensors` read by `local.inference.recognizer.EmotionRecognizer`",
    "model.safetensors": "its weights, for anything that reads safetensors",
    "emotion": "`transformers.AutoModelForAudioClassification`",
    "ctc": "`transformers.AutoModelForCTC`",
    "model.onnx": "onnxruntime: `wavs` and `lengths` in, `emotion`, `tokens` and `n_frames` out",
    "model.onnx.data": "weights of `model.onnx`, too large for one file",
    "model.int8.onnx": "`model.onnx` with products of 8 bits, scaled over the batch, which a posterior then depends on",
    "model.int8.onnx.data": "weights of `model.int8.onnx`",
}
WITHOUT_TEXT = {"model.onnx": "onnxruntime: `wavs` and `lengths` in, `emotion` out"}


def export(
    run: Path, out: Path, average: int = 1, of_folds: bool = False, int8: bool = False, optimistic: bool = False
) -> None:
    """Export a run folder, or the folds of a seed's folder as an ensemble.

    A `UserError` if there are none, or their scored experiment lacks a run, or their figures are optimistic without
    need, unless `optimistic` allows that.
    """
    runs = sorted(path.parent for path in run.glob("*/train.json")) if of_folds else [run]
    if of_folds:  # of equal models one
        refuse_few(run, runs)
        own = [each for each in runs if not trained_as(each)]
        runs = own or runs[:1]
    if not runs:
        raise UserError(f"{run} holds no trained fold", "give results/<corpus>/<protocol>/<name>/seed<S>")
    if not optimistic:
        refuse_optimistic(runs[0])
    refuse_incomplete(runs[0].parents[1])
    use_precision("fp32")  # the forms of the model are compared
    model = load_ensemble(runs, average) if len(runs) > 1 else load_trained(runs[0], average)
    partial = temporary_of(out)
    try:
        _write(partial, model, runs, int8)
        replace_folder(out, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    logger.info("%s holds %s", out, ", ".join(sorted(path.name for path in out.iterdir())))


def _write(folder: Path, model: Model, runs: list[Path], int8: bool) -> None:
    model_folder.write(folder, model)
    model_folder.read(folder)  # refuse now what would be refused later
    notes = huggingface.write(folder, model) + onnx.write(folder / "model.onnx", model)
    if int8 and (folder / "model.onnx").exists():
        onnx.quantize(folder / "model.onnx", folder / "model.int8.onnx")
        notes.append(_cost_of_int8(folder, runs))
    lines = CONTENTS | ({} if model.system.writes_text else WITHOUT_TEXT)
    contents = {name: line for name, line in lines.items() if (folder / name).exists()}
    experiment = runs[0].parents[1]
    scored_experiment = scored.load(experiment) if (experiment / "summary.csv").exists() else None
    text = card.render(model, scored_experiment, contents, notes)
    (folder / "README.md").write_text(text, encoding="utf-8")
    for note in notes:
        logger.info(note)


def _cost_of_int8(folder: Path, runs: list[Path]) -> str:
    """Measure on utterances of the first fold's test set what 8 bits cost and gain."""
    job = Job.of_run(runs[0])
    utterances = Utterances.of(
        job.manifests / "test.csv", AudioStore.of(*job.options.audio()), job.labels, job.tokenizer
    )
    chosen = np.linspace(0, len(utterances) - 1, min(MEASURED, len(utterances))).round().astype(int)
    batches = []
    for index, wav in (utterances[index] for index in chosen):
        batches.append((wav[None].numpy(), np.array([len(wav)]), [job.labels[utterances.emotions[index]]]))
    files = (folder / name for name in ("model.onnx", "model.int8.onnx"))
    threads = torch.get_num_threads()
    cost = onnx.cost(*files, batches, threads=threads)
    # The other members of an ensemble were trained on these utterances: their UA would mislead.
    ua = f"UA is {100 * cost['ua_int8']:.2f} % instead of {100 * cost['ua']:.2f} %; " if len(runs) == 1 else ""
    return (
        f"With 8 bits, on {counted(cost['n'], 'utterance')} of fold {job.fold}'s test set: {cost['agreement']:.1%} get "
        f"the same emotion; {ua}a posterior changes by up to {cost['largest_difference']:.3f}; the speed is "
        f"{cost['speed_int8']:.1f} instead of {cost['speed']:.1f} s of audio per second, one utterance at a time "
        f"({cpu_name()}, {counted(threads, 'thread')})."
    )


def refuse_few(seed: Path, runs: list[Path]) -> None:
    """Raise a UserError for a seed with an unfinished fold, or with one alone: what is there is no mean of all."""
    unfinished = sorted(path.parent.name for path in seed.glob("*/begun.json") if path.parent not in runs)
    if unfinished:
        raise UserError(
            f"{seed}: the training of {', '.join(unfinished)} has not ended",
            "the command that began it goes on with it; or export one fold, without --ensemble",
        )
    if len(runs) == 1:
        raise UserError(f"{seed}: {runs[0].name} is its only fold", f"python -m local.export {runs[0]} OUT")


def refuse_optimistic(run: Path) -> None:
    """Raise a UserError for a run with the validation oracle, or whose corpus serves another protocol than `random`."""
    options = Job.of_run(run).options
    served = protocols.served(options.table)
    if options.chosen_valid() == protocols.ORACLE:
        what = "the test set itself chose its epoch (--valid oracle)"
    elif options.chosen_protocol() == naming.RANDOM != served[0]:
        what = f"it ignores who speaks (--protocol random), though the corpus serves {', '.join(served[:-1])}"
    else:
        return
    raise UserError(
        f"{run}: its figures are OPTIMISTIC, as {what}; a model for others should have honest ones",
        f"train another; or python -m local.export {run} OUT --optimistic, and the model card says it",
    )


def refuse_incomplete(experiment: Path) -> None:
    """Raise a UserError for a scored experiment that lacks of a run what the model card says of all of them."""
    if (experiment / "summary.csv").exists():
        found = scored.load(experiment)
        _ = found.epochs, found.values  # each raises the error


def refuse_existing(out: Path, force: bool) -> None:
    """Raise a UserError if `out` exists and is not empty, unless it is an export and `force` is given."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / model_folder.CONFIG).is_file():
        raise UserError(f"{out} exists and is no export", "give a folder that does not exist yet")
    if not force:
        raise UserError(f"{out} exists", "--force to overwrite it, or give another folder")

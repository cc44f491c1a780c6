"""Load what is exported: the system of a run folder, or of several as one."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.checkpoints import average_checkpoints

from local.config import pretrained
from local.core import starts
from local.core.errors import UserError
from local.corpora import manifest
from local.deploy import quality
from local.encoders import adapters, task_vectors
from local.experiment import continued
from local.experiment.job import Job, read_environment
from local.inference.ensemble import Ensemble
from local.inference.model_folder import Model
from local.scoring import calibration
from local.scoring.provenance import refuse_mixed
from local.systems import System
from local.training.checkpoints import RunCheckpointer, best, epoch, has_ended, refuse_damaged, values_only
from local.training.environment import about

logger = logging.getLogger(__name__)

SPEAKER = "speaker"  # the head that is left out


def load_trained(run: Path, average: int = 1) -> Model:
    """The model of a run folder, `results/<corpus>/<protocol>/<name>/seed<S>/<fold>`.

    An `average` of 1 takes the checkpoint that the test set was decoded with; K the mean weights of the K latest.
    A `UserError` if it is no run folder, its training has not ended, or it lacks K checkpoints.
    """
    job = Job.of_run(run)
    job.refuse_speakers()
    if not job.training().path.exists():
        raise UserError(f"{run}: its training has not ended", "run stage 2 for it")
    values = job.built()
    system = values["system"].eval().requires_grad_(False)
    epochs = _load_weights(run, system, average)
    learned = system.learned()
    if system.encoder is not None:
        adapters.merge(system.encoder)
        task_vectors.merge(system.encoder)
    _leave_out_useless(system)
    provenance = _provenance(job, values, [max(epochs)], average)
    if merged := learned.get("coefficients"):
        provenance["merged"] = merged
    if origin := job.origin():
        provenance[continued.BEFORE] = origin.trainings
    provenance |= about(system)
    provenance |= quality.of_runs([job], provenance["epochs"] if average == 1 else None)
    longest = float(manifest.read(job.manifests / "train.csv")["duration"].max())
    tokens = job.tokenizer.pieces if system.writes_text else []
    fitted = None if average > 1 or system.emotion_weight == 0 else temperature(run, max(epochs))
    return Model(system, job.labels, tokens, [len(tokens)], longest, provenance, fitted)


def _load_weights(run: Path, system: System, average: int) -> list[int]:
    """Load the chosen checkpoint of a run, or the mean of so many of its latest; returns their epochs."""
    if average > 1 and system.solves:
        raise UserError(
            f"{run}: {type(system).__name__} has a last step in closed form, which no mean of checkpoints has",
            "export it without --average",
        )
    if average > 1 and system.encoder is not None and system.encoder.adapted:
        raise UserError(
            f"{run}: its encoder has adapters (lora), products of two matrices, of which means would be wrong",
            "export it without --average",
        )
    checkpointer = RunCheckpointer(run / "save")
    key = best if average == 1 else epoch
    checkpoints = checkpointer.find_checkpoints(importance_key=key, ckpt_predicate=has_ended)[:average]
    # The best checkpoint may be an older one.
    kept = sum(epoch(checkpoints[0]) - epoch(checkpoint) < average for checkpoint in checkpoints)
    if kept < average:
        raise UserError(
            f"{run / 'save'} holds {kept} of the {average} latest checkpoints", f"train with -- --keep_last {average}"
        )
    for checkpoint in checkpoints:
        refuse_damaged(checkpoint.path)
    with values_only(checkpoints[0]):
        system.load_state_dict(average_checkpoints(checkpoints, "system"))
    return [checkpoint.meta["epoch"] for checkpoint in checkpoints]


def _leave_out_useless(system: System) -> None:
    """Remove the head that tells the speakers of training apart, of whom anyone else is none, and those not trained."""
    if SPEAKER in system.tasks:
        system.leave_out({SPEAKER})
        logger.info("the speaker head is not exported: it knows the speakers of training alone")
    for name in [name for name in system.tasks if system.task_weights[name] == 0]:
        system.leave_out({name})
        logger.info("the %s head is not exported: its weight is 0, so it is not trained", name)


def _provenance(job: Job, values: Mapping[str, Any], epochs: list[int], average: int) -> dict[str, Any]:
    """What a model was trained on and from; `values` are those of its YAML."""
    names, options = pretrained_names(values), job.options
    provenance = {
        "corpus": options.corpus,
        "protocol": options.protocol_name,
        "valid": options.valid_name,
        "name": options.name,
        "seed": job.seed,
        "folds": [job.fold],
        "epochs": epochs,
        "averaged": average,
        "commit": starts.commit_of(read_environment(job.folder)),
        "encoder": names.get("encoder") or names.get("asr_encoder"),  # a system may have none
        "pretrained": [names[key] for key in ("resnet101_weights", "speaker_net") if key in names],
    }
    return provenance | ({"labels": mapped} if (mapped := options.corpus_facts.get("labels")) else {})


def temperature(run: Path, epoch: int) -> float | None:
    """The temperature that stage 3 fitted for the checkpoint of an epoch; None where it fitted none, or for another."""
    found = calibration.Temperature.read(run)
    return found.value if found and found.epoch == epoch else None


def mean_temperature(values: Sequence[float | None]) -> float | None:
    """The temperature of an ensemble: the geometric mean of its members', None where one of them has none.

    A temperature divides logits, so means of factors are geometric. None can be fitted for the ensemble itself: an
    utterance that validates one member has trained the others. The mean of several posteriors is less sure than each
    of them, so with this temperature an ensemble is, if anything, not sure enough.

    >>> mean_temperature([1.0, 4.0]), mean_temperature([1.0, None])
    (2.0, None)
    """
    known = [value for value in values if value is not None]
    return math.prod(known) ** (1 / len(known)) if len(known) == len(values) else None


def leave_out_differing(systems: Sequence[System]) -> None:
    """Remove the further heads whose classes differ between folds, as of votes for a rare label: no mean of them is."""
    first = systems[0]
    for name in [name for name in first.tasks if any(each.tasks.get(name) != first.tasks[name] for each in systems)]:
        logger.info("the %s head is not exported: its classes differ between the folds", name)
        for system in systems:
            system.leave_out({name})


def pretrained_names(values: Mapping[str, Any]) -> dict[str, str]:
    """The pretrained weights that a YAML names, by its keys: the path of a folder or file stays private.

    >>> pretrained_names({"encoder": "a/b", "speaker_net": "/home/x/net.pth", "asr_encoder": None})
    {'encoder': 'a/b', 'speaker_net': 'net.pth'}
    """
    sources = {key: values[key] for key in pretrained.KEYS if isinstance(values.get(key), str)}
    return {
        key: Path(source).name if Path(source).is_dir() else pretrained.without_folder(key, source)
        for key, source in sources.items()
    }


def load_ensemble(runs: list[Path], average: int = 1) -> Model:
    """The mean of the models of several folds of one experiment.

    A `UserError` as for `load_trained`, or if they were trained with different values, or their tokens are pieces of
    words, and differ.
    """
    refuse_mixed(runs)
    models = [load_trained(run, average) for run in runs]
    first = models[0]
    leave_out_differing([model.system for model in models])
    tokens = first.tokens + sorted({token for model in models for token in model.tokens} - set(first.tokens))
    if any(set(model.tokens) != set(tokens) for model in models) and max(map(len, tokens[2:]), default=0) > 1:
        raise UserError(
            f"the folds of {runs[0].parent} have different tokens, pieces of words, which cannot be averaged",
            "take --token_type char, or export one fold",
        )
    orders = torch.tensor(
        [
            [model.tokens.index(token) if token in model.tokens else len(model.tokens) for token in tokens]
            for model in models
        ],
        dtype=torch.long,
    )
    provenance = first.provenance | {
        name: [each for model in models for each in model.provenance[name]] for name in ("folds", "epochs")
    }
    provenance.pop("tested", None)  # of the first alone
    provenance |= {"merged": {}} if "merged" in provenance else {}
    provenance |= quality.of_runs(list(map(Job.of_run, runs)), provenance["epochs"] if average == 1 else None)
    return Model(
        Ensemble([model.system for model in models], orders).eval(),
        first.labels,
        tokens,
        [len(model.tokens) for model in models],
        max(model.max_seconds for model in models),
        provenance,
        mean_temperature([model.temperature for model in models]),
    )

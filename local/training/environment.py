"""What a result depends on besides its inputs: code, versions, device, threads; of every start of a training.

env.json describes the first start, and `resumed` in it lists those that resumed: each with its own commit, versions
and device. The precision stays that of the first.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from local.core import starts
from local.core.counted import counted
from local.core.errors import UserError
from local.core.files import write_text
from local.data.dataset import Utterances
from local.data.device import kind, resolve_precision, tf32_is_allowed
from local.data.store import contents
from local.experiment.job import Job
from local.systems import System
from local.training import distributed, unfreezing
from local.training.checkpoints import RunCheckpointer

logger = logging.getLogger(__name__)

ABOUT = ("title", "certainty", "weights")  # attributes of a system; see `local.systems.System`
EXTRAS = {"peft"}  # packages that are used by some trainings alone
PACKAGES = ("torch", "torchaudio", "speechbrain", "transformers", "sentencepiece", "numpy", "pandas", "soundfile")


def commit() -> str:
    """The repository's commit, with `-dirty` when tracked files differ from it; empty outside a repository."""
    root = Path(__file__).resolve().parents[2]
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def describe(job: Job, device: str, precision: str) -> dict[str, Any]:
    """What env.json holds of a start.

    Parameters
    ----------
    job
        The job; with hyperparams.yaml, its entry suffices to train it again (`local.rerun`).
    device, precision
        Those that are used.
    """
    options = job.options
    accelerator, cpu = _accelerator(device), cpu_name()
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": starts.command(),
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in (*PACKAGES, *sorted(EXTRAS & sys.modules.keys()))},
        "device": device,
        "device_name": accelerator or cpu,
        "accelerator": accelerator,
        "processor": cpu,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "tf32": tf32_is_allowed(),
        "host": platform.node(),
        "system": platform.platform(),
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
        "audio": contents(options.audio()[0], options.audio_name),
        "job": {
            "corpus": options.corpus,
            "protocol": options.chosen_protocol(),
            "valid": job.valid,
            "hold_text": options.hold_text,
            **({"extra_training": options.extra_training} if options.extra_training else {}),
            "fold": job.fold,
            "seed": job.seed,
            "name": options.name,
            "options": sys.argv[1:],
        },
        "processes": distributed.world_size(),
    }


def about(system: System) -> dict[str, str]:
    """What tables say of a system, named for env.json."""
    return {name: getattr(system, name, "") for name in ABOUT}


def parameters(system: nn.Module) -> dict[str, int]:
    """How many parameters a system has, and how many of them are trained, named for env.json."""
    sizes = [(each.numel(), each.requires_grad) for each in system.parameters()]
    return {"parameters": sum(n for n, _ in sizes), "trained_parameters": sum(n for n, learns in sizes if learns)}


def summary(
    job: Job, device: str, values: dict[str, Any], training: Utterances, validation: Utterances | None
) -> list[str]:
    """Lines for train.log: on what machine, what, and on what data a job trains.

    `values` are the YAML's, with the objects that it builds and the precision that is used.
    """
    processes = f", {distributed.world_size()} processes" if distributed.world_size() > 1 else ""
    count, trained = parameters(values["system"]).values()
    learning = f"{'all' if trained == count else f'{trained:,}'} trained"
    if plan := unfreezing.plan(SimpleNamespace(**values), getattr(values["system"], "encoder", None)):
        learning = f"{'' if trained == count else f'{trained:,} not frozen, '}trained: {plan}"
    encoder, weights = job.options.values.get("encoder") or "none", getattr(values["system"], "weights", "")
    weights = f"; {weights}" if weights else ""
    encoder = f"{encoder.get('model_type')} of random weights" if isinstance(encoder, dict) else encoder
    solved = ", then a last step in closed form" if getattr(values["system"], "solves", False) else ""
    updates, threads = -(-len(training) // values["batch_size"]), torch.get_num_threads()
    epochs = values["epochs"]
    return [
        f"device {device}: {_accelerator(device) or cpu_name()}, {counted(threads, 'thread')}{processes}; "
        f"precision {values['precision']}, in validation {values['eval_precision']}",
        f"system {type(values['system']).__name__}, encoder {encoder}; {count:,} parameters, {learning}{weights}",
        f"training set {_size(training)}; "
        f"validation set {f'{_size(validation)} ({job.options.valid_name})' if validation else 'none'}; "
        f"{counted(updates, 'update')} per epoch, {counted(epochs, 'epoch')}{solved}",
    ]


def _size(utterances: Utterances) -> str:
    return f"{counted(len(utterances), 'utterance')}, {sum(utterances.durations) / 3600:.2f} h"


def first_start(job: Job, checkpointer: RunCheckpointer) -> dict[str, Any] | None:
    """The env.json of a training that is resumed; None for one that begins, as there is no checkpoint.

    Also None where an earlier version wrote none. A `UserError` if it is damaged.
    """
    if not checkpointer.list_checkpoints() or not (job.folder / starts.NAME).exists():
        return None
    return {"job": {}, "precision": None} | starts.read(job.folder)


def held_precision(values: dict[str, Any], first: dict[str, Any] | None) -> str:
    """The precision of a start, from the YAML's values: of one that resumes, that of the first start.

    `auto` may mean another on the device of today. A `UserError` if that device has not the first's.
    """
    precision = resolve_precision(values)
    if first is None or first["precision"] in (None, precision):
        return precision
    if first["precision"] == "fp16" and kind(values) == "cpu":
        raise UserError(
            "the training was begun in fp16, which needs a GPU, and the device is a CPU",
            "resume it on a GPU, or train again with --force true",
        )
    logger.warning("resuming in %s, as the training was begun; new ones take %s here", first["precision"], precision)
    return first["precision"]


def write(job: Job, device: str, precision: str, first: dict[str, Any] | None, system: System) -> None:
    """Write env.json with one more start; parameters as of `describe`, and the result of `first_start`."""
    start = describe(job, device, precision) | parameters(system) | about(system)
    if first:
        # An earlier version wrote no job.
        start = first | {"job": first["job"] or start["job"], "resumed": [*first.get("resumed", []), start]}
    write_text(job.folder / starts.NAME, json.dumps(start, indent=1))


def _accelerator(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else ""


def cpu_name() -> str:
    """The CPU's name as the system gives it, without what all names have."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return re.sub(r"\((R|TM)\)|\bProcessor\b", "", names[0]).strip() if names else platform.processor()

"""What a result depends on besides its inputs: code, versions, device, threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from local.experiment.job import Job
from local.training import distributed

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
    """What env.json holds.

    Parameters
    ----------
    job
        The job; with hyperparams.yaml, its entry suffices to train it again (`local.rerun`).
    device, precision
        Those that are used.
    """
    options = job.options
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "device": device,
        "accelerator": torch.cuda.get_device_name(device) if device.startswith("cuda") else "",
        "processor": cpu_name(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "host": platform.node(),
        "system": platform.platform(),
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
        "job": {
            "corpus": options.corpus,
            "protocol": options.protocol,
            "valid": job.valid,
            "hold_text": options.hold_text,
            "fold": job.fold,
            "seed": job.seed,
            "name": options.name,
            "options": sys.argv[1:],
        },
        "processes": distributed.world_size(),
    }


def cpu_name() -> str:
    """The CPU's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()

"""What a result depends on besides its inputs: code, versions, device, threads."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

PACKAGES = ("torch", "torchaudio", "speechbrain", "transformers", "sentencepiece", "numpy", "pandas", "soundfile")


def commit() -> str:
    """The repository's commit, with `-dirty` when tracked files differ from it; empty outside a repository."""
    root = Path(__file__).resolve().parent.parent
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def describe(device: str, precision: str) -> dict[str, str | int | dict[str, str]]:
    """Describe where a job runs, for env.json."""
    accelerator = torch.cuda.get_device_name(device) if device.startswith("cuda") else ""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "device": device,
        "accelerator": accelerator,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "host": platform.node(),
        "system": platform.platform(),
        "slurm_job": os.environ.get("SLURM_JOB_ID", ""),
    }


def _processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()

"""A stand-in for nvidia-smi, which answers as a test tells it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

PROGRAM = r"""
import fcntl, json, sys
from pathlib import Path

folder = Path(sys.argv[0]).parent
state = json.loads((folder / "state.json").read_text())
with open(folder / "asked", "a") as asked:
    asked.write(sys.argv[1].partition("=")[0] + "\n")

def show(rows):
    assert sys.argv[2:] == ["--format=csv,noheader,nounits"], sys.argv
    for row in rows:
        print(", ".join(str(row[field]) for field in sys.argv[1].partition("=")[2].split(",")))

gpus, apps = state["gpus"], state["apps"]
with open(folder / "lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    held = [(file.parent.name, file.name, int(file.read_text())) for file in folder.glob("held/*/*")]
for uuid, pid, mib in held:
    gpu = next(gpu for gpu in gpus if gpu["uuid"] == uuid)
    gpu["memory.used"] += mib
    gpu["memory.free"] -= mib
    if state["shows_pids"]:
        apps.append({"gpu_uuid": uuid, "pid": pid, "used_memory": mib})
try:
    if sys.argv[1] == "-L":
        print(state["list"])
    elif sys.argv[1].startswith("--query-gpu="):
        show(gpus)
    elif sys.argv[1].startswith("--query-compute-apps="):
        show(apps)
except KeyError as field:
    print(f'Field "{field.args[0]}" is not a valid field to query.\n')
    sys.exit(2)
if state["trouble"]:
    print(state["trouble"])
    sys.exit(9)
"""


class StandIn:
    """An executable named nvidia-smi, first on the PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "smi.py").write_text(PROGRAM)
        command = shlex.join([sys.executable, "-S", "-E", str(folder / "smi.py")])
        (folder / "nvidia-smi").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        self.state = {"list": "", "gpus": [], "apps": [], "shows_pids": True, "trouble": ""}
        self.write()

    def write(self, **state: object) -> None:
        """Let it answer otherwise from now on."""
        self.state |= state
        (self.folder / "state.json.new").write_text(json.dumps(self.state))
        (self.folder / "state.json.new").replace(self.folder / "state.json")

    def add(self, uuid: str, total: int, used: int = 0, **fields: object) -> None:
        """Add a GPU of so many MiB, of which others use some. No driver keeps anything for itself here."""
        index = len(self.state["gpus"])
        gpu = {"index": index, "uuid": uuid, "mig.mode.current": "Disabled"}
        gpu |= {"memory.total": total, "memory.used": used, "memory.free": total - used}
        listed = f"{self.state['list']}\nGPU {index}: NVIDIA H100 80GB HBM3 (UUID: {uuid})".strip()
        self.write(gpus=[*self.state["gpus"], gpu | fields], list=listed)

    def asked(self) -> list[str]:
        """What it was asked so far: the first word of each question, without the fields."""
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []

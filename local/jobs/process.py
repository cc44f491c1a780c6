"""One process of a job: its command, its log, how it is started and how it ended."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass
class JobProcess:
    """One job: its command, its log, the file that it writes at its need's height and, once started, its process."""

    name: str
    command: list[str]
    log: Path
    proof: Path | None = None
    place: int = -1
    process: subprocess.Popen | None = None
    began: float = field(default_factory=time.monotonic)
    old_proof: tuple[int, int] | None = None

    def start(self, place: int, environment: dict[str, str]) -> None:
        """Start it, its log beginning with the command."""
        self.place, self.began, self.old_proof = place, time.monotonic(), file_version(self.proof)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"# {shlex.join(self.command)}\n# Started at {datetime.now().astimezone():%c %Z}\n")
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def end(self) -> int:
        """Write the log's last line; return the exit code."""
        code = self.process.wait()
        seconds = time.monotonic() - self.began
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(
                f"# Ended (code {code}) at {datetime.now().astimezone():%c %Z}, elapsed time {seconds:.0f} seconds\n"
            )
        return code

    def has_shown_need(self) -> bool:
        """Whether it has held all the memory that it needs: a resumed job finds the file of its earlier start."""
        return file_version(self.proof) not in (None, self.old_proof)


def file_version(path: Path | None) -> tuple[int, int] | None:
    """What tells a file from an earlier one of the same name."""
    try:
        status = path.stat() if path else None
    except FileNotFoundError:
        return None
    return status and (status.st_mtime_ns, status.st_ino)


def thread_limits(count: int) -> dict[str, str]:
    """The environment variables that give each of so many processes its share of the processor."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores = min(cores, int(allowed)) if allowed.isdecimal() else cores
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(max(1, cores // count)))

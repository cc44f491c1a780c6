"""One process of a job: its command, its log, how it is started and how it ended."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from local.core import progress_json
from local.core.progress_json import Progress
from local.experiment.command_line import split_words
from local.jobs.torchrun import torchrun_command

STARTED = "# Started at "
ENDED = re.compile(r"# Ended \(code (-?[0-9]+)\)")
ERROR = "error: "  # as `local.core.errors` prints it
KILLED = "killed by signal 9, as Linux does to a process where it is out of memory; the same command goes on from here"


def step_command(step: str, words: Sequence[str], *more: str, processes: int = 1) -> list[str]:
    """The command of `train`, with several processes if need be, or of `decode` or `stress`.

    `words` are options of run.sh, and overrides after a lone `--`; of options in `more` as well, the latter win.
    """
    start = torchrun_command(processes if step == "train" else 1)
    return add_options([*start, "-m", f"local.{step}", *words], *more)


def add_options(command: list[str], *more: str) -> list[str]:
    """A command with further options, before its overrides."""
    options, overrides = split_words(command)
    return [*options, *more, *overrides]


def command_on_node(command: list[str], processes: int, nodes: int, node: int, rendezvous: str) -> list[str]:
    """A training's command for one of the nodes that run it together; see `torchrun_command`."""
    return torchrun_command(processes, nodes, node, rendezvous) + command[command.index("local.train") - 1 :]


@dataclass(frozen=True)
class LastStart:
    """The last start of a job by its log: when it was, and the lines since then."""

    time: str
    lines: list[str]

    @property
    def code(self) -> int | None:
        """The exit code; None where the log does not end with one."""
        ended = ENDED.match(self.lines[-1]) if self.lines else None
        return int(ended[1]) if ended else None

    @property
    def has_ended(self) -> bool:
        """Whether the log ends with an exit code, or with an error that was added to it."""
        return self.code is not None or (bool(self.lines) and self.lines[-1].startswith(ERROR))

    @property
    def last_error(self) -> str:
        """The last error of the job's output, or else its last line."""
        output = [line for line in self.lines if line.strip() and not line.startswith(("#", "  try:"))]
        return next((line for line in reversed(output) if line.startswith(ERROR)), output[-1] if output else "")


class JobLog:
    """A job's log, `<step>.log` of the run folder: of each start command, time, output and exit code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, command: Sequence[str]) -> None:
        """Write which command is started now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.add(f"# {shlex.join(command)}\n{STARTED}{_now()}")

    def end(self, code: int, seconds: float) -> None:
        """Write how the command ended, and after how long."""
        self.add(f"# Ended (code {code}) at {_now()}, elapsed time {seconds:.0f} seconds")

    def add_error(self, message: str) -> None:
        """Write why a job ended without saying so."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.add(f"{ERROR}{message}")

    def last_start(self) -> LastStart | None:
        """What it holds since the last start, or all of it; None where there is no log, or an empty one."""
        if not self.path.exists():
            return None
        _, started, text = self.path.read_text(encoding="utf-8", errors="replace").rpartition(STARTED)
        lines = text.splitlines()
        time, lines = (lines[0], lines[1:]) if started and lines else ("", lines)
        return LastStart(time, lines) if started or lines else None

    def add(self, text: str) -> None:
        """Write lines of a command's output."""
        with open(self.path, "a", encoding="utf-8") as log:
            log.write(f"{text}\n")


def _now() -> str:
    return f"{datetime.now().astimezone():%c %Z}"


@dataclass
class JobProcess:
    """One job and, once started, its process.

    It writes `proof` when it has held all the memory that it needs. `label` is its name on the screen.
    """

    name: str
    command: list[str]
    log: Path
    proof: Path | None = None
    label: str = ""
    slot: int = -1
    process: subprocess.Popen | None = None
    began: float = field(default_factory=time.monotonic)
    old_proof: tuple[int, int] | None = None
    old_progress: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.label = self.label or self.name

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.log.parent

    @property
    def step(self) -> str:
        """`train`, `decode` or `stress`, as which its log is named."""
        return self.log.stem

    def last_lines(self, count: int) -> list[str]:
        """The last lines of its log since it was started last."""
        start = JobLog(self.log).last_start()
        return start.lines[-count:] if start else []

    def failure(self) -> list[str]:
        """Say that it failed, with the end of its log, which may say what to do, as to install a library."""
        end = [f"  {line}" for line in self.last_lines(4)]
        return [f"error: {self.name} failed; its log ends:", *end, f"  see {self.log}"]

    def start(self, slot: int, environment: dict[str, str]) -> None:
        """Start it, its log beginning with the command."""
        self.slot, self.began, self.old_proof = slot, time.monotonic(), file_version(self.proof)
        self.ignore_old_progress()
        JobLog(self.log).begin(self.command)
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def end(self) -> int:
        """Wait for its end, and write it to the log; return the exit code."""
        code = self.process.wait()
        if code == -signal.SIGKILL:
            JobLog(self.log).add_error(KILLED)
        JobLog(self.log).end(code, time.monotonic() - self.began)
        return code

    def ignore_old_progress(self) -> None:
        """Take what is in progress.json now for that of an earlier start, which was killed."""
        self.old_progress = file_version(self.folder / progress_json.NAME)

    def progress(self) -> Progress | None:
        """How far it is by progress.json; None where it has not written it yet, or not any more."""
        is_old = file_version(self.folder / progress_json.NAME) == self.old_progress
        return None if is_old else progress_json.read(self.folder)

    def has_shown_need(self) -> bool:
        """Whether it has held all the memory that it needs: a resumed job finds the file of its earlier start."""
        return file_version(self.proof) not in (None, self.old_proof)


def file_version(path: Path | None) -> tuple[int, int] | None:
    """What distinguishes a file from an earlier one of the same name; None where there is none."""
    try:
        status = path.stat() if path else None
    except FileNotFoundError:
        return None
    return status and (status.st_mtime_ns, status.st_ino)

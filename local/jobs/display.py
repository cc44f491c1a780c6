"""The running jobs on the screen: in a terminal a line for each, redrawn in place; elsewhere one for each epoch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

from tqdm import tqdm

from local.core import signals
from local.core.progress_json import Progress
from local.jobs import job_lines
from local.jobs.process import JobProcess, file_version

WIDTH, HEIGHT = 80, 24  # of a terminal that does not tell its own
LONG = 30.0  # seconds


def is_terminal() -> bool:
    """Whether lines can be redrawn in place."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """Print a line on stdout, above the lines that are redrawn, and at once where stdout is a file."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


class Display:
    """Shows running jobs; a terminal is left as it was.

    `every` is how many seconds pass at least between two looks at the files of all jobs.
    """

    def __init__(self, every: float = 0.5) -> None:
        self.every = every
        self.in_place = is_terminal()
        self.bars: list[tqdm] = []
        self.shown: list[str] = []
        self.looked_at = 0.0
        self.begun: set[str] = set()
        self.epochs: dict[str, EpochLines] = {}

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.bars:
            self._draw([])

    def watch(self, run: JobProcess) -> None:
        """Begin to watch a job, before it starts."""
        if run.step == "train" and not self.in_place:
            self.epochs[run.name] = EpochLines(run)

    def show(self, running: Iterable[JobProcess]) -> None:
        """Show how far jobs are; to be called often."""
        running = list(running)
        labels = [run.label for run in running]
        if labels == self.shown and time.monotonic() - self.looked_at < self.every:
            return
        self.shown, self.looked_at = labels, time.monotonic()
        self.begun &= {run.name for run in running}  # Slurm may queue a job again
        if self.in_place:
            width = _size().columns - 1  # a cursor after the last column may be on the next line
            self._draw([job_lines.progress_line(run.label, self._state(run), width) for run in running])
        else:
            for run in running:
                self._say_epochs(run)

    def end(self, run: JobProcess, seconds: float | None = None) -> None:
        """Say what came out of a job that is done, after so many seconds, or those of all its epochs."""
        self._say_epochs(run)
        result = job_lines.result(run.folder, run.step)
        if run.step != "train" and result:
            say(f"  {run.label} {result}")
            return
        if seconds is None:
            seconds = sum(row.get("seconds") or 0 for row in job_lines.epoch_rows(run.folder))
        say(f"  {run.label} done {job_lines.clock(seconds)}{', ' if result else ''}{result}")

    def _state(self, run: JobProcess) -> Progress | str:
        """How far a job is, or that it has not begun, or has no more to do than to end."""
        progress = run.progress()
        self.begun |= {run.name} if progress else set()
        return progress or ("ending" if run.name in self.begun else "starting")

    def _say_epochs(self, run: JobProcess) -> None:
        for line in self.epochs[run.name].new() if run.name in self.epochs else ():
            say(f"  {line}")

    def _draw(self, texts: list[str]) -> None:
        with signals.hold():  # a line drawn by half would stay
            while len(self.bars) > len(texts):
                self.bars.pop().close()
            for place in range(len(self.bars), len(texts)):
                self.bars.append(tqdm(bar_format="{desc}", position=place, leave=False, file=sys.stderr))
            for bar, text in zip(self.bars, texts, strict=True):
                bar.ncols, bar.nrows = _size()  # tqdm takes a size of 0 as it is, and shows nothing
                bar.set_description_str(text)
            # What Ctrl-C shows comes where the cursor is: to the beginning of a line, which is drawn again or cleared.
            print("\r" if texts else "\r\x1b[J", end="", file=sys.stderr, flush=True)


class EpochLines:
    """A line for each epoch that a job ends from now on, and for each tenth of the features that it computes before.

    Of features nothing is said where that does not take long.
    """

    def __init__(self, run: JobProcess) -> None:
        self.run, self.folder = run, run.folder
        self.version = file_version(self.folder / "epochs.csv")
        self.ended = len(job_lines.epoch_rows(self.folder))
        self.tenths = -1

    def new(self) -> list[str]:
        """The lines of what has ended since the last call."""
        return [*self._of_features(), *self._of_epochs()]

    def _of_features(self) -> list[str]:
        now = self.run.progress()
        if now is None or not now.features or (self.tenths < 0 and now.seconds_left < LONG):
            return []
        before, self.tenths = self.tenths, 10 * now.done // now.total
        parts = {"label": self.run.label} | job_lines.progress_parts(now)
        return [job_lines.joined(parts)] if self.tenths > before else []

    def _of_epochs(self) -> list[str]:
        version = file_version(self.folder / "epochs.csv")
        if version == self.version:
            return []
        self.version, rows = version, job_lines.epoch_rows(self.folder)
        # There are fewer than before when the training was begun again.
        first, self.ended = self.ended if len(rows) >= self.ended else 0, len(rows)
        epochs = job_lines.planned_epochs(self.folder)
        ends = range(first + 1, len(rows) + 1)
        parts = [job_lines.progress_parts(job_lines.epoch_progress(rows[:end], epochs)) for end in ends]
        return [job_lines.joined({"label": self.run.label} | each) for each in parts]


def _size() -> os.terminal_size:
    try:
        columns, lines = os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        columns = lines = 0
    return os.terminal_size((columns or WIDTH, lines or HEIGHT))

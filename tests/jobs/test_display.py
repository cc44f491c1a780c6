"""Running jobs on the screen: in a terminal a line each, redrawn in place; elsewhere a line per epoch."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from local.core.progress_json import Progress
from local.jobs import display
from local.jobs.display import Display, say
from local.jobs.process import JobProcess

HEAD = "epoch,train_loss,valid_ua,best,seconds\n"
FIRST, SECOND = "1,9.5,0.45,1,10\n", "2,4.5,0.4,0,11\n"


class Screen:
    """A terminal: what is seen of all that was written to it."""

    def __init__(self, columns: int = 80) -> None:
        self.columns, self.rows, self.row, self.column = columns, [""], 0, 0
        self.signal: int | None = None  # comes before the next text

    def write(self, text: str) -> None:
        if self.signal:
            number, self.signal = self.signal, None
            signal.raise_signal(number)
        for token in re.findall(r"\x1b\[[A-Z]|[\s\S]", text):
            if token == "\x1b[A":
                self.row = max(0, self.row - 1)
            elif token == "\x1b[J":
                self.rows[self.row :] = [self.rows[self.row][: self.column]]
            elif token == "\r":
                self.column = 0
            elif token == "\n":
                self.row, self.column = self.row + 1, 0
                self.rows += [""] * (self.row + 1 - len(self.rows))
            else:
                assert token.isprintable(), repr(token)
                if self.column == self.columns:
                    self.write("\n")
                line = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = line[: self.column] + token + line[self.column + 1 :]
                self.column += 1

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    @property
    def seen(self) -> list[str]:
        return [row.rstrip() for row in self.rows if row.strip()]


@pytest.fixture
def to_screen(monkeypatch) -> Callable[..., Screen]:
    """Let the test itself run in a terminal: pytest would take a fixture's streams away again."""

    def begin(columns: int = 80) -> Screen:
        screen = Screen(columns)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((columns, 24)))
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, screen)
        return screen

    return begin


@pytest.fixture
def jobs(tmp_path) -> list[JobProcess]:
    """Two jobs that have not started, each in a run folder."""
    for fold in "AB":
        (tmp_path / "seed1" / fold).mkdir(parents=True)
    return [JobProcess(f"seed1/{fold}", [], tmp_path / "seed1" / fold / "train.log", label=fold) for fold in "AB"]


def done(run: JobProcess, **facts) -> None:
    (run.folder / f"{run.step}.json").write_text(json.dumps({"inputs": {}, "outputs": {}, "facts": facts}))


def write_epochs(run: JobProcess, *rows: str) -> None:
    (run.folder / "new").write_text(HEAD + "".join(rows))
    (run.folder / "new").replace(run.folder / "epochs.csv")  # as `atomic` does


def test_a_terminal_has_a_line_for_each_running_job(to_screen, jobs):
    screen, (a, b) = to_screen(), jobs
    shown = Display(every=0)
    shown.show(jobs)
    assert screen.seen == ["A  starting", "B  starting"]
    Progress(31, 48, 3, 20, 4.08, 0.5625, 0.5625, 3, 130).write(a.folder)
    shown.show(jobs)
    line = "A  epoch 3/20  update 31/48  loss 4.1  valid UA 56.2 (best 56.2 @3)  ETA 2:10"
    assert screen.seen == [line, "B  starting"]
    Progress(1, 48, 1, 20, 4.08).write(b.folder)
    shown.show(jobs)
    assert screen.seen == [line, "B  epoch 1/20  update 1/48  loss 4.1"]
    say("  something else")
    assert screen.seen == ["  something else", line, "B  epoch 1/20  update 1/48  loss 4.1"]
    (a.folder / "progress.json").unlink()
    shown.show(jobs)
    assert screen.seen[1:] == ["A  ending", "B  epoch 1/20  update 1/48  loss 4.1"]
    write_epochs(a, FIRST, SECOND)
    done(a, epoch=1)
    shown.end(a, 184.3)
    shown.show([b])
    ended = ["  something else", "  A done 3:04, epoch 1 of 2, valid UA 45.00"]
    assert screen.seen == [*ended, "B  epoch 1/20  update 1/48  loss 4.1"]
    screen.write("^C")  # as a terminal does
    shown.close()
    assert screen.seen == ended
    screen.write("$ ")
    assert screen.seen == [*ended, "$"]


@pytest.mark.parametrize("columns", [80, 40, 12, 3])
def test_lines_are_not_wrapped(to_screen, jobs, columns):
    screen = to_screen(columns)
    with Display(every=0) as shown:
        for run in jobs:
            Progress(31, 48, 3, 20, 4.08, 0.5625, 0.5625, 3, 130).write(run.folder)
        for _ in range(3):
            shown.show(jobs)
            assert len(screen.seen) == 2 and all(len(line) < columns for line in screen.seen)
    assert screen.seen == []


def test_a_signal_while_a_line_is_drawn_comes_after_it(to_screen, jobs):
    screen = to_screen()
    shown = Display(every=0)
    screen.signal = signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        shown.show(jobs)
    assert screen.seen == ["A  starting", "B  starting"]
    shown.close()
    assert screen.seen == []


def test_elsewhere_there_is_a_line_per_epoch_and_nothing_else(jobs, capsys):
    a, b = jobs
    write_epochs(a, FIRST)  # of an earlier start
    (a.folder / "hyperparams.yaml").write_text("epochs: 20\n")
    with Display(every=0) as shown:
        for run in jobs:
            shown.watch(run)
        Progress(31, 48, 3, 20, 4.08, 0.5625, 0.5625, 3, 130).write(a.folder)
        shown.show(jobs)
        shown.show(jobs)
        assert capsys.readouterr().out == ""
        write_epochs(a, FIRST, SECOND)
        shown.show(jobs)
        shown.show(jobs)
        assert capsys.readouterr().out == "  A  epoch 2/20  loss 4.5  valid UA 40.0 (best 45.0 @1)  ETA 3:18\n"
        write_epochs(b, FIRST, SECOND)
        done(b, epoch=1)
        shown.end(b)
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "  B  epoch 1  loss 9.5  valid UA 45.0 (best 45.0 @1)",
        "  B  epoch 2  loss 4.5  valid UA 40.0 (best 45.0 @1)",
        "  B done 0:21, epoch 1 of 2, valid UA 45.00",
    ]
    assert captured.err == ""


def test_the_files_are_looked_at_now_and_then(jobs, monkeypatch):
    looks = []
    monkeypatch.setattr(display, "EpochLines", lambda run: SimpleNamespace(new=lambda: looks.append(run.label) or []))
    now = [1000.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    shown = Display(every=5)
    for run in jobs:
        shown.watch(run)
    for _ in range(100):  # 10 seconds
        shown.show(jobs)
        now[0] += 0.1
    assert looks == ["A", "B"] * 2
    shown.show(jobs[:1])  # others run: at once
    assert looks == ["A", "B"] * 2 + ["A"]


def test_a_training_that_is_begun_again_shows_its_epochs_again(jobs, capsys):
    write_epochs(jobs[0], FIRST, SECOND)
    shown = Display(every=0)
    shown.watch(jobs[0])
    write_epochs(jobs[0], FIRST)
    shown.show(jobs)
    assert capsys.readouterr().out == "  A  epoch 1  loss 9.5  valid UA 45.0 (best 45.0 @1)\n"


def test_of_a_decoding_the_scores_are_said(jobs, capsys):
    run = JobProcess("seed1/A", [], jobs[0].folder / "decode.log", label="A")
    done(run, epoch=1, scores={"n": 48, "wa": 40 / 48, "ua": 40 / 48, "wer": 1 / 3})
    Display(every=0).end(run, 3)
    assert capsys.readouterr().out == "  A n 48 WA 83.33 UA 83.33 WER 33.33\n"


def test_elsewhere_features_that_take_long_have_a_line_for_each_tenth(jobs, capsys):
    shown, run, other = Display(every=0), *jobs
    shown.watch(run)
    shown.watch(other)
    Progress(None, None, features=False).write(other.folder)
    for done, left in ((2, 20.0), (3, 70.0), (8, 65.0), (12, 60.0), (19, 50.0), (30, 40.0), (31, 9.0), (100, 0.0)):
        Progress(done, 100, seconds_left=left, features=True).write(run.folder)
        shown.show(jobs)
    Progress(1, 48, 1, 20, 4.08).write(run.folder)
    shown.show(jobs)
    ends = ["3/100  ETA 1:10", "12/100  ETA 1:00", "30/100  ETA 0:40", "100/100  ETA 0:00"]
    assert capsys.readouterr().out.splitlines() == [f"  A  features  {end}" for end in ends]


def test_what_a_killed_job_has_left_is_not_shown_of_the_next(tmp_path):
    run = JobProcess("a", [sys.executable, "-S", "-E", "-c", ""], tmp_path / "train.log")
    Progress(31, 48, 3, 20).write(tmp_path)
    run.start(0, {})
    assert run.progress() is None
    run.end()
    Progress(32, 48, 3, 20).write(tmp_path)
    assert run.progress() == Progress(32, 48, 3, 20)


def test_a_terminal_that_cannot_move_its_cursor_is_none(to_screen, monkeypatch):
    to_screen()
    assert display.is_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not display.is_terminal()


def test_a_terminal_that_does_not_tell_its_size(monkeypatch, tmp_path):
    """A new one has no rows and no columns: jobs are shown there as well."""
    terminal, end = os.openpty()
    with open(end, "w", encoding="utf-8") as stream:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", stream)
        with Display() as shown:
            shown.show([JobProcess("1A", [], tmp_path / "train.log")])
    seen = os.read(terminal, 4096).decode()
    os.close(terminal)
    assert "1A  starting" in seen

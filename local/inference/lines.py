"""Lines of output: a table to read, CSV, JSON lines; with transcripts where the model writes text.

With `unsure` also what is unsure: the analyses are of a recognizer with a threshold.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from local.core.tasks import SHARES, TASKS, shares
from local.inference.analyzer import Analysis
from local.inference.items import Item
from local.scoring.predictions import POSTERIOR


class Shown(NamedTuple):
    """What lines say of each file or window, besides its emotion."""

    labels: list[str]  # the emotions
    in_windows: bool  # from when to when
    text: bool  # the transcript
    unsure: bool = False  # whether it is unsure
    heads: Sequence[str] = ()  # the further heads, by name


class Table:
    """A table to read, in columns."""

    def __init__(self, out: TextIO, shown: Shown) -> None:
        self.out, self.shown = out, shown
        self.width = max(7, *map(len, shown.labels))
        times = f"{'from':>9} {'to':>9} " if shown.in_windows else ""
        last = "file: transcript" if shown.text else "file"
        further = "".join(f"{name:>9} " for name in shown.heads)
        share = "conf." if shown.unsure else "prob."
        start = f"{'emotion':{self.width}} {share:>6} {self._sure('sure?')}{'seconds':>8} "
        print(f"{start}{times}{further}{last}", file=out)

    def _sure(self, word: str) -> str:
        return f"{word:6} " if self.shown.unsure else ""

    def write(self, item: Item, analysis: Analysis | None) -> None:
        """Write the line of a file or a window."""
        span = f"{item.start or 0:9.2f} {item.end or 0:9.2f} " if self.shown.in_windows else ""
        values = {} if analysis is None else analysis.heads
        span += "".join(f"{_short(values[name]) if name in values else '-':>9} " for name in self.shown.heads)
        name = item.file.replace("\n", "\\n")
        if analysis is None:
            start = f"{'-':{self.width}} {'-':>6} {self._sure('-')}{'-':>8} "
            print(f"{start}{' ' * len(span)}{name}: error: {item.error}", file=self.out)
            return
        # What is compared with the threshold, if there is one.
        share = analysis.posteriors[analysis.emotion] if analysis.confidence is None else analysis.confidence
        flags = f" [{', '.join(analysis.flags)}]" if analysis.flags else ""
        sure = self._sure("unsure" if analysis.unsure else "")
        start = f"{analysis.emotion:{self.width}} {share:6.1%} {sure}{analysis.duration:8.2f} {span}"
        print(f"{start}{name}{f': {analysis.transcript}' if self.shown.text else ''}{flags}", file=self.out)


class CommaSeparated:
    """CSV: posteriors with 6 digits, times in seconds with 3; `unsure` is yes or no.

    Of further heads the number, the likeliest class, or the shares.
    """

    def __init__(self, out: TextIO, shown: Shown) -> None:
        self.text = shown.text
        times = ["start", "end"] if shown.in_windows else []
        names = ["file", *times, "emotion", *(POSTERIOR + label for label in shown.labels)]
        names += ["confidence", "unsure"] if shown.unsure else []
        names += [*shown.heads, *(["transcript"] if shown.text else [])]
        self.rows = csv.DictWriter(out, [*names, "duration", "flags", "error"], restval="", lineterminator="\n")
        self.rows.writeheader()

    def write(self, item: Item, analysis: Analysis | None) -> None:
        """Write the row of a file or a window."""
        row = {"file": item.file, "error": item.error}
        if item.start is not None:
            row |= {"start": f"{item.start:.3f}", "end": f"{item.end:.3f}"}
        if analysis is not None:
            row |= {POSTERIOR + label: f"{share:.6f}" for label, share in analysis.posteriors.items()}
            row |= {name: _cell(name, value) for name, value in analysis.heads.items()}
            row |= {"emotion": analysis.emotion} | ({"transcript": analysis.transcript} if self.text else {})
            row |= {"duration": f"{analysis.duration:.3f}", "flags": "; ".join(analysis.flags)}
            if analysis.unsure is not None:
                row |= {"confidence": f"{analysis.confidence:.6f}", "unsure": "yes" if analysis.unsure else "no"}
        self.rows.writerow(row)


class JsonLines:
    """One JSON object a line: everything, with the times of words."""

    def __init__(self, out: TextIO, shown: Shown) -> None:
        self.out = out
        self.left_out = (
            *(() if shown.text else ("transcript", "words")),
            *(() if shown.unsure else ("confidence", "unsure")),
            *(() if shown.heads else ("heads",)),
        )

    def write(self, item: Item, analysis: Analysis | None) -> None:
        """Write the object of a file or a window."""
        line: dict = {"file": item.file}
        if item.start is not None:
            line |= {"start": item.start, "end": item.end}
        if analysis is None:
            line["error"] = item.error
        else:
            facts = vars(analysis) | {"words": [word._asdict() for word in analysis.later(item.start or 0.0).words]}
            line |= {name: value for name, value in facts.items() if name not in self.left_out}
        print(json.dumps(line, ensure_ascii=False), file=self.out)


def _short(value: float | dict[str, float]) -> str:
    """A number, or the likeliest class."""
    return max(value, key=value.get) if isinstance(value, dict) else f"{value:.2f}"


def _cell(name: str, value: float | dict[str, float]) -> str:
    """The same with all digits, and of shares each."""
    if TASKS[name].kind == SHARES:
        return shares(value, value.values())
    return _short(value) if isinstance(value, dict) else f"{value:.6f}"


FORMATS = {"table": Table, "csv": CommaSeparated, "jsonl": JsonLines}

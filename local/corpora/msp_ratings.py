"""Ratings of the MSP corpora of the University of Texas at Dallas, as their text files have them.

A block for each speaking turn, blocks divided by an empty line: the turn with the raters' consensus and means, then a
line for each rater, with the label that was chosen and others that were heard as well.

    MSP-PODCAST_0007_0021.wav; H; A:4.500000; V:5.500000; D:4.000000;
    WORKER00000001; Happy; Happy,Excited; A:5.000000; V:6.000000; D:4.000000;
    WORKER00000002; Other-proud; Happy; A:4.000000; V:5.000000; D:4.000000;
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from local.core.errors import UserError
from local.corpora.faults import Fault

LETTERS = {
    **{"A": "ang", "S": "sad", "H": "hap", "U": "sur", "F": "fea", "D": "dis", "C": "con", "N": "neu"},
}
LEFT_OUT = {"O": "labelled as none of the emotions asked for (O)", "X": "without agreement of the raters (X)"}
WORDS = {
    **{"angry": "ang", "sad": "sad", "happy": "hap", "surprise": "sur", "fear": "fea", "disgust": "dis"},
    **{"contempt": "con", "neutral": "neu"},
}
OTHER = "oth"  # a vote for an emotion in the rater's own words
DIMENSIONS = {"A": "arousal", "V": "valence", "D": "dominance"}
TURN = re.compile(r"(?P<name>[\w-]+)\.(?:wav|avi)\s*;\s*(?P<letter>[A-Z])\s*;(?P<values>.*)")
VALUE = re.compile(r"\b([AVD]):\s*(NaN|-?\d+(?:\.\d+)?)")


class Turn(NamedTuple):
    """The ratings of a speaking turn."""

    letter: str  # of the consensus, in LETTERS or LEFT_OUT
    means: dict[str, str]  # by dimension; empty for one that nobody rated
    votes: str  # as in the column `votes` of a manifest


def label_of(word: str) -> str:
    """The label of the word that a rater chose.

    >>> label_of("Happy"), label_of("Other-confused")
    ('hap', 'oth')
    """
    return WORDS.get(word.strip().lower(), OTHER)


def votes(labels: Iterable[str]) -> str:
    """How many raters chose each label, the most frequent first, as the column `votes` has it.

    >>> votes(["neu", "ang", "ang"])
    'ang 2 neu 1'
    """
    return " ".join(
        f"{label} {n}" for label, n in sorted(Counter(labels).items(), key=lambda each: (-each[1], each[0]))
    )


def number(text: str) -> str:
    """A mean as a manifest has it; empty for what is no number.

    >>> number("2.400000"), number("NaN")
    ('2.4', '')
    """
    try:
        value = float(text)
    except ValueError:
        return ""
    return f"{value:g}" if value == value else ""


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or else in Windows' Latin alphabet; a `UserError` if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def blocks(path: Path, faults: list[Fault]) -> dict[str, Turn]:
    """Read a file of blocks: the ratings of each turn by its name without suffix.

    A rater whose line is there twice counts once. `faults` receives each line that begins no block and is in none, and
    each turn that is there twice with different ratings.
    """
    turns: dict[str, Turn] = {}
    for first, lines in _blocks(read_text(path)):
        found = TURN.match(lines[0])
        if not found:
            faults.append(Fault(path.name, first, "", f"is no turn with its consensus: {lines[0][:40]!r}"))
            continue
        raters: dict[str, str] = {}
        for line in lines[1:]:
            rater, _, rest = line.partition(";")
            raters.setdefault(rater.strip(), label_of(rest.split(";")[0]))
        means = {DIMENSIONS[key]: number(value) for key, value in VALUE.findall(found["values"])}
        turn = Turn(found["letter"], dict.fromkeys(DIMENSIONS.values(), "") | means, votes(raters.values()))
        if turns.setdefault(found["name"], turn) != turn:
            faults.append(Fault(path.name, first, found["name"], f"turn {found['name']!r} has other ratings above"))
    return turns


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """The line in which each block begins, and its lines; a line that has the form of a turn begins one, too."""
    lines: list[str] = []
    first = 0
    for number_, line in enumerate(text.splitlines(), 1):
        begins = bool(TURN.match(line))
        if lines and (begins or not line.strip()):
            yield first, lines
            lines = []
        if line.strip():
            first = first if lines else number_
            lines.append(line.strip())
    if lines:
        yield first, lines


def detailed(path: Path) -> dict[str, str]:
    """The votes of each turn, by its name without suffix, from `labels_detailed.csv`: a row for each rater."""
    chosen: dict[str, list[str]] = defaultdict(list)
    table = csv.reader(read_text(path).splitlines())
    header = next(table, [])
    lost = [name for name in ("FileName", "EmoClass_Major") if name not in header]
    if lost:
        raise UserError(f"{path}: the header lacks {' and '.join(lost)}", "take the file of the release as it is")
    name, label = header.index("FileName"), header.index("EmoClass_Major")
    for row in table:
        if len(row) > max(name, label):
            chosen[row[name].rsplit(".", 1)[0]].append(label_of(row[label]))
    return {turn: votes(labels) for turn, labels in chosen.items()}

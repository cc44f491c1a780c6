"""The logs of jobs, cut into the runs that wrote them."""

from __future__ import annotations

import re

STARTED = re.compile(r"# Started at \S.*\S")
ENDED = re.compile(r"# Ended \(code (-?\d+)\) at \S.*, elapsed time \d+ seconds")


def sections(log: str) -> list[list[str]]:
    """Cut a log into its runs, each from its command to its end."""
    lines = log.splitlines()
    starts = [i - 1 for i, line in enumerate(lines) if STARTED.match(line)]
    assert starts[0] == 0
    return [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]

"""The paper's printed figures, and ours beside them.

    python -m local.paper {table3,table4,figure2} EXPERIMENT... [--out FILE]

prints a Markdown table, and writes it with `--out`. The paper: Cai, Yuan, Zheng, Huang, Church: Speech
Emotion Recognition with Multi-task Learning, Interspeech 2021; its slides and released code.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from local.core.errors import Parser, as_command
from local.core.files import atomic
from local.experiment.folders import experiment_of
from local.pages.paper import TABLES, render_table
from local.scoring.scored import load


@as_command
def main() -> None:
    """Print a table, and write it."""
    parser = Parser(prog="python -m local.paper", description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("folders", nargs="+", type=Path, metavar="EXPERIMENT")
    parser.add_argument("--out", type=Path, metavar="FILE")
    given = parser.parse_args()
    command = f"python -m local.paper {shlex.join(sys.argv[1:])}"
    folders = dict.fromkeys(map(experiment_of, given.folders))
    text = render_table(given.table, [load(folder) for folder in folders], command)
    if given.out:
        with atomic(given.out) as file:
            file.write(text)
    print(text, end="")


if __name__ == "__main__":
    main()

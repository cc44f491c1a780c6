"""The paper's printed figures, and ours beside them.

    python -m local.paper {table3,table4,figure2} EXPERIMENT... [--out FILE]
    python -m local.paper table3_all EXPERIMENT... [--out FILE] [--page FILE] [--valid VALID] [--remark SENTENCE]...

prints a Markdown table, and writes it with `--out`. `table3` sets our row beside the paper's; `table3_all` has a row
for each of its systems, and those that we add, trained here on the same folds, and below a row the same system in other
settings: `--page` writes it with a picture as one page of HTML, `--valid` is the validation that its rows should have,
and each `--remark` is a note below it. The paper: Cai, Yuan, Zheng, Huang, Church: Speech Emotion Recognition with
Multi-task Learning, Interspeech 2021; its slides and released code.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from local.core.errors import Parser, UserError, as_command
from local.core.files import write_text
from local.experiment.folders import experiment_of

TABLES = ("table3", "table4", "figure2")  # of `local.pages.paper`
ALL_ROWS = "table3_all"


@as_command
def main() -> None:
    """Print a table, and write it."""
    parser = Parser(prog="python -m local.paper", description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=[*TABLES, ALL_ROWS], help=f"of the paper; {ALL_ROWS}: with our other rows")
    parser.add_argument("folders", nargs="+", type=Path, metavar="EXPERIMENT")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the table in Markdown")
    parser.add_argument("--page", type=Path, metavar="FILE", help=f"{ALL_ROWS} as a page, with its picture")
    parser.add_argument("--valid", default="", metavar="VALID", help="rows of another validation are named")
    parser.add_argument("--remark", action="append", default=[], metavar="SENTENCE", help="a note below the table")
    given = parser.parse_args()
    if given.table != ALL_ROWS and (given.page or given.valid or given.remark):
        raise UserError(f"{given.table} takes no --page, --valid or --remark", f"take {ALL_ROWS}, or leave them out")
    # Now that the words are known to be right: these take seconds to load.
    from local.pages.paper import render_table
    from local.pages.table3 import all_rows
    from local.scoring.scored import load, refuse_untrained

    command = f"python -m local.paper {shlex.join(sys.argv[1:])}"
    experiments = [load(folder) for folder in dict.fromkeys(map(experiment_of, given.folders))]
    refuse_untrained(experiments)
    if given.table == ALL_ROWS:
        rows = all_rows(experiments, given.remark, given.valid)
        text = rows.markdown(command)
        if given.page:
            write_text(given.page, rows.page(command))
    else:
        text = render_table(given.table, experiments, command)
    if given.out:
        write_text(given.out, text)
    print(text, end="")


if __name__ == "__main__":
    main()

"""Stage 5: `report.html`, one page with all results of stage 4 and plots of them.

    python -m local.report OPTIONS
    python -m local.report EXPERIMENT

The options are those of run.sh; EXPERIMENT is `results/<corpus>/<protocol>/<name>`, or its only run.
Styles, script and plots are in the page; it loads nothing from a network. Only the audio is outside: it plays on
the machine that has the corpus.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local.core.errors import Parser, UserError, as_command
from local.experiment.folders import EXPERIMENT_FORM, experiment_of

if TYPE_CHECKING:
    from local.experiment.options import Options


def report(options: Options) -> None:
    """Write the report of the experiment of run.sh's options."""
    from local.experiment.options import check

    check(options, options.table)
    report_folder(options.experiment_folder)
    trained = options.source and options.source.experiment_folder
    if trained and (trained / "report.html").exists():  # it has the matrix of corpora, too
        try:
            report_folder(trained)
        except UserError as error:  # it was trained again, or decoded, and not all that follows has run since
            print(f"{trained}/report.html is as it was: {error}; stages 3 to 5 without --test-corpus make it again")


def report_folder(experiment: Path) -> None:
    """Write the report of the experiment in a folder."""
    # Only now, for the command line is to be read first: these take seconds to load.
    from local.pages.report import write_report

    print(f"== stage 5: report {experiment}\n\n{write_report(experiment)}")


@as_command
def main() -> None:
    """Run stage 5, or report on a folder."""
    words = sys.argv[1:]
    if len(words) == 1:
        parser = Parser(prog="python -m local.report", description=__doc__.splitlines()[0])
        parser.add_argument("experiment", type=Path, metavar="EXPERIMENT", help=f"{EXPERIMENT_FORM}, or its only run")
        if not words[0].startswith("--") or words == ["--help"]:
            report_folder(experiment_of(parser.parse_args(words).experiment))
            return
    from local.experiment.command_line import parse

    report(parse().tested())


if __name__ == "__main__":
    main()

"""The end of stage 7: figures, tables and the page stress.html of what the jobs have predicted. No torch, seconds.

    python -m local.stress_report OPTIONS

writes stress_scores.csv, stress_gaps.csv, STRESS.md and stress.html beside the seeds, of every fold and seed that
stage 4 has scored and stage 7 has tested, and report.html again, which then links to the page.
"""

from __future__ import annotations

from local.core.errors import as_command
from local.experiment.command_line import parse
from local.experiment.options import check

if __name__ == "__main__":
    as_command(parse)()  # --help and wrong options end here, before what takes seconds to load

from local.core import starts
from local.pages.report import write_report
from local.pages.stress_page import write_stress_page
from local.scoring.scored import load


@as_command
def main() -> None:
    """Write the page of stage 7."""
    options = parse().tested()
    check(options, options.table)
    own = load(options.experiment_folder)
    print(write_stress_page(own, starts.command_line(starts.command())))
    if (own.folder / "report.html").exists():
        write_report(own.folder)


if __name__ == "__main__":
    main()

"""Stage 5: `report.html`, one page with all results of stage 4 and plots of them.

    python -m local.report OPTIONS

Styles, script and plots are in the page; it loads nothing from a network. Only the audio is outside: it
plays on the machine that has the corpus.
"""

from __future__ import annotations

from local.core.errors import as_command
from local.core.files import atomic
from local.experiment.options import Options, check, parse
from local.pages.report import render_report
from local.pages.results import Notes
from local.scoring import scored


def report(options: Options) -> None:
    """Write the report of an experiment."""
    check(options, options.table)
    own = scored.load(options.experiment_folder)
    text = render_report(own, Notes.read(own.folder), options.data_root)
    path = own.folder / "report.html"
    with atomic(path) as file:
        file.write(text)
    print(f"== stage 5: report {own.folder}\n\n{path}")


@as_command
def main() -> None:
    """Run stage 5."""
    report(parse())


if __name__ == "__main__":
    main()

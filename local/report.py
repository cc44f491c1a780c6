"""Stage 5: one page with everything that stage 4 found, and pictures of it: `report.html`.

    python -m local.report OPTIONS

The page stands alone: styles, script and pictures are in it, and nothing is asked of a network.
Only the corpus's audio is outside, and plays on the machine that has the corpus.
"""

from __future__ import annotations

from local.core.errors import as_command
from local.core.files import atomic
from local.experiment.options import Options, check, parse
from local.pages.report import render_report
from local.scoring import scored

PAGE = "report.html"


def report(options: Options) -> None:
    """Write the report of an experiment."""
    check(options, options.table)
    own = scored.load(options.experiment_folder)
    text = render_report(own, options.data_root)
    with atomic(own.folder / PAGE) as file:
        file.write(text)
    print(f"== stage 5: report {own.folder}\n\n{own.folder / PAGE}")


@as_command
def main() -> None:
    """Run stage 5."""
    report(parse())


if __name__ == "__main__":
    main()

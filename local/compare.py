"""Compare experiments pair by pair on the same utterances.

    python -m local.compare RUN_A RUN_B [RUN_C ...] [--csv FILE]

The runs are experiment folders, `results/<corpus>/<protocol>/<name>`. Prints a Markdown table of
every pair: differences are B - A with 95 % intervals and p values of a paired bootstrap over
speakers (see `local.scoring.stats`); a second test is McNemar's for WA and the matched-pairs test for WER;
p values are corrected by Holm for the number of pairs. There is a line of WER where both systems write text.
`--csv` writes all of it, uncorrected too.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from local.core.errors import Parser, UserError, as_command
from local.core.files import atomic
from local.pages.tables import comparison_table, interval_source
from local.scoring import scored
from local.scoring.comparison import compare
from local.splits import protocols

OF_TEXT = ", the matched-pairs test for WER"


def render_pairs(pairs: pd.DataFrame) -> str:
    """Show a comparison as Markdown: the table, and what must be known to read it."""
    first = pairs.iloc[0]
    valid = sorted({*pairs["valid_a"], *pairs["valid_b"]})
    protocol = protocols.describe(first["protocol"], first["speakers_known"], first["speaker_overlap"])
    notes = [
        f"Corpus {first['corpus']}, validation {' against '.join(valid)}. In per cent; difference: B - A.",
        f"Protocol `{first['protocol']}`: {protocol}.",
        f"Interval and p: paired bootstrap, {interval_source(first)}.",
        f"Second p: McNemar's test for WA (one seed only){OF_TEXT if pairs['wer_a'].notna().any() else ''}.",
    ]
    if len(pairs) > 1:
        notes.append(f"All p after Holm's correction for {len(pairs)} pairs.")
    return "\n".join([*comparison_table(pairs).markdown(), "", " ".join(notes)]) + "\n"


@as_command
def main() -> None:
    """Compare the experiments of the command line."""
    parser = Parser(prog="python -m local.compare", description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    given = parser.parse_args()
    if len(given.runs) < 2:
        raise UserError("one run is not a comparison", "give two or more experiment folders")
    pairs = compare([scored.load(run) for run in given.runs])
    if given.csv:
        with atomic(given.csv) as file:
            pairs.to_csv(file, index=False, lineterminator="\n")
    print(render_pairs(pairs), end="")


if __name__ == "__main__":
    main()

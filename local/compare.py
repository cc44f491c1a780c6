"""Compare experiments pair by pair on the same utterances.

    python -m local.compare RUN_A RUN_B [RUN_C ...] [--csv FILE]

The runs are experiment folders, `results/<corpus>/<protocol>/<name>`. Prints a Markdown table of
every pair: differences are B - A with 95 % intervals and p values of a paired bootstrap over
speakers (see `local.scoring.stats`), McNemar's test for accuracy, the matched-pairs test for word errors;
p values are corrected by Holm for the number of pairs. `--csv` writes all of it, uncorrected too.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from local.core.errors import Parser, UserError, as_command
from local.core.files import atomic
from local.pages.markdown import p_value, percent, signed, table
from local.scoring import scored
from local.scoring.comparison import SCORES, compare
from local.splits import protocols

PEOPLE = {"speaker": "speakers", "recording": "recordings", "utterance": "utterances"}


def markdown(pairs: pd.DataFrame) -> str:
    """Show a comparison as Markdown: per cent, differences with intervals, p values after Holm."""
    first = pairs.iloc[0]
    heads = ["A", "B", "n"]
    heads += [head for score in SCORES for head in (f"{score.upper()} A", "B", "B - A [95 %]", "p")]
    heads += ["McNemar p", "matched pairs p"]
    lines = []
    for row in pairs.to_dict("records"):
        cells = [row["a"], row["b"], row["n"]]
        for score in SCORES:
            span = f"[{signed(row[f'{score}_diff_low'])}, {signed(row[f'{score}_diff_high'])}]"
            cells += [percent(row[f"{score}_a"]), percent(row[f"{score}_b"])]
            cells += [f"{signed(row[f'{score}_diff'])} {span}", p_value(row[f"p_{score}_holm"])]
        lines.append([*cells, p_value(row["p_mcnemar_holm"]), p_value(row["p_matched_pairs_holm"])])
    valid = sorted({*pairs["valid_a"], *pairs["valid_b"]})
    notes = f"Corpus {first['corpus']}, validation {' against '.join(valid)}. In per cent."
    notes += f" Protocol `{first['protocol']}`: {protocols.describe(first['protocol'])}."
    notes += f" Intervals and p: paired bootstrap over {first['clusters']} {PEOPLE[first['cluster']]}."
    if len(pairs) > 1:
        notes += f" All p after Holm, over {len(pairs)} pairs."
    if first["cluster"] != "speaker":
        notes += " There are too few speakers to draw from: it says nothing of others."
    return "\n".join([*table(heads, lines), "", notes]) + "\n"


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
    print(markdown(pairs), end="")


if __name__ == "__main__":
    main()

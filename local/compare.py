"""Compare experiments pair by pair on the same utterances.

    python -m local.compare EXPERIMENT_A EXPERIMENT_B [EXPERIMENT_C ...] [--csv FILE]
    python -m local.compare EXPERIMENT_A EXPERIMENT_B [...] --protocols [--out FILE] [--csv FILE]

An experiment is given by its folder, `results/<corpus>/<protocol>/<name>`, or by its only run. Prints a Markdown
table of every pair: differences are B - A with 95 % intervals and p values of a paired bootstrap over speakers
(see `local.scoring.stats`); a second test is McNemar's for WA and the matched-pairs test for WER;
p values are corrected by Holm for the number of pairs. There is a line of WER where both systems write text.
`--csv` writes all of it, uncorrected too.

With `--protocols`, the experiments are of one system under several protocols and validations (and are not compared
otherwise), and each is held against the first, which is to be an honest one. `--out` writes the table as FILE.md, and
beside it the picture as FILE.svg.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pandas as pd

from local.core.errors import Parser, UserError, as_command
from local.core.files import atomic
from local.corpora import manifest
from local.experiment.folders import experiment_of
from local.pages import price
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


def price_of(experiments: list[scored.Experiment], out: Path | None) -> tuple[pd.DataFrame, str]:
    """What protocols are worth, as a table and as Markdown; with `out` the latter is written, and a picture beside."""
    image, rows = out.with_suffix(".svg") if out else None, price.price(experiments)
    utterances = manifest.read(scored.MANIFESTS / experiments[0].corpus / "all.csv")
    command = f"python -m local.compare {shlex.join(sys.argv[1:])}"
    text = price.render_price(rows, experiments, utterances, command, image.name if image else "")
    if out:
        for path, content in ((image, price.price_picture(rows)), (out, text)):
            with atomic(path) as file:
                file.write(content)
    return rows, text


@as_command
def main() -> None:
    """Compare the experiments of the command line."""
    parser = Parser(prog="python -m local.compare", description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="+", type=Path, metavar="EXPERIMENT")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--protocols", action="store_true", help="what protocols and validations are worth")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of the table; with --protocols")
    given = parser.parse_args()
    if len(given.experiments) < 2:
        raise UserError("one experiment is not a comparison", "give the folders of two or more")
    if given.out and not given.protocols:
        raise UserError("--out is of --protocols", "give --csv for all figures of pairs")
    experiments = [scored.load(experiment_of(folder)) for folder in given.experiments]
    if given.protocols:
        table, text = price_of(experiments, given.out)
    else:
        table = compare(experiments)
        text = render_pairs(table)
    if given.csv:
        with atomic(given.csv) as file:
            table.to_csv(file, index=False, lineterminator="\n")
    print(text, end="")


if __name__ == "__main__":
    main()

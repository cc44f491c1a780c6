"""Compare experiments pair by pair on the same utterances.

    python -m local.compare EXPERIMENT_A EXPERIMENT_B [EXPERIMENT_C ...] [--csv FILE]
    python -m local.compare EXPERIMENT_A EXPERIMENT_B [...] --protocols [--out FILE] [--csv FILE] [--remark SENTENCE]...
    python -m local.compare EXPERIMENT_A EXPERIMENT_B [...] --corpora [--out FILE] [--csv FILE]

An experiment is given by its folder, `results/<corpus>/<protocol>/<name>`, or by its only run. Prints a Markdown
table of every pair: differences are B - A with 95 % intervals and p values of a paired bootstrap over speakers
(see `local.scoring.stats`); a second test is McNemar's for WA and the matched-pairs test for WER;
p values are corrected by Holm for the number of pairs. There is a line of WER where both systems write text, and
have learned to: none of alpha 0, as there is none of WA and UA where emotion_weight is 0.
`--csv` writes all of it, uncorrected too.

With `--protocols`, the experiments are of one system under several protocols and validations (and are not compared
otherwise), and each is held against the first, which is to be an honest one; each `--remark` is a note below. With
`--corpora` they are a matrix: what was trained on each corpus, and tested on it or on another (`./run.sh
--test-corpus`); with `--equal-shares` for classes of equal shares (see `local.scoring.prior_shift`). `--out` writes the
table as FILE.md, and beside it the picture as FILE.svg.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from local.core.errors import Parser, UserError, as_command
from local.core.files import write_text
from local.experiment.folders import experiment_of


@as_command
def main() -> None:
    """Compare the experiments of the command line."""
    parser = Parser(prog="python -m local.compare", description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="+", type=Path, metavar="EXPERIMENT")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all figures of the table there, too")
    parser.add_argument("--protocols", action="store_true", help="what protocols and validations are worth")
    parser.add_argument("--corpora", action="store_true", help="trained on one corpus, tested on another: a matrix")
    parser.add_argument("--equal-shares", action="store_true", help="with --corpora: posteriors for equal class shares")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of the table; with --protocols or --corpora")
    parser.add_argument("--remark", action="append", default=[], metavar="SENTENCE", help="with --protocols: a note")
    given = parser.parse_args()
    if len(given.experiments) < 2:
        raise UserError("one experiment is not a comparison", "give the folders of two or more")
    if given.out and not (given.protocols or given.corpora):
        raise UserError("--out is of --protocols and --corpora", "give --csv for all figures of pairs")
    if given.protocols and given.corpora:
        raise UserError("--protocols and --corpora are two tables", "give one of them")
    if given.remark and not given.protocols:
        raise UserError("--remark is of --protocols", "give both")
    if given.equal_shares and not given.corpora:
        raise UserError("--equal-shares is of --corpora", "give both")
    # Now that the words are known to be right: these take seconds to load.
    from local.experiment.borrowed import refuse_retrained
    from local.pages.pairs import render_pairs
    from local.pages.price import write_price
    from local.pages.transfer import write_transfer
    from local.scoring import scored
    from local.scoring.comparison import compare

    experiments = [scored.load(experiment_of(folder)) for folder in given.experiments]
    refuse_retrained(run for each in experiments for run in each.runs)
    if given.protocols or given.corpora:
        command = f"python -m local.compare {shlex.join(sys.argv[1:])}"
        if given.protocols:
            table, text = write_price(experiments, given.out, command, given.remark)
        else:
            table, text = write_transfer(experiments, given.out, command, given.equal_shares)
    else:
        table = compare(experiments)
        text = render_pairs(table)
    if given.csv:
        write_text(given.csv, table.to_csv(index=False, lineterminator="\n"))
    print(text, end="")


if __name__ == "__main__":
    main()

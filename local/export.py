"""Export a trained fold as one folder that loads in four ways, or all folds as an ensemble.

    python -m local.export RUN OUT [--average K] [--int8] [--force]
    python -m local.export results/<corpus>/<protocol>/<name>/seed<S> OUT --ensemble

RUN is `results/<corpus>/<protocol>/<name>/seed<S>/<fold>`, or an experiment of one run; with --ensemble a seed's
folder, or an experiment of one seed. OUT holds, whole or not at all,

    config.json, model.safetensors   the model as `local.inference.recognizer.EmotionRecognizer` and plain torch read it
    emotion/, ctc/                   the same for plain transformers, where it has such a model
    model.onnx                       the same for onnxruntime, where PyTorch can write it; model.int8.onnx with --int8
    README.md                        the model card: data, protocol, scores, licence, use and misuse

A run whose test set chose its epoch (--valid oracle), or of protocol random where the corpus serves another, is refused
without --optimistic; with it, the model card says at its head that the figures are optimistic.

The log and the model card say which of these forms are not there, and why.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from local.core import logs
from local.core.errors import Parser, UserError, as_command
from local.experiment.folders import run_of, seed_of


@as_command
def main() -> None:
    """Export what the command line names."""
    logs.log_to_stderr()
    parser = Parser(
        prog="python -m local.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--average", type=int, default=1, metavar="K", help="the mean of the K latest checkpoints")
    parser.add_argument("--ensemble", action="store_true", help="the mean of the folds' posteriors")
    parser.add_argument(
        "--int8", action="store_true", help="also write an ONNX file with 8-bit weights, and measure its cost"
    )
    parser.add_argument(
        "--optimistic", action="store_true", help="also of a run whose figures are OPTIMISTIC; the model card says so"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an earlier export")
    given = parser.parse_args(sys.argv[1:])
    if given.average < 1:
        raise UserError(f"--average {given.average} is not a number of checkpoints", "give 1 or more")
    from local.deploy.folder import export, refuse_existing  # now that the words are right: it takes many seconds

    refuse_existing(given.out, given.force)
    run = seed_of(given.run) if given.ensemble else run_of(given.run, ", or the folder of a seed with --ensemble")
    export(run, given.out, given.average, given.ensemble, given.int8, given.optimistic)


if __name__ == "__main__":
    main()

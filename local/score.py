"""Stage 4: scores per fold and pooled, from predictions and manifests: no torch, no GPU, seconds.

    python -m local.score OPTIONS

scores every fold and seed that has been decoded under the experiment's name, whichever this run
asked for, and writes `scores.json` in each run folder and, beside the seeds, folds.csv, summary.csv,
classes.csv, breakdown.csv and RESULTS.md. Rates are fractions; a WER may pass 1.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pandas as pd

from local.config import hparams
from local.core import markers
from local.core.errors import UserError, as_command
from local.core.files import atomic, digest
from local.experiment.options import Options, check, parse
from local.pages.markdown import SCORES
from local.pages.results import Results, render_results, untested_label_notes
from local.scoring import metrics, scored, stats
from local.scoring.breakdown import breakdown
from local.scoring.diagnosis import warnings
from local.splits import audit

FOLD_COLUMNS = (
    *("name", "corpus", "protocol", "valid", "seed", "fold", "n", "wa", "ua", "f1", "wer", "cer"),
    *("epoch", "commit", "config"),
)


def score(options: Options) -> None:
    """Score an experiment and write its tables."""
    table = options.table
    check(options, table)
    valid = options.chosen_valid()
    folds_folder = options.folds_folder(valid)
    runs = scored.decoded_runs(options.experiment_folder)
    if not runs:
        raise UserError(f"{options.experiment_folder} holds no predictions", "run stages 2 and 3 first")
    rows = [fold_row(options, run, valid) for run in runs]
    pooled = scored.pooled_predictions(runs, table)
    of_runs = pooled.groupby(["seed", "fold"])
    scores = [score_run(run, of_runs.get_group((scored.seed_of(run), run.name))) for run in runs]
    folds = pd.DataFrame([row | each for row, each in zip(rows, scores, strict=True)], columns=FOLD_COLUMNS)
    per_run = pd.DataFrame(scores)
    leaks = audit.read_leaks(folds_folder / "leaks.csv")
    known = sorted(markers.read(folds_folder / "folds.json")["facts"]["sizes"])
    values = hparams.plain_values((runs[0] / "hyperparams.yaml").read_text(encoding="utf-8"))
    corpus = options.corpus_facts
    results = Results(
        folds=folds,
        summary=summarise(folds, per_run, pooled, known, leaks, corpus.get("rejected", 0)),
        classes=metrics.classes(pooled),
        breakdown=breakdown(pooled),
        confusion=metrics.confusion(pooled),
        per_run=per_run,
        overlap=audit.describe(leaks, folds["fold"].unique()),
        warnings=warnings(pooled, scored.epochs(runs), values),
        untested=untested_label_notes(pooled),
    )
    text = render_results(options, command(), corpus, values, results)
    _write(options.experiment_folder, results, text)
    print(f"== stage 4: score {options.experiment_folder}\n\n{text}")


def fold_row(options: Options, run: Path, valid: str) -> dict:
    """What folds.csv says of a run besides its scores.

    Raises
    ------
    UserError
        Its predictions are of another test part than the fold has now, or of another training
        than stands there, or it was validated otherwise.
    """
    folds_folder = options.folds_folder(valid)
    decoding, training = markers.read(run / "decode.json"), markers.read(run / "train.json")
    test = folds_folder / run.name / "test.csv"
    if not test.exists() or decoding["inputs"]["test.csv"] != digest(test):
        raise UserError(
            f"{run} holds predictions of another test part than {test}",
            "run stages 2 and 3 again with --force true, or take another --name",
        )
    if decoding["inputs"]["training"] != digest(run / "train.json"):
        raise UserError(f"{run} was trained anew after its predictions were made", "run stage 3 again")
    if training["inputs"]["valid"] != valid:
        trained = training["inputs"]["valid"]
        raise UserError(f"{run} was trained with validation '{trained}', not '{valid}'", f"give --valid {trained}")
    for name in ("train.csv", "valid.csv"):
        part = folds_folder / run.name / name
        if training["inputs"].get(name) != (digest(part) if part.exists() else None):
            raise UserError(f"{run} was trained on another part than {part}", "take another --name, or --force true")
    environment = json.loads((run / "env.json").read_text(encoding="utf-8"))
    row = {"name": options.name, "corpus": options.corpus, "protocol": options.protocol_name, "valid": valid}
    row |= {"seed": scored.seed_of(run), "fold": run.name, "epoch": decoding["facts"]["epoch"]}
    return row | {"commit": environment["commit"], "config": training["facts"]["config"]}


def score_run(run: Path, predicted: pd.DataFrame) -> dict[str, float | int | None]:
    """Score the predictions of one run; write its scores.json, the classes and the confusion matrix with them."""
    found = metrics.scores(predicted)
    by_class = metrics.classes(predicted).set_index("label")
    by_class = by_class.astype(object).where(by_class.notna(), None)
    details = {"classes": by_class.to_dict("index"), "confusion": metrics.confusion(predicted).to_dict("index")}
    with atomic(run / "scores.json") as file:
        json.dump(found | details, file, indent=1)
    return found


def summarise(
    folds: pd.DataFrame,
    per_run: pd.DataFrame,
    pooled: pd.DataFrame,
    known: list[str],
    leaks: pd.DataFrame,
    rejected: int,
) -> pd.Series:
    """Make the row of summary.csv.

    Parameters
    ----------
    folds
        folds.csv, one row per fold and seed.
    per_run
        All scores of the same runs, in the same order.
    pooled
        The predictions behind them, with the columns of `local.scoring.scored.pooled_predictions`.
    known
        All folds of the protocol.
    leaks
        The audit of the folds.
    rejected
        Utterances of the corpus that were set aside as broken.

    Notes
    -----
    Pooled scores are over all predictions together (WA as the paper's: correct / n over all
    folds). `<score>_mean` and `_sd` are over folds, each the mean of its seeds;
    `<score>_seeds_mean` and `_sd` over seeds, each pooled over its folds. `_low` and `_high` are
    95 % intervals of the pooled scores, see `local.scoring.stats.intervals`, over so many `clusters`,
    each a `cluster`. `speaker_overlap` is the share of the tested utterances whose speaker trained.
    """
    row = {name: folds[name].iloc[0] for name in ("name", "corpus", "protocol", "valid")}
    row |= metrics.scores(pooled)
    of_run = per_run[list(SCORES)].astype(float)
    of_fold = of_run.groupby(folds["fold"]).mean()
    of_seed = pd.DataFrame([metrics.scores(some) for _, some in pooled.groupby("seed")])[list(SCORES)].astype(float)
    for suffix, figures in (("", of_fold), ("_seeds", of_seed)):
        for name in SCORES:
            row |= {f"{name}{suffix}_mean": figures[name].mean(), f"{name}{suffix}_sd": figures[name].std(ddof=1)}
    for name, (low, high) in stats.intervals(pooled).items():
        row |= {f"{name}_low": low, f"{name}_high": high}
    cluster, kind = stats.clusters(pooled)
    row |= {"cluster": kind, "clusters": cluster.nunique()}
    heard = leaks[(leaks["kind"] == "speaker") & (leaks["parts"] == "train-test")].set_index("fold")["share"]
    row["speaker_overlap"] = float((folds["fold"].map(heard).fillna(0) * folds["n"]).sum() / folds["n"].sum())
    # A fold is present when every seed has it.
    whole = int((folds.groupby("fold")["seed"].nunique() == folds["seed"].nunique()).sum())
    return pd.Series(row | {"seeds": folds["seed"].nunique(), "folds": f"{whole}/{len(known)}", "rejected": rejected})


def command() -> str:
    """The command line that the user typed, as run.sh tells it, or this module's own."""
    return os.environ.get("SER_MTL_COMMAND") or f"python -m local.score {shlex.join(sys.argv[1:])}"


def _write(folder: Path, results: Results, text: str) -> None:
    tables = {
        "folds.csv": results.folds,
        "summary.csv": results.summary.to_frame().T,
        "classes.csv": results.classes,
        "breakdown.csv": results.breakdown,
    }
    for name, table in tables.items():
        with atomic(folder / name) as file:
            table.to_csv(file, index=False, lineterminator="\n")
    with atomic(folder / "RESULTS.md") as file:
        file.write(text)


@as_command
def main() -> None:
    """Run stage 4."""
    score(parse())


if __name__ == "__main__":
    main()

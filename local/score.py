"""Stage 4: scores per fold and pooled, from predictions and manifests: no torch, no GPU, seconds.

    python -m local.score OPTIONS

scores every fold and seed that has been decoded under the experiment's name, whichever this run
asked for, and writes `scores.json` in each run folder and, beside the seeds, folds.csv, summary.csv,
classes.csv, breakdown.csv, RESULTS.md and RESULTS.json, and coefficients.csv of a merged encoder. Rates are
fractions; a WER may pass 1. Runs that were trained with different values are refused
(`local.scoring.provenance`).
"""

from __future__ import annotations

from local.core.errors import UserError, as_command
from local.experiment.borrowed import refuse_retrained
from local.experiment.command_line import parse
from local.experiment.folders import REFEREE
from local.experiment.options import Options, check

if __name__ == "__main__":
    as_command(parse)()  # --help and wrong options end here, before what takes seconds to load

from pathlib import Path
from typing import Any

import pandas as pd

from local.config import hparams
from local.core import markers, starts
from local.core.files import write_text
from local.core.tasks import emotions_trained
from local.corpora import manifest
from local.data import store
from local.pages import confidence
from local.pages.results import notes, untested_label_notes, write_results
from local.pages.tables import marks
from local.scoring import coefficients, diagnosis, last_epoch, layer_shares, predictions, provenance, scored, set_up
from local.scoring.summary import run_facts, summarise, uneven_seeds, write_scores
from local.splits import audit, protocols


def score(options: Options) -> None:
    """Score an experiment and write its tables."""
    check(options, options.table)
    valid, folder = options.chosen_valid(), options.experiment_folder
    folds_folder = options.folds_folder(valid)
    runs = scored.runs_with(folder, "decode.json")
    if (folder / REFEREE).exists() and not runs:
        raise UserError(
            f"{folder} was not trained here", "score it with python -m local.referee, or take another --name"
        )
    if not runs:
        raise UserError(f"{folder} holds no predictions", "run stages 2 and 3 first")
    about = {"name": options.name, "corpus": options.corpus, "protocol": options.protocol_name}
    about["valid"] = options.valid_name
    refuse_retrained(runs)
    rows = [about | run_facts(run, folds_folder, valid) for run in runs]
    provenance.refuse_mixed(runs)
    pooled = scored.pooled_predictions(runs, options.table)
    of_runs = pooled.groupby(["seed", "fold"])
    chosen = {run: of_runs.get_group((row["seed"], row["fold"])) for row, run in zip(rows, runs, strict=True)}
    for row, run in zip(rows, runs, strict=True):
        row |= write_scores(run, chosen[run])
    folds = pd.DataFrame(rows)
    leaks = audit.read_leaks(folds_folder / "leaks.csv")
    known = sorted(markers.read(folds_folder / "folds.json")["facts"]["sizes"])
    summary = summarise(folds, pooled, known, of_corpus(options, folds, leaks))
    values = hparams.plain_values((runs[0] / "hyperparams.yaml").read_text(encoding="utf-8"))
    last, of_last = last_epoch.of_runs(runs, chosen) if emotions_trained(values) else (None, {})
    if last is not None:
        folds, summary = folds.join(last), pd.Series({**summary, **of_last})
    of_validation = protocols.may_share_validation(options.chosen_protocol(), valid)
    trained = options.source.used if options.source else None
    overlap = audit.describe(leaks, folds["fold"].unique(), options.used, of_validation, trained)
    warnings = absent_seeds(options, folds) + uneven_seeds(folds) + provenance.warnings(runs)
    warnings += scale_warnings(options, pooled) + untested_label_notes(pooled) + store.remarks(options.corpus_folder)
    epochs = scored.epochs(runs)
    warnings += diagnosis.warnings(
        pooled, epochs, values, lambda fold: manifest.read(folds_folder / fold / "train.csv")["wrd"]
    )
    command, setup = starts.command_line(starts.command()), set_up.of_runs(runs, epochs)
    merged = coefficients.of_runs(runs)
    learned = layer_shares.in_words(layer_shares.of_runs(runs)) + coefficients.in_words(merged)
    learned += last_epoch.in_words(last, of_last)
    said = notes(options, command, setup, values, summary, overlap, warnings, learned)
    of_confidence = confidence.of_runs(runs, pooled, summary["valid"]) if emotions_trained(values) else None
    write_coefficients(folder / "coefficients.csv", merged)
    text = write_results(folder, said, folds, summary, pooled, epochs, of_confidence, marks(summary, values))
    print(f"== stage 4: score {folder}\n\n{text}")


def absent_seeds(options: Options, folds: pd.DataFrame) -> list[str]:
    """Warn of seeds that are asked for and of which nothing is decoded; `folds` is folds.csv."""
    absent = " ".join(str(seed) for seed in options.seeds if seed not in {*folds["seed"]})
    return [f"of this call's seeds nothing is decoded, and nothing is in these tables, of {absent}"] if absent else []


def scale_warnings(options: Options, pooled: pd.DataFrame) -> list[str]:
    """What stage 0 said of the ratings that heads learn, which several corpora give on scales of their own."""
    of_heads = tuple(f"{name}: " for name in predictions.task_names(pooled))
    return [line for line in options.corpus_facts.get("warnings", ()) if line.startswith(of_heads)]


def write_coefficients(path: Path, merged: pd.DataFrame) -> None:
    """Write the coefficients of merged encoders, or remove those of earlier runs."""
    if merged.empty:
        return path.unlink(missing_ok=True)
    write_text(path, merged.to_csv(index=False, lineterminator="\n"))


def of_corpus(options: Options, folds: pd.DataFrame, leaks: pd.DataFrame) -> dict[str, Any]:
    """What summary.csv says of the corpus; see `local.scoring.summary.summarise`."""
    speakers = options.used["spk_id"]
    return {
        "speaker_overlap": audit.speaker_overlap(leaks, folds.groupby("fold")["n"].sum().to_dict(), speakers),
        "speakers_known": manifest.filled(speakers),
        "rejected": options.corpus_facts.get("rejected", 0),
    }


@as_command
def main() -> None:
    """Run stage 4."""
    score(parse().tested())


if __name__ == "__main__":
    main()

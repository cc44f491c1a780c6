"""The results folder of a model that was not trained here, and what its pages say in words."""

from __future__ import annotations

from collections.abc import Iterable
from math import nan
from pathlib import Path

import pandas as pd

from local.core.errors import UserError
from local.core.files import write_text
from local.corpora import manifest
from local.experiment.options import Options
from local.pages.markdown import prose
from local.pages.pairs import render_pairs
from local.pages.results import WARNING, Notes, key_of, partial_note, title_of, untested_label_notes, write_results
from local.pages.tables import UNKNOWN_TRAINING, marks
from local.scoring.comparison import compare_pairs, mismatch_reason
from local.scoring.foreign import Foreign, of_foreign, write_runs
from local.scoring.foreign_labels import ModelLabels
from local.scoring.predictions import with_posteriors
from local.scoring.scored import NOT_TRAINED_HERE, Experiment, load, pooled_predictions
from local.scoring.summary import summarise
from local.splits import naming, protocols

NAMED = 5  # utterances in a fact
AGAINST = ("against.csv", "against_fair.csv")  # of all utterances; of those of the model's classes


def write_foreign(
    options: Options, found: Foreign, known: list[str], command: str, setup: list[tuple[str, str]], warnings: list[str]
) -> str:
    """Write the results folder as stages 3 and 4 would, missing.csv and rejected.csv; returns RESULTS.md.

    `known` are all folds of the protocol, `setup` says which files or model it is, `warnings` what is odd about it.
    """
    folder = options.experiment_folder
    about = {"name": options.name, "corpus": options.corpus, "protocol": options.protocol_name}
    folds = write_runs(folder, found, about | {"valid": NOT_TRAINED_HERE})
    runs = [folder / f"seed{row.seed}" / row.fold for row in folds.itertuples()]
    pooled = pooled_predictions(runs, options.table, may_lack=True)
    of_corpus = {"speaker_overlap": nan, "speakers_known": manifest.filled(options.used["spk_id"])}
    of_corpus["rejected"] = options.corpus_facts.get("rejected", 0)
    summary = summarise(folds, pooled, known, of_corpus | of_foreign(pooled, found.mapped))
    said = foreign_notes(options, found, summary, command, setup, warnings + untested_label_notes(pooled))
    text = write_results(folder, said, folds, summary, pooled, pd.DataFrame(), None, marks(summary))
    _write_or_remove(folder / "missing.csv", found.missing)
    rejected = [(fault.file, fault.line, fault.reason) for fault in found.matched.left_out]
    _write_or_remove(folder / "rejected.csv", pd.DataFrame(rejected, columns=["file", "line", "reason"]))
    return text


def _write_or_remove(path: Path, table: pd.DataFrame) -> None:
    if table.empty:
        path.unlink(missing_ok=True)
        return
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def foreign_notes(
    options: Options,
    found: Foreign,
    summary: pd.Series,
    command: str,
    setup: list[tuple[str, str]],
    warnings: Iterable[str],
) -> Notes:
    """Say what the results are of; `summary` is the row of summary.csv, the rest as of `write_foreign`."""
    corpus, protocol = options.corpus_facts, options.chosen_protocol()
    known = naming.describe(options.protocol_name, summary["speakers_known"], summary["speaker_overlap"])
    facts = [
        f"**{UNKNOWN_TRAINING[0].upper()}{UNKNOWN_TRAINING[1:]}.** It may have been trained on what is tested here.",
        *(f"{WARNING}{prose(warning)}." for warning in warnings),
        f"Corpus: {prose(corpus['source'])}.",
        *([f"Labels: {prose(corpus['labels'])}."] if "labels" in corpus else []),
        *partial_note(corpus["faults"], summary["rejected"]),
        f"Test sets: those of protocol `{options.protocol_name}`. Of models that are trained here: {known}.",
        *(f"Left out: {line}." for line in protocols.left_out(options.table, protocol, options.chosen_valid())),
        f"Folds present: {summary['folds']}.",
        *_coverage(summary, found),
        *_of_classes(summary, found.mapped),
    ]
    present, of = summary["folds"].split("/")
    if present != of:
        facts.append(f"**Means and pooled figures are over {summary['folds']} folds only.**")
    return Notes(title_of(options), command, facts, key_of(summary), setup)


def _coverage(summary: pd.Series, found: Foreign) -> list[str]:
    """Say how many of the tested utterances have a prediction, and what was left out of the predictions."""
    missing, matched = found.missing, found.matched
    n, lacking = summary["n"], summary["missing"]
    words = f"Coverage: {n - lacking} of {n} tested utterances have a prediction"
    if lacking:
        names = ", ".join(missing["ID"][:NAMED]) + (" ..." if lacking > NAMED else "")
        reasons = ", ".join(f"{prose(reason)} ({count})" for reason, count in missing["reason"].value_counts().items())
        words = f"**{words}; the other {lacking} count as errors**: {prose(names)}: {reasons}; see missing.csv"
    lines = [f"{words}."]
    predictions = pd.concat(found.tables.values())
    if 0 < (known := len(with_posteriors(predictions))) < len(predictions):
        lines.append(f"Calibration, ECE and Brier are of the {known} utterances with posteriors alone.")
    if count := len(matched.left_out):
        rows = f"{count} rows of the predictions were" if count > 1 else "A row of the predictions was"
        lines.append(f"**{rows} left out** (`--partial true`): see rejected.csv.")
    if matched.untested:
        lines.append(f"{matched.untested} predictions are of utterances of the corpus that no fold tests: not used.")
    return lines


def _of_classes(summary: pd.Series, mapped: ModelLabels) -> list[str]:
    """Say which classes the model lacks, or may lack, and which of its own the corpus lacks."""
    lines = []
    if lacking := mapped.lacking:
        lines.append(
            f"The model lacks {_named(lacking)}: pooled figures are of all utterances, among which those of these "
            f"classes are errors, and once more of the {summary.get('fair_n', 0)} of the other classes alone."
        )
    if never := mapped.unpredicted:
        lines.append(
            f"No prediction is {_named(never)}: whether the model has the class is not known without posteriors "
            "(`--labels FILE` with all of its labels says so), and figures are of all utterances."
        )
    if summary["outside"]:
        lines.append(
            f"{summary['outside']} predictions are of a class that the corpus lacks, and count as errors: "
            f"{prose(summary['outside_classes'])}."
        )
    return lines


def _named(labels: list[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def write_against(folder: Path, others: list[Experiment]) -> str:
    """Compare with other experiments: append to RESULTS.md and write against.csv; returns what was appended.

    Where the model lacks classes, they are compared once more on the utterances of the others: against_fair.csv.
    Without others, and without such classes, the tables of earlier predictions go.
    """
    for name in AGAINST:
        (folder / name).unlink(missing_ok=True)
    if not others:
        return ""
    own = load(folder)
    for other in others:
        if reason := mismatch_reason(other, own):
            raise UserError(f"these cannot be compared: {reason}", "give --folds, or score that experiment again")
    tables = [compare_pairs([(other, own) for other in others])]
    section = f"\n## Against other experiments\n\n{render_pairs(tables[0])}"
    if fair := own.summary.get("fair_classes"):
        some = own.of_classes(fair.split())
        pairs = compare_pairs([(other.of_classes(fair.split()), some) for other in others])
        tables.append(pairs)
        section += f"\nOf the utterances of its classes alone, {fair}:\n\n{render_pairs(pairs)}"
    path = folder / "RESULTS.md"
    write_text(path, path.read_text(encoding="utf-8") + section)
    for name, table in zip(AGAINST, tables, strict=False):
        write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))
    return section

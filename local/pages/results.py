"""RESULTS.md, and RESULTS.json, from which the report takes the same words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from local.core import markers
from local.core.counted import counted
from local.core.errors import UserError
from local.core.files import write_text
from local.core.tasks import UNTRAINED, UNTRAINED_TEXT, emotions_trained, transcripts_trained
from local.experiment.options import Options
from local.pages.confidence import Confidence
from local.pages.markdown import code, percent, prose
from local.pages.tables import (
    Table,
    breakdown_table,
    class_table,
    columns,
    interval_source,
    known_scores,
    name_solved,
    score_table,
    task_table,
)
from local.scoring import last_epoch, metrics, task_scores
from local.scoring.breakdown import breakdown
from local.scoring.predictions import is_class, labels
from local.scoring.set_up import COMMAND
from local.scoring.summary import FOLD_COLUMNS
from local.splits import extra, naming, protocols

HEADS_FILE = "heads.csv"  # beside the seeds, where there are further heads
MOST_FAULTS = 5
WARNING = "**Warning:** "
KEY = """\
In per cent, except the Brier score. WA: correct / n. UA: mean recall of the classes. F1: macro, and weighted by the
classes' frequency."""
KEY_OF_POSTERIORS = """\
ECE: expected calibration error of the likeliest class, 15 bins. Brier: squared distance of the posteriors from the
truth, 0 to 2."""
KEY_OF_TEXT = "WER, CER: all edits / all words, characters, of the utterances that have a transcript."


@dataclass(frozen=True)
class Notes:
    """What RESULTS.md and report.html say in words."""

    title: str  # plain text
    command: str  # that scored; plain text
    facts: list[str]  # what a reader must know, a line of Markdown each; warnings are bold at their beginning
    key: list[str]  # what the figures mean: lines of Markdown
    setup: list[tuple[str, str]] = field(default_factory=list)  # of `local.scoring.set_up`; plain text

    @property
    def box(self) -> list[tuple[str, str, bool]]:
        """The set-up: names and values, and whether a value is a command. Last the one that scored, if another."""
        trained = [(name, value, name == COMMAND) for name, value in self.setup]
        scored = [] if (COMMAND, self.command, True) in trained else [("scored by", self.command, True)]
        return trained + scored

    @property
    def warnings(self) -> list[str]:
        """The facts that warn, without the word."""
        return [fact.removeprefix(WARNING) for fact in self.facts if fact.startswith("**")]

    @property
    def protocol(self) -> list[str]:
        """The other facts."""
        return [fact for fact in self.facts if not fact.startswith("**")]

    def write(self, folder: Path) -> None:
        """Write RESULTS.json."""
        write_text(folder / "RESULTS.json", json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Notes:
        """Read RESULTS.json; a `UserError` if it is missing or damaged."""
        path = folder / "RESULTS.json"
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            return cls(**read | {"setup": [(name, value) for name, value in read.get("setup", [])]})
        except FileNotFoundError:
            raise UserError(f"{path} is missing", "run stage 4 (again, if an older version ran it)") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is damaged: {error}", "run stage 4 again") from None


def notes(
    options: Options,
    command: str,
    setup: list[tuple[str, str]],
    values: dict,
    summary: pd.Series,
    overlap: list[str],
    warnings: list[str],
    learned: Sequence[str] = (),
) -> Notes:
    """Say what the results are of.

    `command` is the one that scored; for `setup` see `local.scoring.set_up`. `values` are those of the
    experiment's YAML, `summary` is the row of summary.csv. For `overlap` see `local.splits.audit.describe`, for
    `warnings` `untested_label_notes`, `local.scoring.provenance.warnings` and `local.scoring.diagnosis.warnings`.
    `learned` are sentences on what the runs have learned.
    """
    corpus, valid = options.corpus_facts, summary["valid"]
    protocol = naming.describe(options.protocol_name, summary["speakers_known"], summary["speaker_overlap"])
    left_out = [] if options.source else protocols.left_out(options.table, options.chosen_protocol(), valid)
    of_protocol = f"Protocol `{options.protocol_name}`: {protocol}."
    facts = [
        f"Corpus: {prose(corpus['source'])}.",
        *([f"Labels: {prose(corpus['labels'])}."] if "labels" in corpus else []),
        *_shift_note(options),
        *partial_note(corpus["faults"], summary["rejected"]),
        of_protocol,
        *(f"Left out: {line}." for line in left_out),
        *(f"Overlap: {line}." for line in overlap),
        f"Validation `{valid}`: {naming.describe_valid(valid)}.",
        *_extra_note(options),
        f"Folds present: {summary['folds']}; seeds: {summary['seeds']}.",
    ]
    if naming.is_optimistic(options.protocol_name):  # a warning, before all else
        facts.insert(0, f"**{facts.pop(facts.index(of_protocol))}**")
    present, of = summary["folds"].split("/")
    if present != of:
        facts.append(f"**Means and pooled figures are over {summary['folds']} folds only.**")
    facts += [f"{prose(line)}." for line in learned]
    facts += untrained_notes(values)
    facts += [f"{WARNING}{prose(warning)}." for warning in warnings]
    return Notes(title_of(options), command, facts, key_of(summary), setup)


def untrained_notes(values: dict) -> list[str]:
    """Say which heads have a weight of 0; `values` are those of the YAML."""
    said = []
    if not emotions_trained(values):
        said.append(f"**{UNTRAINED}.**")
    if not transcripts_trained(values):
        said.append(f"{UNTRAINED_TEXT}.")
    if idle := [name for name, weight in (values.get("heads") or {}).items() if weight == 0]:
        said.append(f"Heads with a weight of 0 are not trained, so their figures mean nothing: {', '.join(idle)}.")
    return said


def title_of(options: Options) -> str:
    """The title of an experiment's pages."""
    return f"{options.name} on {options.corpus}, protocol {options.protocol_name}"


def key_of(summary: pd.Series) -> list[str]:
    """What the figures mean; `summary` is the row of summary.csv."""
    interval = "No interval: too few utterances were tested."
    if pd.notna(summary["wa_low"]):
        interval = f"Interval: bootstrap of the pooled figures, {interval_source(summary)}."
    of_posteriors = KEY_OF_POSTERIORS.splitlines() if known_scores(("ece",), summary) else []
    of_text = [KEY_OF_TEXT] if known_scores(("wer",), summary) else []
    return [*KEY.splitlines(), *of_posteriors, *of_text, interval]


def write_results(
    folder: Path,
    said: Notes,
    folds: pd.DataFrame,
    summary: pd.Series,
    pooled: pd.DataFrame,
    epochs: pd.DataFrame,
    confidence: Confidence | None,
    marked: Sequence[str],
) -> str:
    """Write the tables of stage 4 beside the seeds: folds, summary, classes, breakdown.csv, RESULTS.md and .json.

    And heads.csv (`local.scoring.task_scores.table`), where there are further heads; else that of earlier runs goes.

    `folds` is folds.csv with all scores, `summary` the row of summary.csv, `pooled` the predictions behind them,
    `epochs` are those of all runs, `confidence` is None for a model that was not trained here, or whose emotion head
    was not, and `marked` are the sentences on every table of emotions (`local.pages.tables.marks`). Returns RESULTS.md.
    """
    classes, groups = metrics.classes(pooled), breakdown(pooled)
    of_groups, heads = breakdown_table(groups), task_scores.table(pooled)
    text = render_results(
        said,
        score_table(name_solved(folds, epochs), summary).noted(marked),
        class_table(classes, metrics.confusion(pooled)).noted(marked),
        of_groups.noted(marked if of_groups.rows else []),
        confidence,
        task_table(heads),
    )
    of_folds = [*FOLD_COLUMNS, *(name for name in last_epoch.COLUMNS if name in folds)]
    tables = {"folds.csv": folds[of_folds], "summary.csv": summary.to_frame().T}
    tables |= {"classes.csv": classes, "breakdown.csv": groups} | ({} if heads.empty else {HEADS_FILE: heads})
    if heads.empty:
        (folder / HEADS_FILE).unlink(missing_ok=True)
    for name, table in tables.items():
        write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))
    said.write(folder)
    write_text(folder / "RESULTS.md", text)
    return text


def _shift_note(options: Options) -> list[str]:
    """Say how often each class occurs in the corpus that was trained on, and in the one that is tested."""
    if not options.source:
        return []
    shares = []
    for each in (options.source, options):
        counts = each.table["emo"].value_counts(normalize=True).sort_index()
        shares.append(f"{each.corpus} " + ", ".join(f"{label} {percent(share)}" for label, share in counts.items()))
    return [f"Class shares, per cent: {prose('; '.join(shares))}. A model learns those of its training."]


def _extra_note(options: Options) -> list[str]:
    """Say how many utterances without an emotion the training sets have, and what that does to the losses."""
    if not options.extra_training:
        return []
    sizes = markers.read(options.folds_folder(options.chosen_valid()) / "folds.json")["facts"]["sizes"]
    numbers = extra.describe({fold: of_fold[extra.SIZE] for fold, of_fold in sizes.items()})
    what = naming.EXTRA_WORDS[options.extra_training]
    trained, without = (sum(of_fold[name] for of_fold in sizes.values()) for name in ("train", extra.SIZE))
    return [
        f"Extra training `{options.extra_training}`: {what}; here {numbers} in a fold's training set.",
        f"So {percent(1 - without / trained)} per cent of the utterances that train have an emotion. Cross-entropy, a "
        "mean over all, is scaled by this share: alpha and the weights of heads act as if divided by it, and "
        "`train_ce` is not comparable with `valid_ce`.",
    ]


def render_results(
    said: Notes,
    scores: Table,
    classes: Table,
    breakdown: Table,
    confidence: Confidence | None,
    heads: Table,
) -> str:
    """RESULTS.md."""
    box = [[name, code(value) if is_command else value] for name, value, is_command in said.box]
    sections = [
        [f"# {said.title}", "", *Table("", columns(["set-up", ""], []), box).markdown()],
        [f"- {fact}" for fact in said.facts],
        scores.markdown(),
        said.key,
        ["## Further heads", "", *heads.markdown()] if heads.rows else [],
        ["## Classes", "", *classes.markdown()],
        ["## Breakdown", "", *breakdown.markdown()] if breakdown.rows or breakdown.notes else [],
        ["## Confidence", "", *confidence.markdown()] if confidence else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def untested_label_notes(pooled: pd.DataFrame) -> list[str]:
    """Say in one sentence which emotions some folds do not test, for these folds' UA leaves them out.

    `pooled` holds the predictions, with `fold`.
    """
    folds = pooled.groupby("emo")["fold"].nunique().reindex([*filter(is_class, labels(pooled))], fill_value=0)
    of = pooled["fold"].nunique()
    few = [f"`{label}` in {n}" for label, n in folds.items() if n < of]
    if not few:
        return []
    return [
        f"of {of} folds, not all test every emotion: {', '.join(few)}; the UA of a fold is over those that it tests"
    ]


def partial_note(faults: list[str], rejected: int) -> list[str]:
    """Say that the corpus was not whole, if so, how many utterances it lacks, and what is wrong with it."""
    if not faults:
        return []
    some = "; ".join(map(prose, faults[:MOST_FAULTS])) + (" ..." if len(faults) > MOST_FAULTS else "")
    return [
        f"**The corpus was partial:** {counted(rejected, 'utterance')} rejected, see its `rejected.csv`. Faults: {some}"
    ]

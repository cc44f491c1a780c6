"""RESULTS.md, and RESULTS.json, from which the report takes the same words."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from local.core.errors import UserError
from local.core.files import atomic
from local.experiment.options import Options
from local.pages.markdown import prose
from local.pages.tables import Table, interval_source, known_scores
from local.scoring.predictions import labels
from local.splits import protocols

MOST_FAULTS = 5
KEY = """\
In per cent, except the Brier score. WA: correct / n. UA: mean recall of the classes. F1: macro, and weighted by the
classes' frequency. ECE: expected calibration error of the likeliest class, 15 bins. Brier: squared distance of the
posteriors from the truth, 0 to 2."""
KEY_OF_TEXT = "WER, CER: all edits / all words, characters, of the utterances that have a transcript."


@dataclass(frozen=True)
class Notes:
    """What RESULTS.md and report.html say in words."""

    title: str  # plain text
    command: str  # plain text
    facts: list[str]  # what a reader must know before the figures, a line of Markdown each
    key: list[str]  # what the figures mean: lines of Markdown

    def write(self, folder: Path) -> None:
        """Write RESULTS.json."""
        with atomic(folder / "RESULTS.json") as file:
            json.dump(asdict(self), file, indent=1, ensure_ascii=False)
            file.write("\n")

    @classmethod
    def read(cls, folder: Path) -> Notes:
        """Read RESULTS.json; a `UserError` if it is missing or damaged."""
        path = folder / "RESULTS.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise UserError(f"{path} is missing", "run stage 4 (again, if an older version ran it)") from None
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged: {error}", "run stage 4 again") from None


def notes(
    options: Options, command: str, values: dict, summary: pd.Series, overlap: list[str], warnings: list[str]
) -> Notes:
    """Say what the results are of.

    `values` are those of the experiment's YAML, `summary` is the row of summary.csv. For `overlap` see
    `local.splits.audit.describe`, for `warnings` `untested_label_notes`, `local.scoring.provenance.warnings` and
    `local.scoring.diagnosis.warnings`.
    """
    corpus, valid = options.corpus_facts, summary["valid"]
    protocol = protocols.describe(options.protocol_name, summary["speakers_known"], summary["speaker_overlap"])
    facts = [
        f"Corpus: {prose(corpus['source'])}.",
        *_partial_note(corpus["faults"], summary["rejected"]),
        f"Protocol `{options.protocol_name}`: {protocol}.",
        *(f"Overlap: {line}." for line in overlap),
        f"Validation `{valid}`: {protocols.VALID_WORDS[valid]}; the test set plays no role in it.",
        f"Folds present: {summary['folds']}; seeds: {summary['seeds']}.",
    ]
    present, of = summary["folds"].split("/")
    if present != of:
        facts.append(f"**Means and pooled figures are over {summary['folds']} folds only.**")
    if values.get("alpha") == 0:
        facts.append("alpha is 0: the CTC head is not trained, so its WER and CER mean nothing.")
    facts += [f"**Warning:** {prose(warning)}." for warning in warnings]
    interval = "No interval: too few utterances were tested."
    if pd.notna(summary["wa_low"]):
        interval = f"Interval: bootstrap of the pooled figures, {interval_source(summary)}."
    title = f"{options.name} on {options.corpus}, protocol {options.protocol_name}"
    of_text = [KEY_OF_TEXT] if known_scores(("wer",), summary) else []
    return Notes(title, command, facts, [*KEY.splitlines(), *of_text, interval])


def render_results(said: Notes, scores: Table, classes: Table, breakdown: Table) -> str:
    """RESULTS.md."""
    sections = [
        [f"# {said.title}", "", f"    {said.command}"],
        [f"- {fact}" for fact in said.facts],
        scores.markdown(),
        said.key,
        ["## Classes", "", *classes.markdown()],
        ["## Breakdown", "", *breakdown.markdown()] if breakdown.rows or breakdown.notes else [],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def untested_label_notes(pooled: pd.DataFrame) -> list[str]:
    """Say which emotions some folds do not test, for these folds' UA leaves them out.

    `pooled` holds the predictions, with `fold`.
    """
    folds = pooled.groupby("emo")["fold"].nunique().reindex(labels(pooled), fill_value=0)
    of = pooled["fold"].nunique()
    return [
        f"`{label}` is tested in {n} of {of} folds; the UA of a fold is over the emotions that it tests"
        for label, n in folds.items()
        if n < of
    ]


def _partial_note(faults: list[str], rejected: int) -> list[str]:
    """Say that the corpus was not whole, if so, how many utterances it lacks, and what is wrong with it."""
    if not faults:
        return []
    some = "; ".join(map(prose, faults[:MOST_FAULTS])) + (" ..." if len(faults) > MOST_FAULTS else "")
    return [f"**The corpus was partial:** {rejected} utterances rejected, see its `rejected.csv`. Faults: {some}"]

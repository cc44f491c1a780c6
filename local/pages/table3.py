"""Table 3 with all its systems on the same folds: a row for each, the paper's printed figure and ours.

The rows are those of `paper.yaml`, each the name of a YAML; one without an experiment is listed as not run yet, and an
experiment of another YAML has a row of its own. Below a row are its further lines, the same system in another setting,
perhaps of other folds or another corpus: what is said of the table as a whole is not said of them. The printed figures
are of other folds and of several measures: ours are compared with each other only, each with those of our row, the
multi-task system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from local.core.counted import counted
from local.pages import plots
from local.pages.markdown import difference, inline, p_value, percent, prose
from local.pages.paper import PAPER, differences
from local.pages.tables import Table, columns, interval, interval_source
from local.pages.templates import load_template
from local.scoring import comparison, set_up
from local.scoring.scored import Experiment
from local.splits import naming

ROWS = {row["row"]: row for row in (*PAPER["table3"], *PAPER["beside"])}
OURS = "mtl_wav2vec2"
SCORES = {"wa": "WA", "ua": "UA", "wf1": "weighted F1"}
COMPARED = ("wa", "ua")
LAST = "UA of the last epoch"  # a column, and the note on it, where the last epoch of any row was asked for
KIND, FLOOR = "what it is", "floor"
HEADS = [
    *columns(["system", KIND, "weights"], ["printed"]),
    *columns(["printed: measure, protocol"], [*SCORES.values(), LAST]),
    *columns([], [head for score in COMPARED for head in (f"{SCORES[score]} less ours", f"p of {SCORES[score]}")]),
    *columns([], ["parameters"]),
    *columns(["training time", "epochs", "folds"], ["seeds"]),
    ("experiment", False),
]
NOT_RUN = "not run yet"
ON_LAST = (
    f"{LAST}: reported and nothing else; all other figures are of the chosen epoch. A dash: the row has no epochs, or "
    "ends in closed form, which is solved from the chosen epoch, or not every run is decoded with its last epoch."
)
TIME = (
    "Training time is that of the epochs. What is computed once for all folds and seeds is not in it: the rows of a "
    "front end, the output of what is frozen of an encoder."
)
# What must be equal for a difference to mean anything; other seeds are said, as figures are over all seeds of a row.
CONDITIONS: dict[str, Callable[[Experiment], str]] = {
    "corpus": lambda one: one.corpus,
    "protocol": lambda one: one.protocol,
    "validation": lambda one: one.valid,
    "folds": lambda one: " ".join(sorted(one.folds["fold"].unique())),
    "seeds": lambda one: " ".join(map(str, sorted(one.folds["seed"].unique()))),
}


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    row: str  # the name of its YAML
    label: str
    key: str = ""  # of a further line its name after that of its row
    further: str = ""  # and what is different in it
    experiment: Experiment | None = None  # None: not run yet
    facts: dict[str, str] = field(default_factory=dict)  # `Experiment.about`, and of `local.scoring.set_up`


@dataclass(frozen=True)
class AllRows:
    """The table, what must be known to read it, and what its picture shows."""

    title: str
    table: Table
    warnings: list[str]  # lines of Markdown, as are the notes
    notes: list[str]
    scores: pd.DataFrame  # `label` and the columns of summary.csv, for each row that was run

    def markdown(self, command: str) -> str:
        """The page in Markdown, with the command that made it."""
        said = [*(f"**Warning:** {warning}" for warning in self.warnings), *self.notes]
        lines = [f"# {self.title}", "", f"    {command}", "", *self.table.markdown(), ""]
        return "\n".join([*lines, *(f"- {line}" for line in said)]) + "\n"

    def page(self, command: str) -> str:
        """The page in HTML, which needs no other file."""
        template = load_template(Path(__file__).with_name("table3.html.j2"), {"inline": inline}, autoescape=True)
        picture = Markup(plots.row_intervals("rows", self.scores)) if len(self.scores) else ""
        return template.render(rows=self, title=self.title, command=command, picture=picture)


def all_rows(experiments: list[Experiment], remarks: Iterable[str] = (), valid: str = "") -> AllRows:
    """Make the table of all rows; `remarks` are sentences of the caller's, as on rows that were skipped.

    `valid` is the validation that was asked for: rows that were run with another before are named.
    """
    lines = _lines(experiments)
    run = [line for line in lines if line.experiment]
    ours = next((line for line in run if line.row == OURS), None)
    of_table = [line for line in run if not line.further] or run
    others = [line for line in run if line is not ours]
    reasons = {line.experiment.folder: _mismatch(ours, line.experiment) for line in others}
    compared = [line.experiment for line in others if not reasons[line.experiment.folder]]
    pairs = comparison.compare_pairs([(ours.experiment, other) for other in compared]).to_dict("records")
    by_folder = dict(zip((other.folder for other in compared), pairs, strict=True))
    printed = {line.experiment.corpus for line in of_table} <= {"iemocap"}
    rows = [_printed(line, printed) | _ours(line, line is ours, by_folder) for line in lines]
    caption = "Table 3, every system on the same folds: in per cent, with 95 % intervals; differences in points."
    heads = HEADS if _has_last(run) else [head for head in HEADS if head[0] != LAST]
    table = Table(caption, heads, [[row.get(head, "–") for head, _ in heads] for row in rows])
    notes = _notes(lines, ours, printed, len(pairs))
    notes += [] if ours else ["No row is compared with ours, which is not run yet."]
    notes += [
        f"{prose(line.label)} is not compared with our row: {prose(reasons[line.experiment.folder])}."
        for line in others
        if ours and reasons[line.experiment.folder]
    ]
    above = {line.row for line in run if not line.further}  # below which a line needs no system
    pictured = [{"label": f"– {line.further}" if line.further and line.row in above else line.label} for line in run]
    scores = pd.DataFrame([label | {**line.experiment.summary} for label, line in zip(pictured, run, strict=True)])
    warnings = _warnings(run, of_table) + _of_other_validation(of_table, valid)
    return AllRows(_title(of_table), table, warnings, [*notes, *map(prose, remarks)], scores)


def row_of(experiment: Experiment) -> str:
    """The row that an experiment is of: the name of its YAML; ours also for another YAML with the weight `alpha`."""
    names = {Path(config).stem for config in experiment.folds.get("config", ())}
    if len(names) == 1 and names <= ROWS.keys():
        return names.pop()
    return OURS if "alpha" in experiment.values else experiment.name


def _lines(experiments: list[Experiment]) -> list[Line]:
    """The rows in order: those of the paper, those that we add, others; each with its further lines below it.

    Of a row, or of one of its lines, several experiments one by one.
    """
    found: dict[str, dict[str, list[Experiment]]] = {
        row: {line: [] for line in ("", *facts.get("further", ()))} for row, facts in ROWS.items()
    }
    for experiment in experiments:
        row = row_of(experiment)
        of_row, line = found.setdefault(row, {"": []}), experiment.name.rpartition(f"{row}-")[2]
        of_row[line if line in of_row else ""].append(experiment)
    of_table = {one.protocol for of_row in found.values() for one in of_row[""]}
    lines = []
    for row, of_row in found.items():
        lines += [] if of_row[""] else [Line(row, _known(row))]
        for line, several in of_row.items():
            lines += [_line(row, line, one, one.name if len(several) > 1 else "", of_table) for one in several]
    return lines


def _known(row: str) -> str:
    facts = ROWS.get(row, {})
    return facts.get("here") or facts.get("system", row)


def _line(row: str, line: str, one: Experiment, name: str, of_table: set[str]) -> Line:
    """A row, or its further `line`: with a name where there are several, and its protocol if that is optimistic alone.

    `of_table` are the protocols of the rows.
    """
    facts = {key: str(value) for key, value in one.about.items()} | dict(set_up.of_runs(one.runs, one.epochs))
    label, named = facts["title"] or _known(row), f" ({name})" if name else ""
    if not line:
        return Line(row, label + named, experiment=one, facts=facts)
    marked = naming.is_optimistic(one.protocol) and one.protocol not in of_table
    further = ROWS[row]["further"][line] + (f"; {one.protocol}" if marked else "") + named
    return Line(row, f"{label.partition(':')[0]}: {further}", line, further, one, facts)


def _printed(line: Line, printed: bool) -> dict[str, object]:
    """The paper's cells of a row, by head; empty where it has no such row, or the corpus is another."""
    facts = ROWS.get(line.row, {})
    accuracy = facts.get("ablation", {}).get(line.key) if line.key else facts.get("accuracy")
    if not printed or accuracy is None:
        return {"system": line.label, "printed": "", "printed: measure, protocol": ""}
    words = f"{facts['measure']}; {facts['protocol']}"
    return {"system": line.label, "printed": percent(accuracy), "printed: measure, protocol": words}


def _ours(line: Line, is_ours: bool, pairs: dict[Path, dict[str, Any]]) -> dict[str, object]:
    """Our cells of a row, by head; `pairs` are the comparisons with our row."""
    if line.experiment is None:
        return {KIND: NOT_RUN}
    summary, facts, known = line.experiment.summary, line.facts, ROWS.get(line.row, {})
    kind, certainty = known.get("kind", "re-implementation"), facts["certainty"] or known.get("certainty")
    row = {KIND: kind if kind == FLOOR else f"{kind} (spec: {certainty})"} if certainty else {}
    row["weights"] = facts["weights"] or facts.get("encoder", "–")
    row |= {head: f"{percent(summary.get(score))} ({interval(summary, score)})" for score, head in SCORES.items()}
    row[LAST] = percent(summary.get("last_ua"))
    pair = pairs.get(line.experiment.folder)
    for score in COMPARED if pair else ():
        row[f"{SCORES[score]} less ours"] = difference(pair, score)
        row[f"p of {SCORES[score]}"] = p_value(pair[f"p_{score}_holm"])
    row |= {f"{SCORES[score]} less ours": "ours" for score in COMPARED if is_ours}
    row |= {head: facts[name] for head, name in (("training time", "time"), ("epochs", "epochs")) if name in facts}
    row |= {"parameters": facts["parameters"] or "–", "folds": summary["folds"], "seeds": summary["seeds"]}
    return row | {"experiment": line.experiment.name}


def _mismatch(ours: Line | None, other: Experiment) -> str:
    """Why an experiment is not compared with our row; empty if it is."""
    if ours is None:
        return "our row is not run yet"
    for what, of in CONDITIONS.items():
        here, there = of(ours.experiment), of(other)
        if here != there and what != "seeds":
            return f"{what} {there}, and our row {here}"
    return comparison.mismatch_reason(ours.experiment, other)


def _title(run: list[Line]) -> str:
    """Which corpus and protocol the table is of."""
    if not run:
        return "Table 3: every system on the same folds"
    shown = (dict.fromkeys(CONDITIONS[what](line.experiment) for line in run) for what in ("corpus", "protocol"))
    return "Table 3 on {}, protocol {}".format(*map(" and ".join, shown))


def _conditions(run: list[Line]) -> list[str]:
    """Say what each protocol tests, and what chooses the epoch."""
    first = {(line.experiment.protocol, line.experiment.valid): line.experiment.summary for line in reversed(run)}
    return [
        f"Protocol `{name}`: {naming.describe(name, summary['speakers_known'], summary['speaker_overlap'])}. "
        f"Validation `{valid}`: {naming.describe_valid(valid)}."
        for (name, valid), summary in reversed(first.items())
    ]


def _warnings(run: list[Line], of_table: list[Line]) -> list[str]:
    """What makes the figures less than they seem: optimism, folds that are missing; conditions that differ by row."""
    found = [line for line in _conditions(run) if "OPTIMISTIC" in line]
    for what, of in CONDITIONS.items():
        labels: dict[str, list[str]] = {}
        for line in of_table:
            labels.setdefault(of(line.experiment), []).append(line.label)
        if len(labels) > 1:
            *few, (most, others) = sorted(labels.items(), key=lambda one: len(one[1]))
            parts = [f"{value} for {_listed(some)}" for value, some in few]
            parts.append(f"{most} for {others[0] if len(others) == 1 else f'the other {len(others)}'}")
            found.append(f"The rows differ in their {what}: {prose('; '.join(parts))}.")
    found += map(prose, comparison.other_audio(line.experiment for line in of_table))
    partial = dict.fromkeys(folds for folds in (line.experiment.summary["folds"] for line in run) if _is_part(folds))
    return found + ([f"Figures are over {_listed([*partial])} folds only."] if partial else [])


def _of_other_validation(of_table: list[Line], valid: str) -> list[str]:
    """Name the rows of another validation than that which was asked for, if one was."""
    others = [line for line in of_table if valid and line.experiment.valid != naming.valid_name(valid)]
    if not others:
        return []
    named = prose(_listed([f"{line.label} ({line.experiment.valid})" for line in others]))
    return [f"Asked for was validation `{valid}`, and some rows are of earlier runs with another: {named}."]


def _is_part(folds: str) -> bool:
    present, of = folds.split("/")
    return present != of


def _notes(lines: list[Line], ours: Line | None, printed: bool, n_pairs: int) -> list[str]:
    """Sentences on what the columns hold, and which rows are missing."""
    run = [line for line in lines if line.experiment]
    notes = [line for line in _conditions(run) if "OPTIMISTIC" not in line]
    if printed:
        notes += map(prose, PAPER["notes"]["table3_all"])
    else:
        notes.append("The printed figures are of IEMOCAP, and this is another corpus: their column is empty.")
    summaries = [line.experiment.summary for line in run]
    sources = dict.fromkeys(interval_source(summary) for summary in summaries if pd.notna(summary["wa_low"]))
    notes += [f"Intervals: bootstrap of the pooled figures, {source}." for source in sources]
    notes += [ON_LAST] if _has_last(run) else []
    if n_pairs:
        of = counted(n_pairs, "row")
        notes.append(f"Less ours: the row less our row, by a paired bootstrap; p after Holm's correction for {of}.")
    notes += map(prose, PAPER["notes"]["re_implementations"])
    if any("time" in line.facts for line in run):
        notes.append(TIME)
    if ours and printed and (differing := differences(ours.experiment.values)):
        notes.append(f"Our row differs from the paper in: {prose(', '.join(differing))}.")
    missing = [line.label for line in lines if line.experiment is None]
    return notes + ([f"Not run yet: {prose('; '.join(missing))}."] if missing else [])


def _has_last(run: list[Line]) -> bool:
    return any("last_ua" in line.experiment.summary for line in run)


def _listed(labels: list[str]) -> str:
    *first, last = labels
    return f"{', '.join(first)} and {last}" if first else last

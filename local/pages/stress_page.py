"""stress.html, STRESS.md and the CSV files beside them: an experiment under distortion."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from local.core.conditions import CLEAN, CONDITIONS, Case
from local.core.errors import UserError
from local.core.files import write_text
from local.core.tasks import UNTRAINED, UNTRAINED_TEXT
from local.pages import plots
from local.pages.markdown import HEADS, inline, percent, prose
from local.pages.report import Card
from local.pages.stress_plots import curve, curve_rows
from local.pages.stress_tables import clean_gap_table, curve_table, gap_table, inaudible_table
from local.pages.tables import Table, interval, interval_source, known_scores
from local.pages.templates import load_template
from local.scoring import metrics, stats, stressed
from local.scoring.gaps import LONG_LESS_SHORT, SPREAD, WOMEN_LESS_MEN, gaps
from local.scoring.scored import Experiment
from local.scoring.stress_scores import SCORES, inaudible_changes, stress_scores

ACTIVE = (
    "SNR: the power of the active frames (of 20 ms, within 40 dB of the loudest) over that of the noise. Noise and "
    "rooms are drawn by the utterance's ID, the condition and the strength."
)
GROUPS = {
    WOMEN_LESS_MEN: "Women less men: the difference of the two scores.",
    LONG_LESS_SHORT: "Long less short: the difference of the two scores.",
    SPREAD: "Spread of speakers: the standard deviation between their accuracies, less what chance gives.",
}
OTHER_SCORES = "Groups differ in their emotions too: `stress_gaps.csv` has the other scores."
OF_TEXT = ["wrd_hyp", *metrics.EDITS]  # columns of a table of a case


@dataclass(frozen=True)
class StressPage:
    """What stage 7 says of an experiment: `scores` and `gaps` as tables of figures, `notes` and `warnings` as lines."""

    title: str
    scores: pd.DataFrame
    inaudible: pd.DataFrame
    gaps: pd.DataFrame
    warnings: list[str]
    notes: list[str]

    @property
    def tables(self) -> dict[str, tuple[str, Table]]:
        """Those that have rows, by the name of their section, with its heading."""
        tables = {
            "inaudible": ("Inaudible changes", inaudible_table(self.inaudible)),
            "scores": ("Scores", curve_table(self.scores)),
            "gaps": ("Gaps between groups", clean_gap_table(self.gaps)),
            "moved": ("Gaps under distortion", gap_table(self.gaps)),
        }
        return {name: (head, table) for name, (head, table) in tables.items() if table.rows}

    def markdown(self, command: str) -> str:
        """STRESS.md."""
        lines = [f"# {prose(self.title)}", "", f"    {command}", ""]
        lines += [f"- {line}" for line in (*(f"**Warning:** {each}" for each in self.warnings), *self.notes)]
        for head, table in self.tables.values():
            lines += ["", f"## {head}", "", *table.markdown()]
        return "\n".join(lines) + "\n"

    def html(self, command: str, report: str) -> str:
        """stress.html; `report` is the report to link to, or empty."""
        template = load_template(Path(__file__).with_name("stress.html.j2"), {"inline": inline}, autoescape=True)
        drawn = {name: curve_rows(name, self.scores) for name in CONDITIONS}
        curves = {CONDITIONS[name]: Markup(curve(name, rows)) for name, rows in drawn.items() if len(rows)}
        overview = Markup(plots.row_intervals("overview", self.worst()))
        return template.render(
            page=self, title=self.title, command=command, report=report, curves=curves, overview=overview
        )

    def worst(self) -> pd.DataFrame:
        """Clean audio, and of each condition the case of the lowest WA, with a `label`."""
        of_curves = [rows[rows["tick"] != "clean"] for rows in (curve_rows(name, self.scores) for name in CONDITIONS)]
        worst = [rows.loc[rows["wa"].idxmin()] for rows in of_curves if len(rows)]
        clean = self.scores[self.scores["condition"] == CLEAN.condition].iloc[0]
        rows = pd.DataFrame([clean, *worst]).infer_objects()
        return rows.assign(label=[Case(*each).title for each in zip(rows["condition"], rows["strength"], strict=True)])

    @property
    def cards(self) -> list[Card]:
        """The scores of clean audio, each beside its worst in any case, and the answers that change unheard."""
        clean, cards = self.scores[self.scores["condition"] == CLEAN.condition].iloc[0], []
        for score in known_scores(SCORES, self.scores):
            worst = self.scores.loc[self.scores[score].idxmax() if score == "wer" else self.scores[score].idxmin()]
            beside = f"{'highest' if score == 'wer' else 'lowest'} {percent(worst[score])}"
            cards.append(Card(HEADS[score], percent(clean[score]), interval(clean, score), beside))
        if len(self.inaudible):
            last = self.inaudible.iloc[-1]
            cards.append(Card("changed", percent(last["changed"]), interval(last, "changed"), "inaudible changes"))
        return cards


def stress_page(own: Experiment) -> StressPage:
    """What stage 7 says of an experiment; a `UserError` where no run of it has been tested under distortion."""
    runs = stressed.stressed_runs(own.runs)
    if not runs:
        raise UserError(f"{own.folder}: no run has been tested under distortion", "run stage 7 for it first")
    names = {(stressed.seed_of(run), run.name) for run in runs}
    keys = zip(own.predictions["seed"], own.predictions["fold"], strict=True)
    pooled = own.predictions[[key in names for key in keys]].reset_index(drop=True)
    cases = stressed.pooled_cases(runs, pooled)
    if not own.transcripts_trained:  # as of a system that writes no text
        cases = {case: table.drop(columns=OF_TEXT, errors="ignore") for case, table in cases.items()}
    title = f"{own.name} on {own.corpus}, protocol {own.protocol}: under distortion"
    of_groups = gaps(cases)
    warnings, notes = _warnings(own, runs, cases, pooled), _notes(cases, {*of_groups["by"]})
    notes += [] if own.transcripts_trained else [f"{UNTRAINED_TEXT}, and are left out."]
    return StressPage(title, stress_scores(cases), inaudible_changes(cases), of_groups, warnings, notes)


def _warnings(own: Experiment, runs: list[Path], cases: dict[Case, pd.DataFrame], pooled: pd.DataFrame) -> list[str]:
    """What makes the figures less than they seem."""
    facts = [stressed.facts(run) for run in runs]
    found = [] if own.emotions_trained else [f"{UNTRAINED}."]
    if len(runs) < len(own.runs):
        found.append(f"{len(runs)} of the {len(own.runs)} runs are here: the others have not been through stage 7.")
    left = {name: reason for each in facts for name, reason in each["left_out"].items()}
    found += [f"`{name}` is left out: {prose(reason)}." for name, reason in left.items()]
    some = {label for each in facts for label in each["cases"]} - {case.label for case in cases}
    if some:
        found.append(f"Of some runs only, and not shown: {', '.join(f'`{label}`' for label in sorted(some))}.")
    cut = max((n for each in facts for n in each["cut"].values()), default=0)
    if cut:
        found.append(
            f"The system reads no utterance of any length: in some cases the end of up to {cut} of a run is cut off."
        )
    other = int((cases[CLEAN]["emo_hyp"].to_numpy() != pooled["emo_hyp"].to_numpy()).sum())
    if other:
        found.append(
            f"{other} of {len(pooled)} clean answers are others than in stage 3: features that a training stores are "
            "rounded, and devices and batches differ in the last digits."
        )
    return found


def _notes(cases: dict[Case, pd.DataFrame], kinds: Collection[str]) -> list[str]:
    """Sentences on what was done, and what the figures are; `kinds` are the kinds of gaps that are shown."""
    clean = cases[CLEAN]
    cluster, kind = stats.clusters(clean)
    tested = {case.condition for case in cases}
    what = [
        f"{known.title[0].upper()}{known.title[1:]} ({known.unit}): {known.what}."
        for name, known in CONDITIONS.items()
        if name in tested
    ]
    source = interval_source({"cluster": kind, "clusters": cluster.nunique()})
    bootstrap = f"Intervals and p: paired bootstrap, {source}. p after Holm's correction over the cases of a column."
    of_kinds = [said for kind, said in GROUPS.items() if kind in kinds]
    of_groups = [" ".join([*of_kinds, OTHER_SCORES])] if of_kinds else []
    return [*map(prose, (*what, ACTIVE, bootstrap, *of_groups))]


def write_stress_page(own: Experiment, command: str) -> Path:
    """Write the page, its Markdown and its figures into the folder of an experiment; returns the path of the page."""
    page, report = stress_page(own), own.folder / "report.html"
    for name, table in (("stress_scores.csv", page.scores), ("stress_gaps.csv", page.gaps)):
        write_text(own.folder / name, table.to_csv(index=False, lineterminator="\n"))
    texts = {"STRESS.md": page.markdown(command), "stress.html": page.html(command, "report.html" * report.exists())}
    for name, text in texts.items():
        write_text(own.folder / name, text)
    return own.folder / "stress.html"

"""What RESULTS.md and the report say of confidence: temperatures, calibration, and answers that are held back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from local.core import markers
from local.pages.markdown import percent, signed, span
from local.pages.tables import Table, columns
from local.scoring import calibration
from local.scoring.calibration import Temperature
from local.scoring.predictions import POSTERIOR, labels
from local.scoring.scored import seed_of
from local.splits import naming, protocols

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
RAW, SCALED = "as trained", "with temperature"
HEADS = ["ECE", "95 % interval", "NLL", "Brier", "AURC"]
KEY = """\
NLL: mean negative log-likelihood of the true emotion, in nats. AURC: mean share of errors over all coverages, where the
most confident answers come first. Noise adds to an ECE: intervals are less the bootstrap's estimate of this bias."""
WITHOUT = {
    "none": "there is none, as nothing validates (`--valid none`)",
    naming.valid_name(protocols.ORACLE): "there is none, as the test set itself validates (`--valid oracle`)",
}
OLDER = "there is none, as an earlier version decoded these runs: `--stage 3 --force true` fits it"
ELSEWHERE = "there is none yet: stage 3 without `--test-corpus` fits it, and then run stages 3 to 5 with it again"


@dataclass(frozen=True)
class Confidence:
    """The confidence of an experiment's runs."""

    said: str  # on the temperatures: a line of Markdown
    figures: Table
    thresholds: Table
    tables: dict[str, pd.DataFrame]  # the predictions, as trained and, where there are temperatures, with these

    def markdown(self) -> list[str]:
        """The lines of its section in RESULTS.md."""
        return [self.said, "", *self.figures.markdown(), "", KEY, "", *self.thresholds.markdown()]


def of_runs(runs: list[Path], pooled: pd.DataFrame, valid: str) -> Confidence | None:
    """Measure runs, whose predictions are `pooled` and whose validation has the name `valid`, as on tables.

    None where predictions lack posteriors. A `UserError` where a run's temperature is damaged.
    """
    names = labels(pooled)
    if pooled[[POSTERIOR + name for name in names]].isna().any(axis=None):
        return None
    found = {run: _current(run) for run in runs}
    known = {run: temperature for run, temperature in found.items() if temperature}
    tables = {RAW: pooled}
    if known:
        values = {(seed_of(run), run.name): temperature.value for run, temperature in known.items()}
        tables[SCALED] = calibration.calibrated(pooled, values)
    elsewhere = any(naming.trained_on(run.absolute().parts[-4]) for run in runs)
    said = _said(known, len(runs), WITHOUT.get(valid, ELSEWHERE if elsewhere else OLDER))
    return Confidence(said, _figures(tables), _thresholds(tables, len(names)), tables)


def _current(run: Path) -> Temperature | None:
    """The temperature of a run, unless it is of another checkpoint than its predictions."""
    found = Temperature.read(run)
    return found if found and found.epoch == markers.read(run / "decode.json")["facts"]["epoch"] else None


def _said(known: dict[Path, Temperature], of: int, without: str) -> str:
    if not known:
        return f"Temperature: {without}."
    values = sorted(each.value for each in known.values())
    ends = f"{values[0]:.2f} to {values[-1]:.2f}" if len(values) > 1 else f"{values[0]:.2f}"
    some = f"{len(known)} of {of} runs have one, and the others count with 1" if len(known) < of else "each run has one"
    utterances = sum(each.n for each in known.values()) / len(known)
    return (
        f"Temperature: {ends}; {some}, fitted on its validation set (by likelihood, Guo et al. 2017; {utterances:,.0f} "
        "utterances on average). The test set plays no role in it, and `predictions.csv` is without it."
    )


def _figures(tables: dict[str, pd.DataFrame]) -> Table:
    rows = []
    for name, row in calibration.figures(tables).iterrows():
        shown = signed if name == "difference" else percent
        numbers = f"{row['nll']:.3f}", f"{row['brier']:.3f}", percent(row["aurc"])
        others = ("", "", "") if name == "difference" else numbers
        rows.append([name, shown(row["ece"]), span(row["low"], row["high"], shown), *others])
    caption = "Posteriors as probabilities, on the test sets; ECE and AURC in per cent, 0 is best."
    return Table(caption, columns(["posteriors"], HEADS), rows)


def _thresholds(tables: dict[str, pd.DataFrame], n_labels: int) -> Table:
    """What `--unsure THRESHOLD` does: by the posteriors that it compares."""
    name, table = [*tables.items()][-1]
    shown = [each for each in THRESHOLDS if each > 1 / n_labels]
    rows = [
        [f"{row.threshold:g}", *map(percent, (row.answered, 1 - row.answered, row.wa))]
        for row in calibration.answered(table, shown).itertuples()
    ]
    caption = f"Answers with --unsure THRESHOLD, posteriors {name}, in per cent."
    return Table(caption, columns(["threshold"], ["sure", "unsure", "WA of the sure"]), rows)

"""Predictions under distortion: `stress.csv` of a run folder, while it is made and when it is read.

Columns `condition,strength,ID,emo_hyp,p_<label>...,wrd_hyp` as in predictions.csv, case after case, sorted by ID; the
references are in predictions.csv. Until all cases are done, `stress/` holds a table of each that is, and begun.json,
what they are made from: a job that is killed loses no more than the case that it was at.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from local.core import markers
from local.core.conditions import CLEAN, Case, in_order
from local.core.errors import UserError
from local.core.files import atomic, digest
from local.core.markers import Marker
from local.core.typed_csv import read_csv
from local.scoring import metrics
from local.scoring.predictions import POSTERIOR
from local.scoring.scored import seed_of

NAME = "stress.csv"
OF_CASE = ["condition", "strength"]
FORCED = "--stage 7 --force true"


class CaseTables:
    """The tables of a run's cases, those of earlier starts too.

    Parameters
    ----------
    marker
        That of `local.experiment.job.Job.stressing`.
    afresh
        Forget what earlier starts have made.
    """

    def __init__(self, marker: Marker, afresh: bool = False) -> None:
        self.marker, self.path = marker, marker.path.with_name(NAME)
        self.folder = marker.path.with_name("stress")
        begun = Marker(self.folder / "begun.json", marker.inputs)
        if afresh or marker.facts() is None:  # first the marker, which must never describe another table
            self.marker.path.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        if afresh or begun.facts() is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            begun.write()
        finished = _by_case(_read(self.path)) if self.path.exists() else {}
        unfinished = (_by_case(_read(path)) for path in self.folder.glob("*.csv"))
        self.tables = finished | {case: table for each in unfinished for case, table in each.items()}

    def __contains__(self, case: Case) -> bool:
        return case in self.tables

    def add(self, case: Case, predicted: pd.DataFrame) -> None:
        """Keep the predictions of a case, those of `local.scoring.predictions.frame`."""
        table = predicted.drop(columns=["emo", "wrd"])
        table.insert(0, "condition", case.condition)
        table.insert(1, "strength", case.strength)
        self.tables[case] = table
        _write(self._path(case), [table])

    def finish(self, **facts: Any) -> None:
        """Put all cases into one table, and mark it as done; `cases` of the facts are theirs."""
        cases = in_order(self.tables)
        for case in cases:  # those of earlier calls too: killed between the next two lines, the table is worth nothing
            if not self._path(case).exists():
                _write(self._path(case), [self.tables[case]])
        _write(self.path, [self.tables[case] for case in cases])
        self.marker.write([self.path], cases=[case.label for case in cases], **facts)
        shutil.rmtree(self.folder)

    def _path(self, case: Case) -> Path:
        return self.folder / f"{case.label}.csv"


def _write(path: Path, tables: list[pd.DataFrame]) -> None:
    with atomic(path) as file:
        for place, table in enumerate(tables):
            strengths = table["strength"].map("{:g}".format)
            written = table.assign(strength=strengths)
            written.to_csv(file, index=False, header=not place, float_format="%.8f", lineterminator="\n")


def _read(path: Path) -> pd.DataFrame:
    """Read a table of cases; a `UserError` where it is none."""
    try:
        table = read_csv(path, ["strength"])
        posteriors = [name for name in table if name.startswith(POSTERIOR)]
        return table.astype(dict.fromkeys(["strength", *posteriors], float))
    except (ValueError, KeyError, OSError) as error:  # of pandas, too
        raise UserError(f"{path} is damaged: {' '.join(str(error).split())}", FORCED) from None


def _by_case(table: pd.DataFrame) -> dict[Case, pd.DataFrame]:
    return {Case(*name): rows.reset_index(drop=True) for name, rows in table.groupby(OF_CASE, sort=False)}


def _cases_of(table: pd.DataFrame) -> set[Case]:
    return {Case(*name) for name in table[OF_CASE].drop_duplicates().itertuples(index=False, name=None)}


def stressed_runs(runs: Iterable[Path]) -> list[Path]:
    """Those of some runs that stage 7 is done for, since they were trained."""
    return [run for run in runs if _is_current(run)]


def _is_current(run: Path) -> bool:
    path = run / "stress.json"
    return path.exists() and markers.read(path)["inputs"].get("training") == digest(run / "train.json")


def facts(run: Path) -> dict[str, Any]:
    """What a run has recorded of stage 7: `cases`, `left_out`, `cut`."""
    return markers.read(run / "stress.json")["facts"]


def pooled_cases(runs: list[Path], pooled: pd.DataFrame) -> dict[Case, pd.DataFrame]:
    """The predictions of several runs in every case that all of them have, in order; clean ones come first.

    `pooled` are those of stage 3 of the same runs, see `local.scoring.scored.pooled_predictions`: each table has its
    columns and rows, with the case's hypotheses and edits.
    """
    tables = [_read(run / NAME).assign(seed=seed_of(run), fold=run.name) for run in runs]
    every, keys = pd.concat(tables, ignore_index=True), ["seed", "fold", "ID"]
    of_case = set(every) - {*OF_CASE, *keys}
    references = pooled.drop(columns=[name for name in pooled if name in of_case or name in metrics.EDITS])
    cases = {}
    for case in in_order(set.intersection(*map(_cases_of, tables))):
        rows = every[(every["condition"] == case.condition) & (every["strength"] == case.strength)]
        table = references.merge(rows.drop(columns=OF_CASE), on=keys, how="left", validate="one_to_one")
        if table["emo_hyp"].isna().any():
            raise UserError(f"{runs[0].parents[1]}: {case.label} lacks predictions of some utterances", FORCED)
        table[metrics.EDITS] = metrics.counted_edits(table)
        cases[case] = table
    if CLEAN not in cases:
        raise UserError(f"{runs[0].parents[1]} has no clean predictions in {NAME}", FORCED)
    return cases

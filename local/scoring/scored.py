"""A scored experiment in results: its runs, their predictions and their learning curves.

The folder is `results/<corpus>/<protocol>/<name>`; its runs are `seed<S>/<fold>` below it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from local.config import hparams
from local.core import starts, tasks
from local.core.errors import UserError
from local.core.typed_csv import read_numbers
from local.corpora import manifest
from local.scoring import coefficients, layer_shares, metrics, predictions
from local.scoring.provenance import audio_of, refuse_mixed

MANIFESTS = Path("manifests")
# The columns of text in folds.csv, summary.csv and epochs.csv.
TEXT = ("name", "corpus", "protocol", "valid", "fold", "commit", "config", "cluster", "folds", "speakers_known")
TEXT += ("outside_classes", "fair_classes")  # of a model that was not trained here, see `local.scoring.foreign`
NOT_TRAINED_HERE = "not trained here"  # its validation in these tables
# Columns of epochs.csv that only the runs of a system that writes text have.
OF_TEXT = ("train_ctc", "valid_ctc", "valid_wer", "valid_cer", "ctc_left_out")
ABOUT = ("title", "certainty", "weights", "parameters", "trained_parameters")  # of the system, in env.json
SCORE_AGAIN = "run stage 4 for it again"
OF_UTTERANCE = ["duration", "wav", "spk_id", "gender", "session", "recording", "style"]


def runs_with(folder: Path, name: str) -> list[Path]:
    """The run folders of an experiment that have a file of this name, by seed and fold."""
    seeds = {int(path.name[4:]): path for path in folder.glob("seed*") if path.name[4:].isdecimal()}
    return [marker.parent for seed in sorted(seeds) for marker in sorted(seeds[seed].glob(f"*/{name}"))]


def seed_of(run: Path) -> int:
    """The seed of a run folder."""
    return int(run.parent.name.removeprefix("seed"))


def pooled_predictions(runs: list[Path], utterances: pd.DataFrame, may_lack: bool = False) -> pd.DataFrame:
    """Put the predictions of all runs below each other; a `UserError` if an utterance is not in the corpus.

    With `may_lack` they may lack posteriors. Returns the columns of predictions and of their edits
    (`local.scoring.metrics.edits`), `seed`, `fold`, and of the table of utterances those of `OF_UTTERANCE`, and
    `ratings`, if it has them.
    """
    read = (predictions.read(run / "predictions.csv", may_lack) for run in runs)
    tables = [table.assign(seed=seed_of(run), fold=run.name) for run, table in zip(runs, read, strict=True)]
    pooled = pd.concat(tables, ignore_index=True)
    strange = ~pooled["ID"].isin(utterances["ID"])
    if strange.any():
        raise UserError(
            f"{runs[0].parent.parent} predicts {pooled['ID'][strange].iloc[0]}, which is not in the corpus",
            "run stage 0 with the corpus that it was run on",
        )
    pooled[metrics.EDITS] = metrics.counted_edits(pooled)
    known = ["ID", *OF_UTTERANCE, *({"ratings"} & {*utterances})]
    return pooled.merge(utterances[known], on="ID", how="left", validate="many_to_one")


def epochs(runs: list[Path]) -> pd.DataFrame:
    """Put the epochs.csv of all runs below each other, with `seed` and `fold`; a `UserError` if one is damaged.

    Of a system that writes no text the figures of `OF_TEXT` are nan.
    """
    tables = [
        _read(run / "epochs.csv", "run stage 2 with --force true").assign(seed=seed_of(run), fold=run.name)
        for run in runs
    ]
    every = pd.concat(tables, ignore_index=True)
    return every.assign(**dict.fromkeys((name for name in OF_TEXT if name not in every), np.nan))


def common_epochs(epochs: pd.DataFrame) -> pd.DataFrame:
    """The rows of those epochs that every run of the table has: `patience` ends some earlier than others."""
    n_runs = len(epochs[["seed", "fold"]].drop_duplicates())
    return epochs[epochs.groupby("epoch")["epoch"].transform("size") == n_runs]


@dataclass(frozen=True)
class Experiment:
    """An experiment that has been scored, or a model that was not trained here (`python -m local.referee`)."""

    folder: Path
    folds: pd.DataFrame  # its folds.csv
    summary: pd.Series  # the row of its summary.csv, where the following are from
    name: str
    corpus: str
    protocol: str
    valid: str

    @property
    def trained_here(self) -> bool:
        """Whether its runs were trained here: otherwise there are predictions, but no values and no epochs."""
        return self.valid != NOT_TRAINED_HERE

    @property
    def runs(self) -> list[Path]:
        """The run folders of its folds.csv."""
        return [self.folder / f"seed{row.seed}" / row.fold for row in self.folds.itertuples()]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The predictions of all runs; see `pooled_predictions`.

        A `UserError` where those of a run are not what folds.csv was made of: a run was trained or decoded again since.
        """
        utterances = manifest.read(MANIFESTS / self.corpus / "all.csv")
        found = pooled_predictions(self.runs, utterances, may_lack=not self.trained_here)
        if self.trained_here:
            self._refuse_others(found)
        return found

    def _refuse_others(self, found: pd.DataFrame) -> None:
        edits = metrics.counted_edits(found).assign(n=1, right=found["emo"] == found["emo_hyp"])
        sums = edits.groupby([found["seed"], found["fold"]]).sum()
        figures = pd.DataFrame(
            {"n": sums["n"], "wa": sums["right"] / sums["n"], "wer": sums["word_edits"] / sums["words"]}
        )
        figures = figures[[name for name in figures if name in self.folds]]
        known = self.folds.set_index(["seed", "fold"])[[*figures]].astype(float)
        same = np.isclose(known, figures.loc[known.index], rtol=0, atol=1e-9, equal_nan=True).all(1)
        same &= [(run / "scores.json").exists() for run in self.runs]  # of stage 4; a new training deletes it
        if not same.all():
            run = self.runs[int(np.argmin(same))]
            raise UserError(f"{run} has other predictions than {self.folder} was scored with", SCORE_AGAIN)

    @cached_property
    def about(self) -> dict[str, Any]:
        """What env.json of its first run says of the system: `ABOUT`, empty where there is nothing, or it is older."""
        first = starts.read(self.runs[0]) if self.trained_here else {}
        return {name: first.get(name, "") for name in ABOUT}

    @cached_property
    def audio(self) -> dict[str, dict[str, dict[Path, None]]]:
        """Its runs by the audio that they were trained or decoded with; see `provenance.audio_of`."""
        return audio_of(self.runs) if self.trained_here else {}

    def of_classes(self, classes: Collection[str]) -> Experiment:
        """The same of the utterances of some classes alone: their predictions, and in `summary` their scores."""
        some = self.predictions[self.predictions["emo"].isin(classes)]
        scores = metrics.scores(some) | {"missing": int((some["emo_hyp"] == predictions.MISSING).sum())}
        restricted = replace(self, summary=pd.Series({**self.summary, **scores}))
        vars(restricted)["predictions"] = some  # in place of what it would read
        return restricted

    @property
    def emotions_trained(self) -> bool:
        """Whether its emotion head was trained: otherwise the scores of emotions mean nothing."""
        return tasks.emotions_trained(self.values)

    @property
    def transcripts_trained(self) -> bool:
        """Whether its CTC head was trained, if it has one: otherwise its error rates mean nothing."""
        return tasks.transcripts_trained(self.values)

    @property
    def scored_folds(self) -> pd.DataFrame:
        """Its folds.csv with all scores of `local.scoring.metrics.scores`."""
        of_runs = self.predictions.groupby(["seed", "fold"])
        scores = [metrics.scores(of_runs.get_group((row.seed, row.fold))) for row in self.folds.itertuples()]
        return self.folds.assign(**pd.DataFrame(scores, index=self.folds.index))

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The epochs.csv of all runs; see `epochs`."""
        if not self.trained_here:
            return pd.DataFrame(columns=["seed", "fold", "epoch", *OF_TEXT])
        return epochs(self.runs)

    @cached_property
    def layer_shares(self) -> pd.DataFrame:
        """What its runs have learned of the layers; see `local.scoring.layer_shares.of_runs`."""
        return layer_shares.of_runs(self.runs if self.trained_here else [])

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """The shares of task vectors in the encoders of its runs; see `local.scoring.coefficients.of_runs`."""
        return coefficients.of_runs(self.runs if self.trained_here else [])

    @cached_property
    def values(self) -> dict[str, Any]:
        """The values of its runs' YAML; a `UserError` where they differ, see `provenance.refuse_mixed`."""
        if not self.trained_here:
            return {}
        refuse_mixed(self.runs)
        return hparams.trained_values((self.runs[0] / "hyperparams.yaml").read_text(encoding="utf-8"))


def differing_values(experiments: Sequence[Experiment]) -> dict[str, list[Any]]:
    """The values of their YAMLs that are not the same in all, by key; without what the pipeline or a machine sets."""
    values = [each.values for each in experiments]
    keys = sorted({key for each in values for key in each} - {*hparams.SET_BY_PIPELINE, *hparams.RUNTIME})
    found = {key: [each.get(key) for each in values] for key in keys}
    return {key: of_each for key, of_each in found.items() if any(value != of_each[0] for value in of_each)}


def load(folder: Path) -> Experiment:
    """Read an experiment; a `UserError` if the folder has none that was scored, or by an older version, or damaged."""
    tables = [folder / "folds.csv", folder / "summary.csv"]
    for path in tables:
        if not path.exists():
            raise UserError(
                f"{folder} is not the folder of a scored experiment: it has no {path.name}",
                "give results/<corpus>/<protocol>/<name>, and run stage 4 for it first",
            )
    folds, summary = (_read(path, "run stage 4 for it") for path in tables)
    if "speakers_known" not in summary:
        raise UserError(f"{folder} was scored by an older version", SCORE_AGAIN)
    row = summary.iloc[0]
    return Experiment(folder, folds, row, *(row[key] for key in ("name", "corpus", "protocol", "valid")))


def refuse_untrained(experiments: Iterable[Experiment]) -> None:
    """Raise a UserError for a model that was not trained here, or whose emotions were not trained.

    For tables of what the training of emotions was worth.
    """
    for experiment in experiments:
        if not experiment.trained_here:
            raise UserError(
                f"{experiment.folder} was not trained here, and this table is of systems that were",
                "leave it out, and compare it with python -m local.compare EXPERIMENT EXPERIMENT",
            )
        if not experiment.emotions_trained:
            raise UserError(
                f"{experiment.folder}: {tasks.UNTRAINED[0].lower()}{tasks.UNTRAINED[1:]}",
                "leave it out; python -m local.compare EXPERIMENT EXPERIMENT compares its WER",
            )


def _read(path: Path, remedy: str) -> pd.DataFrame:
    """Read a table of numbers and of the texts in `TEXT`; a `UserError` if it is none."""
    try:
        return read_numbers(path, TEXT)
    except FileNotFoundError:
        raise UserError(f"{path} is missing", f"restore it, or {remedy} again") from None
    except ValueError as error:  # of pandas, too, which ends its messages with a newline
        raise UserError(f"{path} is damaged: {' '.join(str(error).split())}", f"{remedy} again") from None

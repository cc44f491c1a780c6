"""The figures of each epoch: summed while it runs, then a line of epochs.csv, train_log.txt and TensorBoard."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.train_logger import FileTrainLogger
from torch import Tensor

from local.core.files import atomic
from local.data.dataset import Batch
from local.systems import Losses, Outputs
from local.training import distributed

EPOCH_COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_ce",
    "train_ctc",
    "train_wa",
    "valid_loss",
    "valid_ce",
    "valid_ctc",
    "valid_wa",
    "valid_ua",
    "valid_f1",
    "valid_wer",
    "valid_cer",
    "ctc_left_out",
    "skipped_updates",
    "seconds",
)
SUMS = 6  # of a tally: loss, CE, CTC and accuracy over utterances, the utterances, those that CTC left out


class Tally:
    """Sums of losses over utterances, kept on the device until they are asked for.

    Parameters
    ----------
    sums
        [6] what was counted before; None: nothing.
    """

    def __init__(self, sums: Tensor | None = None) -> None:
        self.sums = sums

    def add(self, losses: Losses, outputs: Outputs, batch: Batch, counts: Tensor | None = None) -> None:
        """Count a batch, unless `counts`, a scalar bool on the device, says that it does not."""
        total = losses.total.detach()
        correct = (outputs.emotion.argmax(-1) == batch.targets.emotion).float().mean()
        means = torch.stack([total, losses.ce, losses.ctc, correct, torch.ones_like(total)]).double()
        left_out = losses.ctc_left_out.to(total.device, torch.float64, non_blocking=True)
        sums = torch.cat([means * len(batch), left_out[None]])
        sums = sums if counts is None else torch.where(counts, sums, 0.0)
        self.sums = sums if self.sums is None else self.sums + sums

    def total(self, device: str | torch.device) -> list[float]:
        """The sums over all processes."""
        own = torch.zeros(SUMS, dtype=torch.float64, device=device) if self.sums is None else self.sums
        return distributed.sum_over_processes(own).tolist()


def means(total: list[float], stage: str) -> dict[str, float]:
    """Means over the utterances of a tally, named for epochs.csv; empty where it has counted none."""
    *sums, utterances, left_out = total
    if not utterances:
        return {}
    names = (f"{stage}_loss", f"{stage}_ce", f"{stage}_ctc", f"{stage}_wa")
    return {**{name: each / utterances for name, each in zip(names, sums, strict=True)}, "ctc_left_out": int(left_out)}


class EpochLog:
    """The epochs that have ended, in memory and in the run folder.

    All processes call it, as SpeechBrain's logger synchronises them; the first writes.

    Parameters
    ----------
    folder
        The run folder.
    tensorboard
        Whether to write the figures for TensorBoard as well.
    """

    def __init__(self, folder: Path, tensorboard: bool) -> None:
        self.path = folder / "epochs.csv"
        self.text_path = folder / "train_log.txt"
        self.tensorboard_folder = folder / "tensorboard" if tensorboard else None
        self.rows: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        """The rows of epochs.csv as an earlier start of the run has left it; None for a figure that is missing."""
        if not self.path.exists():
            return []
        with open(self.path, encoding="utf-8", newline="") as file:
            return [{name: _number(text) for name, text in row.items()} for row in csv.DictReader(file)]

    def begin(self, rows: list[dict[str, Any]]) -> None:
        """Begin with these rows. Logs that can only be appended to are written again: no epoch may be in them twice."""
        self.rows, self.writer = list(rows), None
        self.text_log = FileTrainLogger(save_file=str(self.text_path))
        if if_main_process():
            self.text_path.unlink(missing_ok=True)
            if self.tensorboard_folder:
                from torch.utils.tensorboard import SummaryWriter  # slow to import

                shutil.rmtree(self.tensorboard_folder, ignore_errors=True)
                self.writer = SummaryWriter(str(self.tensorboard_folder))
        for row in rows:
            self._show(row, verbose=False)

    def add(self, row: dict[str, Any]) -> None:
        """Add an epoch."""
        self.rows.append({name: row.get(name) for name in EPOCH_COLUMNS})
        if if_main_process():
            with atomic(self.path) as file:
                pd.DataFrame(self.rows, columns=EPOCH_COLUMNS).to_csv(file, index=False, lineterminator="\n")
        self._show(self.rows[-1], verbose=True)

    def _show(self, row: dict[str, Any], verbose: bool) -> None:
        """Add a row to train_log.txt and to TensorBoard, where `train_loss` is `loss/train`."""
        epoch, by_stage = int(row["epoch"]), {"train": {}, "valid": {}}
        for name, value in row.items():
            if name == "epoch" or pd.isna(value):
                continue
            stage, _, rest = name.partition("_")
            if stage in by_stage:
                by_stage[stage][rest] = value
                name = f"{rest}/{stage}"
            if self.writer:
                self.writer.add_scalar(name, value, epoch)
        if self.writer:
            self.writer.flush()
        stages = (stats or None for stats in by_stage.values())
        self.text_log.log_stats({"epoch": epoch, "lr": row["lr"]}, *stages, verbose=verbose)


def _number(text: str) -> float | None:
    """Read a number to its last digit, which not every version of pandas does."""
    if not text:
        return None
    return int(text) if text.isdecimal() else float(text)

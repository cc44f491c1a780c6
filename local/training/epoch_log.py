"""The figures of each epoch: summed while it runs, then a line of epochs.csv, train_log.txt and TensorBoard."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.train_logger import FileTrainLogger
from torch import Tensor

from local.core.files import atomic
from local.data.dataset import Batch
from local.scoring.scored import OF_TEXT
from local.systems import Losses, Outputs
from local.training import distributed

MEANS = ("loss", "ce", "ctc", "wa")
EPOCH_COLUMNS = (
    *("epoch", "lr"),
    *(f"train_{name}" for name in MEANS),
    *(f"valid_{name}" for name in (*MEANS, "ua", "f1", "wer", "cer")),
    *("ctc_left_out", "skipped_updates", "seconds"),
)


class Tally:
    """Sums over utterances, kept on the device until they are asked for.

    Parameters
    ----------
    device
        Where the batches are.
    sums
        [6] where to begin: `MEANS` times utterances, utterances, those that the CTC loss left out.
    """

    def __init__(self, device: str | torch.device = "cpu", sums: Sequence[float] = (0.0,) * 6) -> None:
        self.sums = torch.tensor(sums, dtype=torch.float64, device=device)

    def add(self, losses: Losses, outputs: Outputs, batch: Batch, counts: Tensor | None = None) -> None:
        """Count a batch, unless `counts`, a scalar bool on the device, says that it does not."""
        total = losses.total.detach()
        correct = (outputs.emotion.argmax(-1) == batch.targets.emotion).float().mean()
        none = torch.zeros_like(total)
        ctc, left_out = (none if part is None else part for part in (losses.ctc, losses.ctc_left_out))
        means = torch.stack([total, losses.ce, ctc, correct, torch.ones_like(total)]).double()
        left_out = left_out.to(total.device, torch.float64, non_blocking=True)
        sums = torch.cat([means * len(batch), left_out[None]])
        self.sums = self.sums + (sums if counts is None else torch.where(counts, sums, 0.0))

    def total(self) -> list[float]:
        """The sums over all processes."""
        return distributed.sum_over_processes(self.sums).tolist()


def means(total: list[float], stage: str) -> dict[str, float]:
    """Means over the utterances of a tally, named for epochs.csv; empty where it has counted none."""
    *sums, utterances, left_out = total
    if not utterances:
        return {}
    named = {f"{stage}_{name}": each / utterances for name, each in zip(MEANS, sums, strict=True)}
    return named | {"ctc_left_out": int(left_out)}


class EpochLog:
    """The epochs that have ended, in memory and in the run folder.

    All processes call it, as SpeechBrain's logger synchronises them; the first writes.

    Parameters
    ----------
    folder
        The run folder.
    tensorboard
        Whether to write the figures for TensorBoard as well.
    text
        Whether the system writes text: without, there are no columns `OF_TEXT`.
    """

    def __init__(self, folder: Path, tensorboard: bool, text: bool = True) -> None:
        self.path = folder / "epochs.csv"
        self.text_path = folder / "train_log.txt"
        self.tensorboard_folder = folder / "tensorboard" if tensorboard else None
        self.columns = [name for name in EPOCH_COLUMNS if text or name not in OF_TEXT]
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
        self.rows.append({name: row.get(name) for name in self.columns})
        if if_main_process():
            with atomic(self.path) as file:
                pd.DataFrame(self.rows, columns=self.columns).to_csv(file, index=False, lineterminator="\n")
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

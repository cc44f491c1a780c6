"""The figures of each epoch: summed while it runs, then a line of epochs.csv, the two logs and TensorBoard."""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.train_logger import FileTrainLogger
from torch import Tensor, nn

from local.core.errors import UserError
from local.core.files import write_text
from local.core.tasks import NUMBER, TASKS
from local.data.dataset import Batch
from local.experiment.job import LOADED, copy_training_log
from local.scoring import task_scores
from local.scoring.scored import OF_TEXT
from local.systems import Losses, Outputs
from local.training import distributed
from local.training.selection import Selection

logger = logging.getLogger(__name__)

MEANS = ("loss", "ce", "ctc", "wa")
RATES = ("lr", "head_lr")  # learning rates, those of the epoch's last update
SHARES = ("wa", "ua", "f1", "wer", "cer")  # fractions in epochs.csv, per cent in the logs
PER_CENT = (*SHARES, "wf1")  # of which wf1 is only there where it chooses the epoch
EPOCH_COLUMNS = (
    *("epoch", *RATES),
    *(f"train_{name}" for name in MEANS),
    *(f"valid_{name}" for name in (*MEANS, *SHARES[1:])),
    # best: 1 where it is the best epoch until then; empty where the last is chosen
    *("ctc_left_out", "skipped_updates", "best", "seconds"),
)
OF_EMOTIONS = ("train_wa", *(f"valid_{name}" for name in ("wa", "ua", "f1", "wf1")))  # accuracies of the emotion head
SOLVED = "solved"  # a column, before the last, of a system with a last step (`System.solve`): 1 of that, 0 of epochs


class Tally:
    """Sums over utterances, kept on the device until they are asked for.

    Parameters
    ----------
    device
        Where the batches are.
    sums
        [7 + 2 k] where to begin: `MEANS` times utterances, utterances, those that the CTC loss left out, those without
        an emotion; and of k further tasks their losses times utterances, then those without a label. Fewer, of an
        earlier version, are followed by 0.
    n_tasks
        k.
    """

    def __init__(self, device: str | torch.device = "cpu", sums: Sequence[float] = (), n_tasks: int = 0) -> None:
        missing = [0.0] * (len(MEANS) + 3 + 2 * n_tasks - len(sums))
        self.sums = torch.tensor([*sums, *missing], dtype=torch.float64, device=device)
        self.n_tasks = n_tasks

    def add(self, losses: Losses, outputs: Outputs, batch: Batch, counts: Tensor | None = None) -> None:
        """Count a batch, unless `counts`, a scalar bool on the device, says that it does not."""
        total = losses.total.detach()
        right = (outputs.emotion.argmax(-1) == batch.targets.emotion).sum().double()
        none = torch.zeros_like(total)
        ctc, left_out = (none if part is None else part for part in (losses.ctc, losses.ctc_left_out))
        left_out = left_out.to(total.device, torch.float64, non_blocking=True)
        unlabelled = (batch.targets.emotion < 0).sum().double()
        counted = torch.stack([right, torch.full_like(right, len(batch)), left_out, unlabelled])
        sums = [torch.stack([total, losses.ce, ctc]).double() * len(batch), counted]
        if self.n_tasks:
            of_tasks = losses.tasks.double()
            sums += [of_tasks[:, 0] * len(batch), of_tasks[:, 1]]
        sums = torch.cat(sums)
        self.sums = self.sums + (sums if counts is None else torch.where(counts, sums, 0.0))

    def total(self) -> list[float]:
        """The sums over all processes."""
        return distributed.sum_over_processes(self.sums).tolist()


def means(total: list[float], stage: str, tasks: Iterable[str] = ()) -> dict[str, float]:
    """Means over the utterances of a tally, named for epochs.csv; empty where it has counted none.

    The accuracy is of those that have an emotion. `tasks` are the further tasks of the system; one of which nobody has
    a label has no figure. Only of the training it counts what is left out.
    """
    *sums, utterances, left_out, unlabelled = total[: len(MEANS) + 3]
    if not utterances:
        return {}
    of = dict.fromkeys(MEANS, utterances) | {"wa": utterances - unlabelled}
    named = {f"{stage}_{name}": each / of[name] for name, each in zip(MEANS, sums, strict=True) if of[name]}
    tasks, further = list(tasks), total[len(MEANS) + 3 :]
    losses, missing = further[: len(tasks)], further[len(tasks) :]
    of_tasks = zip(tasks, losses, missing, strict=False)
    named |= {f"{stage}_{name}": each / utterances for name, each, lacks in of_tasks if lacks < utterances}
    if stage != "train":
        return named
    counts = [left_out, unlabelled, *missing]
    names = ["ctc", *(["emotion", *tasks] if tasks else [])]
    return named | {f"{name}_left_out": int(count) for name, count in zip(names, counts, strict=False)}


def of_whole_set(
    figures: dict[str, float], predictions: pd.DataFrame, weights: Mapping[str, float]
) -> dict[str, float]:
    """The figures of a validation with 1 - CCC over the whole set, where `means` has means of that over batches.

    As in training it counts n (1 - CCC) / N, with n labels among N utterances. `weights` are those of further tasks.
    """
    exact = dict(figures)
    for name, weight in weights.items():
        if TASKS[name].kind == NUMBER and f"valid_{name}" in figures:
            exact[f"valid_{name}"] = task_scores.number_loss(predictions, name)
            exact["valid_loss"] += weight * (exact[f"valid_{name}"] - figures[f"valid_{name}"])
    return exact


def learning_rates(groups: Iterable[dict[str, Any]], heads: Iterable[nn.Module]) -> dict[str, float]:
    """The learning rates now, of an optimizer's groups of parameters, named for epochs.csv: that of heads `head_lr`."""
    of_heads = {id(parameter) for head in heads for parameter in head.parameters()}
    return {RATES[id(group["params"][0]) in of_heads]: group["lr"] for group in groups}


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
    epochs
        How many there are to be.
    selection
        Which of them is the best.
    solves
        Whether a last step follows them.
    tasks
        The further tasks of the system: columns of their losses, and of how many utterances lack which label.
    """

    def __init__(
        self,
        folder: Path,
        tensorboard: bool,
        text: bool = True,
        epochs: int = 0,
        selection: Selection | None = None,
        solves: bool = False,
        tasks: Sequence[str] = (),
    ) -> None:
        self.epochs, self.selection = epochs, selection or Selection("ua", text)
        self.path = folder / "epochs.csv"
        self.text_path = folder / "train_log.txt"
        self.tensorboard_folder = folder / "tensorboard" if tensorboard else None
        self.columns = [name for name in EPOCH_COLUMNS if text or name not in OF_TEXT]
        self.columns[-1:-1] = [SOLVED] * solves
        for name in tasks:
            for stage in ("train", "valid"):
                last = max(place for place, column in enumerate(self.columns) if column.startswith(f"{stage}_"))
                self.columns.insert(last + 1, f"{stage}_{name}")
        if tasks:
            place = self.columns.index("skipped_updates")
            self.columns[place:place] = [f"{name}_left_out" for name in ("emotion", *tasks)]
        if self.selection.figure == "wf1":
            self.columns.insert(self.columns.index("valid_f1") + 1, "valid_wf1")
        self.rows: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        """The rows of epochs.csv as an earlier start of the run has left it; None for a figure that is missing."""
        if not self.path.exists():
            return []
        with open(self.path, encoding="utf-8", newline="") as file:
            rows = [{name: _number(text) for name, text in row.items()} for row in csv.DictReader(file)]
        for number, row in enumerate(rows, start=1):  # an earlier version did not write which is the best
            row["best"] = self.selection.is_new_best(rows[:number])
        return rows

    def until(self, done: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of the first `done` epochs; a `UserError` where one has none, as where epochs.csv was removed."""
        kept = [row for row in rows if row["epoch"] <= done]
        if lost := sorted({*range(1, done + 1)} - {row["epoch"] for row in kept}):
            what = f"{self.path} lacks epoch {lost[0]}, and the latest checkpoint is of epoch {done}"
            raise UserError(what, "restore it, or train this run again from its first epoch: --force true")
        return kept

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
            self._show(row)

    def add(self, row: dict[str, Any]) -> None:
        """Add an epoch, or, with `solved` 1, the last step."""
        row = {name: row.get(name, 0 if name == SOLVED else None) for name in self.columns}
        self.rows.append(row)
        row["best"] = self.selection.is_new_best(self.rows)
        if if_main_process():
            # As objects: a column of whole numbers with a gap would be one of floats.
            table = pd.DataFrame(self.rows, columns=self.columns, dtype=object)
            write_text(self.path, table.to_csv(index=False, lineterminator="\n"))
        self._show(row)
        logger.info(epoch_line(row, self.epochs))

    def _show(self, row: dict[str, Any]) -> None:
        """Add a row to train_log.txt and to TensorBoard, where `train_loss` is `loss/train`."""
        if self.writer:
            for name, value in _known(row).items():
                stage, _, rest = name.partition("_")
                name = f"{rest}/{stage}" if stage in ("train", "valid") else name
                if name != "epoch":
                    self.writer.add_scalar(name, value, int(row["epoch"]))
            self.writer.flush()
        names = ("epoch", *RATES, *[SOLVED] * bool(row.get(SOLVED)))
        meta = {name: value for name, value in _known(row).items() if name in names}
        stages = (_named(_of_stage(row, stage)) or None for stage in ("train", "valid"))
        self.text_log.log_stats(meta, *stages, verbose=False)


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """The line of an epoch in train.log, which ends with a star where it is a new best on the validation set.

    Of the last step it begins with `epoch 11 (solved)`: so it is counted, but none of the epochs asked for.
    """
    known = _known(row)
    of_all = " (solved)" if known.get(SOLVED) else f"/{epochs}"
    parts = [f"epoch {row['epoch']:{len(str(epochs))}}{of_all}"]
    rates = [f"{name} {known[name]:.2e}" for name in RATES if name in known]
    parts += [" ".join(rates)] if rates else []
    for stage in ("train", "valid"):
        figures = _of_stage(row, stage)
        texts = [f"{_label(name)} {_text(name, value):>6}" for name, value in figures.items()]
        parts += [f"{stage} {' '.join(texts)}"] if texts else []
    is_new_best = known.get("best") and "valid_loss" in known and not known.get(SOLVED)
    return "  ".join([*parts, f"{row['seconds']:.1f} s"]) + " *" * bool(is_new_best)


def add_test_scores(folder: Path, epoch: int, scores: dict[str, float | None]) -> None:
    """End train_log.txt of a run folder with the scores of the test set, in place of those of an earlier decoding."""
    copy_training_log(folder, folder)
    shares, log = {name: scores.get(name) for name in SHARES}, FileTrainLogger(save_file=str(folder / "train_log.txt"))
    log.log_stats({LOADED: epoch}, test_stats=_named(_known(shares)), verbose=False)


def _known(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not pd.isna(value)}


def _of_stage(row: dict[str, Any], stage: str) -> dict[str, float]:
    """The figures of `train` or `valid` by their names in a row's columns without the stage."""
    return {name[len(stage) + 1 :]: value for name, value in _known(row).items() if name.startswith(f"{stage}_")}


def _named(figures: dict[str, float]) -> dict[str, float | str]:
    """The figures as SpeechBrain's logger takes them: shares as per cent, others in its own format."""
    return {_label(name): _text(name, value) if name in PER_CENT else value for name, value in figures.items()}


def _label(name: str) -> str:
    return name if name == "loss" else name.upper()


def _text(name: str, value: float) -> str:
    return f"{100 * value:.2f}" if name in PER_CENT else f"{value:.3f}"


def _number(text: str) -> float | None:
    """Read a number to its last digit, which not every version of pandas does."""
    if not text:
        return None
    return int(text) if text.isdecimal() else float(text)

"""Checkpoints: whole or absent, verified before use, and which of them is best.

A checkpoint is a folder as SpeechBrain writes it, sealed by its CKPT.yaml: this file is written last,
when the others are on the disk; it holds their checksums and its own. A folder without it was not finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import pickle
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from speechbrain.utils.checkpoints import CKPT_PREFIX, METAFNAME, PARAMFILE_EXT, Checkpoint, Checkpointer
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from local.core.errors import FULL, UserError
from local.core.files import disk_full, flush_file, write_text

logger = logging.getLogger(__name__)

KEPT = 2  # the latest epochs whose checkpoints are kept at least: if one is damaged, the one before is used


class RunCheckpointer(Checkpointer):
    """The checkpoints of a run, which can be killed, and whose disk can fill up or fail, at any moment.

    The meta data of a checkpoint are `epoch`; `updates`, the number done of an epoch that has not ended,
    or None; `ua` and `wer` of the validation set, or None; `score`, where another figure than UA is that by which
    an epoch is chosen (see `local.training.selection`); and `solved`, True, where it is no epoch but the last step of a
    system (`System.solve`).
    """

    def save_checkpoint(self, *args, **kwargs) -> Checkpoint | None:
        """As in the base class; `UserError` when the disk is full: the earlier checkpoints are kept."""
        before = set(self.checkpoints_dir.iterdir())
        try:
            checkpoint = super().save_checkpoint(*args, **kwargs)
            if checkpoint is not None:
                _seal(checkpoint)
            return checkpoint
        except (OSError, RuntimeError, UserError) as error:
            # The other processes cannot know whether the first has finished it.
            begun = set(self.checkpoints_dir.iterdir()) - before if if_main_process() else set()
            unwritten = self._file_without_room(error, begun)
            for folder in begun:
                shutil.rmtree(folder)
            if unwritten is None:
                raise
        # Outside of `except`: the error holds the file open, which takes up room until then.
        raise disk_full(unwritten, self._size())

    def _save_checkpoint_metafile(
        self, fpath: Path, meta_to_include: dict[str, Any], end_of_epoch: bool = True
    ) -> dict[str, Any]:
        # The one private name of SpeechBrain overridden: it writes CKPT.yaml first, `_seal` must write it last.
        return {"unixtime": time.time(), "end-of-epoch": end_of_epoch, **meta_to_include}

    def save_and_keep(self, meta: dict[str, Any], last: int) -> None:
        """Save the checkpoint of an epoch's end, and delete those that are not needed any more.

        The `last` latest are kept, at least `KEPT`; and for each of them the best of those up to it, so
        that a run resumed from any of them can choose what it would have chosen.
        """
        self.save_checkpoint(meta=meta | {"updates": None})
        if if_main_process():
            ends = [checkpoint for checkpoint in self.list_checkpoints() if has_ended(checkpoint)]
            latest = sorted(ends, key=progress)[-max(last, KEPT) :]
            self._keep(latest + [max((each for each in ends if epoch(each) <= epoch(end)), key=best) for end in latest])
        ddp_barrier()

    def save_within_epoch(self, epoch: int, updates: int) -> None:
        """Save a checkpoint within an epoch, after so many of its updates; it replaces an earlier one of this kind."""
        meta = {"epoch": epoch, "updates": updates, "ua": None, "wer": None}
        self.save_checkpoint(meta=meta, end_of_epoch=False)
        if if_main_process():
            checkpoints = self.list_checkpoints()
            self._keep([*filter(has_ended, checkpoints), max(checkpoints, key=progress)])
        ddp_barrier()

    def recover_latest(self, epochs: Iterable[dict[str, Any]]) -> Checkpoint | None:
        """Load the latest checkpoint that can be used, and delete those that cannot.

        Parameters
        ----------
        epochs
            The meta data of the epochs that have ended, but for `updates`. A checkpoint cannot be used when that of the
            best epoch until then is missing: the run would end with the choice of another.
        """
        if if_main_process():
            self._drop_unfinished_and_damaged()
            self._drop_without_best(list(epochs))
        ddp_barrier()
        latest = max(self.list_checkpoints(), key=progress, default=None)
        if latest is not None:
            self.load_checkpoint(latest)
        return latest

    def chosen(self) -> Checkpoint | None:
        """The checkpoint of the best epoch; see `best`.

        `UserError` when it is damaged, or the meta data of another are, which may be the best.
        """
        for path in self.checkpoints_dir.glob(f"{CKPT_PREFIX}*/{METAFNAME}"):
            if _read_meta(path.parent) is None:
                refuse_damaged(path.parent)
        checkpoint = self.find_checkpoint(importance_key=best, ckpt_predicate=has_ended)
        if checkpoint is not None:
            refuse_damaged(checkpoint.path)
        return checkpoint

    def last_epoch(self) -> Checkpoint | None:
        """The checkpoint of the latest epoch that has ended, which what is solved after it is not.

        `UserError` when it is damaged.
        """
        checkpoint = self.find_checkpoint(
            importance_key=epoch, ckpt_predicate=lambda each: has_ended(each) and not each.meta.get("solved")
        )
        if checkpoint is not None:
            refuse_damaged(checkpoint.path)
        return checkpoint

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """As in the base class; `UserError` when it holds more than values, which PyTorch refuses to read."""
        with values_only(checkpoint):
            super().load_checkpoint(checkpoint)

    def list_checkpoints(self) -> list[Checkpoint]:
        """As in the base class, without those whose CKPT.yaml is damaged."""
        return [
            Checkpoint(path.parent, meta, {each.stem: each for each in path.parent.glob(f"*{PARAMFILE_EXT}")})
            for path in self.checkpoints_dir.glob(f"{CKPT_PREFIX}*/{METAFNAME}")
            if (meta := _read_meta(path.parent)) is not None
        ]

    def _keep(self, kept: list[Checkpoint]) -> None:
        paths = {checkpoint.path for checkpoint in kept}
        for checkpoint in self.list_checkpoints():
            if checkpoint.path not in paths:
                _delete(checkpoint.path)

    def _drop_unfinished_and_damaged(self) -> None:
        for folder in self.checkpoints_dir.glob(f"{CKPT_PREFIX}*"):
            if not (folder / METAFNAME).exists():
                logger.info("removing %s, which was not finished", folder)
                _delete(folder)
            elif damage := damage_of(folder):
                logger.warning("%s is damaged: %s; the one before is used", folder, damage)
                _delete(folder)

    def _drop_without_best(self, epochs: list[dict[str, Any]]) -> None:
        checkpoints = self.list_checkpoints()
        saved = {epoch(checkpoint) for checkpoint in checkpoints if has_ended(checkpoint)}
        for checkpoint in checkpoints:
            ended = [each for each in epochs if each["epoch"] <= progress(checkpoint)[0]]
            if ended and max(ended, key=rank)["epoch"] not in saved:
                logger.warning("%s is not used: the best checkpoint until then is missing", checkpoint.path)
                _delete(checkpoint.path)

    def _file_without_room(self, error: Exception, begun: set[Path]) -> Path | None:
        """The file that did not fit on the disk; None if the error has another cause."""
        # PyTorch raises a RuntimeError, which does not say why.
        full = isinstance(error, RuntimeError) and shutil.disk_usage(self.checkpoints_dir).free < self._size()
        if not full and getattr(error, "errno", None) not in FULL:
            return None
        files = [path for folder in begun for path in folder.iterdir()]
        return max(files, key=lambda path: path.stat().st_mtime_ns, default=self.checkpoints_dir)

    def _size(self) -> int:
        """About how many bytes a checkpoint has."""
        return _tensor_bytes([each.state_dict() for each in self.recoverables.values() if hasattr(each, "state_dict")])


def _tensor_bytes(value: Any) -> int:
    if hasattr(value, "nbytes"):
        return value.nbytes
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return sum(map(_tensor_bytes, items))


# Seals


def _seal(checkpoint: Checkpoint) -> None:
    """Write CKPT.yaml, when the checkpoint's other files are on the disk."""
    files = {}
    for path in sorted(checkpoint.path.iterdir()):
        flush_file(path)
        files[path.name] = _checksum(path)
    meta = checkpoint.meta | {"files": files}
    write_text(checkpoint.path / METAFNAME, yaml.safe_dump(meta | {"checksum": _checksum_of_meta(meta)}))
    flush_file(checkpoint.path.parent)


def _read_meta(folder: Path) -> dict[str, Any] | None:
    """What CKPT.yaml holds; None where it is damaged."""
    try:
        meta = yaml.safe_load((folder / METAFNAME).read_text(encoding="utf-8"))
        checksum = meta.pop("checksum")
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError):
        return None
    return meta if checksum == _checksum_of_meta(meta) else None


def damage_of(folder: Path) -> str:
    """What is wrong with a finished checkpoint; empty where nothing is."""
    meta = _read_meta(folder)
    if meta is None:
        return f"the checksum of {METAFNAME} differs"
    for name, checksum in meta["files"].items():
        if not (folder / name).exists():
            return f"{name} is missing"
        if _checksum(folder / name) != checksum:
            return f"the checksum of {name} differs"
    return ""


def refuse_damaged(folder: Path) -> None:
    """`UserError` for a checkpoint that is not what was saved."""
    if damage := damage_of(folder):
        raise UserError(
            f"{folder} is damaged: {damage}",
            f"remove {folder.parent.parent / 'train.json'} and run stage 2: it resumes from the checkpoint before",
        )


@contextlib.contextmanager
def values_only(checkpoint: Checkpoint) -> Iterator[None]:
    """A `UserError` that names the checkpoint, when PyTorch refuses to read it: a pickle could run a program."""
    try:
        yield
    except pickle.UnpicklingError:
        raise UserError(f"{checkpoint.path} holds more than values", "train the fold here") from None


def _checksum(path: Path) -> str:
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()


def _checksum_of_meta(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _delete(folder: Path) -> None:
    """Delete a checkpoint, CKPT.yaml first: half of one must never look like a whole one."""
    (folder / METAFNAME).unlink(missing_ok=True)
    shutil.rmtree(folder)


# Ranks


def epoch(checkpoint: Checkpoint) -> int:
    """The epoch of a checkpoint."""
    return checkpoint.meta["epoch"]


def has_ended(checkpoint: Checkpoint) -> bool:
    """Whether it was saved at the end of its epoch."""
    return checkpoint.meta["updates"] is None


def progress(checkpoint: Checkpoint) -> tuple[int, int]:
    """How far the run had come: epochs that had ended, updates of the next."""
    return (epoch(checkpoint), 0) if has_ended(checkpoint) else (epoch(checkpoint) - 1, checkpoint.meta["updates"])


def best(checkpoint: Checkpoint) -> tuple[bool, float, float, int]:
    """Rank a checkpoint: see `rank`."""
    return rank(checkpoint.meta)


def rank(figures: dict[str, Any]) -> tuple[bool, float, float, int]:
    """Rank an epoch: highest score, lowest WER, earliest; without a score, the last. The score is UA, or given.

    What was solved after the epochs comes before all of them, whatever its score.
    """
    solved, score, wer = bool(figures.get("solved")), figures.get("score", figures["ua"]), figures["wer"]
    if score is None:
        return (solved, 0.0, 0.0, figures["epoch"])
    return (solved, score, 0.0 if wer is None or math.isnan(wer) else -wer, -figures["epoch"])

"""Checkpoints: whole or not there, sound or not used, and which of them is best.

A checkpoint is a folder of SpeechBrain's. The file by which it is known, CKPT.yaml, is written
last, when the others are on the disk; it holds their checksums, and its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import pickle
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from speechbrain.utils.checkpoints import CKPT_PREFIX, METAFNAME, Checkpoint, Checkpointer
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from local.core.errors import UserError
from local.core.files import FULL, atomic, disk_full, flush_file

logger = logging.getLogger(__name__)

KEPT = 2  # the latest epochs whose checkpoints stay at least: should one be damaged, the one before is used


class WholeCheckpointer(Checkpointer):
    """Saves checkpoints so that a run can be killed, and a disk can fill up or err, at any moment.

    The meta data of a checkpoint are `epoch`; `updates`, those done of an epoch that has not ended,
    or None; `ua` and `wer` of the validation part, or None.
    """

    def save_checkpoint(self, *args, **kwargs) -> Checkpoint | None:
        """As in the base class.

        Raises
        ------
        UserError
            The disk is full; the checkpoints that were there still are.
        """
        before = set(self.checkpoints_dir.iterdir())
        try:
            checkpoint = super().save_checkpoint(*args, **kwargs)
            if checkpoint is not None:
                _seal(checkpoint)
            return checkpoint
        except (OSError, RuntimeError, UserError) as error:
            # Another process cannot tell what the first has begun from what it has ended.
            begun = set(self.checkpoints_dir.iterdir()) - before if if_main_process() else set()
            lacking = self._without_room(error, begun)
            for folder in begun:
                shutil.rmtree(folder)
            if lacking is None:
                raise
        # The file that was begun takes room until the error is forgotten, which holds it open.
        raise disk_full(lacking, self._bytes())

    def save_and_keep(self, meta: dict[str, Any], last: int) -> None:
        """Save the checkpoint of an epoch's end, and delete those that are not needed any more.

        What stays are the `last` latest, at least `KEPT`; and for each of them the best of those up
        to it, so that a run resumed from any of them can take what it would have taken.
        """
        self.save_checkpoint(meta=meta | {"updates": None})
        if if_main_process():
            ends = [checkpoint for checkpoint in self.list_checkpoints() if has_ended(checkpoint)]
            latest = sorted(ends, key=progress)[-max(last, KEPT) :]
            self._keep(latest + [max((each for each in ends if epoch(each) <= epoch(end)), key=best) for end in latest])
        ddp_barrier()

    def save_within_epoch(self, epoch: int, updates: int) -> None:
        """Save a checkpoint within an epoch, after so many of its updates, in place of an earlier one of this kind."""
        meta = {"epoch": epoch, "updates": updates, "ua": None, "wer": None}
        self.save_checkpoint(meta=meta, end_of_epoch=False)
        if if_main_process():
            there = self.list_checkpoints()
            self._keep([*filter(has_ended, there), max(there, key=progress)])
        ddp_barrier()

    def recover_latest(self, epochs: Iterable[dict[str, Any]]) -> Checkpoint | None:
        """Load the latest checkpoint that is sound and lacks nothing, and remove what cannot be used.

        Parameters
        ----------
        epochs
            What is known of the epochs that have ended: `epoch`, `ua` and `wer` of each. A checkpoint
            lacks something when that of the best epoch until then is not there: another would be taken
            in its stead at the end of the run.
        """
        if if_main_process():
            self._remove_unsound()
            self._remove_bereft(list(epochs))
        ddp_barrier()
        latest = max(self.list_checkpoints(), key=progress, default=None)
        if latest is not None:
            self.load_checkpoint(latest)
        return latest

    def chosen(self) -> Checkpoint | None:
        """The checkpoint of the best epoch; see `best`.

        Raises
        ------
        UserError
            It is damaged, or another is so that nobody knows whether it is the best.
        """
        for folder in self._list_checkpoint_dirs():
            if _meta(folder) is None:
                raise _damaged(folder, f"the checksum of {METAFNAME} differs")
        checkpoint = self.find_checkpoint(importance_key=best, ckpt_predicate=has_ended)
        if checkpoint is not None:
            refuse_damaged(checkpoint)
        return checkpoint

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """As in the base class.

        Raises
        ------
        UserError
            It holds more than values, which PyTorch refuses to read.
        """
        with values_only(checkpoint):
            super().load_checkpoint(checkpoint)

    def list_checkpoints(self) -> list[Checkpoint]:
        """As in the base class, but for those whose CKPT.yaml is damaged."""
        return self._construct_checkpoint_objects(
            folder for folder in self._list_checkpoint_dirs() if _meta(folder) is not None
        )

    def _keep(self, kept: list[Checkpoint]) -> None:
        paths = {checkpoint.path for checkpoint in kept}
        for checkpoint in self.list_checkpoints():
            if checkpoint.path not in paths:
                _delete(checkpoint)

    def _remove_unsound(self) -> None:
        for folder in self.checkpoints_dir.glob(f"{CKPT_PREFIX}*"):
            if not (folder / METAFNAME).exists():
                logger.info("removing %s, which was not finished", folder)
                shutil.rmtree(folder)
            elif _meta(folder) is None:
                logger.warning("%s is damaged: the checksum of %s differs; the one before is used", folder, METAFNAME)
                shutil.rmtree(folder)
        for checkpoint in self.list_checkpoints():
            if damage := damage_of(checkpoint):
                logger.warning("%s is damaged: %s; the one before is used", checkpoint.path, damage)
                _delete(checkpoint)

    def _remove_bereft(self, epochs: list[dict[str, Any]]) -> None:
        """Remove those after which another epoch would be taken for the best."""
        sound = self.list_checkpoints()
        there = {epoch(checkpoint) for checkpoint in sound if has_ended(checkpoint)}
        for checkpoint in sound:
            ended = [each for each in epochs if each["epoch"] <= progress(checkpoint)[0]]
            if ended and max(ended, key=rank)["epoch"] not in there:
                logger.warning("%s is not used: the best checkpoint until then is gone", checkpoint.path)
                _delete(checkpoint)

    def _without_room(self, error: Exception, begun: set[Path]) -> Path | None:
        """The file that a full disk did not take, if an error is of that; torch makes a RuntimeError of it."""
        short = isinstance(error, RuntimeError) and shutil.disk_usage(self.checkpoints_dir).free < self._bytes()
        if not short and getattr(error, "errno", None) not in FULL:
            return None
        files = [path for folder in begun for path in folder.iterdir()]
        return max(files, key=lambda path: path.stat().st_mtime_ns, default=self.checkpoints_dir)

    def _bytes(self) -> int:
        """About how many bytes a checkpoint has."""
        return _tensor_bytes([each.state_dict() for each in self.recoverables.values() if hasattr(each, "state_dict")])

    def _save_checkpoint_metafile(
        self, fpath: Path, meta_to_include: dict[str, Any], end_of_epoch: bool = True
    ) -> dict[str, Any]:
        # Written by `_seal`, when the rest is.
        return {"unixtime": time.time(), "end-of-epoch": end_of_epoch, **meta_to_include}


def _seal(checkpoint: Checkpoint) -> None:
    """Write CKPT.yaml, when the checkpoint's other files are on the disk."""
    files = {}
    for path in sorted(checkpoint.path.iterdir()):
        flush_file(path)
        files[path.name] = _checksum(path)
    meta = checkpoint.meta | {"files": files}
    with atomic(checkpoint.path / METAFNAME) as file:
        file.write(yaml.safe_dump(meta | {"checksum": _checksum_of(meta)}))
    flush_file(checkpoint.path.parent)


def _delete(checkpoint: Checkpoint) -> None:
    """First the file by which it is known: half of a checkpoint must never look like a whole one."""
    (checkpoint.path / METAFNAME).unlink()
    shutil.rmtree(checkpoint.path)


@contextlib.contextmanager
def values_only(checkpoint: Checkpoint) -> Iterator[None]:
    """Say which checkpoint it is that PyTorch refuses to read: a pickle could run a program.

    Raises
    ------
    UserError
        It holds more than values.
    """
    try:
        yield
    except pickle.UnpicklingError:
        raise UserError(f"{checkpoint.path} holds more than values", "train the fold here") from None


def damage_of(checkpoint: Checkpoint) -> str:
    """Say what is wrong with a checkpoint's files; empty where nothing is."""
    for name, checksum in checkpoint.meta["files"].items():
        path = checkpoint.path / name
        if not path.exists():
            return f"{name} is missing"
        if _checksum(path) != checksum:
            return f"the checksum of {name} differs"
    return ""


def refuse_damaged(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint that is not what was saved.

    Raises
    ------
    UserError
        What is wrong with it.
    """
    if damage := damage_of(checkpoint):
        raise _damaged(checkpoint.path, damage)


def _damaged(folder: Path, damage: str) -> UserError:
    return UserError(
        f"{folder} is damaged: {damage}",
        f"remove {folder.parent.parent / 'train.json'} and run stage 2: it goes on from the checkpoint before",
    )


def _meta(folder: Path) -> dict[str, Any] | None:
    """What CKPT.yaml holds; None where it is damaged."""
    try:
        meta = yaml.safe_load((folder / METAFNAME).read_text(encoding="utf-8"))
        checksum = meta.pop("checksum")
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError):
        return None
    return meta if checksum == _checksum_of(meta) else None


def _checksum(path: Path) -> str:
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()


def _checksum_of(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _tensor_bytes(value: Any) -> int:
    if hasattr(value, "nbytes"):
        return value.nbytes
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return sum(map(_tensor_bytes, items))


def epoch(checkpoint: Checkpoint) -> int:
    """The epoch of a checkpoint."""
    return checkpoint.meta["epoch"]


def has_ended(checkpoint: Checkpoint) -> bool:
    """Whether it stands at the end of its epoch."""
    return checkpoint.meta["updates"] is None


def progress(checkpoint: Checkpoint) -> tuple[int, int]:
    """Rank a checkpoint: the one that the run came furthest with. Epochs that have ended, updates of the next."""
    return (epoch(checkpoint), 0) if has_ended(checkpoint) else (epoch(checkpoint) - 1, checkpoint.meta["updates"])


def best(checkpoint: Checkpoint) -> tuple[float, float, int]:
    """Rank a checkpoint: see `rank`."""
    return rank(checkpoint.meta)


def rank(figures: dict[str, Any]) -> tuple[float, float, int]:
    """Rank an epoch: highest validation UA, lowest WER, earliest; without validation, the last."""
    if figures["ua"] is None:
        return (0.0, 0.0, figures["epoch"])
    return (figures["ua"], -(figures["wer"] or 0.0), -figures["epoch"])

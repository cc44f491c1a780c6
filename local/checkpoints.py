"""Checkpoints: whole or not there, and which of them is best."""

from __future__ import annotations

from pathlib import Path

from speechbrain.utils.checkpoints import METAFNAME, Checkpoint, Checkpointer


class WholeCheckpointer(Checkpointer):
    """Saves checkpoints that are whole or not seen: the meta file, by which one is known, gets its name last.

    SpeechBrain writes that file first, so that a run killed while saving could not be resumed.
    """

    def save_checkpoint(self, *args, **kwargs) -> Checkpoint:
        """As in the base class."""
        checkpoint = super().save_checkpoint(*args, **kwargs)
        (checkpoint.path / "unfinished.yaml").replace(checkpoint.path / METAFNAME)
        return checkpoint

    def save_and_keep(self, meta: dict, last: int) -> None:
        """Save a checkpoint, and delete all but the best and the `last` latest ones."""
        self.save_checkpoint(meta=meta)
        chosen = self.find_checkpoint(importance_key=best)
        self.delete_checkpoints(
            num_to_keep=last, importance_keys=[epoch], ckpt_predicate=lambda checkpoint: checkpoint != chosen
        )

    def _save_checkpoint_metafile(self, fpath: Path, *args, **kwargs) -> dict:
        return super()._save_checkpoint_metafile(fpath.with_name("unfinished.yaml"), *args, **kwargs)


def epoch(checkpoint: Checkpoint) -> int:
    """Rank a checkpoint: the latest."""
    return checkpoint.meta["epoch"]


def best(checkpoint: Checkpoint) -> tuple[float, float, int]:
    """Rank a checkpoint: highest validation UA, lowest WER, earliest; without validation, the last epoch."""
    meta = checkpoint.meta
    if meta["ua"] is None:
        return (0.0, 0.0, meta["epoch"])
    return (meta["ua"], -(meta["wer"] or 0.0), -meta["epoch"])

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

    def _save_checkpoint_metafile(self, fpath: Path, *args, **kwargs) -> dict:
        return super()._save_checkpoint_metafile(fpath.with_name("unfinished.yaml"), *args, **kwargs)


def best(checkpoint: Checkpoint) -> tuple[float, float, int]:
    """Rank a checkpoint: highest validation UA, lowest WER, earliest; without validation, the last epoch."""
    meta = checkpoint.meta
    if meta["ua"] is None:
        return (0.0, 0.0, meta["epoch"])
    return (meta["ua"], -(meta["wer"] or 0.0), -meta["epoch"])

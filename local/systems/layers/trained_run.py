"""The weights that a training has chosen, in its run folder."""

from __future__ import annotations

from pathlib import Path

from local.core import markers

RUN = "train.json"  # in the folder of a run that has ended


def chosen_weights(run: Path) -> list[Path]:
    """The file with the weights of the epoch that was chosen, of a run folder; none of another folder."""
    if not (run / RUN).is_file():
        return []
    outputs = markers.read(run / RUN)["outputs"]
    return [(run / name).with_name("system.ckpt") for name in outputs if name.endswith("CKPT.yaml")]

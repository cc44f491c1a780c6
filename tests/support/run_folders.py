"""Run folders written by hand, as far as what they were trained with goes."""

from __future__ import annotations

import json
from pathlib import Path

from local.core.markers import Marker

SYSTEM = "system: !new:local.systems.mtl.MultiTaskSystem\n  n_tokens: {tokens}\n  alpha: 0.1  # or !new:other\n"
VALUES = {"valid": "partner", "alpha": 0.1, "lr": 0.002, "freeze": False, "precision": "auto", "micro_batch_size": 8}
ENVIRONMENT = {"commit": "abc", "device": "cpu", "accelerator": "", "processor": "EPYC", "precision": "fp32"}


def run(folder: Path, name: str, system: str = SYSTEM, told: dict | None = None, **values: object) -> Path:
    """A run folder `seed<S>/<fold>` of the experiment in `folder`, as far as it is looked at."""
    made = folder / name
    made.mkdir(parents=True)
    (made / "hyperparams.yaml").write_text(system.format(tokens=len(name) + len(values)))
    Marker(made / "train.json", VALUES | {"train.csv": name, "tokenizer.model": name} | values).write()
    (made / "env.json").write_text(json.dumps(ENVIRONMENT if told is None else told))
    return made

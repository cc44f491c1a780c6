"""Run folders as the version before begun.json left them: the manifests as JSON in the first line of the YAML."""

from __future__ import annotations

import json
from pathlib import Path

MANIFESTS = ("train.csv", "valid.csv", "tokenizer.model")


def to_earlier_form(run: Path) -> None:
    """Turn a run folder that was begun by this version into one of that version."""
    inputs = json.loads((run / "begun.json").read_text())["inputs"]
    (run / "begun.json").unlink()
    manifests = json.dumps({name: inputs[name] for name in MANIFESTS if name in inputs})
    yaml = run / "hyperparams.yaml"
    yaml.write_text(f"# manifests: {manifests}\n{yaml.read_text()}")

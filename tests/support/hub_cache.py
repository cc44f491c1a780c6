"""A cache of the Hugging Face hub, laid out as the library does, for repositories that are never downloaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

COMMIT = "0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8"


def use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library take a folder as its cache, and ask nobody, as with HF_HUB_CACHE and HF_HUB_OFFLINE=1."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def add(cache: Path, name: str, source: Path, commit: str = COMMIT) -> Path:
    """Put the files of a folder into a cache as a repository: blobs, and a commit's links to them, which it returns."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    for folder in (snapshot, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        content = file.read_bytes()
        blob = repository / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / file.name).symlink_to(Path("../../blobs", blob.name))
    (repository / "refs" / "main").write_text(commit)
    return snapshot

"""Which weights an encoder has: that a change is seen, that a file is read once, and that no network is asked."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from local.core.errors import UserError
from local.experiment import encoder_version as module
from local.experiment.encoder_version import CACHE, encoder_version

COMMIT = "0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An encoder's folder; the workplace is another, where digests are kept."""
    made = tmp_path / "encoder"
    made.mkdir()
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (made / name).write_bytes(name.encode())
    (tmp_path / "workplace").mkdir()
    monkeypatch.chdir(tmp_path / "workplace")
    return made


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_another_file_is_another_version(folder, name):
    before = encoder_version(str(folder))
    assert encoder_version(str(folder)) == before
    (folder / name).write_bytes(b"x" * len(name))  # of the same size
    os.utime(folder / name, (1, 1))
    assert encoder_version(str(folder)) not in (before, None)
    (folder / name).write_bytes(name.encode())
    assert encoder_version(str(folder)) == before


@pytest.mark.parametrize("name", ["model-00002-of-00002.safetensors", "pytorch_model.bin", "README.md", "optimizer.pt"])
def test_of_other_files_only_further_weights_count(folder, name):
    before = encoder_version(str(folder))
    (folder / name).write_bytes(b"more")
    assert (encoder_version(str(folder)) != before) == name.endswith("safetensors")  # they are preferred to a pickle


def test_the_order_in_which_a_disk_lists_files_does_not_count(folder, monkeypatch):
    (folder / "config.json").unlink()  # then all files count
    listed, found = Path.rglob, set()
    for last_first in (False, True):
        monkeypatch.setattr(Path, "rglob", lambda *given, way=last_first: sorted(listed(*given), reverse=way))
        found.add(encoder_version(str(folder)))
    assert len(found) == 1


def test_weights_of_a_pickle_count_where_there_are_no_others(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    before = encoder_version(str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"others")
    assert encoder_version(str(folder)) != before


def test_files_are_read_once_and_again_after_a_change_of_time(folder, monkeypatch):
    read = []
    monkeypatch.setattr(module, "digest", lambda *parts: read.append(len(parts)) or f"digest {len(read)}")
    assert [encoder_version(str(folder)) for _ in range(3)] == ["digest 1"] * 3
    assert encoder_version(os.path.relpath(folder)) == "digest 1"
    os.utime(folder / "model.safetensors", (1, 1))
    assert encoder_version(str(folder)) == "digest 2"
    for damage in ("", "[]", "{"):
        CACHE.write_text(damage)
        encoder_version(str(folder))
    assert read == [6] * 5


def test_of_a_name_of_the_hub_the_commit_in_the_cache_is_taken_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    assert encoder_version("somebody/encoder") is None
    snapshot = tmp_path / "models--somebody--encoder" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(COMMIT)
    assert encoder_version("somebody/encoder") == COMMIT


@pytest.mark.parametrize("source", [{"model_type": "wav2vec2"}, None, "/no/such/folder", "not a name", ""])
def test_of_others_nothing_is_known(source):
    assert encoder_version(source) is None


def test_a_file_that_cannot_be_read_is_named(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"encoder .*model\.safetensors"):
        encoder_version(str(folder))

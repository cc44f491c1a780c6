"""Files of the hub: names apart from paths, the first of some files, and what is said without a network."""

from __future__ import annotations

from pathlib import Path

import hub_cache
import pytest
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError

from local.core import hub
from local.core.errors import UserError


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    hub_cache.use(tmp_path / "cache", monkeypatch)
    (tmp_path / "repository").mkdir()
    for name in ("b.ckpt", "c.ckpt"):
        (tmp_path / "repository" / name).write_text(name)
    return tmp_path / "cache"


def test_a_name_is_an_owner_and_a_repository_and_no_path_that_is_here(cache):
    assert all(map(hub.is_name, ("speechbrain/spkrec-xvect-voxceleb", "timm/resnet101.tv_in1k", "a_b/1")))
    others = ("gpt2", "a/b/c", "/a/b", "./a", "../a", "~/a", ".a/b", "a/.b", "a b/c", "", "a/", "repository/b.ckpt")
    assert not any(map(hub.is_name, others))


def test_the_first_of_some_files_that_is_in_the_cache_is_taken(cache):
    snapshot = hub_cache.add(cache, "some/net", cache.parent / "repository")
    assert hub.fetch("some/net", ["a.ckpt", "b.ckpt", "c.ckpt"], "key") == snapshot / "b.ckpt"
    assert hub.fetch("some/net", ["c.ckpt"], "key", hub_cache.COMMIT).read_text() == "c.ckpt"
    assert hub.cached("some/net", "b.ckpt") == snapshot / "b.ckpt"
    assert hub.cached("some/net", "a.ckpt") is None is hub.cached("no name at all", "a.ckpt")


def test_without_a_network_it_is_said_what_is_missing_and_why(cache):
    with pytest.raises(UserError) as error:
        hub.fetch("some/net", ["a.ckpt", "b.ckpt"], "speaker_net some/net")
    assert error.value.what.startswith("speaker_net some/net: the hub does not give a.ckpt (")
    assert "offline mode is enabled" in error.value.what and "owner/name" in error.value.remedy


def answer(given: dict[str, Path | type]):
    """A hub that has some files, and no others, or refuses them."""

    class Response:
        headers, request, status_code = {}, None, 404

    def hf_hub_download(name: str, file: str, revision: str | None) -> str:
        found = given.get(file, RemoteEntryNotFoundError)
        if isinstance(found, Path):
            return str(found)
        raise found("of the hub\nat length", response=Response())

    return hf_hub_download


def test_only_what_a_repository_has_is_downloaded(cache, monkeypatch):
    given = {"b.ckpt": cache / "b.ckpt"}
    monkeypatch.setattr("huggingface_hub.hf_hub_download", answer(given))
    assert hub.fetch("some/net", ["a.ckpt", "b.ckpt", "c.ckpt"], "key") == cache / "b.ckpt"
    assert hub.fetch("some/net", ["a.ckpt", "c.ckpt"], "key") is None
    given["a.ckpt"] = GatedRepoError
    with pytest.raises(UserError, match=r"^key: the hub does not give a\.ckpt \(of the hub\)$"):
        hub.fetch("some/net", ["a.ckpt", "b.ckpt"], "key")

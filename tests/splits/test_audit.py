"""Which files have the same bytes, against digests of all that they hold."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from local.core.errors import UserError
from local.splits import audit

SIZE = 3 * audit.AMID


def keys(folder: Path, contents: dict[str, bytes]) -> dict[str, str]:
    """Write files; return the audit's key of each."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    table = pd.DataFrame({"ID": list(contents), "wav": [f"$data_root/{name}" for name in contents]})
    table[["spk_id", "recording", "session", "wrd"]] = ""
    return dict(zip(contents, audit.keys(table, folder)["audio"], strict=True))


def with_byte(content: bytes, place: int) -> bytes:
    """The same but for one byte."""
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("size", [1, 44, audit.AMID - 1, audit.AMID, audit.AMID + 1, SIZE])
def test_one_byte_makes_another_file_wherever_it_stands(tmp_path, size):
    content = np.random.default_rng(1).bytes(size)
    others = {f"at {place}": with_byte(content, place) for place in {0, size // 2, size - 1}}
    found = keys(tmp_path, {"one": content, "same": content, **others})
    assert found.pop("one") == found.pop("same") == hashlib.blake2b(content, digest_size=16).hexdigest()
    assert set(found.values()) == {""}


def test_files_that_agree_amid_are_told_apart_by_the_rest(tmp_path):
    silence = bytes(SIZE)
    begins, ends = with_byte(silence, 0), with_byte(silence, SIZE - 1)
    found = keys(
        tmp_path, {"begins": begins, "ends": ends, "silent": silence, "ends too": ends, "longer": silence + b"0"}
    )
    assert (
        found["ends"] == found["ends too"] != ""
        and [found[name] for name in ("begins", "silent", "longer")] == [""] * 3
    )


def test_all_that_is_equal_is_found_among_many(tmp_path):
    """Against a digest of every file, whole: files of few sizes, a few of them copies, links or nearly copies."""
    chance = np.random.default_rng(2)
    contents: dict[str, bytes] = {}
    for number in range(600):
        content = chance.bytes(int(chance.choice([100, audit.AMID, SIZE])))
        if contents and chance.random() < 0.3:
            content = contents[f"f{chance.integers(number)}"]
        if chance.random() < 0.3:
            content = with_byte(content, int(chance.integers(len(content))))
        contents[f"f{number}"] = content
    found = pd.Series(keys(tmp_path, contents))
    digests = pd.Series(
        {name: hashlib.blake2b(content, digest_size=16).hexdigest() for name, content in contents.items()}
    )
    alike = digests.duplicated(keep=False)
    assert 50 < alike.sum() < 550 and found.tolist() == digests.where(alike, "").tolist()


def test_files_of_sizes_of_their_own_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "_amid", lambda path: pytest.fail(f"{path} was opened"))
    assert set(keys(tmp_path, {f"f{size}": bytes(size) for size in range(1, 9)}).values()) == {""}


def test_a_file_that_is_gone_or_closed_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent.wav: No such file.*"):
        audit._equal_files(pd.Series([str(tmp_path / "absent.wav")]))
    if os.geteuid():  # the superuser opens everything
        for name in "ab":
            (tmp_path / name).write_bytes(b"same")
        (tmp_path / "b").chmod(0)
        with pytest.raises(UserError, match="b: Permission denied"):
            audit._equal_files(pd.Series([str(tmp_path / name) for name in "ab"]))

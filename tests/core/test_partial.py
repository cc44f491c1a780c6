"""A file that is made in parts: killed anywhere, it goes on from what is sealed, and ends with the same bytes."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

import pytest

from local.core import partial
from local.core.errors import UserError
from local.core.markers import make_once

DATA = {name: bytes([number]) * (10 * number + 1) for number, name in enumerate("abcdefgh")}
WHOLE = b"".join(DATA.values())


class Killed(BaseException):
    """What ends a start here."""


def make(path: Path, stop: str = "", error: BaseException | None = None) -> list[str]:
    """Make the file, until the part `stop`; return the parts that were written."""
    written: list[str] = []

    def write(parts: partial.Parts) -> dict:
        for name, data in DATA.items():
            if name == stop:
                raise error or Killed
            if name not in parts.sizes:
                parts.add(name, data, len(data))
                written.append(name)
        return {"sizes": parts.sizes}

    facts = make_once(path, "x", 99, write, in_parts=True)
    assert facts["sizes"] == {name: len(data) for name, data in DATA.items()}
    return written


@pytest.fixture
def path(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(partial, "SECONDS", 0.0)  # each part is sealed
    return tmp_path / "features-x.f32"


def left(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if not each.name.endswith(".lock"))


def assert_whole(path: Path) -> None:
    assert path.read_bytes() == WHOLE
    assert left(path) == sorted([path.name, path.with_suffix(".json").name])


def test_marks_are_sealed_with_the_parts_and_are_part_of_the_checksum(path):
    with pytest.raises(Killed), partial.resumed(path, 9) as parts:
        parts.add("a", b"12", 1, mark=True)
        parts.add("b", b"3", 1)
        raise Killed
    with pytest.raises(Killed), partial.resumed(path, 9) as parts:
        assert parts.marked == ["a"] and list(parts.sizes) == ["a", "b"]
        raise Killed
    journal = path.with_name(f"{path.name}.part.json")
    journal.write_text(journal.read_text().replace('"marked": ["a"]', '"marked": ["b"]'))
    with partial.resumed(path, 9) as parts:
        assert not parts.marked and not parts.sizes  # what is not true is made again


@pytest.mark.parametrize("error", [Killed(), RuntimeError("of the device")], ids=["killed", "error"])
def test_it_goes_on_where_it_was(path, error):
    with pytest.raises(type(error)):
        make(path, "d", error)
    assert not path.exists() and len(left(path)) == 2
    assert make(path) == ["d", "e", "f", "g", "h"]
    assert_whole(path)
    assert make(path) == []


def test_what_is_beyond_the_journal_is_not_trusted(path):
    with pytest.raises(Killed):
        make(path, "c")
    part = path.with_name(f"{path.name}.part")
    with open(part, "ab") as file:
        file.write(b"half of a part")
    assert make(path) == ["c", "d", "e", "f", "g", "h"]
    assert_whole(path)


@pytest.mark.parametrize("damage", ["byte", "short", "journal", "size", "no journal", "no part"])
def test_what_is_damaged_is_made_again(path, damage):
    with pytest.raises(Killed):
        make(path, "e")
    part, journal = (path.with_name(path.name + end) for end in (".part", ".part.json"))
    data = part.read_bytes()
    if damage == "byte":
        part.write_bytes(b"X" + data[1:])
    elif damage == "short":
        part.write_bytes(data[:-1])
    elif damage == "journal":
        journal.write_text(journal.read_text()[:-5])
    elif damage == "size":
        journal.write_text(journal.read_text().replace('"a": 1', '"a": 2'))
    elif damage == "no journal":
        journal.unlink()
    else:
        part.unlink()
    assert make(path) == list(DATA)
    assert_whole(path)


def test_killed_when_it_was_whole_before_its_marker_it_is_not_made_again(path):
    make(path)
    marker = path.with_suffix(".json")
    marker.unlink()
    assert make(path) == list(DATA)  # without a journal nothing is known of it
    sizes = {name: len(data) for name, data in DATA.items()}
    checksum = hashlib.sha256(WHOLE + json.dumps(sizes).encode()).hexdigest()
    sealed = {"sizes": sizes, "bytes": len(WHOLE), "checksum": checksum}
    path.with_name(f"{path.name}.part.json").write_text(json.dumps(sealed))
    marker.unlink()
    assert make(path) == []
    assert_whole(path)


def test_a_full_disk_gives_its_room_back(path):
    with pytest.raises(UserError, match=r"cannot be written, the disk is full: it needs 99 bytes") as refusal:
        make(path, "d", OSError(errno.ENOSPC, "full"))
    assert left(path) == [] and refusal.value.remedy.endswith("this file is then made from its beginning")
    assert make(path) == list(DATA)


def test_what_is_refused_leaves_nothing(path):
    with pytest.raises(UserError, match="too long"):
        make(path, "d", UserError("too long", "cut it"))
    assert left(path) == []

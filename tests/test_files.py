"""Files that are whole or absent, and digests of contents."""

import hashlib

import pytest

from local.files import atomic, digest


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"  # folders are made
    with atomic(path) as file:
        file.write("old ż\r\n")
    assert path.read_bytes() == "old ż\r\n".encode()
    with atomic(path) as file:
        file.write("new")
        file.flush()
        assert path.read_bytes() == "old ż\r\n".encode()
    assert path.read_text() == "new"
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_an_interrupted_writing_leaves_the_old_file_and_nothing_else(tmp_path, interruption):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(interruption), atomic(path, "wb") as file:
        file.write(b"half")
        raise interruption
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_digest_is_of_contents_with_their_boundaries(tmp_path):
    path = tmp_path / "file"
    path.write_bytes("ab ż".encode())
    assert digest(path) == digest("ab ż") == digest("ab ż".encode())
    lengths = b"\0\0\0\0\0\0\0\1"
    assert digest("a", b"b") == hashlib.sha256(lengths + b"a" + lengths + b"b").hexdigest()[:16]
    assert len({digest("ab"), digest("a", "b"), digest("b", "a"), digest("ab", ""), digest()}) == 5

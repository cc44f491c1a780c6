"""Which files are read: of folders, with links and the leavings of macOS, and of lists in any encoding."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from local.core.errors import UserError
from local.inference.items import files, listed, path_of, whole_items

NAMES = ["talks/a.wav", "talks/naïve 語.wav", "talks/b c.wav"]
LINES = "".join(f"{name}\n" for name in NAMES)


def made(*names: str) -> None:
    """Files that are empty: only their names matter."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(top: str) -> list[str]:
    return [item.file for item in files([top])]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_samples_are_no_path():
    assert path_of(Path("talks/a.wav")) == path_of("talks/a.wav") == "talks/a.wav"
    with pytest.raises(UserError, match="by its path, and not as ndarray") as error:
        list(whole_items(files(map(path_of, ["talks/a.wav", np.zeros(9)])), 60))
    assert "`analyze`" in error.value.remedy


# ---------------------------------------------------------------- folders


def test_audio_that_cannot_be_read_has_its_line():
    read = ["a.wav", "timit.sph", "b.WAVE", "f.mpga"]
    unread = ["memo.m4a", "voice.webm", "call.amr", "call.3gp", "clip.MP4", "old.wma", "x.aac", "y.raw"]
    made(*(f"talks/{name}" for name in (*read, *unread, "notes.txt", "picture.jpg", "a.wav.json", "wav", "")[:-1]))
    assert sorted(found("talks")) == sorted(f"talks/{name}" for name in (*read, *unread))
    assert all(item.error for item in whole_items(files(["talks"]), 60))


def test_what_macos_leaves_is_passed_over():
    made("talks/0.wav", "talks/._0.wav", "talks/__MACOSX/talks/._0.wav", "talks/__MACOSX/1.wav", "talks/.hidden/2.wav")
    assert found("talks") == ["talks/0.wav", "talks/.hidden/2.wav"]


def test_links_to_folders_outside_are_followed_once():
    made("talks/0.wav", "elsewhere/1.wav", "elsewhere/deep/2.wav", "far/3.wav")
    os.symlink("../elsewhere", "talks/day2")
    os.symlink("../elsewhere/deep", "talks/day3")
    os.symlink("../../far", "elsewhere/deep/far")
    os.symlink("..", "elsewhere/deep/loop")
    os.symlink(".", "talks/self")
    os.symlink("..", "talks/up")
    os.symlink("day1", "talks/also")
    made("talks/day1/4.wav")
    below = ["talks/day1/4.wav", "talks/day2/1.wav", "talks/day2/deep/2.wav", "talks/day2/deep/far/3.wav"]
    assert found("talks") == ["talks/0.wav", *below]
    os.symlink("talks", "link")
    assert len(found("link")) == 5 and len(found("link/")) == 5


def test_a_link_to_nothing_has_its_line():
    made("talks/0.wav", "talks/.#notes")
    os.symlink("/absent/day2", "talks/day2")
    os.symlink("absent", "talks/.#lock")
    assert [(item.file, item.error) for item in files(["talks"])] == [
        ("talks/0.wav", ""),
        ("talks/day2", "a link to what is not there"),
    ]


# ---------------------------------------------------------------- lists


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_list_in_any_encoding(encoding, ends):
    content = LINES.replace("\n", ends).encode(encoding)
    assert list(listed(io.BytesIO(content))) == NAMES
    assert list(listed(io.BytesIO(content.rstrip(b"\r\n\0")))) == NAMES or "16" in encoding
    if encoding == "utf-16-be":
        assert list(listed(io.BytesIO(b"\xfe\xff" + content))) == NAMES


def test_a_list_separated_by_zero_bytes():
    names = [*NAMES, "two\nlines.wav", os.fsdecode(b"\xff\xfe.wav"), "x"]
    content = b"".join(os.fsencode(name) + b"\0" for name in names)
    assert list(listed(io.BytesIO(content))) == names
    assert list(listed(io.BytesIO(b"a.wav\nb.wav\0c.wav\0\n"))) == ["a.wav", "b.wav", "c.wav"]


def test_a_list_in_utf_8_is_read_as_it_comes():
    ends, begins = os.pipe()
    with open(ends, "rb") as reader, open(begins, "wb", buffering=0) as writer:
        names = listed(reader)
        for name in ("0.wav", "1.wav"):
            writer.write(f"{name}\n".encode())
            assert next(names) == name


def test_audio_is_no_list(monkeypatch):
    for form in ("WAV", "FLAC", "OGG", "AIFF"):
        soundfile.write(audio := io.BytesIO(), np.zeros(1600), 16_000, format=form)
        with pytest.raises(UserError, match="reads file names from the standard input, and this is audio"):
            list(listed(io.BytesIO(audio.getvalue())))
    for content in (b"RIFF.wav\0x", b"OggS\0x", b"fLaC\0x", b"ID3\nx"):
        assert len(list(listed(io.BytesIO(content)))) == 2
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UserError, match="the standard input is closed"):
        list(files(["-"]))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=30).flatmap(lambda text: st.just(text.encode("utf-16"))))
def test_any_list_gives_names_that_can_be_asked_for(content):
    for name in listed(io.BytesIO(content)):
        assert name.strip(" \t\r\n") and "\0" not in name
        os.path.exists(name)

"""Files that are whole or absent, and digests of contents."""

import errno
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import unshared

from local.core.errors import UserError, as_command
from local.core.files import atomic, digest, replace_folder, temporary_of, where
from local.core.markers import make_once, shared_file


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
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


# Killed while writing

WRITE = """
import os, signal, sys
from local.core.files import atomic
with atomic(sys.argv[1], "wb") as file:
    file.write(b"x" * 1_000_000)
    print("half", flush=True)
    sys.stdin.read()
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def writing(path: Path) -> subprocess.Popen:
    """A process that is half-way through a file."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(path)], env=environment(), text=True, **pipes)
    assert process.stdout.readline() == "half\n"
    return process


def write(path: Path, content: str) -> None:
    with atomic(path) as file:
        file.write(content)


def test_what_a_killed_process_has_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    path = tmp_path / "file [1].txt"  # a name with a pattern in it
    path.write_text("old")
    (tmp_path / f".another.txt.{where()}.1.tmp").touch()  # of a process that runs
    with writing(path) as dead, writing(path) as alive:
        dead.kill()
        assert dead.wait() == -signal.SIGKILL
        left = {each.name: each for each in tmp_path.iterdir()}
        assert path.read_text() == "old" and len(left) == 4
        (tmp_path / f".never written again.txt.{where()}.{dead.pid}.tmp").touch()
        (folder := tmp_path / f".an export.{where()}.{dead.pid}.tmp").mkdir()
        (folder / "model.safetensors").touch()
        [of_dead] = [each for name, each in left.items() if f".{dead.pid}." in name]
        of_another_host = of_dead.with_name(of_dead.name.replace(where(), "elsewhere"))
        of_another_host.touch()
        write(path, "new")
        assert {each.name for each in tmp_path.iterdir()} == {*left, of_another_host.name} - {of_dead.name}
        alive.stdin.close()
        assert alive.wait() == 0
        assert path.stat().st_size == 1_000_000


def test_what_cannot_be_removed_stays_and_stops_nobody(tmp_path, monkeypatch):
    """Another user's in a folder like /tmp, or what another process removes in that moment; and no process's number."""
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    (tmp_path / f".a.{where()}.{10**30}.tmp").touch()
    (tmp_path / f".b.{where()}.{dead.pid}.tmp").touch()
    (tmp_path / f".c.{where()}.{dead.pid}.tmp").mkdir()
    left = {*tmp_path.iterdir()}

    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refused)
    monkeypatch.setattr(shutil, "rmtree", refused)
    write(tmp_path / "file.txt", "new")
    assert {*tmp_path.iterdir()} == {*left, tmp_path / "file.txt"}


def test_a_folder_is_replaced_or_stays(tmp_path, monkeypatch):
    new = temporary_of(tmp_path / "model")
    others = [f".{name}.{where()}.1.old" for name in ("models", "model.x")]
    for name in ("model", f".model.{where()}.1.old", *others, new.name):
        (tmp_path / name).mkdir()
    (new / "weights").touch()
    rename = Path.rename

    def interrupted(old: Path, target: Path) -> Path:
        if old == new:
            raise KeyboardInterrupt
        return rename(old, target)

    before = {*tmp_path.rglob("*")}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", interrupted)
        replace_folder(tmp_path / "model", new)
    assert {*tmp_path.rglob("*")} == before
    replace_folder(tmp_path / "model", new)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"model", "model/weights", *others}


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write(tmp_path / "pipe", "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo() and len([*tmp_path.iterdir()]) == 1


TO_STDOUT = """
import sys
from pathlib import Path
from local.core.files import atomic
Path.replace = None  # the machine's own must not be
with atomic(sys.argv[1]) as file:
    file.write("a\\n")
print("b")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/../dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("mode", ["w", "a"])
def test_the_standard_output_is_written_to_where_it_is(tmp_path, mode, name):
    (tmp_path / "out.txt").write_text("before\n")
    with (tmp_path / "out.txt").open(mode) as out:
        subprocess.run([sys.executable, "-c", TO_STDOUT, name], stdout=out, check=True, env=environment())
    assert (tmp_path / "out.txt").read_text() == ("before\n" if mode == "a" else "") + "a\nb\n"
    assert Path("/dev/stdout").is_symlink()


def test_the_contents_are_on_the_disk_before_the_name_and_then_the_name(tmp_path, monkeypatch):
    done = []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        done.append("folder" if stat.S_ISDIR(status.st_mode) else f"file of {status.st_size}")

    replace = Path.replace

    def rename(old: Path, new: Path) -> Path:
        done.append("rename")
        return replace(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    write(tmp_path / "file", "four")
    assert done == ["file of 4", "rename", "folder"]


# A full disk

PAGE = os.sysconf("SC_PAGE_SIZE")  # what a tmpfs gives out, of which the lock has one


def told(path: Path, needed: str, free: str) -> str:
    needs = f"it needs {needed} bytes, " if needed else ""
    return f"{path} cannot be written, the disk is full: {needs}{free} are free"


def fill_up(folder: Path) -> None:
    old, content = folder / "old.txt", "ż" * 400_000
    write(old, "old")
    unshared.fill(folder, free=125 * PAGE)
    for wanted, needed in ((0, f"at least {125 * PAGE:,}"), (3, f"at least {125 * PAGE:,}"), (800_000, "800,000")):
        for mode, big in (("w", content), ("wb", content.encode())):
            with pytest.raises(UserError) as error, atomic(old, mode, wanted=wanted) as file:
                file.write(big)
            assert error.value.what == told(old, needed, f"{125 * PAGE:,}")
            assert error.value.remedy == "make room and run again: what was done is kept"
    assert old.read_text() == "old"
    assert {path.name for path in folder.iterdir()} == {"old.txt", "ballast"}
    with pytest.raises(IsADirectoryError), atomic(old):  # another error stays what it is
        raise IsADirectoryError
    unshared.fill(folder, free=0)
    with pytest.raises(UserError) as error:
        write(old, "seven b")
    assert error.value.what == told(old, "at least 7", "0")
    (folder / "ballast").unlink()
    write(old, "new")
    assert old.read_text() == "new"


def use_up_the_names(folder: Path) -> None:
    with pytest.raises(OSError):
        for number in range(1000):
            (folder / f"{number}").touch()
    with pytest.raises(UserError) as error:
        write(folder / "file", "four")
    assert error.value.what == told(folder / "file", "", "0 files")
    assert not (folder / "file").exists()


def make_in_vain(folder: Path) -> None:
    path, content = folder / "audio.i16", b"x" * 400_000

    def make(file) -> dict:
        file.write(content)
        return {"n": 1}

    assert make_once(path, "a", 0, make) == {"n": 1}
    unshared.fill(folder, free=76 * PAGE)
    with pytest.raises(UserError) as error:
        make_once(folder / "more.i16", "a", 700_000, make)
    assert error.value.what == told(folder / "more.i16", "700,000", f"{75 * PAGE:,}")
    assert {each.name for each in folder.iterdir()} == {"audio.i16", "audio.json", "ballast"}
    assert shared_file(path, "a").facts() == {"n": 1} and shared_file(folder / "more.i16", "a").facts() is None
    content = b"y" * 800_000
    with pytest.raises(UserError):
        make_once(path, "b", 0, make)  # of something else: the old one is worth nothing
    assert [each.name for each in folder.iterdir()] == ["ballast"]
    (folder / "ballast").unlink()
    assert make_once(path, "b", 0, make) == {"n": 1} and path.read_bytes() == content


@pytest.mark.parametrize(
    ("act", "options"),
    [(fill_up, "size=1m"), (use_up_the_names, "size=1m,nr_inodes=50"), (make_in_vain, "size=1m")],
    ids=["bytes", "names", "once"],
)
def test_a_full_disk_is_reported_with_file_and_bytes_and_the_old_file_stays(tmp_path, act, options):
    unshared.on_a_small_disk(act, tmp_path, options)


# Digests


def test_digest_is_of_contents_with_their_boundaries(tmp_path):
    path = tmp_path / "file"
    path.write_bytes("ab ż".encode())
    assert digest(path) == digest("ab ż") == digest("ab ż".encode())
    lengths = b"\0\0\0\0\0\0\0\1"
    assert digest("a", b"b") == hashlib.sha256(lengths + b"a" + lengths + b"b").hexdigest()[:16]
    path.write_bytes(content := bytes(range(256)) * 8193)  # read piece by piece
    assert digest(path) == hashlib.sha256(len(content).to_bytes(8, "big") + content).hexdigest()[:16]
    assert len({digest("ab"), digest("a", "b"), digest("b", "a"), digest("ab", ""), digest()}) == 5


def test_a_full_disk_and_a_closed_folder_are_two_lines_and_no_other_error_is_hidden(capsys):
    def failing(number: int) -> None:
        raise OSError(number, os.strerror(number), "train_log.txt")

    for number, what, remedy in (
        (errno.ENOSPC, " cannot be written, the disk is full", "make room and run again: what was done is kept"),
        (errno.EROFS, ": Read-only file system", "let your account read it, and write where results go"),
    ):
        with pytest.raises(SystemExit) as ended:
            as_command(failing)(number)
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"error: train_log.txt{what}\n  try: {remedy}\n"
    with pytest.raises(OSError, match="Input/output error"):
        as_command(failing)(errno.EIO)


def test_a_command_runs_where_stderr_is_closed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)  # as Python has it then
    as_command(lambda: print(sys.stderr.isatty()))()
    assert capsys.readouterr().out == "False\n"


def write_there(folder: Path) -> None:
    write(folder / "there.txt", "new")


def test_a_container_with_this_hosts_name_leaves_alone_what_is_written_here(tmp_path):
    """Its processes have other numbers: that of a living one here may be nobody there."""
    path = tmp_path / "here.txt"
    with writing(path) as alive:
        unshared.in_a_container(write_there, tmp_path)
        alive.stdin.close()
        assert alive.wait() == 0
    assert path.stat().st_size == 1_000_000

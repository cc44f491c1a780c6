"""One process at a time: real processes that hold, wait, are refused and are killed."""

from __future__ import annotations

import contextlib
import os
import platform
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import unshared
from filelock import _soft

from local.core import lock
from local.core.errors import UserError

QUICK = {"STALE": 2.0, "ENDING": 0.3, "POLL": 0.02}  # seconds; as long as a test may wait

HOLD = """
with lock.locked(path, "holds"):
    print("held", flush=True)
    sys.stdin.read()
"""

# Reads a counter, gives the others time, and writes it with one more. `die` says in which round this process
# kills itself, and whether before it has written or after.
COUNT = """
rounds, die, after = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "after"
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
for round in range(rounds):
    with lock.locked(path, "counts"):
        counter = os.open(path.with_name("counter"), os.O_RDWR)
        count = int(os.pread(counter, 8, 0))
        time.sleep(0.002)
        if round == die and not after:
            kill()
        os.pwrite(counter, b"%08d" % (count + 1), 0)
        print(count + 1, flush=True)
        if round == die:
            kill()
        os.close(counter)
"""


def start(code: str, path: Path, *words: object, **constants: float) -> subprocess.Popen:
    """A process of its own, which sees `path` and `lock` with other constants."""
    set_up = f"""
import os, signal, sys, time
from pathlib import Path
from local.core import lock
path = Path(sys.argv[1])
vars(lock).update({QUICK | constants})
"""
    command = [sys.executable, "-c", set_up + code, str(path), *map(str, words)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@contextlib.contextmanager
def held(path: Path, **constants: float) -> Iterator[subprocess.Popen]:
    """Another process that holds the lock."""
    with start(HOLD, path, **constants) as process:
        try:
            assert process.stdout.readline() == "held\n", process.stderr.read()
            yield process
        finally:
            process.kill()


def rewrite(path: Path, **fields: object) -> None:
    """Change what a lock file says, in place: it stays the holder's, whose heartbeat goes on."""
    text = path.read_text()
    for name, value in fields.items():
        text, count = re.subn(rf"(?m)^{name}=.*$", f"{name}={value}", text)
        assert count == 1
    path.write_text(text)


@pytest.fixture
def path(tmp_path, monkeypatch) -> Path:
    for name, value in QUICK.items():
        monkeypatch.setattr(lock, name, value)
    return tmp_path / "folder" / ".lock"  # the folder is made


def assert_free(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken at once: far sooner than a holder is waited for that may be about to end."""
    monkeypatch.setattr(lock, "ENDING", 600.0)
    assert seconds_to_take(path) < 300


def seconds_to_take(path: Path) -> float:
    began = time.monotonic()
    with lock.locked_or_refused(path, "works"):
        assert lock.holder(path) == (os.getpid(), platform.node())
        return time.monotonic() - began


def assert_refused(path: Path, process: subprocess.Popen, host: str) -> None:
    with pytest.raises(UserError) as error, lock.locked_or_refused(path, "works in results/x"):
        pass
    assert error.value.what == f"process {process.pid} on {host} works in results/x"
    assert error.value.remedy == "wait until it has ended, or end it"


# Held, waited for, refused


def test_the_lock_file_goes_with_its_holder(path):
    assert lock.holder(path) is None
    with lock.locked(path, "works"):
        assert lock.holder(path) == (os.getpid(), platform.node())
    with pytest.raises(ValueError), lock.locked_or_refused(path, "works"):
        raise ValueError
    assert list(path.parent.iterdir()) == []


def test_a_second_process_waits_and_says_for_whom(path):
    code = """
import logging
logging.basicConfig(level="INFO", format="%(message)s")
with lock.locked(path, "makes x"):
    print("in", flush=True)
"""
    with held(path) as process, start(code, path) as second:
        assert second.stderr.readline() == f"waiting for process {process.pid} on {platform.node()}, which makes x\n"
        time.sleep(2 * QUICK["STALE"])  # its heartbeat keeps it
        assert second.poll() is None and lock.holder(path)[0] == process.pid
        process.stdin.close()
        assert second.communicate() == ("in\n", "") and second.returncode == 0


def test_a_second_process_is_refused_by_name(path):
    with held(path) as process:
        assert lock.holder(path) == (process.pid, platform.node())
        assert_refused(path, process, platform.node())
        process.send_signal(signal.SIGSTOP)  # as Ctrl-Z does: it may go on at any moment
        time.sleep(QUICK["STALE"] + 0.2)
        assert_refused(path, process, platform.node())


def test_one_that_is_about_to_end_is_waited_for(path):
    with (
        held(path, ENDING=20) as process,
        start("with lock.locked_or_refused(path, ''): pass", path, ENDING=20) as second,
    ):
        time.sleep(0.5)
        process.stdin.close()
        assert second.wait() == 0, second.stderr.read()


# Holders that are gone


def test_a_killed_holder_frees_it_at_once(path, monkeypatch):
    with held(path) as process:
        process.kill()
        process.wait()
        assert path.exists() and lock.holder(path) is None
        assert_free(path, monkeypatch)
    assert list(path.parent.iterdir()) == []


def test_a_killed_holder_without_a_waiting_process_frees_it(path):
    with held(path) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # and so it remains as a zombie
        os.kill(process.pid, 0)
        assert seconds_to_take(path) > QUICK["ENDING"]


def test_a_process_that_has_the_number_of_the_holder_does_not_hold_it(path, monkeypatch):
    with held(path):
        start_time = int(re.search(r"(?m)^start=(\d+)$", path.read_text())[1])
        rewrite(path, start=start_time - 1)
        assert lock.holder(path) is None
        assert_free(path, monkeypatch)


def test_a_holder_on_another_host_is_known_by_its_heartbeat(path):
    with held(path) as process:
        rewrite(path, host="elsewhere")
        assert lock.holder(path) == (process.pid, "elsewhere")
        assert_refused(path, process, "elsewhere")
        process.kill()
        process.wait()
        assert lock.holder(path) == (process.pid, "elsewhere")  # what runs there is not seen
        with lock.locked_or_refused(path, "works"):
            assert lock.holder(path) == (os.getpid(), platform.node())


def test_a_process_of_another_host_is_not_judged_by_its_number(path):
    with held(path) as process:
        rewrite(path, host="elsewhere", pid=2**22 + 1)  # more than a process can have here
        process.pid = 2**22 + 1
        assert_refused(path, process, "elsewhere")


@pytest.mark.parametrize("content", [b"", b"\n", b"\0" * 200, b"filelock/2\npid=1\nho", b"\xff" * 3, b"x" * 5000])
@pytest.mark.parametrize("held_by", [lock.locked, lock.locked_or_refused])
def test_a_damaged_lock_file_frees_it(path, monkeypatch, content, held_by):
    monkeypatch.setattr(_soft, "MALFORMED_LOCK_AGE_THRESHOLD", 0.2)
    path.parent.mkdir()
    path.write_bytes(content)
    assert lock.holder(path) is None
    with held_by(path, "works"):
        assert lock.holder(path) == (os.getpid(), platform.node())
    assert list(path.parent.iterdir()) == []


def test_a_holder_that_writes_its_name_late_is_named_still(path):
    with lock.locked(path, "works"):
        record = path.read_bytes()
    with open(path, "wb", buffering=0) as file:
        os.utime(path, (0, 0))
        lock._damage_if_empty(path)
        assert path.read_bytes() == b"\n"
        file.write(record)
    assert lock.holder(path) == (os.getpid(), platform.node())
    path.write_bytes(record + b"\n")  # where it wrote between the look and the line
    assert lock.holder(path) == (os.getpid(), platform.node())


def test_a_holder_that_has_lost_its_lock_ends(path):
    with held(path) as process:
        path.unlink()
        assert process.wait() == 1
        assert process.stderr.read() == f"error: the lock {path} was lost (marker-missing): ending\n"


def refused_in_a_container(folder: Path) -> None:
    vars(lock).update(QUICK | {"STALE": 600.0})
    with held(folder / ".lock", STALE=600) as process:
        assert process.pid < 100
        began = time.monotonic()
        assert_refused(folder / ".lock", process, platform.node())
        assert time.monotonic() - began < 300  # its process is there, so its heartbeat does not count
    assert lock.holder(folder / ".lock") is None


def test_in_a_container_processes_are_seen_and_named_as_elsewhere(tmp_path):
    unshared.in_a_container(refused_in_a_container, tmp_path)


def test_a_process_of_another_container_of_this_host_is_not_judged_by_its_number(path):
    with held(path) as process:
        host = f"{platform.node()}?pidns-f0000abc"
        rewrite(path, host=host, pid=2**22 + 1)  # more than a process can have here
        assert lock.holder(path) == (2**22 + 1, host)
        process.pid = 2**22 + 1
        assert_refused(path, process, platform.node())


def locked_on_a_full_disk(folder: Path) -> None:
    unshared.fill(folder, free=0)
    for hold in (lock.locked, lock.locked_or_refused):
        with pytest.raises(UserError) as error, hold(folder / ".lock", "works"):
            pass
        assert error.value.what.startswith(f"{folder / '.lock'} cannot be written, the disk is full: it needs 1,024 b")
        assert not (folder / ".lock").exists()
    (folder / "ballast").unlink()
    with lock.locked(folder / ".lock", "works"):
        pass


def test_a_disk_that_has_no_room_for_a_lock(tmp_path):
    unshared.on_a_small_disk(locked_on_a_full_disk, tmp_path, "size=64k")


# Many


def outcomes(workers: list[subprocess.Popen]) -> list[tuple[str, str]]:
    """What they have written, each waited for at once: a zombie would hold its lock until it is stale."""
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(subprocess.Popen.communicate, workers))


def test_twelve_processes_lose_no_count_though_some_die_holding_it(path):
    draw, rounds, expected, workers = random.Random(1), 6, 0, []
    path.parent.mkdir()
    (path.parent / "counter").write_bytes(b"00000000")
    for number in range(12):
        die, after = (draw.randrange(rounds) if number % 4 == 0 else -1), draw.random() < 0.5
        expected += rounds if die < 0 else die + after
        workers.append(start(COUNT, path, rounds, die, "after" if after else "before", STALE=60))
    told = outcomes(workers)
    assert [worker.returncode for worker in workers] == [-9 if number % 4 == 0 else 0 for number in range(12)], told
    assert int((path.parent / "counter").read_bytes()) == expected
    counts = [int(count) for out, _ in told for count in out.split()]
    assert sorted(counts) == list(range(1, expected + 1))


def test_processes_killed_at_any_moment_lose_no_count(path):
    draw = random.Random(3)
    path.parent.mkdir()
    (path.parent / "counter").write_bytes(b"00000000")
    workers = [start(COUNT, path, 10**6 if number < 8 else 20, -1, "", STALE=60) for number in range(12)]
    for worker in workers[:8]:
        time.sleep(draw.uniform(0, 0.3))
        worker.kill()
    told = outcomes(workers)
    assert [worker.returncode for worker in workers] == [-9] * 8 + [0] * 4, told
    counts = [int(count) for out, _ in told for count in out.split()]
    total = int((path.parent / "counter").read_bytes())
    assert len(set(counts)) == len(counts) and max(counts) <= total
    assert total - 8 <= len(counts) <= total  # each may have been killed before it could tell

"""Functions of tests that run in Linux namespaces of their own: on a disk that is small, in a container."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CONTAINER = ("unshare", "-rpf", "--mount-proc")
DISK = ("unshare", "-rm", "sh", "-euc", 'mount -t tmpfs -o "$1" none "$0"; shift; exec "$@"')


def run(wrapper: tuple[str, ...], function: Callable[[Path], None], folder: Path) -> None:
    """Call a module's function with a folder in a process of its own; skip the test where that is not allowed."""
    try:
        subprocess.run([*wrapper, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no namespaces for users here: {error}")
    module = function.__module__
    code = f"import pathlib, sys, {module}; {module}.{function.__name__}(pathlib.Path(sys.argv[1]))"
    process = subprocess.run(
        [*wrapper, sys.executable, "-c", code, str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr


def on_a_small_disk(function: Callable[[Path], None], folder: Path, options: str) -> None:
    """Call a function with a folder in which a tmpfs is mounted: `size=1m`, `nr_inodes=8`."""
    run((*DISK, str(folder), options), function, folder)


def in_a_container(function: Callable[[Path], None], folder: Path) -> None:
    """Call a function with a folder where the processes have other numbers than outside."""
    run(CONTAINER, function, folder)


def fill(folder: Path, free: int) -> None:
    """Leave a disk so many bytes free; what takes the others is the file `ballast`."""
    status = os.statvfs(folder)
    with open(folder / "ballast", "ab") as file:
        file.write(b"\0" * (status.f_bavail * status.f_frsize - free))

"""All stages of a small experiment in a process of their own, which can be killed at any moment."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from pathlib import Path

MODULES = ("prepare", "folds", "audio_store", "train", "decode", "score", "report")
# Forked from a process that has imported everything, each of them starts at once.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["local.train", "local.decode", "local.score", "local.report"])


def stages(place: Path, words: list[str]) -> None:
    """Stages 0 to 5 as run.sh calls them, one after the other, in `place`; their output goes to log.txt there."""
    import importlib

    os.chdir(place)
    with open("log.txt", "a", encoding="utf-8", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.argv[1:] = words
    for name in MODULES:
        importlib.import_module(f"local.{name}").main()


def start_server() -> None:
    """Wait until the server that the stages are forked from has imported everything."""
    process = SERVER.Process(target=print)
    process.start()
    process.join()


def start(place: Path, words: list[str]) -> multiprocessing.Process:
    """Start the stages."""
    with _variables(OMP_NUM_THREADS="1", PYTHONHASHSEED="0"):
        process = SERVER.Process(target=stages, args=(place, words))
        process.start()
    return process


@contextlib.contextmanager
def _variables(**values: str):
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

"""The CPU's cores: each process's share of them, and all of them for what the other processes wait for."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

ALL = "SER_MTL_CORES"  # environment variable: how many cores all jobs of the run have together

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """The CPU's cores that all jobs together may use: at most OMP_NUM_THREADS, if that is set."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(found, int(allowed)) if allowed.isdecimal() else found)


def thread_limits(count: int, most: int = 0) -> dict[str, str]:
    """The environment variables that give each of so many processes its share of the cores, at most `most` if not 0.

    They tell it of all cores, too.
    """
    share = max(1, cores() // count)
    each = str(min(share, most) if most else share)
    return {"OMP_NUM_THREADS": each, "MKL_NUM_THREADS": each, ALL: str(cores())}


@contextlib.contextmanager
def one_thread_each() -> Iterator[int]:
    """Let torch compute with one thread in each thread of Python; give the number of cores that all jobs have."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield max(threads, int(os.environ.get(ALL, 1)))
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int = 0
) -> Iterator[Iterator[Result]]:
    """Give what a function makes of items, in so many threads, only a few items ahead; at the end what waits is left.

    `ahead` is how many; by default four for each thread.

    With one thread it is called in that of the caller.
    """
    if threads == 1:
        yield map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield _results(pool, function, items, ahead or 4 * threads)
        finally:  # also after an error or a signal
            pool.shutdown(cancel_futures=True)


def _results(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()

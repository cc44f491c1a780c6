"""The CPU's cores: results in order whatever ends first, and what is left at an error. Shares: tests/test_launch.py."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from local.core.threads import ALL, in_order, one_thread_each


def test_results_come_in_order_and_only_a_few_items_are_begun():
    begun = []

    def slower_at_first(number: int) -> int:
        begun.append(number)
        time.sleep(0.02 if number == 0 else 0.0)
        return number * number

    with in_order(slower_at_first, range(100), 3) as results:
        assert next(results) == 0 and len(begun) <= 4 * 3 + 1
        assert list(results) == [number * number for number in range(1, 100)]


@pytest.mark.parametrize("threads", [1, 3])
def test_at_an_error_what_waits_is_left(threads):
    begun, ended = [], threading.Event()

    def stopping(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise OSError("full")
        ended.wait(60.0 if number > 2 else 0.0)
        return number

    with pytest.raises(OSError, match="full"), in_order(stopping, range(100), threads) as results:
        got = [next(results), next(results)]
        try:
            next(results)
        finally:  # those that have begun may end when the others have been left
            threading.Timer(1.0, ended.set).start()
    assert got == [0, 1] and len(begun) <= 3 + threads


def test_one_thread_is_that_of_the_caller():
    with in_order(lambda _: threading.get_ident(), range(3), 1) as results:
        assert set(results) == {threading.get_ident()}


def test_torch_has_its_threads_again_after_an_error(monkeypatch):
    before = torch.get_num_threads()
    for said, expected in (("", before), (str(before + 2), before + 2)):
        monkeypatch.setenv(ALL, said) if said else monkeypatch.delenv(ALL, raising=False)
        with pytest.raises(KeyError), one_thread_each() as cores:
            assert (cores, torch.get_num_threads()) == (expected, 1)
            raise KeyError
        assert torch.get_num_threads() == before

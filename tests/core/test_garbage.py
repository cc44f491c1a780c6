"""Garbage collections that are left out while a command starts."""

import gc

import pytest

from local.core import garbage


@pytest.fixture(autouse=True)
def afterwards():
    yield
    gc.enable()


def test_none_is_made_until_they_are_asked_for():
    made = []
    gc.callbacks.append(lambda *_: made.append(1))
    garbage.ignore()
    kept = [[] for _ in range(100_000)]
    assert not made
    garbage.collect()
    assert gc.isenabled() and gc.get_freeze_count() > len(kept)
    gc.callbacks.pop()


def test_where_none_was_left_out_nothing_is_kept():
    frozen = gc.get_freeze_count()
    garbage.collect()
    assert gc.isenabled() and gc.get_freeze_count() == frozen

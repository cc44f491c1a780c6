"""Stages in the process of the tests, in one thread: a process of their own would import torch for ten seconds."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

from local.core import logs


def run_stages(words: list[str], *names: str) -> None:
    """Run `python -m local.NAME WORDS` for each name, but here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums differ in their last digits with the number of threads
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["", *words])
            patch.setattr(logs, "log_to_stderr", lambda: None)  # which would keep this test's stderr
            for name in names:
                importlib.import_module(f"local.{name}").main()
    finally:
        torch.set_num_threads(threads)

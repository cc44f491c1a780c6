"""`local.jobs.torchrun`: how long processes have to end."""

from __future__ import annotations

import signal

from torch.distributed.elastic.multiprocessing.api import PContext, SignalException

from local.jobs import torchrun


def test_processes_that_are_asked_to_end_have_time_to_save(monkeypatch):
    given = []
    monkeypatch.setattr(PContext, "close", lambda _, death_sig=None, timeout=30: given.append((death_sig, timeout)))
    torchrun.wait_for_saving()
    PContext.close(None, signal.SIGTERM)  # as where one has failed
    try:
        raise SignalException("to torchrun", signal.SIGINT)
    except SignalException as error:
        PContext.close(None, error.sigval)
    assert given == [(signal.SIGTERM, 30), (signal.SIGINT, torchrun.SAVING)]

"""torchrun: starts a job as several processes, on one machine or on several.

    python -m local.jobs.torchrun TORCHRUN'S OPTIONS -m local.train ...

is torchrun, except that it ends with the process that started it, and with the exit code of the process
that failed first, which has said why; and that processes which were asked to end have time to save, where
torchrun kills them after 30 seconds. It loads torch only when it runs.
"""

from __future__ import annotations

import os
import signal
import sys

from local.core import signals
from local.core.errors import as_command

SAVING = 3600  # seconds: the rest of an update, or of a validation, in which several processes do not save, and saving


def torchrun_command(processes: int, nodes: int = 1, node: int = 0, rendezvous: str = "") -> list[str]:
    """The words that start a module in place of the interpreter alone: some processes on each of some machines.

    Parameters
    ----------
    processes, nodes
        Processes on each machine, one for each GPU or any number on a CPU; machines.
    node
        This machine's number: the first has the job's first process, which logs.
    rendezvous
        `host:port` of the first machine, where there are several.
    """
    if processes * nodes == 1:
        return [sys.executable]
    meeting = ["--rdzv-backend", "static", "--rdzv-endpoint", rendezvous, "--node-rank", str(node)]
    meeting = meeting if nodes > 1 else ["--standalone"]
    size = ["--nnodes", str(nodes), "--nproc-per-node", str(processes)]
    return [sys.executable, "-m", "local.jobs.torchrun", *meeting, *size]


def wait_for_saving() -> None:
    """Let torchrun wait `SAVING` for processes to which it passes a signal; as long as ever where one has failed.

    Those others may wait for the one that failed, and would not end.
    """
    from torch.distributed.elastic.multiprocessing.api import PContext, SignalException

    close = PContext.close

    def close_later(self: PContext, death_sig: signal.Signals | None = None, timeout: int = 30) -> None:
        asked = isinstance(sys.exc_info()[1], SignalException)
        close(self, death_sig, SAVING if asked else timeout)

    PContext.close = close_later


@as_command
def main() -> None:
    """Run torchrun, and end as its processes did."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as run

    os.environ |= signals.parent_variable()
    wait_for_saving()
    try:
        run(sys.argv[1:])
    except ChildFailedError as error:
        failed = error.get_first_failure()[1]
        sys.exit(failed.exitcode if failed.exitcode > 0 else signals.exit_code(-failed.exitcode))
    except SignalException as error:
        sys.exit(signals.exit_code(error.sigval))


if __name__ == "__main__":
    main()

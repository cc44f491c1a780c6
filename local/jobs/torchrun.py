"""torchrun: starts a job as several processes, on one machine or on several.

    python -m local.jobs.torchrun TORCHRUN'S OPTIONS -m local.train ...

is torchrun, except that it ends with the process that started it, and with the exit code of the process
that failed first, which has said why. It loads torch only when it runs.
"""

from __future__ import annotations

import os
import sys

from local.core import signals
from local.core.errors import as_command


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


@as_command
def main() -> None:
    """Run torchrun, and end as its processes did."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as run

    os.environ |= signals.parent_variable()
    try:
        run(sys.argv[1:])
    except ChildFailedError as error:
        failed = error.get_first_failure()[1]
        sys.exit(failed.exitcode if failed.exitcode > 0 else signals.exit_code(-failed.exitcode))
    except SignalException as error:
        sys.exit(signals.exit_code(error.sigval))


if __name__ == "__main__":
    main()

"""Run a command and print what it took: `python -m local.benchmark.watch COMMAND [WORD ...]`.

Prints a line of JSON: `code`, `seconds` of wall-clock time, `peak` bytes of memory. The command's output is dropped,
its errors are not. This file is a small process of its own because Linux counts the memory of the process that starts
a command as the command's own: beside torch, every command would seem to need as much as torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


if __name__ == "__main__":
    began = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    row = {"code": os.waitstatus_to_exitcode(status), "seconds": time.perf_counter() - began}
    print(json.dumps(row | {"peak": used.ru_maxrss * UNIT}))

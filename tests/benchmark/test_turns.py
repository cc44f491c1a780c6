"""How the ways take turns, with processes that say what they are asked for."""

import subprocess
import sys

from local.benchmark import turns

# Takes a tenth of a second for each thing that it was asked for so far; gives memory back after its first round.
WORKER = """
import json, sys
asked = []
for line in sys.stdin:
    asked.append(line.strip())
    gave_back = asked.count("round") == 1 and "WAY" == "greedy" and asked[-1] == "round"
    print(json.dumps({"audio": 1, "flops": 1, "peak": 1, "precision": "fp32", "seconds": 0.1 * len(asked),
                      "gave_back": gave_back}), flush=True)
"""


def test_a_way_settles_before_its_rounds_and_after_it_gave_memory_back(monkeypatch):
    def start(way, arguments, jobs, stack):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        worker = subprocess.Popen([sys.executable, "-c", WORKER.replace("WAY", way)], text=True, **pipes)
        stack.callback(worker.wait)
        stack.callback(worker.stdin.close)
        return worker

    monkeypatch.setattr(turns, "_start", start)
    monkeypatch.setattr(turns, "gemm", lambda device, kind: 1.0)
    rows = turns.measure(["modest", "greedy"], 3, 2, ["folder", "cpu", ""])
    asked = {way: [round(10 * row["seconds"]) for row in rows if row["way"] == way] for way in ("modest", "greedy")}
    assert asked == {"modest": [2, 3, 4], "greedy": [2, 4, 5]}  # settle round round round; settle round settle round ..
    assert [(row["round"], row["way"], row["audio"]) for row in rows[:3]] == [
        (1, "modest", 2),
        (1, "greedy", 2),
        (2, "modest", 2),
    ]

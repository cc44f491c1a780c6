"""How the ways take turns, with processes that say what they are asked for."""

import subprocess
import sys

from local.benchmark import turns
from local.benchmark.machine import Look

# Takes a tenth of a second for each thing that it was asked for so far; gives memory back after its first round.
WORKER = """
import json, sys
asked = []
for line in sys.stdin:
    asked.append(line.strip())
    gave_back = asked.count("round") == 1 and "WAY" == "greedy" and asked[-1] == "round"
    print(json.dumps({"audio": 1, "flops": 1, "peak": 1, "precision": "fp32", "weights": "no ASR",
                      "seconds": 0.1 * len(asked), "gave_back": gave_back}), flush=True)
"""


def test_a_way_settles_before_its_rounds_and_after_it_gave_memory_back(monkeypatch):
    """No GEMM is measured while ways are built; what others took then is in each row of the round."""

    def start(way, arguments, jobs, stack):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        worker = subprocess.Popen([sys.executable, "-c", WORKER.replace("WAY", way)], text=True, **pipes)
        stack.callback(worker.wait)
        stack.callback(worker.stdin.close)
        return worker

    done, answers = [], turns._ask

    def ask(way, workers, what):
        done.append(what)
        return answers(way, workers, what)

    def look():
        """Each step takes 10 s. Others take a quarter of the CPUs' time while the first two rates are measured."""
        return Look(10.0 * len(done), 5.0 * min(done.count("gemm"), 2), 0.0, 2)

    monkeypatch.setattr(turns, "_start", start)
    monkeypatch.setattr(turns, "_ask", ask)
    monkeypatch.setattr(turns, "look", look)
    monkeypatch.setattr(turns, "gemm", lambda device, kind: done.append("gemm") or 1.0)
    rows = turns.measure(["modest", "greedy"], 3, 2, ["folder", "cpu", ""])
    assert done[:5] == ["built", "built", "gemm", "gemm", "settle"]
    asked = {way: [round(10 * row["seconds"]) for row in rows if row["way"] == way] for way in ("modest", "greedy")}
    # built settle round round round; built settle round settle round round
    assert asked == {"modest": [3, 4, 5], "greedy": [3, 5, 6]}
    assert {row["weights"] for row in rows} == {"no ASR"}
    assert [(row["round"], row["way"], row["audio"]) for row in rows[:3]] == [
        (1, "modest", 2),
        (1, "greedy", 2),
        (2, "modest", 2),
    ]
    assert [(row["gemm_others"], row["others"]) for row in rows[::2]] == [(0.25, 0.0), (0.0, 0.0), (0.0, 0.0)]

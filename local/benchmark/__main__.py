"""How fast the ways to train are, and how near the device's limit.

    python -m local.benchmark [--device cpu] [--utterances 16] [--rounds 3] [--ways "a b c d one many"]
        [--jobs 1] [--encoder FOLDER] [--json FILE]

Trains a wav2vec 2.0 of base shape with random weights on noise of IEMOCAP's durations, in whole updates with
the optimizer:

    a     as the paper's released code: fp32, gradient checkpointing, 2 utterances x 4 accumulation steps in
          random order, padded, the CNN trained
    b     as SpeechBrain's IEMOCAP recipe: fp32, 4 utterances, padded, the CNN frozen, emotion alone
    c     this project's default: hparams/mtl_wav2vec2.yaml
    d     this project's fastest: c with the CNN frozen and its output cached, in bf16
    one   inference, one utterance at a time
    many  inference, in the batches of stage 3

Every way is a process of its own. They take turns, round by round, so that what else the machine does falls
on all alike; figures are medians over rounds, ratios are taken within a round. Before each round the GEMM
rate of the device is measured in fp32 and bf16. The first round of each way warms up and does not count.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch

from local.benchmark.ways import gemm, make
from local.environment import processor
from local.errors import Parser, UserError, exits
from local.files import atomic
from local.results_page import table

WAYS = {
    "a": "released code: fp32, checkpointing, 2 x 4",
    "b": "SpeechBrain's recipe: fp32, 4, CNN frozen",
    "c": "this project, default",
    "d": "this project, CNN cached, bf16",
    "one": "inference, one by one",
    "many": "inference, in batches",
}
KINDS = {"fp32": "float32", "bf16": "bfloat16"}
BASE = {"a": "a", "b": "a", "c": "a", "d": "a", "one": "one", "many": "one"}  # what a way's ratio is taken to


class Worker:
    """A way in a process of its own, which does a round whenever it is told to."""

    def __init__(self, way: str, words: list[str]) -> None:
        self.way = way
        command = [sys.executable, "-m", "local.benchmark.ways", way, *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()

    def begin(self) -> None:
        """Begin a round."""
        print("round", file=self.process.stdin, flush=True)

    def result(self) -> dict[str, Any]:
        """Wait for the round's end.

        Raises
        ------
        UserError
            The process has died.
        """
        line = self.process.stdout.readline()
        if not line:
            raise UserError(f"way {self.way} ended with code {self.process.wait()}", "see its message above")
        return json.loads(line)


def measure(ways: list[str], rounds: int, jobs: int, words: list[str], device: str) -> list[dict[str, Any]]:
    """Let the ways take turns.

    Parameters
    ----------
    ways
        Their letters.
    rounds
        How many count; one more goes before.
    jobs
        How many processes of a way run at the same time.
    words
        What a process is told: folder, device, encoder.
    device
        Where the GEMM rate is measured.

    Returns
    -------
    A row for each way and round: `way`, `round`, `seconds`, `audio` seconds of all jobs, `flops`, `peak` bytes of
    one job, `float32` and `bfloat16`, the GEMM rates in operations per second.
    """
    rows = []
    with ExitStack() as stack:
        workers = {way: [stack.enter_context(Worker(way, words)) for _ in range(jobs)] for way in ways}
        for number in range(rounds + 1):
            rates = {kind: gemm(device, getattr(torch, kind)) for kind in KINDS.values()}
            for way in ways:
                for worker in workers[way]:
                    worker.begin()
                results = [worker.result() for worker in workers[way]]
                row = {"way": way, "round": number, "seconds": max(result["seconds"] for result in results)}
                row |= {name: sum(result[name] for result in results) for name in ("audio", "flops")}
                row |= {"peak": max(result["peak"] for result in results)} | rates
                print(f"  round {number} {way}: {row['audio'] / row['seconds']:.2f} audio-s/s", file=sys.stderr)
                rows += [row] if number else []
    return rows


def summary(rows: list[dict[str, Any]]) -> list[list[object]]:
    """Medians over rounds, a line per way."""
    seconds = {(row["way"], row["round"]): row["seconds"] / row["audio"] for row in rows}
    lines = []
    for way in dict.fromkeys(row["way"] for row in rows):
        mine = [row for row in rows if row["way"] == way]
        rate, done = (median(row[what] / row["seconds"] for row in mine) for what in ("audio", "flops"))
        shares = (median(row["flops"] / row["seconds"] / row[kind] for row in mine) for kind in KINDS.values())
        pairs = [(seconds.get((BASE[way], row["round"])), seconds[way, row["round"]]) for row in mine]
        ratio = f"{median(base / own for base, own in pairs):.2f}" if all(base for base, _ in pairs) else "–"
        figures = [f"{rate:.2f}", ratio, f"{mine[-1]['peak'] / 1e9:.1f}", f"{done / 1e9:.0f}"]
        lines.append([way, WAYS[way], *figures, *(f"{100 * share:.0f}" for share in shares)])
    return lines


def page(rows: list[dict[str, Any]], given: Any, machine: str) -> str:
    """Set the table, with what it was measured on."""
    heads = ["way", "", "audio-s/s", "ratio", "peak GB", "GFLOP/s", "% of fp32 GEMM", "% of bf16 GEMM"]
    rates = ", ".join(f"{name} {median(row[kind] for row in rows) / 1e9:.0f}" for name, kind in KINDS.items())
    lines = [
        f"    python -m local.benchmark {shlex.join(sys.argv[1:])}".rstrip(),
        "",
        f"{machine}, {date.today():%Y-%m-%d}: {given.utterances} utterances of IEMOCAP's durations, medians of "
        f"{given.rounds} rounds, {given.jobs} at a time. GEMM in GFLOP/s: {rates}.",
        "",
        *table(heads, summary(rows)),
    ]
    return "\n".join(lines) + "\n"


@exits
def main() -> None:
    """Measure, print and write."""
    parser = Parser(prog="python -m local.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--utterances", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", default="a b c d one many")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--encoder", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    unknown = [way for way in given.ways.split() if way not in WAYS]
    if unknown:
        raise UserError(f"there is no way '{unknown[0]}'", f"take of: {' '.join(WAYS)}")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), given.utterances)
        rows = measure(
            given.ways.split(), given.rounds, given.jobs, [folder, given.device, given.encoder], given.device
        )
    if given.json:
        with atomic(given.json) as file:
            json.dump({"machine": machine(given.device), "rows": rows}, file, indent=1)
    print(page(rows, given, machine(given.device)), end="")


def machine(device: str) -> str:
    """The device in words."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()

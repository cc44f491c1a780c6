"""How fast the ways to train are and how near the device's limit, and what the other stages cost.

    python -m local.benchmark [--device cpu] [--utterances 16] [--rounds 3] [--ways "a b c d one many"]
        [--jobs "1 2 4"] [--encoder FOLDER] [--hours "1 7 20"] [--json FILE] [--readme FILE]
    python -m local.benchmark --rows "20000 200000 2000000" [--json FILE] [--readme FILE]
    python -m local.benchmark --plan 10000 [--readme FILE]

Trains a wav2vec 2.0 of base shape with random weights on noise of IEMOCAP's durations, in whole updates with
the optimizer:

    a     as the paper's released code: fp32, gradient checkpointing, 2 utterances x 4 accumulation steps in
          random order, padded, the CNN trained
    b     as SpeechBrain's IEMOCAP recipe: fp32, 4 utterances, padded, the CNN frozen, emotion alone
    c     this project's default: hparams/mtl_wav2vec2.yaml
    d     this project's fastest: c with the CNN frozen and its output cached, in bf16
    one   inference, one utterance at a time
    many  inference, in the batches of stage 3

With `--ways "sb hf hf-emotion file onnx int8 predict bf16"` the ways to use a trained model, see
`local.benchmark.uses`: apart from those to train, as memory holds all models of a run.

Every way is a process of its own. They take turns, round by round, so that what else the machine does falls
on all alike; figures are medians over rounds, ratios are taken within a round. Before each round the GEMM
rate of the device is measured in fp32 and bf16. The first round of each way warms up and does not count.

With `--jobs "1 2 4"` all of this is done for each number of jobs: so many processes of a way begin a round
together, and it ends with the last of them; threads are divided among them as `local.launch` does. A ratio is
to the same number of jobs of `a` (of `one`), in the same round: what a second job brings, it brings to `a` as
well, and is read off the audio seconds per second. The numbers come one after another, as memory holds the
models of one at a time: what the machine does meanwhile falls on them unlike, and the shares of the GEMM rate,
measured beside each, say more across them than the rates themselves. `--ways ""` measures none.

`--hours "1 7 20"` measures the other stages on corpora of so many hours, see `local.benchmark.stages`.
`--rows "20000 200000 2000000"` measures what stages cost that handle rows, not audio, on so many utterances, see
`local.benchmark.rows`; `--plan 10000` computes what so many hours need, see `local.benchmark.plan`. Neither measures
anything else.

`--readme FILE` writes the tables into a file, between the lines `<!-- benchmark cpu -->` and
`<!-- /benchmark cpu -->` (or `cuda`: of the device's kind; `cpu use`; `rows`; `plan`), in place of what stands there.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from local.benchmark import page, plan, rows, stages, synthetic
from local.benchmark.page import KINDS, USES, WAYS
from local.benchmark.ways import gemm, make
from local.core.errors import Parser, UserError, as_command
from local.core.files import atomic
from local.jobs.process import thread_limits
from local.training.environment import cpu_name


class Worker:
    """A way in a process of its own, one of so many jobs, which does a round whenever it is told to."""

    def __init__(self, way: str, words: list[str], jobs: int) -> None:
        self.way = way
        command = [sys.executable, "-m", "local.benchmark.ways", way, *words]
        pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
        self.process = subprocess.Popen(command, env=os.environ | thread_limits(jobs), text=True, **pipes)

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
    A row for each way and round: `way`, `jobs`, `round`, `seconds`, `audio` seconds of all jobs, `flops`, `peak`
    bytes of one job, `float32` and `bfloat16`, the GEMM rates in operations per second.
    """
    rows = []
    with ExitStack() as stack:
        workers = {way: [stack.enter_context(Worker(way, words, jobs)) for _ in range(jobs)] for way in ways}
        for number in range(rounds + 1):
            rates = {kind: gemm(device, getattr(torch, kind)) for kind in KINDS.values()}
            for way in ways:
                for worker in workers[way]:
                    worker.begin()
                results = [worker.result() for worker in workers[way]]
                row = {"way": way, "jobs": jobs, "round": number}
                row |= {"seconds": max(result["seconds"] for result in results)}
                row |= {name: sum(result[name] for result in results) for name in ("audio", "flops")}
                row |= {"peak": max(result["peak"] for result in results)} | rates
                speed = f"{row['audio'] / row['seconds']:.2f} audio-s/s"
                print(f"  round {number} {way}, {jobs} at a time: {speed}", file=sys.stderr)
                rows += [row] if number else []
    return rows


def of_ways(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the ways, one number of jobs after another."""
    if not given.ways:
        return []
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), given.utterances)
        if set(given.ways) & set(USES):
            # In a process of its own, as the memory that it takes would be counted for its children, too.
            subprocess.run([sys.executable, "-m", "local.benchmark.uses", folder, given.encoder], check=True)
        words = [folder, given.device, given.encoder]
        return [row for jobs in given.jobs for row in measure(given.ways, given.rounds, jobs, words, given.device)]


def of_sizes(sizes: list[float], unit: str, measure: Callable[..., list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Measure stages on one corpus after another."""
    if not sizes:
        return []
    rows = []
    with tempfile.TemporaryDirectory() as bytecode:
        stages.load_all(Path(bytecode))
        for size in sizes:
            print(f"  {size:g} {unit}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                rows += measure(Path(folder), size, Path(bytecode))
    return rows


def options() -> argparse.Namespace:
    """Read the command line.

    Raises
    ------
    UserError
        A word that cannot be, or a file without a place for the tables: nothing is measured then.
    """
    parser = Parser(prog="python -m local.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--utterances", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", default=" ".join(WAYS))
    parser.add_argument("--jobs", default="1")
    parser.add_argument("--encoder", default="")
    parser.add_argument("--hours", default="")
    parser.add_argument("--rows", default="")
    parser.add_argument("--plan", default="")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--readme", type=Path)
    given = parser.parse_args()
    given.rows, given.plan = numbers("rows", given.rows, int), numbers("plan", given.plan, float)
    given.ways = [] if given.rows or given.plan else given.ways.split()
    given.jobs = numbers("jobs", given.jobs, int) or [1]
    given.hours = numbers("hours", given.hours, float)
    unknown = [way for way in given.ways if way not in (*WAYS, *USES)]
    if unknown:
        raise UserError(f"there is no way '{unknown[0]}'", f"take of: {' '.join((*WAYS, *USES))}")
    if set(given.ways) & set(WAYS) and set(given.ways) & set(USES):
        raise UserError("ways to train and ways to use are measured apart", f"--ways '{' '.join(USES)}'")
    if sum(map(bool, (given.ways or given.hours, given.rows, given.plan))) != 1:
        raise UserError(
            "there is nothing to measure, or too much at a time",
            "give --ways and --hours, or --rows, or --plan",
        )
    for hours in given.hours:
        synthetic.size(hours)
    for n in given.rows:
        rows.refuse_few(n)
    given.place = "rows" if given.rows else "plan" if given.plan else page.place(given.device, given.ways)
    if given.readme:
        page.around(given.readme, given.place)
    return given


def numbers(option: str, words: str, kind: type) -> list:
    """Read an option that takes several numbers, each greater than 0; repeated ones count once.

    Raises
    ------
    UserError
        A word is none.
    """
    try:
        found = list(dict.fromkeys(kind(word) for word in words.split()))
    except ValueError:
        found = [0]
    if not all(0 < number < float("inf") for number in found):
        raise UserError(f"--{option} '{words}': not numbers greater than 0", f'for example --{option} "1 2 4"')
    return found


def machine(device: str) -> str:
    """The device in words."""
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.startswith("cuda") else ""
    return f"{gpu}{cpu_name()}, {torch.get_num_threads()} threads"


@as_command
def main() -> None:
    """Measure, print and write."""
    given, command = options(), f"python -m local.benchmark {shlex.join(sys.argv[1:])}".rstrip()
    device = machine(given.device)
    if given.plan:
        text = plan.plan(command, given.plan, given.readme or stages.REPOSITORY / "README.md")
    elif given.rows:
        found = {"rows": of_sizes(given.rows, "utterances", rows.measure)}
        text = page.rows_page(command, device, found["rows"])
    else:
        found = {"rows": of_ways(given), "stages": of_sizes(given.hours, "h", stages.measure)}
        text = page.page(command, device, *found.values(), given.utterances, given.rounds)
    if given.json and not given.plan:
        with atomic(given.json) as file:
            json.dump({"machine": device} | found, file, indent=1)
    if given.readme:
        page.put(given.readme, given.place, text)
    print(text, end="")


if __name__ == "__main__":
    main()

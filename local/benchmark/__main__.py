"""How fast the ways to train are and how near the device's limit, and what the other stages cost.

    python -m local.benchmark [--device cpu] [--utterances 16] [--rounds 3] [--ways "a b c d one many"]
        [--jobs "1 2 4"] [--encoder FOLDER] [--hours "1 7 20"] [--json FILE] [--readme FILE]
    python -m local.benchmark --rows "20000 200000 2000000" [--json FILE] [--readme FILE]
    python -m local.benchmark --plan "1000 10000" [--readme FILE]

Ways are those to train and infer (`local.benchmark.ways`: a and b as others do, c and d as this project does, one and
many; layers, lora, unfreeze and weighted, other ways, where they are named) or, never together, as memory holds all
models of a run, those to use a trained model (`local.benchmark.uses`: sb hf hf-emotion file onnx int8 predict bf16, and
first: the seconds until a new process of `local.predict` has answered for one file).
`--ways ""` measures none. Apart from these, `--ways "wu_capsules statistics"` measures systems by the names of their
YAMLs in hparams/table3 or hparams: seconds of an epoch per hour of audio, and GFLOP/s where the operations of the
system are known; --encoder takes the place of their encoder or upstream.

Every way is a process of its own. They take turns, round by round, so that whatever else the machine does slows all of
them; figures are medians over rounds, with their ranges, ratios are taken within a round. Before each round the GEMM
rate of the device is measured in fp32 and bf16; shares of it are of its median over the rounds. Two passes of each way
warm up and do not count, and again where it had to give memory back so that the others find room. Each round notes the
share of the CPUs' time that other processes took, from the way and from GEMM: above 5 % the page says so, and it is to
be measured again.

With `--jobs "1 2 4"` so many processes of a way begin a round together, which ends with the last of them; threads are
divided among them as `local.launch` does. A ratio compares with as many jobs of `a` (of `one`) in the same round.
Between numbers of jobs compare the shares of the GEMM rate: the machine's load may have changed.

`--hours` and `--rows` measure the other stages (`local.benchmark.stages`), `--plan` computes what so many hours need
(`local.benchmark.plan`), and `--readme FILE` saves figures and tables in a page such as results/BENCHMARK.md,
of a GPU results/GPU.md, or of systems results/SYSTEMS.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from local.benchmark import page
from local.benchmark.page import USES, WAYS
from local.core.errors import Parser, UserError, as_command
from local.core.files import write_text

WAYS_HELP = f"of '{' '.join(WAYS)}', of '{' '.join(USES)}', or names of YAMLs in hparams/table3: 'wu_capsules'"
PAGE = Path(__file__).parents[2] / "results" / "BENCHMARK.md"


def options() -> argparse.Namespace:
    """Read the command line; refuse what is not valid, and a page without a place for the tables."""
    parser = Parser(prog="python -m local.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; default: cpu")
    parser.add_argument("--utterances", type=int, default=16, help="of a round; default: 16")
    parser.add_argument("--rounds", type=int, default=3, help="that count; default: 3")
    parser.add_argument("--ways", default=" ".join(page.DEFAULT), help=WAYS_HELP)
    parser.add_argument("--jobs", default=[1], type=integers, help="how many processes of a way at a time; default: 1")
    parser.add_argument("--encoder", default="", help="its folder; default: base shape, random weights")
    parser.add_argument("--hours", default=[], type=numbers, help="hours of audio on which to measure the other stages")
    parser.add_argument("--rows", default=[], type=integers, help="utterances on which to measure stages, alone")
    parser.add_argument("--plan", default=[], type=numbers, help="hours of which to compute what they need")
    parser.add_argument("--json", type=Path, help="file for every row that was measured")
    parser.add_argument("--readme", type=Path, help="page that has a place for the tables")
    given = parser.parse_args()
    from local.benchmark import stages, synthetic  # after --help: they load torch

    given.jobs, given.ways = given.jobs or [1], [] if given.rows or given.plan else given.ways.split()
    kinds = [[way for way in given.ways if way in names] for names in (WAYS, USES)]
    kinds.append([way for way in given.ways if way not in (*WAYS, *USES) and page.yaml_of(way)])
    if unknown := [way for way in given.ways if not any(way in each for each in kinds)]:
        remedy = f"choose from: {' '.join((*WAYS, *USES))}, or name a YAML of hparams/table3"
        raise UserError(f"there is no way '{unknown[0]}'", remedy)
    if sum(map(bool, kinds)) > 1:
        what = "ways to train, ways to use a model, and systems need a command each"
        raise UserError(what, f"--ways '{' '.join(next(filter(None, kinds)))}'")
    if sum(map(bool, (given.ways or given.hours, given.rows, given.plan))) != 1:
        remedy = "give --ways and --hours, or --rows, or --plan"
        raise UserError("there is nothing to measure, or too much at a time", remedy)
    for hours in given.hours:
        synthetic.size(hours)
    if few := [n for n in given.rows if n < stages.FEWEST]:
        raise UserError(f"{few[0]} utterances are too few for ten sessions", f"take {stages.FEWEST} or more")
    given.place = "rows" if given.rows else "plan" if given.plan else page.place(given.device, given.ways)
    if given.readme:
        page.split(given.readme, given.place)
    return given


def numbers(text: str, kind: type = float) -> list:
    """Read several numbers, each greater than 0; repeated ones count once."""
    try:
        values = list(dict.fromkeys(kind(word) for word in text.split()))
    except ValueError:
        values = [0]
    if not all(0 < value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"'{text}' are not numbers greater than 0, such as '1 2 4'")
    return values


integers = partial(numbers, kind=int)


def of_sizes(sizes: list[float], unit: str, measure: Callable[..., page.Rows]) -> page.Rows:
    """Measure stages on one corpus after another."""
    from local.benchmark import stages

    rows = []
    with tempfile.TemporaryDirectory() as bytecode:
        if sizes:
            stages.load_all(Path(bytecode))
        for size in sizes:
            print(f"  {size:g} {unit}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                rows += measure(Path(folder), size, Path(bytecode))
    return rows


def measure(given: argparse.Namespace) -> tuple[dict[str, page.Rows], dict[str, Any]]:
    """Measure: every row, by kind; and the tables, with what their introductions name."""
    from local.benchmark import stages, turns

    if given.rows:
        rows = of_sizes(given.rows, "utterances", stages.measure_rows)
        return {"rows": rows}, {"rows": page.of_stages(rows)}
    rows, entry = [], {"utterances": given.utterances, "rounds": given.rounds}
    if given.ways:
        rows = turns.measure_all(given)
        entry |= page.gemm_facts(rows)
        entry |= {"ways": page.of_ways(rows), "uses": page.of_uses(rows), "first": page.of_first(rows)}
        entry |= {"systems": page.of_systems(rows, given.device)}
    of_stages = of_sizes(given.hours, "h", stages.measure_hours)
    return {"rows": rows, "stages": of_stages}, entry | {"stages": page.of_stages(of_stages)}


@as_command
def main() -> None:
    """Measure or compute; print and write."""
    given, command = options(), f"python -m local.benchmark {shlex.join(sys.argv[1:])}".rstrip()
    if given.plan:
        from local.benchmark import plan

        entry = {"command": command, "hours": given.plan}
        text = plan.render(command, given.plan, given.readme or PAGE)
    else:
        from local.benchmark.machine import describe

        machine = describe(given.device)
        rows, figures = measure(given)
        entry = {"command": command, "machine": machine, "date": f"{date.today():%Y-%m-%d}"} | figures
        text = page.render(entry)
        if given.json:
            write_text(given.json, json.dumps({"machine": machine} | rows, indent=1))
    if given.readme:
        page.put(given.readme, given.place, entry, text)
    print(text, end="")


if __name__ == "__main__":
    main()

"""What was measured, as figures in a JSON file and as tables between two markers in the Markdown file beside it.

An entry of the JSON file is what one command measured: `command`, `machine`, `date`, further facts, and tables, each a
list of rows in which the figures, in the units that they are shown in, have the names of their columns. `range` of a
row, and of the entry for GEMM, has the lowest and the highest of those figures that are medians; earlier versions
wrote none, nor what other processes took.
"""

from __future__ import annotations

import importlib
import json
import re
from itertools import product
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any

from local.core.errors import UserError
from local.core.files import write_text
from local.pages.markdown import table

Rows = list[dict[str, Any]]
HPARAMS = Path(__file__).parents[2] / "hparams"

WAYS = {  # the precision that each takes is measured
    "a": "released code: checkpointing, 2 x 4",
    "b": "SpeechBrain's recipe: 4, CNN frozen",
    "c": "this project, default",
    "d": "this project, CNN cached",
    "layers": "half of the layers cached",
    "lora": "adapters of rank 8",
    "unfreeze": "upper half of the layers unfrozen",
    "weighted": "all layers weighted",
    "one": "inference, one by one",
    "many": "inference, in batches",
}
DEFAULT = ("a", "b", "c", "d", "one", "many")  # the others need more: the library of adapters, and time
BASE = dict.fromkeys(WAYS, "a") | {"one": "one", "many": "one"}  # which way another is compared with
USES = {
    "sb": "SpeechBrain's foreign_class: one file at a time, emotion alone",
    "hf-emotion": "transformers' pipeline: one file at a time, emotion alone",
    "hf": "transformers' two pipelines: emotion and transcript",
    "file": "`EmotionRecognizer.analyze`: one file at a time, emotion, transcript and word times",
    "onnx": "`model.onnx`: one file at a time, logits of both",
    "int8": "`model.int8.onnx`: the same",
    "predict": "`local.predict`: in batches, emotion and transcript",
    "bf16": "`local.predict --precision bf16`: the same",
}
FIRST = "first"  # which has a table of its own
USES[FIRST] = "`python -m local.predict` on one file"
# Forward GFLOP per second of audio of a system's trained part, counted by hand from its layers.
FORWARD = {
    **{"wu_capsules": 0.18, "sajjad_key_segments": 0.01, "lu_asr_attention": 0.02, "liu_local_global": 1.3},
    **{"wang_dual_lstm": 0.40, "pappagari_xvector": 0.34, "peng_asrnn": 0.27},
}
EPOCH_HOURS = 7  # of IEMOCAP, about; a fold trains on 5.6 of them
GOALS = {  # seconds of an epoch on so much, set before anything was measured: of one recent GPU, of two cores of a CPU
    **{"wu_capsules": (20, 240), "sajjad_key_segments": (3, 20), "lu_asr_attention": (5, 40)},
    **{"liu_local_global": (30, 1500), "wang_dual_lstm": (8, 480), "pappagari_xvector": (10, 420)},
    "peng_asrnn": (10, 360),
}
KINDS = {"fp32": "float32", "bf16": "bfloat16"}
INTRODUCTIONS = {
    "ways": "Training and inference: {utterances} utterances of IEMOCAP's durations, {medians}; "
    "audio-s/s and GFLOP/s are those of all jobs together. GEMM in GFLOP/s: {gemm}.",
    "uses": "A trained model in use: {utterances} wav files of IEMOCAP's durations, {medians} without loading.",
    "first": "The first answer: a process from its start to its end, {medians}.",
    "systems": "Systems by the names of their YAMLs: {utterances} utterances of IEMOCAP's durations, {medians}, each "
    "an epoch without validation; the features of a front end are computed before. Spec: how much of it is known; "
    "weights: what it was pretrained on, or what it lacks.",
    "stages": "The other stages: each once, from the start of its process to the end, on noise of IEMOCAP's durations.",
    "rows": "Each once, from the start of its process to the end; protocol `session`, ten folds, one seed.",
}
FORMATS = dict.fromkeys(["GFLOP/s", "% of fp32 GEMM", "% of bf16 GEMM", "peak MB", "% others"], ".0f")
FORMATS |= dict.fromkeys(["fp32", "bf16"], ",.0f")
FORMATS |= dict.fromkeys(["peak GB a job", "peak GB", "seconds", "µs per utterance", "MB written"], ".1f")
FORMATS |= dict.fromkeys(["audio-s/s", "ratio", "times sb", "times hf-emotion", "times hf"], ".2f")
FORMATS |= dict.fromkeys(["epoch, s per hour", "epoch of 7 h, s"], ".1f") | {"goal, s": ".0f"}
FORMATS |= {"hours": ".2f", "seconds of audio": ".1f", "seconds per hour": ".2f", "real-time factor": ".4f"}
BUSY = 5  # % of the CPUs' time: where other processes take more, a page says that it is not to be believed


def of_ways(rows: Rows) -> Rows:
    """Medians over rounds, a row per way and number of jobs; `rows` as from `local.benchmark.turns.measure`."""
    figures = []
    for way, jobs in product(WAYS, sorted({row["jobs"] for row in rows})):
        if mine := [row for row in rows if (row["way"], row["jobs"]) == (way, jobs)]:
            line = {"way": way, "what": f"{WAYS[way]}, {mine[0]['precision']}", "jobs": jobs}
            _add(line, "audio-s/s", [1 / _cost(row) for row in mine])
            _add(line, "ratio", _ratios(rows, mine, BASE[way]))
            line["peak GB a job"] = max(row["peak"] for row in mine) / 1e9
            _add(line, "GFLOP/s", [row["flops"] / row["seconds"] / 1e9 for row in mine])
            rates = of_gemm(mine)
            for name in KINDS:  # the median's: a round that had to wait for memory says nothing of what is possible
                of = median(rates[name]) if name in rates else None
                shares = [100 * row["flops"] / row["seconds"] / 1e9 / of for row in mine] if of else []
                _add(line, f"% of {name} GEMM", shares)
            figures.append(line | {"% others": _others(mine)})
    return figures


def of_gemm(rows: Rows) -> dict[str, list[float]]:
    """The GEMM rates of all rounds in GFLOP/s, by precision; without bf16 where a device computes it no faster.

    A CPU without hardware for it reaches a thousandth of others' rate: no training there is measured by that.
    """
    rates = {name: [row[kind] / 1e9 for row in rows] for name, kind in KINDS.items()}
    return rates if median(rates["bf16"]) > median(rates["fp32"]) else {"fp32": rates["fp32"]}


def gemm_facts(rows: Rows) -> dict[str, Any]:
    """What an entry holds of the GEMM rates: medians, None where there is none, their ranges, and what others took."""
    facts: dict[str, Any] = {}
    for name in KINDS:
        _add(facts, name, of_gemm(rows).get(name, []))
    return facts | {"% others of GEMM": _others(rows, "gemm_others")}


def _add(line: dict[str, Any], name: str, values: list[float]) -> None:
    """Add a figure to a line, the median of values, with their range; None where there are none."""
    line[name] = median(values) if values else None
    if values:
        line.setdefault("range", {})[name] = [min(values), max(values)]


def _others(rows: Rows, key: str = "others") -> float | None:
    """The largest share of the CPUs' time that other processes took in a round, in %; None where it is not known."""
    shares = [row[key] for row in rows if row.get(key) is not None]
    return 100 * max(shares) if shares else None


def yaml_of(way: str) -> Path | None:
    """The YAML of a system that is a way by its name; None where there is none."""
    files = (folder / f"{way}.yaml" for folder in (HPARAMS / "table3", HPARAMS))
    return next((file for file in files if re.fullmatch(r"\w+", way) and way != "running" and file.is_file()), None)


def _certainty(way: str) -> str | None:
    """How much is known of the specification of a system that is somebody else's; None of any other."""
    module = re.search(r"^system: *!new:(local\.systems\.\w+)\.", yaml_of(way).read_text("utf-8"), re.MULTILINE)
    return importlib.import_module(module[1]).SYSTEM.certainty or None


def of_systems(rows: Rows, device: str = "cpu") -> Rows:
    """Medians over rounds of the ways that are systems; `rows` as from `local.benchmark.turns.measure`."""
    figures = []
    for way, jobs in dict.fromkeys((row["way"], row["jobs"]) for row in rows if yaml_of(row["way"])):
        mine = [row for row in rows if (row["way"], row["jobs"]) == (way, jobs)]
        line: dict[str, Any] = {"system": way, "spec": _certainty(way), "weights": mine[0].get("weights") or None}
        line |= {"jobs": jobs, "precision": mine[0]["precision"]}
        _add(line, "epoch, s per hour", [3600 * _cost(row) for row in mine])
        line["epoch of 7 h, s"] = EPOCH_HOURS * line["epoch, s per hour"]
        line["goal, s"] = GOALS.get(way, (None, None))[device == "cpu"]
        line["peak GB a job"] = max(row["peak"] for row in mine) / 1e9
        line["GFLOP/s"] = median(row["flops"] / row["seconds"] for row in mine) / 1e9 or None
        figures.append(line | {"% others": _others(mine)})
    return figures


def of_uses(rows: Rows) -> Rows:
    """Medians over rounds, a row per way to use a model; `rows` as from `local.benchmark.turns.measure`, one job."""
    figures = []
    for way, what in USES.items():
        if mine := [row for row in rows if row["way"] == way != FIRST]:
            line: dict[str, Any] = {"way": way, "what": what}
            _add(line, "audio-s/s", [1 / _cost(row) for row in mine])
            line["real-time factor"] = 1 / line["audio-s/s"]
            for base in ("sb", "hf-emotion", "hf"):
                _add(line, f"times {base}", _ratios(rows, mine, base))
            figures.append(line | {"peak GB": max(row["peak"] for row in mine) / 1e9, "% others": _others(mine)})
    return figures


def of_first(rows: Rows) -> Rows:
    """A row with the median over rounds of the seconds of a process that answers for one file, if that was measured."""
    mine = [row for row in rows if row["way"] == FIRST]
    if not mine:
        return []
    line: dict[str, Any] = {"way": FIRST, "what": USES[FIRST], "seconds of audio": mine[0]["audio"]}
    _add(line, "seconds", [row["seconds"] for row in mine])
    return [line | {"% others": _others(mine)}]


def _cost(row: dict[str, Any]) -> float:
    """Seconds per second of audio."""
    return row["seconds"] / row["audio"]


def _ratios(rows: Rows, mine: Rows, base: str) -> list[float]:
    """How many times as fast as another way with as many jobs, by round; none if that was not measured."""
    costs = {(row["jobs"], row["round"]): _cost(row) for row in rows if row["way"] == base}
    return [costs[row["jobs"], row["round"]] / _cost(row) for row in mine] if costs else []


def of_stages(rows: Rows) -> Rows:
    """A row per stage and size of the corpus; `rows` as from `local.benchmark.stages`, of one corpus after another."""
    order, figures = [row["stage"] for row in rows], []
    for row in sorted(rows, key=lambda row: order.index(row["stage"])):
        peak, seconds = {"peak MB": row["peak"] / 1e6}, row["seconds"]
        line = {name: row[name] for name in ("stage", "hours", "utterances", "seconds") if name in row}
        by_hour = {"seconds per hour": seconds / row["hours"]} if "hours" in row else {}
        by_row = {} if by_hour else {"µs per utterance": 1e6 * seconds / row["utterances"]}
        written = {"MB written": row["written"] / 1e6} if by_row else {}
        figures.append(line | by_hour | by_row | peak | written | {"% others": _others([row])})
    return figures


def render(entry: dict[str, Any]) -> str:
    """Show an entry: its command, its machine and date, its tables with their introductions."""
    sections = [[f"    {entry['command']}"]]
    first = [f"{entry['machine']}, {entry['date']}."]
    for kind, introduction in INTRODUCTIONS.items():
        if rows := entry.get(kind):
            facts = entry | {"gemm": _shown_gemm(entry), "medians": _medians(entry, rows)}
            of_gemm = entry.get("% others of GEMM") if kind == "ways" else None
            text = " ".join([introduction.format(**facts), *_doubts(rows, of_gemm)])
            heads = [name for name in rows[0] if name != "range"]
            lines = [[_cell(row, name) for name in heads] for row in rows]
            sections += [[*first, fill(text, 110)], table(heads, lines)]
            first = []
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _cell(row: dict[str, Any], name: str) -> str:
    """A figure with its range, if it is a median: `4.20 (4.05–4.31)`; a dash where there is none."""
    if row.get(name) is None:
        return "–"
    shown = [format(value, FORMATS.get(name, "")) for value in (row[name], *row.get("range", {}).get(name, []))]
    return f"{shown[0]} ({'–'.join(shown[1:])})" if len({*shown}) > 1 else shown[0]


def _shown_gemm(entry: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_cell(entry, name)}" for name in KINDS)


def _medians(entry: dict[str, Any], rows: Rows) -> str:
    ranges = " with their ranges" if any("range" in row for row in rows) else ""
    return f"medians of {entry.get('rounds')} rounds{ranges}"


def _doubts(rows: Rows, of_gemm: float | None) -> list[str]:
    """Say which rows are not to be believed, as other processes took much of the CPUs' time meanwhile.

    `of_gemm` is the largest share that they took while GEMM rates were measured, in %.
    """
    key = next(iter(rows[0]))
    names = {"GEMM": None} if (of_gemm or 0) > BUSY else {}
    disturbed = [row for row in rows if (row.get("% others") or 0) > BUSY]
    names |= {row[key] + (f" with {jobs} jobs" if (jobs := row.get("jobs", 1)) > 1 else ""): None for row in disturbed}
    if not names:
        return []
    return [f"**Other processes took more than {BUSY} % of the CPUs' time: measure again {', '.join(names)}.**"]


def place(device: str, ways: list[str]) -> str:
    """Where the tables belong: by the kind of device, those of the ways to use a model apart from the others."""
    of_systems = any(map(yaml_of, ways))
    return device.split(":")[0] + (" use" if set(ways) & set(USES) else " systems" if of_systems else "")


def split(file: Path, place: str) -> tuple[str, str]:
    """The text of a file up to the first marker of a place, and from the second one on, both with their marker.

    A file that cannot be read, or does not have both markers once, in their order, is refused.
    """
    begin, end = f"<!-- benchmark {place} -->", f"<!-- /benchmark {place} -->"
    try:
        text = file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}", "name a text file that exists") from None
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if (text.count(begin), text.count(end), rest.count(end)) != (1, 1, 1):
        remedy = f"write the lines {begin} and {end}, once each, where the tables shall be"
        raise UserError(f"{file} has no place for the tables of {place}", remedy)
    return before + begin, end + after


def load(file: Path) -> dict[str, dict[str, Any]]:
    """The entries of the JSON file beside a page, by place; none where there is no such file."""
    file = file.with_suffix(".json")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}", "restore it, or remove it and measure again") from None


def put(file: Path, place: str, entry: dict[str, Any], text: str) -> None:
    """Save an entry beside a page, and its text between its markers there, in place of what was measured before."""
    before, after = split(file, place)
    entries = load(file) | {place: entry}
    write_text(file.with_suffix(".json"), json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    write_text(file, f"{before}\n{text}{after}")

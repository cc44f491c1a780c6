"""The tables of what was measured, and their place in a file such as README.md."""

from __future__ import annotations

from datetime import date
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from local.core.errors import UserError
from local.core.files import atomic
from local.pages.markdown import table

WAYS = {
    "a": "released code: fp32, checkpointing, 2 x 4",
    "b": "SpeechBrain's recipe: fp32, 4, CNN frozen",
    "c": "this project, default",
    "d": "this project, CNN cached, bf16",
    "one": "inference, one by one",
    "many": "inference, in batches",
}
BASE = {"a": "a", "b": "a", "c": "a", "d": "a", "one": "one", "many": "one"}  # what a way's ratio is taken to
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
KINDS = {"fp32": "float32", "bf16": "bfloat16"}
WAY_HEADS = ["way", "", "jobs", "audio-s/s", "ratio", "peak GB a job", "GFLOP/s", "% of fp32 GEMM", "% of bf16 GEMM"]
USE_HEADS = ["way", "", "audio-s/s", "real-time factor", "times sb", "times hf-emotion", "times hf", "peak GB"]
ROW_HEADS = ["stage", "utterances", "seconds", "µs per utterance", "peak MB", "MB written"]
STAGE_HEADS = ["stage", "hours", "utterances", "seconds", "seconds per hour", "peak MB"]


def of_ways(rows: list[dict[str, Any]]) -> list[list[object]]:
    """Medians over rounds, a line per way and number of jobs.

    Parameters
    ----------
    rows
        As from `local.benchmark.__main__.measure`.
    """
    seconds = {(row["way"], row["jobs"], row["round"]): row["seconds"] / row["audio"] for row in rows}
    lines = []
    for way, jobs in product(WAYS, sorted({row["jobs"] for row in rows})):
        mine = [row for row in rows if (row["way"], row["jobs"]) == (way, jobs)]
        if not mine:
            continue
        rate, done = (median(row[what] / row["seconds"] for row in mine) for what in ("audio", "flops"))
        shares = (median(row["flops"] / row["seconds"] / row[kind] for row in mine) for kind in KINDS.values())
        pairs = [(seconds.get((BASE[way], jobs, row["round"])), seconds[way, jobs, row["round"]]) for row in mine]
        ratio = f"{median(base / own for base, own in pairs):.2f}" if all(base for base, _ in pairs) else "–"
        figures = [f"{rate:.2f}", ratio, f"{mine[-1]['peak'] / 1e9:.1f}", f"{done / 1e9:.0f}"]
        lines.append([way, WAYS[way], jobs, *figures, *(f"{100 * share:.0f}" for share in shares)])
    return lines


def of_uses(rows: list[dict[str, Any]]) -> list[list[object]]:
    """Medians over rounds of the ways to use a model, a line each; ratios are taken within a round.

    Parameters
    ----------
    rows
        As from `local.benchmark.__main__.measure`, with one job.
    """
    seconds = {(row["way"], row["round"]): row["seconds"] / row["audio"] for row in rows}
    lines = []
    for way, what in USES.items():
        mine = [row for row in rows if row["way"] == way]
        if not mine:
            continue
        factor = median(seconds[way, row["round"]] for row in mine)
        ratios = []
        for base in ("sb", "hf-emotion", "hf"):
            pairs = [(seconds.get((base, row["round"])), seconds[way, row["round"]]) for row in mine]
            ratios.append(f"{median(other / own for other, own in pairs):.2f}" if all(o for o, _ in pairs) else "–")
        lines.append([way, what, f"{1 / factor:.2f}", f"{factor:.4f}", *ratios, f"{mine[-1]['peak'] / 1e9:.1f}"])
    return lines


def of_stages(rows: list[dict[str, Any]]) -> list[list[object]]:
    """A line per stage and size of the corpus.

    Parameters
    ----------
    rows
        As from `local.benchmark.stages.measure`, of one corpus after another.
    """
    lines = []
    for stage in dict.fromkeys(row["stage"] for row in rows):
        for row in rows:
            if row["stage"] == stage:
                size = [f"{row['hours']:.2f}", row["utterances"]]
                rates = [f"{row['seconds']:.1f}", f"{row['seconds'] / row['hours']:.2f}"]
                lines.append([stage, *size, *rates, f"{row['peak'] / 1e6:.0f}"])
    return lines


def of_rows(rows: list[dict[str, Any]]) -> list[list[object]]:
    """A line per stage and number of utterances.

    Parameters
    ----------
    rows
        As from `local.benchmark.rows.measure`, of one corpus after another.
    """
    lines = []
    for stage in dict.fromkeys(row["stage"] for row in rows):
        for row in rows:
            if row["stage"] == stage:
                rates = [f"{row['seconds']:.1f}", f"{1e6 * row['seconds'] / row['utterances']:.1f}"]
                bytes_ = [f"{row['peak'] / 1e6:.0f}", f"{row['written'] / 1e6:.1f}"]
                lines.append([stage, row["utterances"], *rates, *bytes_])
    return lines


def rows_page(command: str, machine: str, rows: list[dict[str, Any]]) -> str:
    """Set the table of the stages that handle rows, with the command that made it, the machine and the date."""
    lines = [
        *(f"    {command}", "", f"{machine}, {date.today():%Y-%m-%d}."),
        "Each once, from the start of its process to the end; protocol `session`, ten folds, one seed.",
        *("", *table(ROW_HEADS, of_rows(rows))),
    ]
    return "\n".join(lines) + "\n"


def page(
    command: str, machine: str, rows: list[dict[str, Any]], stages: list[dict[str, Any]], utterances: int, rounds: int
) -> str:
    """Set the tables, with the command that made them, the device and the date.

    Parameters
    ----------
    command
        The command line.
    machine
        The device in words.
    rows, stages
        The rows of the ways to train and to use a model, and of the stages; a table without rows is left out.
    utterances, rounds
        That the ways were measured with.
    """
    lines = [f"    {command}", "", f"{machine}, {date.today():%Y-%m-%d}."]
    ways, uses = ([row for row in rows if row["way"] in known] for known in (WAYS, USES))
    if ways:
        rates = ", ".join(f"{name} {median(row[kind] for row in ways) / 1e9:.0f}" for name, kind in KINDS.items())
        lines += [
            f"Training and inference: {utterances} utterances of IEMOCAP's durations, medians of {rounds} rounds; "
            f"audio-s/s and GFLOP/s are those of all jobs together. GEMM in GFLOP/s: {rates}.",
            *("", *table(WAY_HEADS, of_ways(ways))),
        ]
    if uses:
        lines += [
            *([""] if ways else []),
            f"A trained model in use: {utterances} wav files of IEMOCAP's durations, wav2vec2-base unless --encoder "
            f"says otherwise, medians of {rounds} rounds; loading it is not counted.",
            *("", *table(USE_HEADS, of_uses(uses))),
        ]
    if stages:
        lines += [
            *([""] if rows else []),
            "The other stages: each once, from the start of its process to the end, on noise of IEMOCAP's durations.",
            *("", *table(STAGE_HEADS, of_stages(stages))),
        ]
    return "\n".join(lines) + "\n"


def place(device: str, ways: list[str]) -> str:
    """The place of the tables in a file: of the device's kind, and of the ways to use a model another than the rest."""
    kind = device.split(":")[0]
    return f"{kind} use" if set(ways) & set(USES) else kind


def markers(place: str) -> tuple[str, str]:
    """What stands before and behind the tables of a place."""
    return f"<!-- benchmark {place} -->", f"<!-- /benchmark {place} -->"


def around(file: Path, place: str) -> tuple[str, str]:
    """The text of a file up to the first marker and from the second one on, both with their marker.

    Raises
    ------
    UserError
        The file is absent, or the markers do not stand in it once each, in their order.
    """
    begin, end = markers(place)
    try:
        text = file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}", "give a text file that is there") from None
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if (text.count(begin), text.count(end), rest.count(end)) != (1, 1, 1):
        raise UserError(
            f"{file} has no one place for the tables of {place}",
            f"put the lines {begin} and {end} where they shall stand, once",
        )
    return before + begin, end + after


def cells(file: Path, place: str) -> list[list[str]]:
    """The lines of the tables that stand in a place, as their cells; see `around`."""
    before, after = around(file, place)
    lines = file.read_text(encoding="utf-8")[len(before) : -len(after)].splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]


def put(file: Path, place: str, text: str) -> None:
    """Write the tables between their markers in a file, in place of what stands there; see `around`."""
    before, after = around(file, place)
    with atomic(file) as stream:
        stream.write(f"{before}\n\n{text}\n{after}")

"""What so many hours of speech need of disk, memory and time: from figures that were measured, and a few assumed.

The measured ones are read from the tables of `local.benchmark` in a file such as README.md, of the most utterances and
hours that stand there; nothing is measured here. What is assumed stands below, and in the table.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from transformers import Wav2Vec2Config

from local.audio.header import SAMPLE_RATE
from local.benchmark import flops, page
from local.benchmark.synthetic import UTTERANCES_PER_HOUR
from local.core.errors import UserError
from local.data.device import BASE_PARAMETERS
from local.pages.markdown import table
from local.training.checkpoints import KEPT

JOBS = 10 * 3 * 5  # folds x seeds x alphas of the paper's ablation
TRAINING = 0.9 * 0.9  # share of the corpus: without the tested tenth, and without the tenth of the rest that validates
EPOCHS = 10
GPU, PEAK, SHARE = "H100", 989e12, 0.3  # its operations per second in bf16 by the data sheet, and the share reached
CHECKPOINTS = 2 * KEPT  # that a job has at a time: the latest, and the best up to each of them
MEAN = 3600 / UTTERANCES_PER_HOUR  # seconds of an utterance
UNITS = {
    "bytes": {"TB": 1e12, "GB": 1e9, "MB": 1e6},
    "seconds": {"h": 3600, "min": 60, "s": 1},
    "": {"million": 1e6, "": 1},
}


class Need(NamedTuple):
    """A line of the table: what, whence it is known, how it is computed, in which of `UNITS`, and how much."""

    what: str
    source: str
    how: str
    unit: str
    per_hour: float
    always: float = 0


class Measured:
    """The figures of the tables in a file.

    Raises
    ------
    UserError
        The file has no place for them.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines = {place: page.cells(file, place) for place in ("cpu", "rows")}

    def figure(self, place: str, heads: list[str], name: str, head: str) -> float:
        """The last figure of a stage or way under one of the heads of a table.

        Raises
        ------
        UserError
            It does not stand there.
        """
        found = [line for line in self.lines[place] if line[0] == name and len(line) == len(heads)]
        if not found:
            raise UserError(f"{self.file} has no figures of '{name}'", "measure first: --hours with --ways, and --rows")
        return float(found[-1][heads.index(head)])

    def rows(self, head: str, *stages: str) -> float:
        """The sum over stages that handle rows."""
        return sum(self.figure("rows", page.ROW_HEADS, stage, head) for stage in stages)


def plan(command: str, hours: list[float], file: Path) -> str:
    """Set the table, a column for each number of hours, with the command that made it."""
    heads = ["what", "from", "how", *(f"{n:,g} h" for n in hours)]
    lines = [
        [*need[:3], *(shown(need.unit, need.per_hour * n + need.always) for n in hours)]
        for need in needs(Measured(file))
    ]
    return "\n".join([f"    {command}", "", *table(heads, lines)]) + "\n"


def needs(measured: Measured) -> list[Need]:
    """List what is needed."""
    config, samples = Wav2Vec2Config(), round(MEAN * SAMPLE_RATE)
    frames, width = flops.frames(config, samples)[-1] / MEAN, config.conv_dim[-1]
    asked = flops.update(config, samples, cnn_passes=3) / MEAN
    processor = measured.figure("cpu", page.WAY_HEADS, "c", "audio-s/s")
    making = measured.figure("cpu", page.STAGE_HEADS, "audio store", "seconds per hour")
    epoch = TRAINING * 3600 * asked / (PEAK * SHARE)
    return [
        Need("utterances", "IEMOCAP", f"{UTTERANCES_PER_HOUR:.0f} an hour", "", UTTERANCES_PER_HOUR),
        _time(measured, "stage 0", "0 corpus"),
        _bytes(measured, "memory of stage 0", "peak MB", "0 corpus"),
        _time(measured, "stage 1, ten folds", "1 folds"),
        _bytes(measured, "memory of stage 1", "peak MB", "1 folds"),
        _bytes(measured, "manifests", "MB written", "0 corpus", "1 folds"),
        _time(measured, "start of a job, audio apart", "2 a job's texts", "2 a job's epoch"),
        _time(measured, "stage 4, ten jobs", "4 score, 10 jobs"),
        _time(measured, "stage 5, ten jobs", "5 report"),
        Need("audio store", "computed", f"{SAMPLE_RATE:,} samples/s x 2 B", "bytes", 3600 * SAMPLE_RATE * 2),
        Need("making the store", "measured", f"{making:.2f} s an hour", "seconds", making),
        Need("CNN cache", "computed", f"{frames:.1f} frames/s x {width} x 2 B", "bytes", 3600 * frames * width * 2),
        Need("jobs", "the paper", "10 folds x 3 seeds x 5 alphas", "", 0, JOBS),
        Need(
            *("checkpoints of a job", "computed"),
            f"{BASE_PARAMETERS / 1e6:.0f} M parameters x 3 (AdamW) x 4 B, {CHECKPOINTS} at most",
            *("bytes", 0, BASE_PARAMETERS * 3 * 4 * CHECKPOINTS),
        ),
        Need(
            *("epoch of a job, processor", "measured"),
            *(
                f"{100 * TRAINING:.0f} % of the audio / {processor:.2f} audio-s/s",
                "seconds",
                TRAINING * 3600 / processor,
            ),
        ),
        Need(
            *(f"epoch of a job, {GPU}", "assumed"),
            f"{asked / 1e9:.0f} GFLOP a second of audio / ({PEAK / 1e12:.0f} TFLOP/s x {100 * SHARE:.0f} %)",
            *("seconds", epoch),
        ),
        Need(f"all jobs, one {GPU}", "assumed", f"{JOBS} jobs x {EPOCHS} epochs", "seconds", JOBS * EPOCHS * epoch),
    ]


def _time(measured: Measured, what: str, *stages: str) -> Need:
    each = measured.rows("µs per utterance", *stages)
    return Need(what, "measured", f"{each:.0f} µs an utterance", "seconds", UTTERANCES_PER_HOUR * each / 1e6)


def _bytes(measured: Measured, what: str, head: str, *stages: str) -> Need:
    each = 1e6 * measured.rows(head, *stages) / measured.rows("utterances", stages[0])
    return Need(what, "measured", f"{each:,.0f} B an utterance", "bytes", UTTERANCES_PER_HOUR * each)


def shown(unit: str, value: float) -> str:
    """Show a quantity with three digits, in the largest unit of which there is one at least.

    >>> shown("bytes", 1.152e12), shown("seconds", 90), shown("seconds", 0.5), shown("seconds", 6.1e7)
    ('1.15 TB', '1.5 min', '0.5 s', '16,944 h')
    """
    names = UNITS[unit]
    name = next((name for name, size in names.items() if value >= size), list(names)[-1])
    scaled = value / names[name]
    return f"{scaled:,.0f} {name}".strip() if scaled >= 100 else f"{scaled:.3g} {name}".strip()

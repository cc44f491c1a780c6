"""What so many hours of speech need of disk, memory and time: from figures that were measured, and a few assumed.

The measured ones are those of `local.benchmark`, of the most utterances and hours; nothing is measured here. Where the
page GPU.md beside it has none, a share of a GPU's peak is assumed: see below, and the table.
"""

from __future__ import annotations

from math import prod
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
TRAINING = 0.9 * 0.9  # share of the corpus: without the tenth that tests, and the tenth of the rest that validates
EPOCHS = 10
# Its operations per second in bf16 by the data sheet, and the share that NVIDIA's own fine-tuning of this model reaches
# on an A100: 8.5 to 11 %.
GPU, PEAK, SHARE = "H100", 989e12, 0.1
CHECKPOINTS = 2 * KEPT  # that a job has at a time: the latest, and the best up to each of them
MEAN = 3600 / UTTERANCES_PER_HOUR  # seconds of an utterance
UNITS = {
    "bytes": {"TB": 1e12, "GB": 1e9, "MB": 1e6},
    "seconds": {"h": 3600, "min": 60, "s": 1},
    "": {"million": 1e6, "": 1},
}


class Need(NamedTuple):
    """A row of the table."""

    what: str
    source: str  # how it is known
    how: str  # it is computed
    unit: str  # of `UNITS`
    per_hour: float
    always: float = 0


class Measured:
    """The figures in the JSON file beside a page, and in that of the page GPU.md there."""

    def __init__(self, file: Path) -> None:
        self.file, self.entries = file.with_suffix(".json"), page.load(file)
        self.of_gpu = page.load(file.with_name("GPU.md")).get("cuda", {})

    def figure(self, place: str, table: str, name: str, column: str) -> float:
        """The figure of a way or stage in a column of a table, of the most utterances; it must have been measured."""
        rows = [row for row in self.entries.get(place, {}).get(table, []) if name in (row.get("way"), row.get("stage"))]
        if not rows:
            raise UserError(f"{self.file} has no figures of '{name}'", "measure first: --hours with --ways, and --rows")
        return sorted(rows, key=lambda row: row.get("utterances", 0))[-1][column]  # of ways of the most jobs

    def gpu(self) -> tuple[str, float] | None:
        """The name of a GPU, and the audio-s/s of way c there, with the best number of jobs; None if not measured."""
        speeds = [row["audio-s/s"] for row in self.of_gpu.get("ways", []) if row["way"] == "c"]
        return (self.of_gpu["machine"].partition(",")[0], max(speeds)) if speeds else None

    def time(self, what: str, *stages: str) -> Need:
        """The time that stages take, which handle rows."""
        each = sum(self.figure("rows", "rows", stage, "µs per utterance") for stage in stages)
        return Need(what, "measured", f"{each:.0f} µs an utterance", "seconds", UTTERANCES_PER_HOUR * each / 1e6)

    def size(self, what: str, column: str, *stages: str) -> Need:
        """The memory or the disk that stages take, which handle rows."""
        figures = (self.figure("rows", "rows", stage, column) for stage in stages)
        each = 1e6 * sum(figures) / self.figure("rows", "rows", stages[0], "utterances")
        return Need(what, "measured", f"{each:,.0f} B an utterance", "bytes", UTTERANCES_PER_HOUR * each)


def render(command: str, hours: list[float], file: Path) -> str:
    """Show the command and the table, with a column for each number of hours, from the figures beside a page."""
    heads, lines = ["what", "from", "how", *(f"{n:,g} h" for n in hours)], []
    for need in needs(Measured(file)):
        lines.append([*need[:3], *(shown(need.unit, need.per_hour * n + need.always) for n in hours)])
    return "\n".join([f"    {command}", "", *table(heads, lines)]) + "\n"


def needs(measured: Measured) -> list[Need]:
    """List what is needed."""
    config, samples = Wav2Vec2Config(), round(MEAN * SAMPLE_RATE)
    frames, width = samples // prod(config.conv_stride) / MEAN, config.conv_dim[-1]
    operations = flops.total(config, samples, (3, 3)) / MEAN
    speed = measured.figure("cpu", "ways", "c", "audio-s/s")
    making = measured.figure("cpu", "stages", "audio store", "seconds per hour")
    cpu, gpu = TRAINING * 3600 / speed, TRAINING * 3600 * operations / (PEAK * SHARE)
    name, source = GPU, "assumed"
    on_cpu = f"{100 * TRAINING:.0f} % of the audio / {speed:.2f} audio-s/s"
    reached = f"{PEAK / 1e12:.0f} TFLOP/s x NVIDIA's {100 * SHARE:.0f} %"
    on_gpu = f"{operations / 1e9:.0f} GFLOP a second of audio / ({reached})"
    if found := measured.gpu():
        name, of_gpu = found
        gpu, source = TRAINING * 3600 / of_gpu, "measured"
        on_gpu = f"{100 * TRAINING:.0f} % of the audio / {of_gpu:.0f} audio-s/s"
    weights = f"{BASE_PARAMETERS / 1e6:.0f} M parameters x 3 (AdamW) x 4 B, {CHECKPOINTS} at most"
    return [
        Need("utterances", "IEMOCAP", f"{UTTERANCES_PER_HOUR:.0f} an hour", "", UTTERANCES_PER_HOUR),
        measured.time("stage 0", "0 corpus"),
        measured.size("memory of stage 0", "peak MB", "0 corpus"),
        measured.time("stage 1, ten folds", "1 folds"),
        measured.size("memory of stage 1", "peak MB", "1 folds"),
        measured.size("manifests", "MB written", "0 corpus", "1 folds"),
        measured.time("start of a job, without audio", "2 a job's texts", "2 a job's epoch"),
        measured.time("stage 4, ten jobs", "4 score, 10 jobs"),
        measured.time("stage 5, ten jobs", "5 report"),
        Need("audio store", "computed", f"{SAMPLE_RATE:,} samples/s x 2 B", "bytes", 3600 * SAMPLE_RATE * 2),
        Need("making the store", "measured", f"{making:.2f} s an hour", "seconds", making),
        Need("CNN cache", "computed", f"{frames:.1f} frames/s x {width} x 2 B", "bytes", 3600 * frames * width * 2),
        Need("jobs", "the paper", "10 folds x 3 seeds x 5 alphas", "", 0, JOBS),
        Need("checkpoints of a job", "computed", weights, "bytes", 0, BASE_PARAMETERS * 3 * 4 * CHECKPOINTS),
        Need("epoch of a job, CPU", "measured", on_cpu, "seconds", cpu),
        Need(f"epoch of a job, {name}", source, on_gpu, "seconds", gpu),
        Need(f"all jobs, one {name}", source, f"{JOBS} jobs x {EPOCHS} epochs", "seconds", JOBS * EPOCHS * gpu),
    ]


def shown(unit: str, value: float) -> str:
    """Show a quantity with three digits, in the largest unit of which there is one at least.

    >>> shown("bytes", 1.152e12), shown("seconds", 90), shown("seconds", 0.5), shown("seconds", 6.1e7)
    ('1.15 TB', '1.5 min', '0.5 s', '16,944 h')
    """
    names = UNITS[unit]
    name = next((name for name, size in names.items() if value >= size), list(names)[-1])
    scaled = value / names[name]
    return f"{scaled:,.0f} {name}".strip() if scaled >= 100 else f"{scaled:.3g} {name}".strip()

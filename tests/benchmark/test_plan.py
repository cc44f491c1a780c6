"""What so many hours need, against sums by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.benchmark import page, plan
from local.core.errors import UserError

MARKED = "".join(f"<!-- benchmark {place} -->\n<!-- /benchmark {place} -->\n" for place in ("cpu", "rows"))


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A page with figures of several sizes, of which the largest count, though measured first."""
    path = tmp_path / "page.md"
    path.write_text(MARKED)
    figures = {"0 corpus": (200, 5000, 100), "1 folds": (100, 1500, 1500), "2 a job's texts": (10, 1, 0)}
    figures |= {"2 a job's epoch": (5, 1, 0), "4 score, 10 jobs": (30, 1, 0), "5 report": (40, 1, 0)}
    rows = [
        {"stage": stage, "utterances": n, "seconds": seconds, "peak": peak * 1e6, "written": written * 1e6}
        for stage, large in figures.items()
        for n, (seconds, peak, written) in ((1_000_000, large), (1000, (9, 900, 90)))
    ]
    page.put(path, "rows", {"rows": page.of_stages(rows)}, "")
    way = {"way": "c", "jobs": 1, "round": 1, "seconds": 2, "audio": 20, "flops": 1, "peak": 1, "precision": "fp32"}
    ways = page.of_ways([way | dict.fromkeys(page.KINDS.values(), 1)])
    stores = [{"stage": "audio store", "hours": h, "utterances": 9 * h, "peak": 1} for h in (20, 1, 2)]
    stores = [store | {"seconds": seconds} for store, seconds in zip(stores, (20, 9, 9), strict=True)]
    page.put(path, "cpu", {"ways": ways, "stages": page.of_stages(stores)}, "")
    return path


def test_what_ten_thousand_hours_need_by_hand(measured):
    text = plan.render("command", [10_000], measured)
    found = {line[0]: line[3] for line in (line.strip("| ").split(" | ") for line in text.splitlines()[2:])}
    assert text.count("| assumed | ") == 2 and " a second of audio / (989 TFLOP/s x NVIDIA's 10 %) | " in text
    n = 10_000 * 5531 / 7
    assert found["utterances"] == "7.9 million"
    times = {"stage 0": 200, "stage 1, ten folds": 100, "start of a job, without audio": 15, "stage 4, ten jobs": 30}
    assert {name: found[name] for name in times} == {name: f"{n * us / 6e7:.3g} min" for name, us in times.items()}
    sizes = {"memory of stage 0": 5000, "memory of stage 1": 1500, "manifests": 1600}
    assert {name: found[name] for name in sizes} == {name: f"{n * size / 1e9:.3g} GB" for name, size in sizes.items()}
    assert found["audio store"] == "1.15 TB"  # 115.2 MB an hour
    assert found["making the store"] == "2.78 h"  # a second an hour
    assert found["CNN cache"] == f"{10_000 * 3600 * 49.9 * 1024 / 1e12:.3g} TB"
    assert found["jobs"] == "150" and found["checkpoints of a job"] == "4.56 GB"
    assert found["epoch of a job, CPU"] == "810 h"  # 8,100 h at 10 audio-s/s
    gpu = 8100 * 3600 * 42e9 / (0.1 * 989e12)  # 42 GFLOP, see test_ways
    hours, unit = found["epoch of a job, H100"].split()
    assert unit == "h" and float(hours) == pytest.approx(gpu / 3600, rel=0.05)
    assert float(found["all jobs, one H100"].split()[0].replace(",", "")) == pytest.approx(1500 * gpu / 3600, rel=0.05)


def test_a_gpu_that_was_measured_takes_the_place_of_the_assumption(measured):
    ways = [{"way": way, "jobs": jobs, "audio-s/s": speed} for way, jobs, speed in (("c", 1, 90.0), ("c", 2, 100.0))]
    gpu = measured.with_name("GPU.md")
    gpu.write_text("<!-- benchmark cuda -->\n<!-- /benchmark cuda -->\n")
    page.put(gpu, "cuda", {"machine": "Some GPU, some CPU, 16 threads", "ways": ways}, "")
    lines = {line.split(" | ")[0].strip("| "): line for line in plan.render("", [1000], measured).splitlines()}
    assert lines["epoch of a job, Some GPU"].split(" | ")[1::2] == ["measured", "8.1 h |"]  # 810 h / 100
    assert not any("assumed" in line for line in lines.values())


def test_what_was_not_measured_is_named(measured):
    page.put(measured, "cpu", {}, "nothing\n")
    with pytest.raises(UserError, match=r"page\.json has no figures of 'c'"):
        plan.render("command", [1], measured)

"""Figures from what was measured, by hand; their tables, and the place of these in a page."""

from __future__ import annotations

import pytest
from paths import REPOSITORY

from local.benchmark import page, plan
from local.core.errors import UserError

GEMM = {"float32": 100e9, "bfloat16": 400e9}
MARKED = "# Title\n\n<!-- benchmark cpu -->\nold\n<!-- /benchmark cpu -->\n\nbetween <!-- benchmark cuda -->"
MARKED += "<!-- /benchmark cuda -->\nend"
PAGE = REPOSITORY / "results" / "BENCHMARK.md"


def measured(way: str, jobs: int, number: int, seconds: float, peak: float = 1e9, flops: float = 1e9) -> dict:
    """A row in which each job has 10 s of audio."""
    row = {"way": way, "jobs": jobs, "round": number, "seconds": seconds, "audio": 10 * jobs, "flops": flops}
    return row | {"peak": peak, "precision": "fp32", "others": 0.0} | GEMM


def test_ratios_are_taken_within_a_round():
    """Three rounds, the machine half as fast in the second: the ratio is 4 in all, of the medians it would not be."""
    rows = [
        measured(way, 1, number, seconds * slow, peak=2e9, flops=200e9)
        for number, slow in ((1, 1), (2, 2), (3, 1))
        for way, seconds in (("a", 8), ("d", 2))
    ]
    a, d = page.of_ways(rows)
    assert (a["audio-s/s"], a["ratio"], d["audio-s/s"], d["ratio"], d["peak GB a job"]) == (1.25, 1, 5, 4, 2)
    assert (d["GFLOP/s"], d["% of fp32 GEMM"], d["% of bf16 GEMM"]) == (100, 100, 25)  # 200 GFLOP in 2 s
    assert d["range"]["audio-s/s"] == [2.5, 5] and d["range"]["ratio"] == [4, 4] and a["what"].endswith(", fp32")


def test_ranges_doubts_and_products_that_make_no_sense():
    """A CPU without bf16: no share of that. GEMM and d were disturbed in the second round; of c it is not known."""
    slow = dict(zip(GEMM, (100e9, 1e9), strict=True))
    rows = [measured("a", 1, n, 10) | slow for n in (1, 2)]
    rows += [measured("d", 1, n, seconds, 2e9, 8e9) | slow for n, seconds in ((1, 2.0), (2, 4.0))]
    rows[1]["others"], rows[3]["others"] = 0.04, 0.312
    rows.append(measured("c", 1, 1, 10) | slow | {"others": None})
    rows[0]["float32"] = 80e9
    rows[3]["gemm_others"] = 0.06
    entry = {"command": "x", "machine": "m", "date": "d", "utterances": 4, "rounds": 2, "ways": page.of_ways(rows)}
    text = page.render(entry | page.gemm_facts(rows))
    assert max(map(len, text.splitlines()[:6])) <= 110
    said = text.replace("\n", " ")
    assert "medians of 2 rounds with their ranges; audio-s/s" in said and "fp32 100 (80–100), bf16 –." in said
    assert "**Other processes took more than 5 % of the CPUs' time: measure again GEMM, d.**" in said
    a, c, d = text.splitlines()[-3:]
    assert a.endswith(" | 1.00 | 1.00 | 1.0 | 0 | 0 | – | 4 |") and c.endswith(" | – | – |")
    assert d.startswith("| d | this project, CNN cached, fp32 | 1 | 3.75 (2.50–5.00) | 3.75 (2.50–5.00) | 2.0 | ")
    assert d.endswith(" | 2.0 | 3 (2–4) | 3 (2–4) | – | 31 |")


def test_a_doubt_names_the_number_of_jobs():
    rows = [measured("c", jobs, 1, 1.0) | {"others": 0.3 * (jobs != 2)} for jobs in (1, 2, 4)]
    entry = {"command": "x", "machine": "m", "date": "d", "utterances": 4, "rounds": 1, "ways": page.of_ways(rows)}
    assert "measure again c, c with 4 jobs.**" in page.render(entry).replace("\n", " ")


def test_an_entry_of_an_earlier_version_is_shown_without_what_it_has_not():
    line = {"way": "d", "what": "CNN cached, bf16", "jobs": 1, "audio-s/s": 10.29, "ratio": None, "% of bf16 GEMM": 39}
    entry = {"command": "x", "machine": "m", "date": "d", "utterances": 4, "rounds": 3, "fp32": 199, "bf16": 791}
    text = page.render(entry | {"ways": [line]})
    assert text.endswith("| d | CNN cached, bf16 | 1 | 10.29 | – | 39 |\n") and "fp32 199, bf16 791." in text
    assert "ranges" not in text and "others" not in text


def test_ratios_are_taken_to_the_same_number_of_jobs():
    """Two jobs bring `a` from 1 to 1.5 audio-s/s, `d` from 4 to 7.5: 4 times and 5 times, not 7.5 times."""
    seconds = {("a", 1): 10, ("d", 1): 2.5, ("a", 2): 40 / 3, ("d", 2): 8 / 3}
    lines = page.of_ways([measured(way, jobs, 1, took) for (way, jobs), took in seconds.items()])
    names = ("way", "jobs", "audio-s/s", "ratio")
    assert [tuple(line[name] for name in names) for line in lines] == [
        ("a", 1, 1, 1),
        ("a", 2, pytest.approx(1.5), 1),
        ("d", 1, 4, 4),
        ("d", 2, pytest.approx(7.5), pytest.approx(5)),
    ]


def test_the_ways_to_use_a_model_are_compared_within_a_round():
    """The pipeline takes 2 s for 10 s of audio, then 4 s; bf16 a quarter of it each time. There is no SpeechBrain."""
    rows = [
        measured(way, 1, number, seconds * slow, peak=3e9)
        for number, slow in ((1, 1), (2, 2))
        for way, seconds in (("bf16", 0.5), ("hf-emotion", 2))
    ]
    entry = {"command": "c", "machine": "m", "date": "d", "utterances": 4, "rounds": 2, "uses": page.of_uses(rows)}
    pipeline, bf16 = page.render(entry).splitlines()[-2:]
    assert pipeline.endswith(" alone | 3.75 (2.50–5.00) | 0.2667 | – | 1.00 | – | 3.0 | 0 |")
    assert bf16.endswith(" | 15.00 (10.00–20.00) | 0.0667 | – | 4.00 | – | 3.0 | 0 |")


def test_the_first_answer_has_a_table_of_its_own_in_seconds():
    rows = [measured(way, 1, n, seconds) for n, seconds in ((1, 3.5), (2, 3.1), (3, 3.2)) for way in ("hf", "first")]
    assert [line["way"] for line in page.of_uses(rows)] == ["hf"] and page.of_first(rows[::2]) == []
    rows[3]["others"] = 0.2
    entry = {"command": "c", "machine": "m", "date": "d", "utterances": 4, "rounds": 3}
    assert page.render(entry | {"uses": page.of_uses(rows), "first": page.of_first(rows)}).splitlines()[-6:] == [
        "The first answer: a process from its start to its end, medians of 3 rounds with their ranges. **Other",
        "processes took more than 5 % of the CPUs' time: measure again first.**",
        "",
        "| way | what | seconds of audio | seconds | % others |",
        "| --- | --- | --- | --- | --- |",
        "| first | `python -m local.predict` on one file | 10.0 | 3.2 (3.1–3.5) | 20 |",
    ]


def test_the_table_of_stages_has_a_line_per_stage_and_size():
    def line(stage: str, n: int, seconds: float, peak: float, written: float) -> dict:
        row = {"stage": stage, "utterances": n, "seconds": seconds, "peak": peak * 1e6, "written": written * 1e6}
        return row | {"others": 0.07 if n > 20_000 else None}

    rows = [line("1 folds", 20_000, 3, 120, 30), line("0 corpus", 20_000, 1, 80, 3)]
    rows += [line("1 folds", 2_000_000, 150, 3000, 3000.04)]
    entry = {"command": "c", "machine": "m", "date": "d", "rows": page.of_stages(rows)}
    assert page.render(entry).splitlines()[-5:] == [
        "| stage | utterances | seconds | µs per utterance | peak MB | MB written | % others |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| 1 folds | 20000 | 3.0 | 150.0 | 120 | 30.0 | – |",
        "| 1 folds | 2000000 | 150.0 | 75.0 | 3000 | 3000.0 | 7 |",
        "| 0 corpus | 20000 | 1.0 | 50.0 | 80 | 3.0 | – |",
    ]
    del rows[1:]
    (line,) = page.of_stages([rows[0] | {"hours": 2}])
    assert line["seconds per hour"] == 1.5 and list(line)[:2] == ["stage", "hours"] and "MB written" not in line


def test_tables_take_the_place_of_the_old_ones_and_their_figures_are_saved(tmp_path):
    file = tmp_path / "page.md"
    file.write_bytes(MARKED.encode())
    page.put(file, "cpu", {"figure": 1}, "| new |\n")
    once = file.read_bytes().decode()
    assert once == MARKED.replace("\nold\n", "\n| new |\n")
    page.put(file, "cpu", {"figure": 2}, "| new |\n")
    assert file.read_bytes().decode() == once
    page.put(file, page.place("cuda:1", ["a"]), {"figure": 3}, "gpu\n")
    assert "| new |" in file.read_text() and "cuda -->\ngpu\n<!-- /benchmark cuda" in file.read_text()
    assert page.load(file) == {"cpu": {"figure": 2}, "cuda": {"figure": 3}}
    (tmp_path / "page.json").write_text("{")
    with pytest.raises(UserError, match=r"page\.json is not JSON"):
        page.load(file)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- benchmark cpu -->",
        "<!-- /benchmark cpu --> <!-- benchmark cpu -->",
        2 * "<!-- benchmark cpu --> <!-- /benchmark cpu -->",
        "<!-- benchmark cuda --> <!-- /benchmark cuda -->",
    ],
)
def test_a_file_without_one_place_for_the_tables_is_refused(text, tmp_path):
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(UserError, match="has no place"):
        page.put(tmp_path / "page.md", "cpu", {}, "new")
    assert (tmp_path / "page.md").read_text() == text and not (tmp_path / "page.json").exists()


def test_the_page_of_this_repository_shows_its_figures():
    places = {PAGE: ("cpu", "cpu use", "rows", "plan"), PAGE.with_name("GPU.md"): ("cuda", "cuda use")}
    places[PAGE.with_name("SYSTEMS.md")] = "cpu systems", "cuda systems"
    for file, place in ((file, place) for file, names in places.items() for place in names):
        entries = page.load(file)
        before, after = page.split(file, place)
        text = file.read_text(encoding="utf-8")[len(before) : -len(after)]
        if place == "plan":
            assert text == "\n" + plan.render(entries[place]["command"], entries[place]["hours"], PAGE)
        else:
            assert text == ("\n" + page.render(entries[place]) if place in entries else "")


def test_systems_are_shown_by_the_hour(monkeypatch):
    monkeypatch.setattr(page, "FORWARD", {"statistics": 0.5})
    rows = [measured("statistics", 1, number, seconds, flops=2e9) for number, seconds in ((1, 2.0), (2, 1.0), (3, 4.0))]
    (line,) = page.of_systems([*rows, measured("c", 1, 1, 1.0)])
    audio = rows[0]["audio"]
    assert line["system"] == "statistics" and line["epoch, s per hour"] == pytest.approx(3600 * 2.0 / audio)
    assert line["epoch of 7 h, s"] == pytest.approx(7 * 3600 * 2.0 / audio) and line["GFLOP/s"] == pytest.approx(1.0)
    assert page.of_systems([measured("statistics", 1, 1, 1.0, flops=0.0)])[0]["GFLOP/s"] is None
    assert line["goal, s"] is None and line["spec"] is None  # it is nobody else's
    goals = [page.of_systems([measured("wang_dual_lstm", 1, 1, 1.0)], device)[0] for device in ("cpu", "cuda:1")]
    assert [each["goal, s"] for each in goals] == [480, 8] and [*goals[0]][:3] == ["system", "spec", "weights"]
    (lu,) = page.of_systems([measured("lu_asr_attention", 1, 1, 1.0) | {"weights": "no ASR"}])
    assert (goals[0]["weights"], lu["weights"]) == (None, "no ASR")
    specs = {way: page.of_systems([measured(way, 1, 1, 1.0)])[0]["spec"] for way in page.GOALS}
    for row in (REPOSITORY / "hparams" / "table3" / "README.md").read_text(encoding="utf-8").splitlines():
        if (cells := row.split(" | "))[0].endswith(".yaml`") and (way := cells[0].strip("| `")[:-5]) in specs:
            assert specs.pop(way) == cells[2]
    assert not specs
    assert page.place("cpu", ["statistics"]) == "cpu systems" and page.yaml_of("running") is None

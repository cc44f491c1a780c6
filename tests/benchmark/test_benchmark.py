"""The benchmark: what it counts against torch's own counter, what it draws, and small real runs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import tiny_models
import torch
from paths import REPOSITORY
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, Wav2Vec2Config

from local.benchmark import __main__ as benchmark
from local.benchmark import flops, page, stages, synthetic, uses, ways
from local.benchmark.watch import watch
from local.benchmark.ways import iemocap_durations
from local.core.errors import UserError

BASE = Wav2Vec2Config()
GEMM = {"float32": 100e9, "bfloat16": 400e9}
MARKED = "# Title\n\n<!-- benchmark cpu -->\nold\n<!-- /benchmark cpu -->\n\nbetween <!-- benchmark cuda -->"
MARKED += "<!-- /benchmark cuda -->\nend"


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all processes of these tests keep Python's bytecode: what is compiled already, or a folder for them all."""
    return Path(sys.pycache_prefix or tmp_path_factory.mktemp("bytecode"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of 0.3 h of noise."""
    return synthetic.corpus(tmp_path_factory.mktemp("corpus"), synthetic.size(0.3))


def test_operations_are_those_that_torch_counts():
    config = tiny_models.config("wav2vec2-group")
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(1, 9000))
    assert flops.cnn(config, 9000) + flops.transformer(config, 9000) == pytest.approx(
        counter.get_total_flops(), rel=0.01
    )


def test_the_base_model_asks_for_what_is_known_of_it():
    """About 42 GFLOP a second of audio; about 32 with the CNN frozen, 27 with its output cached."""
    samples = round(4.55 * 16_000)
    per_second = [flops.update(BASE, samples, passes) / 4.55e9 for passes in (3, 1, 0)]
    assert per_second == pytest.approx([42, 32, 27], rel=0.05)


@pytest.mark.parametrize(("rate", "largest"), [(0.5e9, 256), (1e12, 2048)])
def test_matrix_products_are_timed_at_sizes_that_the_machine_is_fast_enough_for(rate, largest, monkeypatch):
    """Without bf16 hardware, at 0.5 GFLOP/s, a product takes 67 ms at 256, and would take half a second at 512."""
    clock, sizes = [0.0], []

    class Matrix:
        def __init__(self, size: int) -> None:
            self.size = size

        def to(self, dtype: torch.dtype) -> Matrix:
            return self

        def __matmul__(self, other: Matrix) -> None:
            sizes.append(self.size)
            clock[0] += 2 * self.size**3 / rate

    monkeypatch.setattr(ways.torch, "randn", lambda size, *_, device: Matrix(size))
    monkeypatch.setattr(ways, "_now", lambda device: clock[0])
    assert ways.gemm("cpu", torch.bfloat16) == pytest.approx(rate)
    assert sizes[-1] == max(sizes) == largest and sizes.count(largest) == 6 and clock[0] < 1


def test_durations_are_iemocaps():
    durations = iemocap_durations(5531)
    assert durations.mean() == pytest.approx(4.55, abs=0.01) and durations.sum() / 3600 == pytest.approx(6.99, abs=0.02)
    assert np.quantile(durations, [0.5, 0.9, 0.95, 0.99]) == pytest.approx([3.58, 8.7, 11.1, 15.5], abs=0.02)
    assert durations.min() == pytest.approx(0.58, abs=0.01) and durations.max() == pytest.approx(34.1, abs=0.3)


def test_ratios_are_taken_within_a_round():
    """Three rounds, the machine half as fast in the second: the ratio is 4 in all, of the medians it would not be."""
    rows = [
        {"way": way, "jobs": 1, "round": number, "seconds": seconds, "audio": 10, "flops": 200e9, "peak": 2e9} | GEMM
        for number, slow in ((1, 1), (2, 2), (3, 1))
        for way, seconds in (("a", 8 * slow), ("d", 2 * slow))
    ]
    a, d = page.of_ways(rows)
    assert (a[3], a[4]) == ("1.25", "1.00") and (d[3], d[4], d[5]) == ("5.00", "4.00", "2.0")
    assert d[6:] == ["100", "100", "25"]  # 200 GFLOP in 2 s; GEMM 100 and 400


def test_ratios_are_taken_to_the_same_number_of_jobs():
    """Two jobs bring `a` from 1 to 1.5 audio-s/s, `d` from 4 to 7.5: 4 times and 5 times, not 7.5 times."""
    seconds = {("a", 1): 10, ("d", 1): 2.5, ("a", 2): 40 / 3, ("d", 2): 8 / 3}
    rows = [
        {"way": way, "jobs": jobs, "round": 1, "seconds": took, "audio": 10 * jobs, "flops": 1e9, "peak": 1e9} | GEMM
        for (way, jobs), took in seconds.items()
    ]
    lines = [[line[0], *line[2:5]] for line in page.of_ways(rows)]
    assert lines == [
        ["a", 1, "1.00", "1.00"],
        ["a", 2, "1.50", "1.00"],
        ["d", 1, "4.00", "4.00"],
        ["d", 2, "7.50", "5.00"],
    ]


def test_the_ways_to_use_a_model_are_compared_within_a_round():
    """The pipeline takes 2 s for 10 s of audio, then 4 s; bf16 a quarter of it each time. There is no SpeechBrain."""
    rows = [
        {"way": way, "jobs": 1, "round": number, "seconds": seconds, "audio": 10, "flops": 1e9, "peak": 3e9} | GEMM
        for number, slow in ((1, 1), (2, 2))
        for way, seconds in (("bf16", 0.5 * slow), ("hf-emotion", 2 * slow))
    ]
    pipeline, bf16 = page.of_uses(rows)
    assert pipeline[2:] == ["3.33", "0.3000", "–", "1.00", "–", "3.0"]
    assert bf16[2:] == ["13.33", "0.0750", "–", "4.00", "–", "3.0"]


def test_every_way_to_use_a_model_takes_all_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    encoder = tiny_models.save(tmp_path / "encoder", "wav2vec2-group")
    ways.make(tmp_path, 3)
    uses.make(tmp_path / uses.MODEL, str(encoder))
    assert uses.USES.keys() == page.USES.keys()
    taken = []
    for name, files in (("sb", True), ("hf", True), ("file", True), ("int8", True), ("bf16", False)):
        use = ways.build(name, ways.utterances_of(tmp_path), "", "cpu")
        assert [wav.stem for wav in use.wavs] == ["u00000", "u00001", "u00002"]
        monkeypatch.setattr(use, "take", lambda wav, use=use: taken.append(wav) or type(use).take(use, wav))
        use.once()
        assert len(taken) == (3 if files else 0)
        taken.clear()


def test_every_way_passes_over_all_utterances(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    encoder = tiny_models.save(tmp_path / "encoder", "wav2vec2-group")
    ways.make(tmp_path, 4)
    answers = {}
    for way in page.WAYS:
        monkeypatch.setattr(sys, "stdin", io.StringIO("round\nround\n"))
        ways.serve(way, tmp_path, "cpu", str(encoder))
        first, second = map(json.loads, capsys.readouterr().out.splitlines())
        assert first["audio"] == second["audio"] == pytest.approx(iemocap_durations(4).sum(), abs=1e-3)
        answers[way] = second
    asked = {way: answer["flops"] for way, answer in answers.items()}
    assert asked["a"] == asked["c"] > asked["b"] > asked["d"] > asked["one"] == asked["many"] > 0


def test_a_small_real_run(tmp_path, bytecode, monkeypatch, capsys):
    encoder = tiny_models.save(tmp_path / "encoder", "wav2vec2-group")
    (tmp_path / "page.md").write_text(MARKED)
    words = ["--utterances", "4", "--rounds", "1", "--ways", "many", "--jobs", "1 2", "--encoder", str(encoder)]
    words += ["--json", str(tmp_path / "rows.json"), "--readme", str(tmp_path / "page.md")]
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    variables = {"OMP_NUM_THREADS": "2", "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(bytecode)}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    benchmark.main()
    out = capsys.readouterr().out
    lines = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    assert [(line[0], line[2]) for line in lines[2:]] == [("many", "1"), ("many", "2")]
    one, two = json.loads((tmp_path / "rows.json").read_text())["rows"]  # the rounds that warm up do not count
    assert (one["jobs"], two["jobs"]) == (1, 2) and two["flops"] == 2 * one["flops"] > 0
    assert two["audio"] == 2 * one["audio"] == pytest.approx(2 * iemocap_durations(4).sum(), abs=2e-3)
    assert f"<!-- benchmark cpu -->\n\n{out}\n<!-- /benchmark cpu -->" in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--ways", "z"], "there is no way 'z'"),
        (["--ways", ""], "there is nothing to measure"),
        (["--jobs", "1 0"], "--jobs '1 0': not numbers greater than 0"),
        (["--jobs", "two"], "--jobs 'two'"),
        (["--hours", "1 nan"], "--hours '1 nan'"),
        (["--hours", "0.01"], "0.01 h are 8 utterances, too few"),
        (["--readme", "page.md"], "page.md has no one place for the tables of cpu"),
        (["--readme", "absent.md"], "absent.md cannot be read"),
    ],
)
def test_what_cannot_be_measured_or_written_is_refused_first(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("page.md").write_text("# Title\n")
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "") and told in err and Path("page.md").read_text() == "# Title\n"


def test_tables_take_the_place_of_the_old_ones(tmp_path):
    file = tmp_path / "page.md"
    file.write_bytes(MARKED.encode())
    page.put(file, "cpu", "| new |\n")
    once = file.read_bytes().decode()
    assert once == MARKED.replace("\nold\n", "\n\n| new |\n\n")
    page.put(file, "cpu", "| new |\n")
    assert file.read_bytes().decode() == once
    page.put(file, page.place("cuda:1", ["a"]), "gpu\n")
    assert "| new |" in file.read_text() and "cuda -->\n\ngpu\n\n<!-- /benchmark cuda" in file.read_text()


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
    with pytest.raises(UserError, match="no one place"):
        page.put(tmp_path / "page.md", "cpu", "new")
    assert (tmp_path / "page.md").read_text() == text


def test_the_readme_has_a_place_for_the_tables():
    for device in ("cpu", "cuda"):
        for way in ("c", "predict"):
            page.around(REPOSITORY / "README.md", page.place(device, [way]))


def test_seven_hours_have_as_many_utterances_as_iemocap():
    assert synthetic.size(7) == 5531
    with pytest.raises(UserError, match="too few"):
        synthetic.size(0.04)


def test_the_corpus_has_the_hours_and_can_be_read(corpus):
    table = pd.read_csv(corpus, keep_default_na=False)
    infos = [soundfile.info(corpus.parent / wav) for wav in table["wav"]]
    assert {(info.samplerate, info.channels, info.subtype) for info in infos} == {(16_000, 1, "PCM_16")}
    seconds = sum(info.duration for info in infos)
    assert seconds / 3600 == pytest.approx(0.3, rel=0.01) and len(table) == synthetic.size(0.3)
    assert len({(corpus.parent / wav).read_bytes() for wav in table["wav"]}) == len(table)
    assert table["wrd"].str.len().sum() / seconds == pytest.approx(12.3, rel=0.05)
    assert len(set(" ".join(table["wrd"]).split())) > 1000


def test_the_corpus_is_spoken_as_iemocap_is(corpus):
    table = pd.read_csv(corpus)
    assert table["ID"].is_unique and table["spk_id"].nunique() == 10 and table["session"].nunique() == 5
    assert (table.groupby("session")["spk_id"].nunique() == 2).all()
    assert (table.groupby("spk_id")["emo"].nunique() == 4).all()
    of_recording = table.groupby("recording")
    assert of_recording.size().max() == 37 and (of_recording["session"].nunique() == 1).all()
    assert (of_recording["spk_id"].nunique() == 2).all()


def test_the_memory_of_a_command_is_its_own():
    """This process has torch loaded and holds more than the command does."""
    little, much = (
        json.loads(subprocess.run([*_WATCH, f"x = b'x' * {n}"], cwd=REPOSITORY, stdout=subprocess.PIPE).stdout)
        for n in (1, 100_000_000)
    )
    assert little["peak"] < 40e6 and much["peak"] - little["peak"] == pytest.approx(100e6, rel=0.1)
    assert watch([sys.executable, "-c", "raise SystemExit(3)"])["code"] == 3


_WATCH = [sys.executable, "-m", "local.benchmark.watch", sys.executable, "-c"]


@pytest.mark.slow
def test_a_small_real_run_of_the_stages(tmp_path, bytecode):
    before = {path: path.stat().st_mtime_ns for path in (REPOSITORY / "manifests", REPOSITORY / "results")}
    here = Path.cwd()
    rows = stages.measure(tmp_path, 0.06, bytecode, alphas=("0.1", "1"), seeds=("1",))
    names = ["0 corpus", "1 folds", "audio store", "4 score, 10 jobs", "4 score, 20 jobs", "compare 2 alphas"]
    assert [row["stage"] for row in rows] == [*names, "5 report beside them"] and Path.cwd() == here
    assert all(row["seconds"] > 0 and row["peak"] > 20e6 for row in rows)
    hours = sum(soundfile.info(path).duration for path in tmp_path.glob("data/**/*.wav")) / 3600
    assert [row["hours"] for row in rows] == pytest.approx([hours] * 7) and rows[0]["utterances"] == 47
    assert (tmp_path / "manifests/noise/audio.i16").stat().st_size == pytest.approx(2 * 16_000 * 3600 * hours)
    for name in ("single", "alpha0.1", "alpha1"):
        folds = pd.read_csv(tmp_path / "results/noise/speaker" / name / "folds.csv")
        assert len(folds) == 10 and folds["n"].sum() == 47
        assert 0.5 < np.average(folds["wa"], weights=folds["n"]) < 0.95
        assert np.average(folds["wer"], weights=folds["n"]) == pytest.approx(synthetic.WRONG_WORDS, abs=0.05)
    assert "alpha0.1" in (tmp_path / "results/noise/speaker/alpha1/report.html").read_text()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    lines = page.of_stages(rows)
    assert float(lines[2][4]) == pytest.approx(rows[2]["seconds"] / hours, abs=0.01)


def test_a_stage_that_fails_ends_the_measurement(tmp_path, bytecode, monkeypatch, capfd):
    monkeypatch.setattr(synthetic, "LEAST", 1)
    with pytest.raises(UserError, match=r"python -m local.prepare .* ended with code 2"):
        stages.measure(tmp_path, 0.002, bytecode)
    assert "error:" in capfd.readouterr().err

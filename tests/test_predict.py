"""The command line: a line for each file, in order, whatever the file is; the same figures as one by one."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import tiny_folders
import torch
from paths import REPOSITORY
from tiny_folders import LABELS, noise

from local import predict as predict_command
from local.audio import header, recordings
from local.core import logs
from local.core.errors import UserError
from local.inference import lines
from local.inference.analyzer import Analyzer
from local.inference.items import AHEAD, Item, analyze_items, files, whole_items
from local.inference.recognizer import EmotionRecognizer
from local.predict import main

SECONDS = (0.3, 1.2, 0.3, 2.0, 0.7, 1.1)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_folders.write(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def recognizer(model) -> EmotionRecognizer:
    return EmotionRecognizer.from_hparams(model)


@pytest.fixture
def predict(model, tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "log_to_stderr", lambda: None)  # which would keep this test's stderr

    def run(*words: object, stdin: bytes = b"", folder: Path = model) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["predict", "--model", str(folder), *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    return run


def objects(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def rows(out: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out, newline="")))


def write(name: str, samples: np.ndarray, rate: int = 16_000, subtype: str = "FLOAT") -> None:
    with open(name, "wb") as file:  # of any name
        soundfile.write(file, samples, rate, subtype, format="WAV")


def holding(count: int = len(SECONDS)) -> list[str]:
    """Files of noise, each its own; their names."""
    for at, seconds in enumerate(SECONDS[:count]):
        write(f"{at}.wav", noise(seconds, at))
    return [f"{at}.wav" for at in range(count)]


def is_same(result: dict, analysis) -> bool:
    """Whether an object of the output is an analysis."""
    words = [word._asdict() for word in analysis.words]
    return (
        (result["emotion"], result["transcript"]) == (analysis.emotion, analysis.transcript)
        and result["duration"] == analysis.duration
        and tuple(result["flags"]) == analysis.flags
        and result["posteriors"] == pytest.approx(analysis.posteriors, abs=1e-4)
        and [tuple(word) for word in result["words"]] == [tuple(word) for word in words]
        and [word["start"] for word in result["words"]] == pytest.approx([word["start"] for word in words])
    )


# ---------------------------------------------------------------- what is given out


@pytest.mark.parametrize("batch_seconds", [0.01, 0.7, 120])
def test_figures_are_those_of_one_by_one(predict, recognizer, monkeypatch, batch_seconds):
    batches = []

    def noted(self, batch, words=True):
        batches.append([recording.duration for recording in batch])
        return analyze_batch(self, batch, words)

    analyze_batch = Analyzer.analyze_batch
    monkeypatch.setattr(Analyzer, "analyze_batch", noted)
    names = holding()
    code, out, _ = predict(*names, "--format", "jsonl", "--batch-seconds", batch_seconds)
    assert all(len(batch) == 1 or len(batch) * max(batch) <= batch_seconds for batch in batches)
    assert max(map(len, batches)) == {0.01: 1, 0.7: 2, 120: len(names)}[batch_seconds]
    result = objects(out)
    assert code == 0 and [each["file"] for each in result] == names
    assert all(is_same(each, recognizer.analyze(name)) for each, name in zip(result, names, strict=True))
    assert any(each["words"] for each in result)


def test_the_three_formats_hold_the_same(predict):
    names = [*holding(3), "absent.wav"]
    of_jsonl = objects(predict(*names, "--format", "jsonl")[1])
    of_csv = rows(predict(*names, "--format", "csv")[1])
    head, *lines = predict(*names)[1].splitlines()
    assert list(of_csv[0]) == [
        "file", "emotion", "p_ang", "p_hap", "p_neu", "transcript", "duration", "flags", "error",
    ]  # fmt: skip
    assert head.split() == ["emotion", "prob.", "seconds", "file:", "transcript"]
    for entry, row, line in zip(of_jsonl[:3], of_csv[:3], lines[:3], strict=True):
        assert (row["file"], row["error"]) == (entry["file"], "")
        assert (row["emotion"], row["transcript"]) == (entry["emotion"], entry["transcript"])
        assert [float(row[f"p_{label}"]) for label in LABELS] == pytest.approx(
            list(entry["posteriors"].values()), abs=1e-6
        )
        assert float(row["duration"]) == pytest.approx(entry["duration"], abs=1e-3)
        emotion, share, seconds, name, transcript = line.split(maxsplit=4)
        assert (emotion, name, transcript) == (
            entry["emotion"],
            f"{entry['file']}:",
            entry["transcript"],
        )
        assert float(share.rstrip("%")) == pytest.approx(100 * entry["posteriors"][emotion], abs=0.06)
        assert float(seconds) == pytest.approx(entry["duration"], abs=0.01)
    assert of_jsonl[3] == {"file": "absent.wav", "error": "No such file or directory"}
    assert of_csv[3]["error"] == of_jsonl[3]["error"] and not of_csv[3]["emotion"] + of_csv[3]["p_ang"]
    assert lines[3].endswith("absent.wav: error: No such file or directory")


GOOD = noise(0.5)
SPOILT = {"clipped": np.where(np.arange(8000) % 100 < 10, 1, GOOD), "not finite": np.where(GOOD > 0.2, np.nan, GOOD)}


def refused() -> dict[str, str]:
    """Make files and folders that cannot be taken: name -> part of the reason."""
    Path("text.wav").write_text("hello")
    Path("empty.wav").write_bytes(b"")
    write("header.wav", np.zeros(0))
    write("long.wav", np.zeros(61 * 16_000))
    Path("cut.flac").write_bytes(b"")
    soundfile.write("cut.flac", noise(2), 16_000)
    Path("cut.flac").write_bytes(Path("cut.flac").read_bytes()[:9000])
    Path("notes").mkdir()
    (Path("notes") / "notes.txt").write_text("hello")
    Path("x.wav").mkdir()
    Path("link.wav").symlink_to("nowhere")
    given = {"text.wav": "not audio", "empty.wav": "not audio", "header.wav": "no samples", "long.wav": "lasts 61.0 s"}
    given |= {"cut.flac": "cut short", "notes": "without audio", "x.wav": "without audio", "link.wav": "No such file"}
    given |= {"absent.wav": "No such file", "": "No such file", "n" * 300: "name too long"}
    write("forbidden.wav", GOOD)
    Path("forbidden.wav").chmod(0)
    if not os.access("forbidden.wav", os.R_OK):  # root may read all
        given["forbidden.wav"] = "Permission denied"
    return given


def taken() -> dict[str, list[str]]:
    """Make files that are taken although they are odd: name -> flags."""
    six = np.stack([noise(0.5, seed, 96_000) for seed in range(6)], 1)
    write("six.wav", six, 96_000, "PCM_24")
    write("eight.wav", noise(0.5, rate=8000), 8000, "PCM_U8")
    write("ten ms.wav", noise(0.01))
    write("silent.wav", np.zeros(8000))
    for flag, samples in SPOILT.items():
        write(f"{flag}.wav", samples)
    odd = ("two\nlines.wav", "naïve 語.wav", os.fsdecode(b"\xff\xfe.wav"), '"quoted", and more.wav', "-dash.wav")
    for name in odd:
        write(name, GOOD)
    flags = {"six.wav": [], "eight.wav": [], "ten ms.wav": ["short"], "silent.wav": ["silent"]}
    return flags | {f"{flag}.wav": [flag] for flag in SPOILT} | {name: [] for name in odd}


def test_every_file_has_its_line(predict):
    reasons, flags = refused(), taken()
    # By turns, so that bad files come between good ones.
    pairs = itertools.zip_longest(reasons, flags)
    names = [name for pair in pairs for name in pair if name is not None]
    code, out, err = predict("--format", "jsonl", "--", *names)
    result = objects(out)
    assert [each["file"] for each in result] == names
    for each in result:
        if each["file"] in flags:
            assert each["flags"] == flags[each["file"]] and each["emotion"] in LABELS
        else:
            assert reasons[each["file"]] in each["error"] and "\n" not in each["error"]
            assert not each["file"] or each["file"] not in each["error"]
    assert code == 1 and f"error in {len(reasons)} of the lines" in err
    shown = [name.encode(errors="backslashreplace").decode() for name in names]
    assert [row["file"] for row in rows(predict("--format", "csv", "--", *names)[1])] == shown
    lines = predict("--", *names)[1].split("\n")
    assert len(lines) == 1 + len(names) + 1 and lines[-1] == ""
    assert all(name.replace("\n", "\\n") in line for name, line in zip(shown, lines[1:-1], strict=True))


@pytest.mark.parametrize("words", [[], ["--segments"]])
def test_where_the_model_has_no_answer_the_line_says_so(predict, recognizer, monkeypatch, words):
    names = holding(3)
    write("1.wav", noise(SECONDS[1], 1) * 1e12)  # as of integers under a header of floating point
    code, out, _ = predict("--format", "jsonl", *words, *names)
    sound, wrong = objects(out)[0], next(line for line in objects(out) if line["file"] == "1.wav")
    assert code == 1 and "times full scale" in wrong["error"] and sound["emotion"] in LABELS

    outputs = Analyzer._outputs

    def overflowing(self, wavs, lengths):
        found = outputs(self, wavs, lengths)
        emotion = found.emotion.clone()
        emotion[wavs.abs().amax(1) > 30, 1] = torch.inf
        return found._replace(emotion=emotion)

    write("1.wav", noise(SECONDS[1], 1) * 100)
    monkeypatch.setattr(Analyzer, "_outputs", overflowing)
    code, out, _ = predict("--format", "jsonl", *words, *names)
    answers = {line["file"]: line for line in objects(out)}
    assert answers["1.wav"]["error"] == "the model's output is not finite in fp32" and len(answers) == 3
    assert code == 1 and {answers[name]["emotion"] for name in ("0.wav", "2.wav")} <= {*LABELS}
    with pytest.raises(UserError, match="not finite in fp32"):
        recognizer.analyze("1.wav")


def test_a_folder_is_its_audio_by_name(predict):
    for name in ("b/2.wav", "b/10.FLAC", "b/a/z.ogg", "b/notes.txt", "b/.hidden/x.aiff"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            Path(name).write_text("hello")
        else:
            soundfile.write(name, GOOD, 16_000)
    Path("b/a/loop").symlink_to("..")
    code, out, _ = predict("b", "b/2.wav", "--format", "jsonl")
    expected = ["b/10.FLAC", "b/2.wav", "b/.hidden/x.aiff", "b/a/z.ogg", "b/2.wav"]
    assert code == 0 and [each["file"] for each in objects(out)] == expected


def test_names_come_from_stdin(predict):
    names = holding(2)
    odd = os.fsdecode(b"\xff.wav")
    write(odd, GOOD)
    listed = b"0.wav\r\n\n1.wav\n\xff.wav\nabsent.wav"
    code, out, _ = predict("1.wav", "-", "--format", "jsonl", stdin=listed)
    assert code == 1 and [each["file"] for each in objects(out)] == ["1.wav", *names, odd, "absent.wav"]
    assert predict("-", stdin=b"")[0] == 0


# ---------------------------------------------------------------- windows


def conversation(seconds: float = 12.0) -> np.ndarray:
    turns = [np.concatenate([noise(0.5 + 0.8 * (turn % 4), turn), np.zeros(16_000)]) for turn in range(9)]
    return np.concatenate(turns)[: round(seconds * 16_000)].astype(np.float32)


def test_windows_cover_all_speech(predict, recognizer):
    samples = conversation()
    write("long.wav", samples)
    code, out, _ = predict("--segments", "long.wav", "--format", "jsonl", "--batch-seconds", 5)
    result = objects(out)
    assert code == 0 and len(result) > 5
    silent = np.ones(len(samples), bool)
    for each in result:
        assert each["file"] == "long.wav" and 0 < each["end"] - each["start"] <= 2.5
        silent[round(each["start"] * 16_000) : round(each["end"] * 16_000)] = False
    # Half a second of samples that are next to nothing, at the turns' own beginnings and ends, may be left out.
    assert np.abs(samples[silent]).max() < 0.02
    for each, window in zip(result, recognizer.follow("long.wav"), strict=True):
        assert (each.pop("start"), each.pop("end")) == window[:2]
        assert is_same(each, window.analysis)
    of_csv = rows(predict("--segments", "long.wav", "--format", "csv")[1])
    assert [float(row["start"]) for row in of_csv] == sorted(float(row["start"]) for row in of_csv)
    assert [row["transcript"] for row in of_csv] == [each["transcript"] for each in result]
    assert len(predict("--segments", "long.wav")[1].splitlines()) == 1 + len(result)


def test_windows_of_unreadable_and_silent_files(predict):
    reasons, _ = refused(), taken()
    reasons["long.wav"] = reasons["silent.wav"] = "silent throughout"
    names = [*reasons, "two\nlines.wav"]
    code, out, _ = predict("--segments", "--format", "jsonl", "--", *names)
    result = objects(out)
    assert code == 1 and [each["file"] for each in result] == names
    assert all(reason in each["error"] for each, reason in zip(result, reasons.values(), strict=False))
    assert result[-1]["emotion"] in LABELS


def test_each_file_has_its_picture(predict):
    odd = os.fsdecode(b"\xff.wav")
    names = ["x-3.wav", "a/x.wav", "b/x.wav", "c/x.wav", "$x^2.wav", "two\nlines.wav", odd, "absent.wav"]
    for name in names[:-1]:
        Path(name).parent.mkdir(exist_ok=True)
        write(name, noise(1.5))
    code, _, _ = predict("--segments", "--plot", "pictures", *names)
    drawn = {"x-3", "x", "x-2", "x-4", "$x^2", "two\nlines", odd.removesuffix(".wav")}
    assert code == 1 and {path.stem for path in Path("pictures").iterdir()} == drawn
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in Path("pictures").iterdir())


def test_a_file_that_is_given_twice_in_a_row_has_two_pictures(predict):
    write("x.wav", noise(6))
    assert predict("--segments", "--plot", "pictures", "x.wav", "x.wav")[0] == 0
    one, other = sorted(Path("pictures").iterdir())
    assert (one.name, other.name) == ("x-2.png", "x.png") and one.read_bytes() == other.read_bytes()


# ---------------------------------------------------------------- mistakes in the command, and the ends of a run


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "required"),
        (["x.wav", "--format", "xml"], "xml"),
        (["x.wav", "--batch-seconds", "0"], "--batch-seconds"),
        (["x.wav", "--batch-seconds", "nan"], "--batch-seconds"),
        (["x.wav", "--batch-seconds", "many"], "many"),
        (["x.wav", "--plot", "pictures"], "--plot"),
        (["x.wav", "--segments", "--plot", os.devnull], f"--plot {os.devnull}: there can be no such folder"),
        (["x.wav", "--segments", "--plot", "/proc/pictures"], "--plot /proc/pictures"),
        (["x.wav", "--precision", "fp8"], "fp8"),
        (["x.wav", "--device", "toaster"], "toaster"),
        (["x.wav", "--segment"], "--segment"),
    ],
)
def test_a_mistake_in_the_command(predict, words, named):
    code, out, err = predict(*words)
    assert (code, out) == (2, "") and named in err
    assert len(err.splitlines()) == 2


def test_a_closed_output_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["predict", "--model", "absent", "x.wav"])
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it then
    with pytest.raises(SystemExit):
        predict_command.main()
    assert capsys.readouterr().err.startswith("error: the standard output is closed")


def test_the_command_line_knows_every_format():
    assert tuple(lines.FORMATS) == predict_command.FORMATS


@pytest.mark.parametrize("words", [[], ["--segments"]])
@pytest.mark.parametrize("fault", [TypeError("of ours"), KeyError("ours"), UserError("no", "file's")])
def test_a_fault_of_the_program_is_not_one_of_a_file(predict, monkeypatch, words, fault):
    def examine(path):
        if path == "1.wav":
            raise fault
        return header.examine(path)

    monkeypatch.setattr(recordings, "header", SimpleNamespace(**vars(header) | {"examine": examine}))
    code, out, err = predict(*holding(3), *words)
    assert code == (2 if isinstance(fault, UserError) else 70) and "1.wav" not in out and "of the lines" not in err
    assert str(fault) in err and ("Traceback" in err) == (code == 70)


def test_no_file_is_to_blame_where_the_machine_opens_no_more(tmp_path, monkeypatch):
    write(str(tmp_path / "a.wav"), GOOD)

    def stat(path):
        raise OSError(errno.EMFILE, "Too many open files", path)

    monkeypatch.setattr(header, "os", SimpleNamespace(**vars(os) | {"stat": stat}))
    with pytest.raises(UserError, match=r"a\.wav cannot be opened: Too many open files"):
        list(whole_items([Item(str(tmp_path / "a.wav"))], 60))


def test_no_model(predict, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("")
    code, out, err = predict("x.wav", folder=tmp_path)
    assert (code, out) == (2, "") and str(tmp_path / "config.json") in err


def run_module(model: Path, *words: str, **settings) -> subprocess.Popen:
    command = [sys.executable, "-m", "local.predict", "--model", str(model), *words]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, env=environment, text=True, **pipes, **settings)


@pytest.mark.slow
def test_it_ends_quietly_when_its_output_is_closed(model):
    with run_module(model, *(f"{'absent' * 20}-{at}.wav" for at in range(1000))) as process:
        assert process.stdout.readline().startswith("emotion")
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (141, "")


@pytest.mark.slow
def test_as_a_command(model, tmp_path):
    write(tmp_path / "a b.wav", GOOD)
    with run_module(model, "--format", "csv", "-", cwd=tmp_path) as process:
        out, err = process.communicate("a b.wav\n")
    assert process.returncode == 0 and err == ""
    assert [row["file"] for row in rows(out)] == ["a b.wav"]


# ---------------------------------------------------------------- memory


class Endless:
    """Items without end, and how many of them have been asked for."""

    def __init__(self, item: Item) -> None:
        self.item, self.asked = item, 0

    def __iter__(self):
        return self

    def __next__(self) -> Item:
        self.asked += 1
        return self.item


def test_batches_of_no_seconds_are_refused(recognizer):
    for seconds in (0, -1, float("nan")):
        with pytest.raises(UserError, match="hold nothing"):
            next(analyze_items([Item("b.wav", error="bad")], recognizer, seconds=seconds, words=False))


@pytest.mark.parametrize(
    "item", [Item("a.wav", recording=recordings.of_array(GOOD, 16_000)), Item("b.wav", error="bad")]
)
def test_no_more_is_held_than_a_few_batches(recognizer, item):
    items = Endless(item)
    answers = analyze_items(items, recognizer, seconds=2, words=False)
    most = 1000 if item.error else 4 * 2 / 0.5
    for given, (back, analysis) in enumerate(itertools.islice(answers, 3000 if item.error else 100)):
        assert back is item and (analysis is None) == bool(item.error)
        assert items.asked - given <= most
    assert items.asked > most


def test_no_more_files_are_read_ahead_than_a_few(tmp_path):
    write(tmp_path / "a.wav", GOOD)
    result = Endless(Item(str(tmp_path / "a.wav")))
    for given, item in enumerate(itertools.islice(whole_items(result, 60), 100)):
        assert item.recording.duration == 0.5 and result.asked - given <= AHEAD + 1
    assert next(files(itertools.repeat("a.wav"))) == Item("a.wav")

"""Repeating a run from its folder: a real tiny training, and all that prevents one."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import jiwer
import pandas as pd
import pytest
from earlier_runs import to_earlier_form
from paths import REPOSITORY
from stages import run_stages

from local import rerun
from local.config import hparams
from local.core.errors import UserError
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.folds import make_folds
from local.prepare import prepare
from local.scoring import predictions
from local.training import environment

JOB = {"corpus": "own", "protocol": "session", "valid": "recordings", "hold_text": True, "fold": "s2", "seed": 3}


def first_stages(table: Path, *asked: str) -> list[str]:
    """Run stages 0 and 1 for a job; return its options."""
    words = ["--corpus", "csv", "--data", str(table), "--hparams", "hparams/mini.yaml", "--name", "n", *asked]
    words += ["--seeds", "3", "--", "--epochs", "2", "--batch-size", "5", "--lr", "0.003", "--device", "cpu"]
    prepare(parse(words))
    make_folds(parse(words))
    return words


@pytest.fixture
def words(workplace, own_table) -> list[str]:
    """The options of a job, after stages 0 and 1."""
    return first_stages(own_table, "--protocol", "session", "--hold-text", "true", "--folds", "s2")


@pytest.fixture
def job(words) -> Job:
    return Job(parse(words), "s2", 3)


def rows(text: str) -> dict[str, list[str]]:
    """The rows of a Markdown table by their first cells."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in cells}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- for real


@pytest.fixture
def repeat(monkeypatch, capsys) -> Callable[[Path], tuple[int, str]]:
    """Run the program on a run folder: its exit code and what it prints."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(folder: Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rerun", str(folder)])
        capsys.readouterr()
        try:
            rerun.main()
        except SystemExit as ended:
            return ended.code, "".join(capsys.readouterr())
        return 0, "".join(capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.slow
def test_a_rerun_is_the_same_to_the_byte_and_differences_are_named(words, job, workplace, repeat, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    run_stages(words, "train", "decode")
    told = json.loads((job.folder / "env.json").read_text())
    assert told["job"] == JOB | {"name": "n", "options": words}
    before = contents(job.folder)

    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # it takes as many threads as the first time all the same
    code, said = repeat(job.folder)
    assert code == 0, said
    again = workplace / "results" / "own" / "session-hold_text" / "n-rerun" / "seed3" / "s2"
    assert (again / "predictions.csv").read_bytes() == before[job.folder / "predictions.csv"]
    table = pd.read_csv(again / "predictions.csv", keep_default_na=False)
    wa, wer = (table["emo"] == table["emo_hyp"]).mean(), jiwer.wer(table["wrd"].tolist(), table["wrd_hyp"].tolist())
    expected = f"identical: {len(table)} predictions, WA {100 * wa:.2f}, WER {100 * wer:.2f}"
    assert said.splitlines()[-1] == expected
    now = json.loads((again / "env.json").read_text())
    assert now["threads"] == told["threads"] == 1 and now["precision"] == told["precision"] != "auto"
    figures = [pd.read_csv(folder / "epochs.csv").drop(columns="seconds") for folder in (job.folder, again)]
    pd.testing.assert_frame_equal(*figures)
    assert contents(job.folder) == before and not list(workplace.glob("results/*/*/n-rerun/*.csv"))

    # Interrupted before it was decoded, it goes on; the first run is given other figures.
    (again / "decode.json").unlink()
    trained = (again / "train.log").read_bytes()
    altered = predictions.read(job.folder / "predictions.csv")
    altered.loc[1, "emo_hyp"] = min({"ang", "hap", "sad"} - {table["emo"][1], table["emo_hyp"][1]})
    altered.loc[[1, 2], "wrd_hyp"] = "QUITE ANOTHER TEXT"
    altered.loc[3, "p_ang"] += 0.125
    altered.loc[4, "p_sad"] -= 0.0625
    predictions.write(job.folder / "predictions.csv", altered)
    told["packages"]["torch"], told["host"] = "1.0", "elsewhere"
    (job.folder / "env.json").write_text(json.dumps(told))
    code, said = repeat(job.folder)
    assert code == 1, said
    n, name = len(table), table["ID"][3]
    assert f"different: 1 of {n} emotions, 2 of {n} transcripts, a posterior by up to 0.12500000 ({name})\n" in said
    found = rows(said)
    assert set(found) == {"", "---", "WA", "UA", "WER", "torch", "host"}
    assert found["torch"] == ["1.0", now["packages"]["torch"]] and found["host"] == ["elsewhere", now["host"]]
    lower = wa - (table["emo"][1] == table["emo_hyp"][1]) / n
    assert found["WA"] == [f"{100 * lower:.2f}", f"{100 * wa:.2f}"]
    assert "it was changed afterwards" in said
    assert (again / "train.log").read_bytes() == trained

    # A step that fails is named with its log and its end: here Python does not find the program.
    (again / "decode.json").unlink()
    monkeypatch.setenv("PYTHONPATH", str(workplace / "nowhere"))
    code, said = repeat(job.folder)
    assert code == 1 and "error: decode failed; its log ends:\n" in said
    assert "No module named" in said and f"\n  see {again.relative_to(workplace) / 'decode.log'}\n" in said


# ---------------------------------------------------------------- a run folder as a training leaves it


def finish(job: Job, **changes) -> Job:
    """Fill a job's folder as training and decoding do, with predictions made up."""
    job.begin()
    (job.folder / "env.json").write_text(json.dumps(environment.describe(job, "cpu", "fp32") | changes))
    (job.folder / "epochs.csv").write_text("epoch\n1\n")
    job.training().write([job.folder / "epochs.csv"], config="mini.yaml", epoch=1)
    table = pd.read_csv(job.manifests / "test.csv")
    made_up = [(row.ID, row.emo, 0.5, 0.25, 0.25, row.wrd, row.wrd) for row in table.itertuples()]
    predictions.write(job.folder / "predictions.csv", predictions.frame(made_up, job.labels))
    job.decoding().write([job.folder / "predictions.csv"], epoch=1)
    return job


@pytest.fixture
def run(job, words, monkeypatch) -> Path:
    """A run folder that is finished, but never was trained."""
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    return finish(job).folder


@pytest.fixture
def earlier_run(run) -> Path:
    """The same as the version before begun.json left it."""
    to_earlier_form(run)
    return run


def refused(run: Path) -> UserError:
    """Why a run is not made again."""
    with pytest.raises(UserError) as caught:
        rerun.check_job(run, *rerun.read_finished(run))
    return caught.value


def test_the_job_is_the_same_but_for_its_name_and_what_was_settled(run, job):
    again = rerun.check_job(run, *rerun.read_finished(run))
    assert str(again.folder) == "results/own/session-hold_text/n-rerun/seed3/s2"
    assert again.manifests == job.manifests
    assert hparams.compared_values(again.yaml) == hparams.compared_values(job.yaml) | {"precision": "fp32"}
    assert (again.seed, again.valid, again.options.hold_text) == (3, "recordings", True)


def test_a_run_of_the_version_before_begun_json_is_repeated_too(earlier_run, job):
    again = rerun.check_job(earlier_run, *rerun.read_finished(earlier_run))
    assert hparams.compared_values(again.yaml) == hparams.compared_values(job.yaml) | {"precision": "fp32"}
    shutil.copy(job.manifests.with_name("s1") / "tokenizer.model", job.manifests / "tokenizer.model")
    assert ": tokenizer.model changed" in refused(earlier_run).what


def test_an_encoder_and_the_validation_stay_what_they_were(workplace, own_table, tmp_path, monkeypatch):
    words = first_stages(own_table, "--valid", "recordings", "--folds", "2A")
    (tmp_path / "caller" / "encoder").mkdir(parents=True)
    monkeypatch.setenv("SER_MTL_CALLER", str(tmp_path / "caller"))
    run = finish(Job(parse([*words, "--encoder", "./encoder"]), "2A", 3)).folder
    monkeypatch.setenv("SER_MTL_CALLER", str(tmp_path))
    again = rerun.check_job(run, *rerun.read_finished(run))
    assert hparams.plain_values(again.yaml)["encoder"] == str(tmp_path / "caller" / "encoder")
    assert str(again.manifests) == "manifests/own/speaker-valid_recordings/2A"


@pytest.mark.parametrize("part", ["train.csv", "valid.csv", "test.csv", "tokenizer.model"])
@pytest.mark.parametrize("absent", [True, False])
def test_other_manifests_are_refused_by_name(run, job, part, absent):
    path = job.manifests / part
    if absent and part == "tokenizer.model":
        path.unlink()
    elif part == "tokenizer.model":
        shutil.copy(job.manifests.with_name("s1") / part, path)
    else:
        path.unlink() if absent else path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    error = refused(run)
    assert f": {part} changed" in error.what and str(job.manifests) in error.what
    assert "./run.sh --stop-stage 1 --corpus csv" in error.remedy


def test_an_absent_corpus_is_refused(run, job, workplace):
    (job.options.data_root / "wav" / "10A0.wav").unlink()
    assert re.search(r"^1 of \d+ audio files .* are missing, the first \S+10A0\.wav", refused(run).what)
    shutil.rmtree(job.options.data_root)
    error = refused(run)
    assert re.search(r"^(\d+) of \1 audio files ", error.what) and str(job.options.data_root) in error.remedy
    shutil.rmtree(workplace / "manifests" / "own")
    assert "corpus 'own'" in refused(run).what


@pytest.mark.parametrize("name", ["env.json", "train.json", "decode.json", "predictions.csv"])
def test_a_run_that_has_not_ended_is_refused(run, name):
    (run / name).unlink()
    assert f"has no {name}: it is not trained and decoded yet" in refused(run).what


def test_a_run_trained_again_but_not_decoded_is_refused(run):
    (run / "train.json").write_text((run / "train.json").read_text().replace('"epoch": 1', '"epoch": 2'))
    assert "was trained again after its predictions were made" in refused(run).what


def test_a_run_of_an_older_version_is_refused(run):
    told = json.loads((run / "env.json").read_text())
    del told["job"]
    (run / "env.json").write_text(json.dumps(told))
    error = refused(run)
    assert "older version" in error.what and "train.log" in error.remedy


def test_a_run_on_a_gpu_is_refused_where_there_is_none(job, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "was trained on cuda:1, and no GPU is here" in refused(finish(job, device="cuda:1").folder).what


def test_a_run_whose_encoder_has_changed_is_refused(job, monkeypatch):
    known = iter(["old"] * 2 + ["new"])
    monkeypatch.setattr("local.experiment.job.versions", lambda _: {"encoder_version": next(known, "new")})
    what = refused(finish(job).folder).what
    assert f"is not what {job.folder} was trained from: its files changed" in what


def test_what_is_no_run_folder_is_refused(run, command):
    assert "is missing" in refused(run / "absent").what
    said = f"error: {run / 'save'} is missing\n  try: give {run}\n"
    assert command("rerun", run / "save") == (2, "", said)


def test_an_experiment_of_one_run_is_taken_for_it(run, job, monkeypatch, repeat):
    asked = []
    monkeypatch.setattr(rerun, "read_finished", lambda folder: asked.append(folder) or sys.exit(3))
    assert repeat(run.parents[1])[0] == repeat(run.parent)[0] == repeat(run)[0] == 3
    assert asked == [run, run, run]
    shutil.copytree(run, run.with_name("s1"))
    code, said = repeat(run.parents[1])
    assert (code, said.splitlines()[2:]) == (2, [f"    {run.with_name('s1')}", f"    {run}"])


# ---------------------------------------------------------------- a rerun that is there already


@pytest.mark.parametrize("earlier", [False, True], ids=["this version", "the earlier version"])
def test_a_rerun_goes_on_unless_it_has_ended_or_was_begun_with_other_inputs(run, earlier):
    job = rerun.check_job(run, *rerun.read_finished(run))
    assert not rerun.must_start_over(job)
    finish(job)
    if earlier:
        to_earlier_form(job.folder)
    assert rerun.must_start_over(job)
    (job.folder / "decode.json").unlink()
    assert not rerun.must_start_over(job)
    train = job.training().inputs["train.csv"]
    inputs = job.folder / ("hyperparams.yaml" if earlier else "begun.json")
    for path, old, new in ((job.folder / "hyperparams.yaml", "lr: 0.003", "lr: 0.004"), (inputs, train, "0" * 16)):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        assert rerun.must_start_over(job)
        path.write_text(text)
    (job.folder / "hyperparams.yaml").unlink()  # killed while it was begun
    assert rerun.must_start_over(job) != earlier


def test_a_step_that_fails_says_what_to_install(run, job):
    step = rerun.JobProcess("train", [], run / "train.log")
    said = "import sys; sys.exit('error: lora: the library peft is not installed\\n  try: install the extra')"
    step.command = [sys.executable, "-c", said]
    step.start(0, {})
    assert step.end() == 1
    lines = step.failure()
    assert lines[0] == "error: train failed; its log ends:" and lines[-1] == f"  see {run / 'train.log'}"
    assert "  error: lora: the library peft is not installed" in lines and "    try: install the extra" in lines


# ---------------------------------------------------------------- what differs


def compared(run: Path, **changes) -> str:
    """What is said of a run beside one with the same predictions and these in its env.json."""
    again = run.with_name("again")
    shutil.copytree(run, again)
    told = json.loads((run / "env.json").read_text())
    (again / "env.json").write_text(json.dumps(told | changes))
    return "\n".join(rerun.differences(run, again))


def test_equal_environments_are_said_to_be_so(run):
    said = compared(run)
    assert "a posterior by up to 0.00000000\n" in said and set(rows(said)) == {"", "---", "WA", "UA", "WER"}
    assert "the environments are the same" in said and "GPU" not in said


def test_what_makes_a_difference_is_named(run):
    changes = {"commit": "abc-dirty", "threads": 7, "device": "cuda", "accelerator": "H100", "precision": "bf16"}
    said = compared(run, **changes, processor="other", host="there")
    assert set(rows(said)) == {"", "---", "WA", "UA", "WER", *changes, "processor", "host"}
    assert rows(said)["precision"] == ["fp32", "bf16"]
    assert "on a GPU, CTC's gradient is not deterministic" in said and "-dirty" in said


def test_other_audio_is_named_where_both_runs_say_it(run):
    assert "audio" not in compared(run, audio={"own": "aaa"})  # of an earlier version the first
    told = json.loads((run / "env.json").read_text())
    (run / "env.json").write_text(json.dumps(told | {"audio": {"own": "aaa"}}))
    shutil.rmtree(run.with_name("again"))
    assert rows(compared(run, audio={"own": "bbb"}))["audio of own"] == ["aaa", "bbb"]


def test_a_run_that_was_resumed_elsewhere_is_said_to_be_so(run):
    told = json.loads((run / "env.json").read_text())
    later = told | {"started": "later", "commit": "other", "packages": told["packages"] | {"torch": "9"}}
    (run / "env.json").write_text(json.dumps(told | {"resumed": [told, later]}))
    assert f"{run} was resumed with another commit, torch: it cannot be repeated exactly" in compared(run)


def test_of_a_system_without_text_no_transcripts_are_compared():
    rows = [("a", "ang", 0.75, 0.25, "A"), ("b", "sad", 0.25, 0.75, "B")]
    old, new = (predictions.frame(some, ["ang", "sad"], text=False) for some in (rows, rows))
    assert rerun.describe_predictions(old, new).startswith("0 of 2 emotions, a posterior by up to")
    assert [row[0] for row in rerun.score_rows(old, new)] == ["WA", "UA"]


def test_utterances_of_one_table_alone_are_counted():
    labels = ["ang", "neu"]
    old = predictions.frame([("a", "ang", 0.75, 0.25, "", ""), ("b", "neu", 0.5, 0.5, "X", "X")], labels)
    new = predictions.frame([("b", "neu", 0.25, 0.75, "X", "Y"), ("c", "neu", 0.5, 0.5, "", "")], labels)
    expected = "1 of 1 emotions, 1 of 1 transcripts, a posterior by up to 0.25000000 (b), "
    assert rerun.describe_predictions(old, new) == expected + "2 utterances in one of them only"

"""The line on a job: how far it is, at any width; how an epoch went; what came out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm.utils import disp_len

from local.core.progress_json import Progress
from local.jobs import job_lines as lines

# The line that the README shows, and a training that is as long as they come.
SHORT = Progress(31, 48, 3, 20, 4.08, 0.5625, 0.5625, 3, 130.2)
LONG = Progress(13331, 24800, 113, 1000, 128.4, 1.0, 1.0, 101, 98765.0)
EPOCHS = """\
epoch,lr,head_lr,train_loss,valid_loss,valid_ua,ctc_left_out,best,seconds
1,0.001,0.001,9.5,8.5,0.45,0,1,10.5
2,0.001,0.001,4.5,5.0,0.7,0,1,11.0
3,0.0,0.0,0.25,6.0,0.6875,0,0,12.0
"""


def test_a_terminal_of_80_columns_has_room_for_all():
    line = "01F  epoch 3/20  update 31/48  loss 4.1  valid UA 56.2 (best 56.2 @3)  ETA 2:10"
    assert len(line) == 79 and lines.progress_line("01F", SHORT, 79) == line
    line = "01F epoch 19/20 update 131/480 loss 12.5 valid UA 56.2 (best 56.2 @13) ETA 12:10"
    assert len(line) == 80
    later = replace(SHORT, epoch=19, done=131, total=480, loss=12.51, best_epoch=13, seconds_left=730)
    assert lines.progress_line("1F", later, 79) == line.replace("01F", "1F")


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (78, "01F epoch 3/20 update 31/48 loss 4.1 valid UA 56.2 (best 56.2 @3) ETA 2:10"),
        (72, "01F  epoch 3/20  update 31/48  valid UA 56.2 (best 56.2 @3)  ETA 2:10"),
        (60, "01F  epoch 3/20  update 31/48  valid UA 56.2  ETA 2:10"),
        (51, "01F epoch 3/20 update 31/48 valid UA 56.2 ETA 2:10"),
        (49, "01F  epoch 3/20  valid UA 56.2  ETA 2:10"),
        (30, "01F  epoch 3/20  valid UA 56.2"),
        (20, "01F  epoch 3/20"),
        (7, "01F epo"),
        (0, ""),
    ],
)
def test_of_a_longer_line_what_matters_least_is_left_out(width, line):
    assert lines.progress_line("01F", SHORT, width) == line


@settings(max_examples=30)
@given(st.text(st.characters(codec="utf-8", categories=["L", "N"]), max_size=30), st.integers(0, 150))
def test_a_line_is_never_wider_than_asked(label, width):
    for progress in (SHORT, LONG, "starting"):
        assert disp_len(lines.progress_line(label, progress, width)) <= width


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress(1, 48, 1, 20, 0.25, seconds_left=None), "a  epoch 1/20  update 1/48  loss 0.25"),
        (Progress(7, 48, 2, 20, float("nan"), 0.5, 0.75, 1, 3700), "a  epoch 2/20  update 7/48  loss nan"),
        (Progress(24, 48, seconds_left=3.2), "a  decoded 24/48  ETA 0:03"),
        (Progress(24, 48, seconds_left=3.2, features=True), "a  features  24/48  ETA 0:03"),
        (Progress(None, None, features=False), "a  waiting for features"),
        ("starting", "a  starting"),
    ],
)
def test_what_is_not_known_is_missing(progress, line):
    assert lines.progress_line("a", progress, 200).startswith(line)


def run_folder(folder: Path, **markers: dict) -> Path:
    (folder / "epochs.csv").write_text(EPOCHS)
    (folder / "hyperparams.yaml").write_text("epochs: 5\n")
    for step, facts in markers.items():
        (folder / f"{step}.json").write_text(json.dumps({"inputs": {}, "outputs": {}, "facts": facts}))
    return folder


def test_the_line_of_an_epoch_that_has_ended(tmp_path):
    rows = lines.epoch_rows(run_folder(tmp_path))
    assert lines.planned_epochs(tmp_path) == 5
    parts = [lines.progress_parts(lines.epoch_progress(rows[:end], 5)) for end in (1, 2, 3)]
    assert [lines.joined(each) for each in parts] == [
        "epoch 1/5  loss 9.5  valid UA 45.0 (best 45.0 @1)  ETA 0:42",
        "epoch 2/5  loss 4.5  valid UA 70.0 (best 70.0 @2)  ETA 0:33",
        "epoch 3/5  loss 0.25  valid UA 68.8 (best 70.0 @2)  ETA 0:24",
    ]


def test_what_came_out(tmp_path):
    scores = {"n": 48, "wa": 40 / 48, "ua": 0.825, "f1": 0.8, "wer": 1 / 3}
    run = run_folder(tmp_path, train={"config": "mini.yaml", "epoch": 2}, decode={"epoch": 2, "scores": scores})
    assert lines.result(run, "train") == "epoch 2 of 3, valid UA 70.00"
    assert lines.result(run, "decode") == "n 48 WA 83.33 UA 82.50 WER 33.33"
    assert lines.scores_line(scores | {"wer": None}) == "n 48 WA 83.33 UA 82.50"


@pytest.mark.parametrize("epochs", ["", "epoch\n", "epoch,valid_ua\n1\n", "\x00\xff", "a,b\n1,2\n", "epoch\nx\n"])
def test_what_cannot_be_read_is_not_claimed(tmp_path, epochs):
    run = run_folder(tmp_path, train={"epoch": 2}, decode={"epoch": 2, "threads": 1})  # of an earlier version
    (run / "epochs.csv").write_text(epochs, encoding="latin-1")
    assert lines.result(run, "train") == lines.result(run, "decode") == ""
    (run / "train.json").write_text("{")
    assert lines.result(run, "train") == "" == lines.result(run / "absent", "train")
    assert lines.epoch_rows(run / "absent") == [] and lines.planned_epochs(run / "absent") is None


def test_a_last_step_in_closed_form_is_no_epoch(tmp_path):
    text = EPOCHS.replace(",best,", ",best,solved,")
    rows = [f"{row.rpartition(',')[0]},0,{row.rpartition(',')[2]}" for row in text.splitlines()[1:]]
    table = [text.splitlines()[0], *rows, "4,,,,7.0,0.5,,1,1,3.0"]
    (tmp_path / "epochs.csv").write_text("\n".join(table) + "\n")
    found = lines.epoch_rows(tmp_path)
    assert lines.joined(lines.progress_parts(lines.epoch_progress(found[:3], 3))).startswith("epoch 3/3")
    assert lines.joined(lines.progress_parts(lines.epoch_progress(found, 3))) == "epoch 4 (solved)  valid UA 50.0"
    running = Progress(None, None, 4, valid_ua=0.6875, solved=False)
    assert lines.progress_line("01F", running, 79) == "01F  solving  valid UA 68.8"
    (tmp_path / "train.json").write_text(json.dumps({"inputs": {}, "outputs": {}, "facts": {"epoch": 4}}))
    assert lines.result(tmp_path, "train") == "solved after 3 epochs, valid UA 50.00"
    (tmp_path / "epochs.csv").write_text("\n".join([table[0], table[-1]]) + "\n")
    assert lines.result(tmp_path, "train") == "solved, valid UA 50.00"

"""env.json: what a start is described by, and what is kept of the first when a training is resumed."""

from __future__ import annotations

import json
import logging

import pytest
from torch import nn

from local.core.errors import UserError
from local.core.starts import commit_of
from local.data.device import use_precision
from local.experiment.command_line import parse
from local.experiment.job import Job, read_environment
from local.training import environment
from local.training.checkpoints import RunCheckpointer

SYSTEM = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 5).requires_grad_(False))
AUTO = {"precision": "auto", "eval_precision": "fp32", "device": "cpu"}


@pytest.fixture
def job(own_corpus) -> Job:
    job = Job(parse([*own_corpus, "--name", "n"]), "1A", 1)
    job.begin()
    return job


@pytest.fixture
def start(job, monkeypatch):
    """Start the training of the job, at a commit; `resumable`: it leaves a checkpoint, without which it starts over."""
    use_precision("fp32")  # as a Brain does before

    def begin(commit: str, precision: str = "fp32", resumable: bool = True) -> dict:
        monkeypatch.setattr(environment, "commit", lambda: commit)
        checkpointer = RunCheckpointer(job.folder / "save")
        environment.write(job, "cpu", precision, environment.first_start(job, checkpointer), SYSTEM)
        if resumable:
            checkpointer.save_checkpoint(meta={"epoch": 1, "updates": None, "ua": None, "wer": None})
        return json.loads((job.folder / "env.json").read_text())

    return begin


def test_every_start_of_a_training_is_kept_and_the_first_comes_first(job, start):
    first = start("aaa")
    assert {"started", "commit", "packages", "device", "precision", "tf32", "host", "threads", "job"} <= first.keys()
    assert first["job"]["fold"] == "1A" and first["tf32"] is False
    second = start("aaa", "bf16")
    assert second == first | {"resumed": second["resumed"]}
    assert [each["precision"] for each in second["resumed"]] == ["bf16"]
    assert commit_of(second) == "aaa"
    third = start("bbb-dirty")
    assert [each["commit"] for each in third["resumed"]] == ["aaa", "bbb-dirty"]
    assert commit_of(third) == "aaa+"
    assert read_environment(job.folder) == third


def test_a_start_says_what_was_typed_and_how_large_the_system_is(start, monkeypatch):
    monkeypatch.setenv("SER_MTL_COMMAND", r"./run.sh --name a\ b -- --slurm \{partition:\ gpu\} ''")
    first = start("aaa")
    assert first["command"] == ["./run.sh", "--name", "a b", "--", "--slurm", "{partition: gpu}", ""]
    assert (first["parameters"], first["trained_parameters"]) == (3 * 2 + 2 + 2 * 5 + 5, 3 * 2 + 2)
    assert first["device_name"] == first["processor"] and first["accelerator"] == ""
    monkeypatch.delenv("SER_MTL_COMMAND")
    monkeypatch.setattr("sys.argv", ["/x/local/train.py", "--folds", "1A"])
    assert start("aaa")["resumed"][-1]["command"] == ["python", "-m", "local.train", "--folds", "1A"]
    monkeypatch.setenv("SER_MTL_COMMAND", r"./run.sh --name $'it\'s'")  # bash's own way with a quote
    assert start("aaa")["resumed"][-1]["command"] == [r"./run.sh --name $'it\'s'"]


class Set:
    """So many utterances of an hour each."""

    def __init__(self, count: int) -> None:
        self.durations = [3600.0] * count

    def __len__(self) -> int:
        return len(self.durations)


def test_the_log_says_with_what_it_was_trained(job, monkeypatch):
    monkeypatch.setattr(environment, "cpu_name", lambda: "A CPU")
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    values = {"system": SYSTEM, "precision": "bf16", "eval_precision": "fp32", "batch_size": 8, "epochs": 20}
    values |= {"unfreeze": {}, "freeze_encoder_epochs": 0}
    assert environment.summary(job, "cpu", values, Set(17), Set(2)) == [
        "device cpu: A CPU, 2 threads; precision bf16, in validation fp32",
        "system Sequential, encoder wav2vec2 of random weights; 23 parameters, 8 trained",
        "training set 17 utterances, 17.00 h; validation set 2 utterances, 2.00 h (partner); 3 updates per epoch, "
        "20 epochs",
    ]
    lines = environment.summary(job, "cpu", values | {"system": SYSTEM[0]}, Set(16), None)
    assert lines[1].endswith("8 parameters, all trained")
    assert lines[2].endswith("validation set none; 2 updates per epoch, 20 epochs")


@pytest.mark.parametrize(("frozen", "trained"), [(True, "8 not frozen, trained: "), (False, "trained: ")])
def test_the_log_says_what_is_not_trained_from_the_first_epoch(job, frozen, trained):
    """As `local.training.unfreezing.plan` words it."""
    values = {"precision": "fp32", "eval_precision": "fp32", "batch_size": 8, "epochs": 20}
    values |= {"unfreeze": {}, "freeze_encoder_epochs": 4, "system": nn.Sequential(*(SYSTEM if frozen else SYSTEM[:1]))}
    values["system"].encoder = nn.Identity()
    values["system"].encoder.freeze = False
    lines = environment.summary(job, "cpu", values, Set(17), None)
    assert lines[1].endswith(f" parameters, {trained}the heads from epoch 1, the encoder from epoch 5")


def test_a_start_without_a_checkpoint_before_it_is_the_first(start):
    start("aaa", resumable=False)
    assert start("bbb")["commit"] == "bbb"
    assert commit_of(start("bbb")) == "bbb"


def test_what_an_earlier_version_wrote_is_the_first_start(job, start):
    old = start("aaa")
    for name in ("started", "tf32", "job"):
        del old[name]
    (job.folder / "env.json").write_text(json.dumps(old))
    new = start("bbb")
    assert old.items() <= new.items() and commit_of(old) == "aaa" and commit_of(new) == "aaa+"
    assert read_environment(job.folder)["job"]["seed"] == 1


def test_a_damaged_file_is_refused_on_resuming(job, start):
    start("aaa")
    (job.folder / "env.json").write_text("[1]")
    with pytest.raises(UserError, match=r"env\.json cannot be read"):
        start("bbb")


@pytest.mark.parametrize("able", [True, False])
def test_auto_keeps_the_precision_of_the_first_start(monkeypatch, caplog, able):
    for name in ("cpu._is_avx512_bf16_supported", "ops.mkldnn._is_mkldnn_bf16_supported"):
        monkeypatch.setattr(f"torch.{name}", lambda: able)
    today, other = ("bf16", "fp32") if able else ("fp32", "bf16")
    assert environment.held_precision(AUTO, None) == environment.held_precision(AUTO, {"precision": today}) == today
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        assert environment.held_precision(AUTO, {"precision": other}) == other
    assert f"resuming in {other}" in caplog.text


def test_a_precision_that_the_device_has_not_is_refused_on_resuming():
    with pytest.raises(UserError, match="begun in fp16") as refusal:
        environment.held_precision(AUTO, {"precision": "fp16"})
    assert "--force true" in refusal.value.remedy

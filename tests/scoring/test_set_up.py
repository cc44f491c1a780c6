"""What the pages say of how runs were trained: run folders written by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from run_folders import ENVIRONMENT, VALUES, run

from local.core.markers import Marker
from local.scoring import set_up

BOX = """\
system: MultiTaskSystem (mtl.yaml)
encoder: whisper-tiny, version 0123456789ab, frozen
parameters: 9,123,456 (1,026 trained)
alpha: 0.1
learning rate: 0.00005, heads 0.001
batch: 8 utterances
epochs: 2, 3 of 30; chosen: 1, 3
precision: bf16
device: 2 x H100, EPYC, 4 threads
time: 2.00 h on a GPU, 0.500 h on a CPU
dates: 2026-11-25 to 2026-11-27
commits: abc, abd-dirty
command: ./run.sh --name n -- --alpha 0.1
command: ./run.sh --stage 2 --folds '1A 1B'
"""


def log(seconds: dict[tuple[int, str], list[float]]) -> pd.DataFrame:
    """An epochs.csv of runs, by seed and fold, of so many seconds an epoch."""
    rows = [(seed, fold, epoch, took) for (seed, fold), each in seconds.items() for epoch, took in enumerate(each, 1)]
    return pd.DataFrame(rows, columns=["seed", "fold", "epoch", "seconds"])


def test_the_set_up_is_what_the_runs_recorded(tmp_path):
    """Two runs, on two GPUs and on a CPU, the second resumed; what differs is listed, times are summed."""
    values = {"encoder": "/mine/whisper-tiny", "encoder_version": "0123456789abcdef", "freeze": True}
    values |= {"lr": 5e-5, "head_lr": 1e-3, "batch_size": 8, "epochs": 30}
    gpu = {"commit": "abc", "started": "2026-11-25T23:59:00+00:00", "device": "cuda:0", "accelerator": "H100"}
    gpu |= {"precision": "bf16", "processes": 2, "parameters": 9123456, "trained_parameters": 1026}
    gpu |= {"command": ["./run.sh", "--name", "n", "--", "--alpha", "0.1"]}
    cpu = {"commit": "abc", "started": "2026-11-26T10:00:00+00:00", "device": "cpu", "processor": "EPYC", "threads": 4}
    cpu |= {"precision": "bf16", "command": ["--stage", "2", "--folds", "1A 1B"]}
    cpu["resumed"] = [cpu | {"commit": "abd-dirty", "started": "2026-11-27T10:00:00+00:00"}]
    runs = [run(tmp_path, "seed1/1A", told=gpu, **values), run(tmp_path, "seed2/1A", told=cpu, **values)]
    for each, epoch in zip(runs, (3, 1), strict=True):
        Marker(each / "train.json", VALUES | values).write(config="mtl.yaml", epoch=epoch)
    seconds = {(1, "1A"): [1200.0, 1200.0, 1200.0], (2, "1A"): [900.0, 900.0]}
    assert "".join(f"{name}: {value}\n" for name, value in set_up.of_runs(runs, log(seconds))) == BOX


def test_what_an_earlier_version_did_not_record_is_left_out(tmp_path):
    (tmp_path / "env.json").write_text('{"commit": ""}')
    (tmp_path / "hyperparams.yaml").write_text("lr: 1\n")
    Marker(tmp_path / "train.json", {}).write()
    folder = tmp_path.rename(tmp_path.with_name("1A"))
    seed = tmp_path.with_name("seed1")
    seed.mkdir()
    assert set_up.of_runs([folder.rename(seed / "1A")], log({(1, "1A"): [0.0]}).drop(columns="seconds")) == [
        ("epochs", "1")
    ]


@pytest.mark.parametrize(
    ("options", "command"),
    [
        (["--folds", "1A", "--seeds", "1"], "./run.sh"),
        (["--name", "a b", "--folds", "1A", "--seeds", "1", "--", "--lr", "1"], "./run.sh --name 'a b' -- --lr 1"),
        (["--folds=1A", "--seeds=1"], "./run.sh --folds=1A --seeds=1"),
    ],
)
def test_the_command_of_an_earlier_version_is_that_of_its_options(tmp_path, options, command):
    """The launcher added the fold and the seed, so that all runs of a command are of one."""
    told = ENVIRONMENT | {"job": {"options": options}}
    shown = dict(set_up.of_runs([run(tmp_path, "seed1/1A", told=told)], log({(1, "1A"): [1.0]})))
    assert shown["command"] == command


def test_a_command_that_could_not_be_split_is_shown_as_it_is(tmp_path):
    told = ENVIRONMENT | {"command": ["./run.sh --name $'a\\n'"]}
    shown = dict(set_up.of_runs([run(tmp_path, "seed1/1A", told=told)], log({(1, "1A"): [1.0]})))
    assert shown["command"] == "./run.sh --name $'a\\n'"


def test_random_weights_and_many_epochs(tmp_path):
    runs = [run(tmp_path, f"seed{seed}/1A", encoder={"model_type": "wav2vec2"}, freeze_cnn=True) for seed in range(9)]
    shown = dict(set_up.of_runs(runs, log({(seed, "1A"): [1.0] * (seed + 1) for seed in range(9)})))
    assert shown["encoder"] == "wav2vec2, random weights, its CNN frozen" and shown["epochs"] == "1 to 9"


def test_how_far_the_encoder_was_frozen(tmp_path):
    runs = [run(tmp_path, "seed1/1A", encoder={"model_type": "wav2vec2"}, freeze_layers=6, freeze=False)]
    assert dict(set_up.of_runs(runs, log({(1, "1A"): [1.0]})))["encoder"].endswith(", frozen up to layer 6")


@pytest.mark.parametrize(
    ("solved", "asked", "said"),
    [
        ([0, 0], 2, "2 of 2; chosen: 2"),
        ([0, 1], 1, "1 of 1, then solved in closed form"),
        ([0, 1], 9, "1 of 9, then solved in closed form"),
    ],
)
def test_a_last_step_in_closed_form_is_not_counted_as_an_epoch(solved, asked, said):
    epochs = pd.DataFrame({"seed": 1, "fold": "1A", "epoch": [1, 2], "solved": solved})
    trainings = [{"inputs": {"epochs": asked}, "facts": {"epoch": 2}}]
    assert set_up._epochs(trainings, epochs) == said
    alone = epochs[1:].assign(epoch=1, solved=1)
    assert set_up._epochs([{"inputs": {"epochs": 0}, "facts": {}}], alone) == "none: solved in closed form"


def test_what_is_solved_without_epochs_has_no_rate_and_no_batch(tmp_path):
    runs = [run(tmp_path, f"seed1/{fold}", epochs=epochs, batch_size=8) for fold, epochs in (("1A", 3), ("1B", 0))]
    first, second = (dict(set_up.of_runs([one], log({(1, one.name): [1.0]}))) for one in runs)
    assert {"learning rate", "batch"} <= first.keys() and not {"learning rate", "batch"} & second.keys()


def test_whose_system_it_is_is_said(tmp_path):
    told = ENVIRONMENT | {"title": "Wu et al. 2019: capsules", "certainty": "partly known", "weights": ""}
    epochs = pd.DataFrame({"seed": [1], "fold": ["1A"], "epoch": [1]})
    found = dict(set_up.of_runs([run(tmp_path, "seed1/1A", told=told)], epochs))
    assert (found["source"], found["certainty"]) == ("Wu et al. 2019: capsules", "partly known")
    assert "pretraining" not in found

"""Which runs are one experiment: run folders written by hand, and the lists of stage 2."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from local.config import hparams
from local.core.errors import UserError
from local.core.markers import Marker
from local.experiment import job, speakers, task_runs
from local.scoring import provenance

SYSTEM = "system: !new:local.systems.mtl.MultiTaskSystem\n  n_tokens: {tokens}\n  alpha: 0.1  # or !new:other\n"
VALUES = {"valid": "partner", "alpha": 0.1, "lr": 0.002, "freeze": False, "precision": "auto", "micro_batch_size": 8}
ENVIRONMENT = {"commit": "abc", "device": "cpu", "accelerator": "", "processor": "EPYC", "precision": "fp32"}


def run(folder: Path, name: str, system: str = SYSTEM, told: dict | None = None, **values: object) -> Path:
    """A run folder `seed<S>/<fold>` of the experiment in `folder`, as far as it is looked at."""
    made = folder / name
    made.mkdir(parents=True)
    (made / "hyperparams.yaml").write_text(system.format(tokens=len(name) + len(values)))
    Marker(made / "train.json", VALUES | {"train.csv": name, "tokenizer.model": name} | values).write()
    (made / "env.json").write_text(json.dumps(ENVIRONMENT if told is None else told))
    return made


def refusal(*runs: Path) -> str:
    with pytest.raises(UserError) as caught:
        provenance.refuse_mixed(runs)
    assert "--name" in caught.value.remedy and "--force true" in caught.value.remedy
    return caught.value.what


def test_folds_and_seeds_differ_in_their_files_and_tokens_alone(tmp_path):
    folds = ["seed1/1A", "seed1/1B", "seed2/1A"]
    runs = [run(tmp_path, name, **{"valid.csv": name} if name[-1] == "A" else {}) for name in folds]
    provenance.refuse_mixed(runs)
    provenance.refuse_mixed(runs[:1])
    provenance.refuse_mixed([])
    assert provenance.warnings(runs) == []


def test_other_values_are_refused_with_runs_keys_and_values(tmp_path):
    runs = [run(tmp_path, f"seed1/{fold}") for fold in ("1A", "1B", "2A")]
    runs += [run(tmp_path, "seed2/1A", alpha=0, lr=1e-5), run(tmp_path, "seed2/1B", alpha=0.2)]
    what = refusal(*runs)
    assert f"the runs of {tmp_path} were not trained with the same values" in what
    assert "alpha is 0 in seed 2 fold 1A, 0.2 in seed 2 fold 1B, 0.1 in the other 3 runs" in what
    assert "lr is 1e-05 in seed 2 fold 1A, 0.002 in the other 4 runs" in what
    assert "freeze" not in what and "train.csv" not in what


def test_numbers_are_the_same_however_they_are_written(tmp_path):
    provenance.refuse_mixed([run(tmp_path, "seed1/1A", alpha=0), run(tmp_path, "seed1/1B", alpha=0.0)])


def test_a_key_that_one_run_lacks_is_a_difference(tmp_path):
    what = refusal(run(tmp_path, "seed1/1A"), run(tmp_path, "seed1/1B"), run(tmp_path, "seed1/2A", gamma=1))
    assert what.endswith("gamma is 1 in seed 1 fold 2A, missing in the other 2 runs")


def test_weights_that_are_not_given_are_those_of_a_yaml_that_has_no_such_key(tmp_path):
    earlier, later = run(tmp_path, "seed1/1A"), run(tmp_path, "seed1/1B", noise_csv=None, speaker_net_of_fold="abc")
    provenance.refuse_mixed([earlier, later])
    assert "noise_csv is" in refusal(earlier, run(tmp_path, "seed1/2A", noise_csv="musan.csv"))


def test_another_encoder_is_named_by_what_differs(tmp_path):
    small, large = ({"model_type": "wav2vec2", "conv_dim": [4, 4], "hidden_size": size} for size in (16, 32))
    what = refusal(run(tmp_path, "seed1/1A", encoder=small), run(tmp_path, "seed1/1B", encoder=large))
    assert what.endswith("values: encoder.hidden_size is 16 in seed 1 fold 1A, 32 in seed 1 fold 1B")
    what = refusal(run(tmp_path, "seed1/2A", encoder="a/b"), run(tmp_path, "seed1/2B", encoder="a" * 99))
    assert "encoder is a/b in seed 1 fold 2A, aaa" in what and "…" in what


def test_encoders_are_known_by_their_weights_where_those_are_recorded(tmp_path):
    here, there = ({"encoder": f"/{machine}/base", "encoder_version": "0f"} for machine in "ab")
    runs = [run(tmp_path, "seed1/1A", **here), run(tmp_path, "seed1/1B", **there)]
    provenance.refuse_mixed(runs)
    earlier = run(tmp_path, "seed1/2A", encoder="/a/base")
    provenance.refuse_mixed([runs[0], earlier])
    assert "values: encoder is /b/base in" in refusal(runs[1], earlier)
    changed = run(tmp_path, "seed1/2B", **here | {"encoder_version": "1e"})
    assert refusal(runs[0], changed).endswith("values: encoder_version is 0f in seed 1 fold 1A, 1e in seed 1 fold 2B")


def test_another_system_of_the_same_values_is_refused(tmp_path):
    other = SYSTEM.replace("mtl.MultiTaskSystem", "mine.Mine")
    what = refusal(run(tmp_path, "seed1/1A"), run(tmp_path, "seed1/1B", other))
    assert "system is local.systems.mtl.MultiTaskSystem in seed 1 fold 1A, local.systems.mine.Mine in" in what


def test_a_run_of_before_the_optimizer_was_in_the_yaml_is_no_other(tmp_path):
    objects = "optimizer: !name:torch.optim.AdamW\nscheduler: !name:transformers.get_linear_schedule_with_warmup\n"
    provenance.refuse_mixed([run(tmp_path, "1A", alpha=0.1), run(tmp_path, "1B", SYSTEM + objects, alpha=0.1)])


def test_many_runs_are_counted(tmp_path):
    runs = [run(tmp_path, f"seed{seed}/{fold}", lr=seed) for seed in (1, 2) for fold in "abcde"]
    assert refusal(*runs[:9]).endswith(
        "lr is 2 in seed 2 fold a and seed 2 fold b and seed 2 fold c and 1 more, 1 in the other 5 runs"
    )


def test_commits_devices_and_rounding_are_warned_of(tmp_path):
    gpu = ENVIRONMENT | {"device": "cuda:1", "accelerator": "H100", "precision": "bf16", "commit": "abc-dirty"}
    runs = [run(tmp_path, "seed1/1A"), run(tmp_path, "seed1/1B"), run(tmp_path, "seed1/2A", told=gpu)]
    runs.append(run(tmp_path, "seed1/2B", told={"commit": ""}, micro_batch_size=2))  # of an older version
    provenance.refuse_mixed(runs)
    (line,) = provenance.warnings(runs)
    assert line == (
        "the runs differ in how they were trained: "
        "commit is abc-dirty in seed 1 fold 2A, unknown in seed 1 fold 2B, abc in the other 2 runs; "
        "device is H100 in seed 1 fold 2A, unknown in seed 1 fold 2B, EPYC in the other 2 runs; "
        "precision is bf16 in seed 1 fold 2A, unknown in seed 1 fold 2B, fp32 in the other 2 runs; "
        "micro_batch_size is 2 in seed 1 fold 2B, 8 in the other 3 runs"
    )


def test_audio_that_was_changed_in_between_is_warned_of(tmp_path):
    """Of each corpus by itself, as models may be tested on another; what an earlier version made says nothing."""
    names = ["seed1/1A", "seed1/1B", "seed1/2A"]
    told = ENVIRONMENT | {"audio": {"own": "aaa"}}
    runs = [*(run(tmp_path, name, told=told) for name in names), run(tmp_path, "seed1/2B")]
    for made in runs[:2]:
        Marker(made / "decode.json", {}).write(audio={"other": "ccc"})
    assert provenance.warnings(runs) == []
    Marker(runs[2] / "decode.json", {}).write(audio={"other": "ddd", "own": "aaa"})
    assert provenance.warnings(runs) == [
        "audio files of other were changed between these trainings and decodings: their digest is ccc in "
        "seed 1 fold 1A and seed 1 fold 1B, ddd in seed 1 fold 2A; --force true trains and decodes again"
    ]


def test_what_a_model_had_heard_that_was_continued_from_is_warned_of(tmp_path):
    runs = [run(tmp_path, f"seed1/{fold}") for fold in ("1A", "1B", "2A")]
    for number, made in enumerate(runs[:2]):
        training = json.loads((made / "train.json").read_text())
        (made / "train.json").write_text(json.dumps(training | {"facts": {"heard": f"OPTIMISTIC: {number}"}}))
    assert provenance.warnings(runs) == ["OPTIMISTIC: 0 (and the like in 1 more runs)"]
    assert provenance.warnings(runs[1:]) == ["OPTIMISTIC: 1"] and not provenance.warnings(runs[2:])


def test_gpus_of_one_kind_are_not_warned_of(tmp_path):
    told = [ENVIRONMENT | {"device": f"cuda:{number}", "accelerator": "H100"} for number in range(2)]
    runs = [run(tmp_path, f"seed1/{number}", told=each) for number, each in enumerate(told)]
    assert provenance.warnings(runs) == []


def test_the_lists_fit_those_of_stage_2():
    own = (speakers.KEY, *task_runs.KEYS)
    assert set(provenance.OF_FOLD) == {*job.TRAINED_ON, *(f"{key}{speakers.OF_FOLD}" for key in own)}
    defaults = hparams.read_values(hparams.RUNNING.with_name("mtl_wav2vec2.yaml"))
    assert set(hparams.ROUNDING) <= defaults.keys() and not {*hparams.ROUNDING} & {*hparams.RUNTIME}


# ---------------------------------------------------------------- what was trained

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
    assert "".join(f"{name}: {value}\n" for name, value in provenance.setup(runs, log(seconds))) == BOX


def test_what_an_earlier_version_did_not_record_is_left_out(tmp_path):
    (tmp_path / "env.json").write_text('{"commit": ""}')
    (tmp_path / "hyperparams.yaml").write_text("lr: 1\n")
    Marker(tmp_path / "train.json", {}).write()
    folder = tmp_path.rename(tmp_path.with_name("1A"))
    seed = tmp_path.with_name("seed1")
    seed.mkdir()
    assert provenance.setup([folder.rename(seed / "1A")], log({(1, "1A"): [0.0]}).drop(columns="seconds")) == [
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
    shown = dict(provenance.setup([run(tmp_path, "seed1/1A", told=told)], log({(1, "1A"): [1.0]})))
    assert shown["command"] == command


def test_a_command_that_could_not_be_split_is_shown_as_it_is(tmp_path):
    told = ENVIRONMENT | {"command": ["./run.sh --name $'a\\n'"]}
    shown = dict(provenance.setup([run(tmp_path, "seed1/1A", told=told)], log({(1, "1A"): [1.0]})))
    assert shown["command"] == "./run.sh --name $'a\\n'"


def test_random_weights_and_many_epochs(tmp_path):
    runs = [run(tmp_path, f"seed{seed}/1A", encoder={"model_type": "wav2vec2"}, freeze_cnn=True) for seed in range(9)]
    shown = dict(provenance.setup(runs, log({(seed, "1A"): [1.0] * (seed + 1) for seed in range(9)})))
    assert shown["encoder"] == "wav2vec2, random weights, its CNN frozen" and shown["epochs"] == "1 to 9"


def test_how_far_the_encoder_was_frozen(tmp_path):
    runs = [run(tmp_path, "seed1/1A", encoder={"model_type": "wav2vec2"}, freeze_layers=6, freeze=False)]
    assert dict(provenance.setup(runs, log({(1, "1A"): [1.0]})))["encoder"].endswith(", frozen up to layer 6")


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
    assert provenance._epochs(trainings, epochs) == said
    alone = epochs[1:].assign(epoch=1, solved=1)
    assert provenance._epochs([{"inputs": {"epochs": 0}, "facts": {}}], alone) == "none: solved in closed form"


def test_what_is_solved_without_epochs_has_no_rate_and_no_batch(tmp_path):
    runs = [run(tmp_path, f"seed1/{fold}", epochs=epochs, batch_size=8) for fold, epochs in (("1A", 3), ("1B", 0))]
    first, second = (dict(provenance.setup([one], log({(1, one.name): [1.0]}))) for one in runs)
    assert {"learning rate", "batch"} <= first.keys() and not {"learning rate", "batch"} & second.keys()


def test_whose_system_it_is_is_said(tmp_path):
    told = ENVIRONMENT | {"title": "Wu et al. 2019: capsules", "certainty": "partly known", "weights": ""}
    epochs = pd.DataFrame({"seed": [1], "fold": ["1A"], "epoch": [1]})
    found = dict(provenance.setup([run(tmp_path, "seed1/1A", told=told)], epochs))
    assert (found["source"], found["certainty"]) == ("Wu et al. 2019: capsules", "partly known")
    assert "pretraining" not in found

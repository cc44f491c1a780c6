"""Which runs are one experiment: run folders written by hand, and the lists of stage 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_folders import ENVIRONMENT, SYSTEM, run

from local.config import hparams
from local.core.errors import UserError
from local.core.markers import Marker
from local.experiment import job, speakers, task_runs
from local.scoring import provenance


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

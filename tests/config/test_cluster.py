"""What jobs ask of Slurm: the YAML's block, and what follows from it and from the options."""

from __future__ import annotations

from typing import Any

import pytest

from local.config.cluster import job_name, nodes_and_gpus, refuse_without_slurm, submit_parameters
from local.config.hparams import compared_values, resolve
from local.core.errors import UserError
from local.experiment.command_line import parse
from local.experiment.options import Options


def options(*words: str, block: str = "", device: str = "null") -> Options:
    overrides = ["--device", device, *(["--slurm", block] if block else [])]
    return parse(["--hparams", "hparams/mini.yaml", "--name", "n", "--backend", "slurm", *words, "--", *overrides])


def asked(step: str, *words: str, **given: str) -> dict[str, Any]:
    found = options(*words, **given)
    return submit_parameters(found.values, found.processes, found.jobs, job_name(found.experiment_folder, step), step)


def test_the_defaults_ask_for_one_gpu_and_for_requeueing(workplace):
    found = asked("train")
    assert (found["nodes"], found["tasks_per_node"], found["gpus_per_node"], found["cpus_per_task"]) == (1, 1, 1, 8)
    assert (found["mem_gb"], found["timeout_min"], found["slurm_array_parallelism"]) == (2, 480, 256)
    assert found["slurm_srun_args"] == ["--cpus-per-task=8"]
    assert found["slurm_additional_parameters"] == {"requeue": True} and found["name"] == "train_n"
    assert not any("partition" in key for key in found)


def test_a_part_of_the_block_is_given_on_the_command_line(workplace):
    block = "{partition: gpu, timeout_min: 60, mem_gb: null, additional: {mail-type: FAIL}}"
    found = asked("decode", "--jobs", "3", block=block)
    assert (found["slurm_partition"], found["timeout_min"], found["cpus_per_task"]) == ("gpu", 60, 8)
    assert "mem_gb" not in found and found["slurm_array_parallelism"] == 3
    assert found["slurm_additional_parameters"] == {"requeue": True, "mail-type": "FAIL"}


@pytest.mark.parametrize(
    ("processes", "gpus_per_node", "device", "expected"),
    [
        (1, 8, "null", (1, 1, 1)),
        (8, 8, "null", (1, 8, 8)),
        (16, 8, "cuda", (2, 8, 8)),
        (10, 8, "null", (2, 5, 5)),
        (3, 1, "null", (3, 1, 1)),
        (4, 8, "cpu", (1, 4, 0)),
        (4, 0, "null", (1, 4, 0)),
    ],
)
def test_more_processes_than_gpus_of_a_node_take_several(workplace, processes, gpus_per_node, device, expected):
    words = ("--processes", str(processes))
    given = {"block": f"{{gpus_per_node: {gpus_per_node}}}", "device": device}
    nodes, each, gpus = expected
    asked_for = options(*words, **given)
    assert nodes_and_gpus(asked_for.values, asked_for.processes) == expected and nodes * each == processes
    train, decode = asked("train", *words, **given), asked("decode", *words, **given)
    assert (train["nodes"], train.get("gpus_per_node", 0), train["cpus_per_task"]) == (nodes, gpus, 8 * each)
    assert (decode["nodes"], decode.get("gpus_per_node", 0), decode["cpus_per_task"]) == (1, min(1, gpus), 8)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("{gpus: 1}", "has no key 'gpus'"),
        ("gpu", "not keys and values"),
        ("{partition: gpu", "not keys and values"),
        ("[1]", "not keys and values"),
        ("{partition: 2024-99-99}", "not keys and values"),
        ("{[a, {}]: 1}", "not keys and values"),
        ("{mem_gb: lots}", "mem_gb is 'lots'"),
        ("{timeout_min: 0}", "timeout_min is 0"),
        ("{timeout_min: true}", "timeout_min is True"),
        ("{gpus_per_node: -1}", "gpus_per_node is -1"),
        ("{partition: {a: b}}", "structure of the overrides"),
        ("{additional: 3}", "additional is 3"),
        ('{partition: "a\\n#SBATCH --x"}', "partition is"),
        ('{additional: {comment: "a\\nrm"}}', "additional is"),
    ],
)
def test_what_is_refused(workplace, block, said):
    with pytest.raises(UserError) as refusal:
        nodes_and_gpus(options(block=block).values, 1)
    assert said in refusal.value.what and "\n" not in refusal.value.what


def test_processes_that_cannot_be_spread(workplace):
    with pytest.raises(UserError, match="9 cannot be spread evenly over 2 nodes of 8 GPUs"):
        nodes_and_gpus(options().values, 9)


def test_without_slurm_nothing_is_begun(workplace, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="there is no sbatch"):
        refuse_without_slurm(options().values, 1)


def test_other_resources_are_not_another_experiment(workplace):
    texts = [resolve(parsed.hparams, parsed.overrides) for parsed in (options(), options(block="{mem_gb: 64}"))]
    assert texts[0] != texts[1] and compared_values(texts[0]) == compared_values(texts[1])


def test_a_yaml_with_an_empty_block_asks_for_slurms_defaults(workplace):
    path = workplace / "hparams/mini.yaml"
    path.write_text(path.read_text().replace("slurm:\n    mem_gb: 2\n", "slurm: null\n"))
    found = asked("train")
    assert "slurm_srun_args" not in found and (found["nodes"], found["timeout_min"]) == (1, 480)

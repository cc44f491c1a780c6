"""What jobs ask of Slurm: the block `slurm` of the YAML, in submitit's names.

It says what one process of a job needs, and how many GPUs a node has; from that and the options
follow the nodes, GPUs, CPUs and memory of a job.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from local.core.errors import UserError

KINDS = {
    **dict.fromkeys(("partition", "account", "qos", "constraint"), str),
    **dict.fromkeys(("gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min", "array_parallelism"), int),
    "additional": dict,
}
MINUTES = 480  # of a job, where the block has none: submitit's own default is 5
LEAST = {"gpus_per_node": 0}  # without GPUs; all other numbers are at least 1


def refuse_without_slurm(values: dict[str, Any], processes: int) -> None:
    """Raise a UserError where there is no Slurm, or the block cannot be met."""
    if shutil.which("sbatch") is None:
        raise UserError("--backend slurm: there is no sbatch on the PATH", "run it on a login node of the cluster")
    nodes_and_gpus(values, processes)


def slurm_block(values: dict[str, Any]) -> dict[str, Any]:
    """The block's values without those that are null; `UserError` for an unknown key or a value of another type."""
    block = values.get("slurm") or {}
    if not isinstance(block, dict):
        raise UserError(f"slurm: {block!r} is not a mapping", 'write -- --slurm "{partition: gpu, timeout_min: 60}"')
    block = {key: value for key, value in block.items() if value is not None}
    for key, value in block.items():
        if key not in KINDS:
            raise UserError(f"slurm: unknown key '{key}'", f"take one of: {' '.join(KINDS)}; more goes in additional")
        if KINDS[key] is int and (type(value) is not int or value < LEAST.get(key, 1)):
            raise UserError(f"slurm: {key} is {value!r}", f"give a whole number of at least {LEAST.get(key, 1)}")
        texts = [*value, *value.values()] if isinstance(value, dict) else [value]
        # A line break would begin a new line in the script for sbatch.
        if (KINDS[key] is dict) != isinstance(value, dict) or not all(str(text).isprintable() for text in texts):
            raise UserError(f"slurm: {key} is {value!r}", "see hparams/running.yaml for what it is")
    return block


def nodes_and_gpus(values: dict[str, Any], processes: int) -> tuple[int, int, int]:
    """Nodes of a training, and processes and GPUs on each; `UserError` where processes cannot be spread evenly."""
    on_cpu = str(values["device"] or "").startswith("cpu")
    per_node = 0 if on_cpu else slurm_block(values).get("gpus_per_node", 0)
    if not per_node:
        return 1, processes, 0
    nodes = -(-processes // per_node)
    if processes % nodes:
        raise UserError(
            f"--processes {processes} cannot be spread evenly over {nodes} nodes of {per_node} GPUs",
            f"take {processes // nodes * nodes} or {nodes * per_node}; gpus_per_node is in the YAML's block slurm",
        )
    return nodes, processes // nodes, processes // nodes


def job_name(experiment: Path, step: str, tested: str = "") -> str:
    """The name of an experiment's jobs in the queue; `tested` is the corpus that its models are tested on elsewhere.

    >>> job_name(Path("n"), "train"), job_name(Path("n"), "decode", "nemo+emodb@4class")
    ('train_n', 'decode_n_on_nemo-emodb-4class')
    """
    return f"{step}_{experiment.name}" + (f"_on_{re.sub('[^A-Za-z0-9._-]', '-', tested)}" if tested else "")


def submit_parameters(values: dict[str, Any], processes: int, jobs: int | None, name: str, step: str) -> dict[str, Any]:
    """The parameters of submitit's AutoExecutor for the jobs of `train`, or of another step, which have one process.

    Jobs may be requeued. srun needs the number of CPUs as well: since Slurm 22.05 it ignores sbatch's.
    """
    block = slurm_block(values)
    nodes, processes, gpus = nodes_and_gpus(values, processes)
    if step != "train":
        nodes, processes, gpus = 1, 1, min(1, gpus)
    parameters = {f"slurm_{key}": block[key] for key in ("partition", "account", "qos", "constraint") if key in block}
    parameters |= {key: processes * block[key] for key in ("cpus_per_task", "mem_gb") if key in block}
    parameters |= {"gpus_per_node": gpus} if gpus else {}
    if "cpus_per_task" in parameters:
        parameters["slurm_srun_args"] = [f"--cpus-per-task={parameters['cpus_per_task']}"]
    bounds = [bound for bound in (block.get("array_parallelism"), jobs) if bound]
    parameters |= {"slurm_array_parallelism": min(bounds)} if bounds else {}
    return parameters | {
        "name": name,
        "timeout_min": block.get("timeout_min", MINUTES),
        "nodes": nodes,
        "tasks_per_node": 1,
        "slurm_additional_parameters": {"requeue": True} | block.get("additional", {}),
    }

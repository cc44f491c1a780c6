"""The processes that train one job together (DDP): their ranks, and what they compute together."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

import torch
from speechbrain.utils.distributed import (
    ddp_all_reduce,
    ddp_init_group,
    get_rank,
    infer_device,
    is_distributed_initialized,
)
from torch import nn
from torch.distributed import ReduceOp

from local.systems.layers.batch_norm import running_statistics

_gloo: list[Any] = []  # the group of processes that exchanges what is on the CPU, whatever the training's device


def join_group(device: str | None) -> None:
    """Join the processes of the job, if torchrun started this one; only the first logs below warnings."""
    if get_rank() is None or "LOCAL_RANK" not in os.environ:
        return
    on_cpu = not torch.cuda.is_available() or str(device or "").startswith("cpu")
    ddp_init_group({"distributed_backend": "gloo" if on_cpu else "nccl"})
    _gloo[:] = [torch.distributed.new_group(backend="gloo")]
    if rank():
        logging.getLogger().setLevel(logging.WARNING)


def process_device(device: str | None) -> str | None:
    """The device of this process: of several GPUs its own."""
    if world_size() > 1 and str(device or infer_device()).startswith("cuda"):
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return device


def rank() -> int:
    """The number of this process among the job's."""
    return torch.distributed.get_rank() if is_distributed_initialized() else 0


def world_size() -> int:
    """The number of the job's processes."""
    return torch.distributed.get_world_size() if is_distributed_initialized() else 1


def max_over_processes(number: int) -> int:
    """The highest of the processes' numbers."""
    if world_size() == 1:
        return number
    numbers = torch.tensor([number])
    torch.distributed.all_reduce(numbers, op=ReduceOp.MAX, group=_gloo[0])
    return int(numbers)


def sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of the processes' tensors."""
    return ddp_all_reduce(tensor.clone(), ReduceOp.SUM)


def take_first(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrite tensors by those of the first process."""
    if world_size() > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor, src=0)


@torch.no_grad()
def average_statistics(system: nn.Module) -> None:
    """Set the running statistics of batch norm to their means over the processes, each of which saw other batches.

    After every update, as a checkpoint within an epoch has those of the first process alone: all then resume with it.
    """
    if world_size() == 1:
        return
    if statistics := running_statistics(system):
        flat = sum_over_processes(torch.cat([each.flatten() for each in statistics])) / world_size()
        for each, mean in zip(statistics, flat.split([each.numel() for each in statistics]), strict=True):
            each.copy_(mean.view_as(each))


def gather_rows(rows: list[Any]) -> list[Any]:
    """The rows of all processes."""
    if world_size() == 1:
        return rows
    gathered: list[list[Any]] = [[] for _ in range(world_size())]
    torch.distributed.all_gather_object(gathered, rows, group=_gloo[0])
    return [row for some in gathered for row in some]

"""CUDA graphs on a CPU: what was recorded runs again, on the same memory."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from local.encoders.kernels import attention, dropout, graphs
from local.encoders.packing import PackingEncoder


class Recorded(TorchDispatchMode):
    """In place of a `CUDAGraph`. As there, nothing is written while it is recorded, and nothing may be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.before: list[tuple[Tensor, Tensor]] = []
        self.own: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and keep it."""
        if function is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("an operation that waits")
        kwargs = kwargs or {}
        given = dict(zip((each.name for each in function._schema.arguments), args, strict=False)) | kwargs
        for argument in function._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write and argument.name in given:
                written = [each for each in tree_leaves(given[argument.name]) if _memory(each) not in self.own]
                self.before += [(tensor, tensor.clone()) for tensor in written]
        known = {_memory(each) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        made = function(*args, **kwargs)
        self.own |= {_memory(each) for each in tree_leaves(made) if isinstance(each, Tensor)} - known
        # By `data`, whose writes autograd does not count, as it does not those of a graph.
        data = tree_map(lambda each: each.data if isinstance(each, Tensor) else each, (args, kwargs, made))
        self.calls.append((function, *data))
        return made

    def capture_begin(self, *_: object, **__: object) -> None:
        self.__enter__()

    def capture_end(self) -> None:
        self.__exit__(None, None, None)
        for tensor, values in reversed(self.before):
            tensor.detach().copy_(values)

    @torch.no_grad()
    def replay(self) -> None:
        for function, args, kwargs, made in self.calls:
            again = function(*args, **kwargs)
            for place, value in zip(tree_leaves(made), tree_leaves(again), strict=True):
                if isinstance(place, Tensor) and _memory(place) != _memory(value):
                    place.copy_(value)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def record_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `local.encoders.kernels.graphs` record on a CPU."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    fakes = {
        "CUDAGraph": Recorded,
        "graph_pool_handle": lambda: (0, 0),
        "Stream": lambda device=None: stream,
        "current_stream": lambda device=None: stream,
        "stream": lambda stream: nullcontext(),
        "synchronize": lambda device=None: None,
        "get_rng_state": lambda device: torch.get_rng_state(),
        "set_rng_state": lambda state, device: torch.set_rng_state(state),
        "mem_get_info": lambda device: (9, 10),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(PackingEncoder, "is_packed", lambda encoder, x: False)  # as on a GPU
    for module in (attention, dropout):  # as there, bits are of torch, whose operations are recorded
        monkeypatch.setattr(module, "draw", lambda like, p: (torch.empty_like(like).bernoulli_(1 - p), 1 / (1 - p)))
    monkeypatch.setattr(graphs, "_may_have_one", lambda module, hidden: module.training and torch.is_grad_enabled())

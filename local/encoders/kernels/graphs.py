"""Modules whose kernels a GPU is given all at once in training, as CUDA graphs.

The forward and backward pass of a transformer's layer are a hundred kernels of a few microseconds each: one by one, the
host needs several times as long to launch them as the GPU to compute them. A graph is one launch. It is of one size of
input, and made when that comes first; `GRID` in `local.encoders.base` keeps sizes few. Its kernels, random numbers and
order of sums are those without it, and so are the results; where a module's input is also read elsewhere, as are hidden
states that are weighted, the parts of its gradient are added in another order, and differ in rounding.

What a graph reads and writes stays where it is in memory. A module's sizes share it all: the places of input and output
and of their gradients, the sums of the weights' gradients, to which each graph adds, and what lies between the forward
and the backward pass. So a second forward pass before the backward pass of the first runs without a graph.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import compress
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

logger = logging.getLogger(__name__)

LITTLE = 0.5  # of the GPU's memory: with less of it free no further graph is made
ALIGNED = 64  # numbers: where a tensor begins in a place that several share


class _Token:
    """Lives as long as a forward pass whose backward pass may come."""


class _Graphs:
    """Those of a module, by size."""

    def __init__(self, module: nn.Module) -> None:
        self.weights = [*module.parameters()]
        self.state = self._look()
        self.learning = [weight for weight in self.weights if weight.requires_grad]
        sizes = [-(-weight.numel() // ALIGNED) * ALIGNED for weight in self.learning]
        self.sums = self.learning[0].new_zeros(sum(sizes))
        parts = zip(self.sums.split(sizes), self.learning, strict=True)
        self.grads = [part[: weight.numel()].view_as(weight) for part, weight in parts]
        self.pool = torch.cuda.graph_pool_handle()
        self.places: dict[Hashable, Tensor] = {}
        self.by_size: dict[Hashable, _Graph] = {}
        self.pending: ref[_Token] | None = None

    def _look(self) -> list[tuple[int, bool]]:
        return [(weight.data_ptr(), weight.requires_grad) for weight in self.weights]

    def are_current(self) -> bool:
        """Whether the module's weights are where they were when these were made, and the same of them learn."""
        return self._look() == self.state

    def place(self, name: str, like: Tensor) -> Tensor:
        """A place in memory for a tensor, in its layout, which those of other sizes have as well."""
        key, size = (name, like.dtype), like.numel()
        if key not in self.places or self.places[key].numel() < size:
            self.places[key] = like.new_empty(size)
        return self.places[key].as_strided(like.shape, torch.empty_like(like).stride())

    def is_pending(self) -> bool:
        """Whether the backward pass of the latest forward pass may still come."""
        return self.pending is not None and self.pending() is not None

    def begin(self) -> _Token:
        """Note a forward pass."""
        token = _Token()
        self.pending = ref(token)
        return token

    def add_up(self, graph: torch.cuda.CUDAGraph) -> None:
        """Run a backward pass, and add its gradient to that of the weights."""
        pairs = [*zip(self.learning, self.grads, strict=True)]
        is_sum = [weight.grad is not None and weight.grad.data_ptr() == grad.data_ptr() for weight, grad in pairs]
        if all(is_sum):
            graph.replay()
            return
        for weight in compress(self.learning, is_sum):  # kept, where others were set to None or are of another pass
            weight.grad = weight.grad.clone()
        self.sums.zero_()  # the first of an update, or of one whose earlier passes had no graph
        graph.replay()
        for weight, grad in pairs:
            weight.grad = grad if weight.grad is None else weight.grad + grad


class _Graph:
    """The forward and the backward pass of a module for one size."""

    def __init__(
        self, owner: _Graphs, module: nn.Module, hidden: Tensor, others: tuple[Any, ...], names: tuple[str, ...]
    ) -> None:
        self.owner = owner
        self.hidden = owner.place("hidden", hidden).copy_(hidden.detach()).requires_grad_(hidden.requires_grad)
        self.others = [value.clone() if isinstance(value, Tensor) else value for value in others]
        unnamed = len(others) - len(names)
        named = dict(zip(names, self.others[unnamed:], strict=True))
        # Not the weights themselves, whose part in a pass that is not over yet belongs to another stream.
        weights = {f"module.{name}": _same_memory(weight) for name, weight in module.named_parameters()}
        sources = [self.hidden] * hidden.requires_grad + [each for each in weights.values() if each.requires_grad]

        def run() -> Tensor:
            # What autocast keeps of the weights for an update is elsewhere in the next.
            how = {"dtype": torch.get_autocast_dtype("cuda"), "enabled": torch.is_autocast_enabled("cuda")}
            with torch.autocast("cuda", cache_enabled=False, **how):
                return functional_call(_Plain(module), weights, (self.hidden, *self.others[:unnamed]), named)

        random = torch.cuda.get_rng_state(hidden.device)
        stream, current = _stream(hidden.device), torch.cuda.current_stream(hidden.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):  # once without recording: libraries get what they need for this size
            out = run()
            torch.autograd.grad(out, sources, torch.zeros_like(out))
        current.wait_stream(stream)
        self.out, self.grad_out = owner.place("out", out), owner.place("grad_out", out)
        self.grad_hidden = owner.place("grad_hidden", hidden) if hidden.requires_grad else None
        del out
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        torch.cuda.set_rng_state(random, hidden.device)
        with _recorded(self.forward, owner.pool, hidden.device):
            out = run()
            self.out.copy_(out.detach())
        with _recorded(self.backward, owner.pool, hidden.device):
            grads = torch.autograd.grad(out, sources, self.grad_out)
            torch._foreach_add_(owner.grads, grads[-len(owner.grads) :])
            if self.grad_hidden is not None:
                self.grad_hidden.copy_(grads[0])
        torch.cuda.set_rng_state(random, hidden.device)


class _Plain(nn.Module):
    """A module as its class has it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return type(self.module).forward(self.module, *args, **kwargs)


def _same_memory(weight: Tensor) -> Tensor:
    return weight.detach().requires_grad_(weight.requires_grad)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream on which all of a device are recorded: libraries keep memory of their own for each."""
    return torch.cuda.Stream(device)


@contextmanager
def _recorded(graph: torch.cuda.CUDAGraph, pool: tuple[int, int], device: torch.device) -> Iterator[None]:
    torch.cuda.synchronize(device)
    with torch.cuda.stream(_stream(device)):
        # Other threads, such as one that reads audio ahead, may meanwhile ask for memory.
        graph.capture_begin(pool, capture_error_mode="thread_local")
        try:
            yield
        finally:
            graph.capture_end()


class _Replay(torch.autograd.Function):
    """A pass by graphs. One of the weights is an input in name, so that there is a backward pass."""

    @staticmethod
    def forward(ctx, graph: _Graph, others: tuple[Any, ...], hidden: Tensor, weight: Tensor) -> Tensor:
        graph.hidden.detach().copy_(hidden)
        for place, value in zip(graph.others, others, strict=True):
            if isinstance(value, Tensor):
                place.copy_(value)
        graph.forward.replay()
        ctx.graph, ctx.token = graph, graph.owner.begin()
        return graph.out.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        graph, owner = ctx.graph, ctx.graph.owner
        if ctx.token is None or owner.pending is None or owner.pending() is not ctx.token:
            raise RuntimeError("a second backward pass, of which the module's next forward pass has left nothing")
        graph.grad_out.copy_(grad)
        owner.add_up(graph.backward)
        ctx.token = owner.pending = None
        # Not a view, which autograd may keep as the gradient of a leaf: of what others hold, it keeps a copy.
        return None, None, graph.grad_hidden, None


_GRAPHS: WeakKeyDictionary[nn.Module, _Graphs] = WeakKeyDictionary()
_FAILED: list[str] = []  # modules of which one could not be recorded, and after which there are none


def use_graphs(modules: Iterable[nn.Module]) -> None:
    """Use them in modules whose forward takes a tensor, and masks without a gradient, and returns a tensor.

    What else it computes with must be its weights. In training, what is kept of its output beyond the backward pass
    must be a copy: the next pass overwrites it. Hooks of weights are not called; a gradient of a gradient is an error.
    """
    for module in modules:
        module.forward = MethodType(_forward, module)


def forget(module: nn.Module) -> None:
    """Forget those of all modules within one, which will learn with others: of their inputs some then have a gradient.

    Graphs for inputs without are of no use then, and hold memory that those with one need.
    """
    for each in module.modules():
        _GRAPHS.pop(each, None)


def _forward(module: nn.Module, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
    graph = _graph(module, hidden, (*args, *kwargs.values()), (*kwargs,)) if _may_have_one(module, hidden) else None
    if graph is None:
        return type(module).forward(module, hidden, *args, **kwargs)
    return _Replay.apply(graph, (*args, *kwargs.values()), hidden, graph.owner.learning[0])


def _may_have_one(module: nn.Module, hidden: Tensor) -> bool:
    """Whether it is in training on a GPU, by itself: DDP waits for the gradient of each weight from autograd."""
    if not (hidden.is_cuda and module.training and torch.is_grad_enabled()) or _FAILED:
        return False
    return not (torch.distributed.is_available() and torch.distributed.is_initialized())


def _graph(module: nn.Module, hidden: Tensor, others: tuple[Any, ...], names: tuple[str, ...]) -> _Graph | None:
    """That of a size; None where there cannot be one."""
    if any(value.requires_grad if isinstance(value, Tensor) else value not in (None, True, False) for value in others):
        return None
    graphs = _GRAPHS.get(module)
    if graphs is not None and not graphs.are_current():
        graphs = None
        del _GRAPHS[module]  # first, as it holds memory that the next may need
    if graphs is None:
        if not any(weight.requires_grad for weight in module.parameters()) or not _has_room(hidden.device):
            return None
        graphs = _GRAPHS[module] = _Graphs(module)
    kinds = tuple((value.shape, value.dtype) if isinstance(value, Tensor) else value for value in others)
    mixed = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda")
    size = (hidden.shape, hidden.stride(), hidden.dtype, hidden.requires_grad, mixed, kinds, names)
    if graphs.is_pending():
        return None
    if size not in graphs.by_size and _has_room(hidden.device):
        random = torch.cuda.get_rng_state(hidden.device)
        try:
            graphs.by_size[size] = _Graph(graphs, module, hidden, others, names)
        except RuntimeError as error:
            _give_up(module, error, random, hidden.device)
    return graphs.by_size.get(size)


def _give_up(module: nn.Module, error: RuntimeError, random: Tensor, device: torch.device) -> None:
    """Go on without graphs; the generator of random numbers, which waits for the end of a record, gets a new state."""
    _FAILED.append(type(module).__name__)
    logger.warning("training without CUDA graphs, which is slower: %s: %s", *_FAILED, str(error).split("\n")[0])
    state = torch.Generator(device)
    state.set_state(random)
    torch.cuda.default_generators[device.index].graphsafe_set_state(state)


def _has_room(device: torch.device) -> bool:
    free, size = torch.cuda.mem_get_info(device)
    return free > LITTLE * size

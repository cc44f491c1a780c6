"""Graphs of modules compute what the same kernels do one by one; on a CPU those of `recorded`."""

from __future__ import annotations

import copy
import gc
import random
from weakref import ref

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from recorded import record_on_cpu
from torch import Tensor, nn

from local.data.device import use_precision
from local.encoders import Encoder, load_encoder
from local.encoders.kernels import graphs

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CHANGES = {"mask_time_prob": 0.0, "layerdrop": 0.3}


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=on_gpu)])
def device(request, monkeypatch) -> str:
    if request.param == "cpu":
        record_on_cpu(monkeypatch)
    return request.param


@pytest.fixture
def made(monkeypatch) -> list[graphs._Graphs]:
    """The graphs of each pass that had some."""
    found: list[graphs._Graphs] = []
    begin = graphs._Graphs.begin
    monkeypatch.setattr(graphs._Graphs, "begin", lambda self: found.append(self) or begin(self))
    return found


def encoder(device: str, family: str = "wav2vec2-layer", steady: bool = False, **arguments) -> Encoder:
    torch.manual_seed(1)
    changes = tiny_models.STEADY if steady else {} if family == "whisper" else CHANGES
    return load_encoder(tiny_models.config(family, **changes).to_dict(), **arguments).to(device).train()


def trained(device: str, precision: torch.dtype | None, steps: list[list[int]], **arguments) -> list[Tensor]:
    """Losses, and at the end all weights; of updates with micro-batches of so many samples."""
    model = encoder(device, **arguments)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3, fused=True)
    found = []
    for number, sizes in enumerate(steps):
        torch.manual_seed(100 + number)
        with torch.autocast("cuda", enabled=False):  # what is cast is kept for an update, as in training
            for size in sizes:
                wavs, lengths = torch.randn(3, size, device=device), torch.tensor([size, size // 2, size // 3])
                with torch.autocast("cuda", precision, enabled=precision is not None):
                    frames, _ = model(wavs, lengths)
                    loss = frames.float().square().mean() + frames.float().mean()
                loss.backward()
                found.append(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.clear_autocast_cache()
    return [*found, *(weight.detach().clone() for weight in model.parameters())]


STEPS = [[3200], [3200, 4800], [4800, 3200], [1600, 4800, 3200], [3200], [4800, 4800], [3200, 6400, 3200], [1600]]


@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", None), pytest.param("cuda", None, marks=on_gpu), pytest.param("cuda", torch.bfloat16, marks=on_gpu)],
    indirect=["device"],
)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"freeze_cnn": True},
        {"freeze_layers": 1},
        {"family": "wav2vec2-group"},
        pytest.param({"family": "hubert-layer"}, marks=pytest.mark.slow),
        pytest.param({"family": "wavlm-group"}, marks=pytest.mark.slow),
        {"family": "data2vec-audio"},
        {"family": "whisper"},
    ],
    ids=lambda arguments: "-".join(map(str, arguments.values())) or "default",
)
def test_training_is_the_same_with_graphs_and_without(monkeypatch, device, made, precision, arguments):
    use_precision("fp32")
    found = trained(device, precision, STEPS, **arguments)
    assert made and not graphs._FAILED
    monkeypatch.setattr(graphs, "_may_have_one", lambda module, hidden: False)
    for one, other in zip(found, trained(device, precision, STEPS, **arguments), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 if precision is None else 1e-4)


def test_two_forward_passes_before_a_backward_pass(device):
    use_precision("fp32")
    model = encoder(device, steady=True)
    wavs, lengths = torch.randn(2, 2, 6400, device=device), torch.tensor([6400, 3200])

    def gradient(together: bool) -> list[Tensor]:
        model.zero_grad(set_to_none=True)
        if together:
            sum(model(each, lengths)[0].square().sum() for each in wavs).backward()
        else:
            for each in wavs:
                model(each, lengths)[0].square().sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    apart = [gradient(False) for _ in range(3)][-1]
    for one, other in zip(gradient(True), apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class Residual(nn.Module):
    """A layer with what layers have: dropout, a mask, weights of several sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.dropout = nn.Linear(4, 6), nn.Linear(6, 4), nn.Dropout(0.2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.narrow(self.dropout(self.wide(x).relu()))
        return x + (y if mask is None else y * mask)


# What may happen to two layers in training; of one of four sizes, to one of eight weights.


def passed(layers: nn.ModuleList, size: int) -> tuple[Tensor, Tensor]:
    """The inputs, and a loss of the outputs of both, as of weighted hidden states."""
    x = torch.randn(2 + size, 4).requires_grad_(size % 2 == 0)
    low = layers[0](x, mask=torch.rand(2 + size, 1) > 0.3) if size > 1 else layers[0](x)
    return x, layers[1](low).square().sum() + (low * low).mean()


def learn(layers: nn.ModuleList, size: int, which: int) -> list[Tensor | None]:
    x, loss = passed(layers, size)
    if loss.requires_grad:
        loss.backward()
    return [loss.detach(), x.grad]


def no_backward(layers: nn.ModuleList, size: int, which: int) -> list[Tensor | None]:
    return [passed(layers, size)[1].detach()]


def validate(layers: nn.ModuleList, size: int, which: int) -> list[Tensor | None]:
    layers.eval()
    with torch.no_grad():
        loss = passed(layers, size)[1]
    layers.train()
    return [loss]


def together(layers: nn.ModuleList, size: int, which: int) -> None:
    loss = passed(layers, size)[1] + passed(layers, which % 4)[1]
    if loss.requires_grad:
        loss.backward()


def in_turn(layers: nn.ModuleList, size: int, which: int) -> None:
    for loss in [passed(layers, each)[1] for each in (size, which % 4)]:
        if loss.requires_grad:
            loss.backward()


def step(layers: nn.ModuleList, size: int, which: int) -> None:
    torch.nn.utils.clip_grad_norm_(layers.parameters(), 1.0)
    with torch.no_grad():
        for weight in layers.parameters():
            if weight.grad is not None:
                weight -= 0.01 * weight.grad
    layers.zero_grad(set_to_none=which > 1)


def drop_a_gradient(layers: nn.ModuleList, size: int, which: int) -> None:
    [*layers.parameters()][which].grad = None


def freeze_or_not(layers: nn.ModuleList, size: int, which: int) -> None:
    [*layers.parameters()][which].requires_grad_(size > 0)


def move(layers: nn.ModuleList, size: int, which: int) -> None:
    weight = [*layers.parameters()][which]
    weight.data = weight.data.clone()


EVENTS = (*[learn] * 6, *[no_backward, together, in_turn, step] * 2, validate, drop_a_gradient, freeze_or_not, move)


@pytest.mark.parametrize("seed", [1, 2])
def test_gradients_are_the_same_whatever_happens(monkeypatch, made, seed):
    record_on_cpu(monkeypatch)
    torch.manual_seed(seed)
    plain = nn.ModuleList([Residual(), Residual()])
    graphed = copy.deepcopy(plain)
    graphs.use_graphs(graphed)
    draw = random.Random(seed)
    for number in range(250):
        event, size, which = draw.choice(EVENTS), draw.randrange(4), draw.randrange(8)
        results = []
        for layers in (plain, graphed):
            torch.manual_seed(number)
            results.append([*(event(layers, size, which) or []), *(weight.grad for weight in layers.parameters())])
        for one, other in zip(*results, strict=True):
            assert (one is None) == (other is None), (number, event)
            if one is not None:
                torch.testing.assert_close(other, one)
    assert len(made) > 125


def test_with_little_memory_free_none_are_made_and_those_there_are_used(monkeypatch, made):
    record_on_cpu(monkeypatch)
    old, new = nn.ModuleList([Residual(), Residual()]), nn.ModuleList([Residual(), Residual()])
    graphs.use_graphs([*old, *new])
    learn(old, 0, 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4, 10))
    before = len(made)
    learn(new, 0, 0)
    learn(old, 1, 0)
    assert len(made) == before == 2
    learn(old, 0, 0)
    assert len(made) == 4 and not any(layer in graphs._GRAPHS for layer in new)


def test_those_of_no_more_use_are_not_held(monkeypatch):
    """A GPU's memory is free again for others when weights have moved, or lower layers begin to learn."""
    record_on_cpu(monkeypatch)
    model = encoder("cpu", "wav2vec2-layer", steady=True)
    wavs, lengths = torch.randn(2, 6400), torch.tensor([6400, 3200])

    def recorded() -> set[nn.Module]:
        model(wavs, lengths)[0].sum().backward()
        return {layer for layer in model.layers() if layer in graphs._GRAPHS}

    model.rest(len(model.layers()) - 1)
    model.train()
    assert recorded() == {model.layers()[-1]}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4, 10))
    assert recorded() == {model.layers()[-1]}
    model.rest(0)
    model.train()
    assert recorded() == set()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (9, 10))
    assert recorded() == {*model.layers()}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4, 10))
    highest = model.layers()[-1]
    weight = next(highest.parameters())
    weight.data = weight.data.clone()
    assert recorded() == {*model.layers()} - {highest}


def test_the_gradient_of_a_leaf_is_its_own(monkeypatch):
    record_on_cpu(monkeypatch)
    layer, x = nn.Linear(4, 4), torch.ones(3, 4, requires_grad=True)
    graphs.use_graphs([layer])
    (3 * layer(x)).sum().backward()
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, 4 * layer.weight.detach().sum(0).expand(3, 4))


def test_a_pass_has_one_backward_pass(monkeypatch):
    record_on_cpu(monkeypatch)
    layers = nn.ModuleList([Residual(), Residual()])
    graphs.use_graphs(layers)
    loss = passed(layers, 0)[1]
    loss.backward(retain_graph=True)
    passed(layers, 0)
    with pytest.raises(RuntimeError, match="a second backward pass"):
        loss.backward()
    x, loss = passed(layers, 0)
    (grad,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@on_gpu
def test_a_module_that_cannot_be_recorded_goes_on_without(monkeypatch, caplog):
    class Waits(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(super().forward(x) + float(x.sum().cpu() > 0))

    monkeypatch.setattr(graphs, "_FAILED", [])
    layer, x = Waits(4, 4).cuda(), torch.randn(3, 4, device="cuda", requires_grad=True)
    graphs.use_graphs([layer])
    for _ in range(3):
        layer(x).sum().backward()
    assert "training without CUDA graphs" in caplog.text and caplog.text.count("Waits") == 1
    torch.manual_seed(1)
    one = layer(x)
    torch.manual_seed(1)
    assert torch.equal(one, layer(x)) and not torch.equal(one, layer(x))


def test_elsewhere_modules_are_as_they_were():
    layer, x = nn.Linear(4, 4), torch.randn(3, 4, requires_grad=True)
    expected = layer(x)
    graphs.use_graphs([layer])
    for _ in range(3):
        assert torch.equal(layer(x), expected)
    kept = ref(layer)
    del layer
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("family", tiny_models.WAVEFORM)
def test_what_depends_on_more_than_it_is_given_has_none(family):
    model = load_encoder(tiny_models.config(family).to_dict())
    theirs = {name for name, module in model.model.named_modules() if vars(module).get("forward", None) is not None}
    layers = {name for name in theirs if name.startswith("encoder.layers") and name.count(".") == 2}
    assert bool(layers) == (not family.startswith("wavlm"))
    assert ("encoder.pos_conv_embed" in theirs) == (family != "data2vec-audio")
    assert ("feature_extractor.conv_layers.0" in theirs) == (not family.endswith("group"))

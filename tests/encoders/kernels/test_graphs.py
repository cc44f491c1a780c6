"""Graphs of modules on a GPU compute what the same kernels do one by one."""

from __future__ import annotations

import gc
from weakref import ref

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.data.device import use_precision
from local.encoders import Encoder, load_encoder
from local.encoders.kernels import graphs

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CHANGES = {"mask_time_prob": 0.0, "layerdrop": 0.3}


def encoder(family: str = "wav2vec2-layer", steady: bool = False, **arguments) -> Encoder:
    torch.manual_seed(1)
    changes = tiny_models.STEADY if steady else {} if family == "whisper" else CHANGES
    return load_encoder(tiny_models.config(family, **changes).to_dict(), **arguments).cuda().train()


def trained(precision: torch.dtype | None, steps: list[list[int]], **arguments) -> list[Tensor]:
    """Losses, and at the end all weights; of updates with micro-batches of so many samples."""
    model = encoder(**arguments)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3, fused=True)
    found = []
    for number, sizes in enumerate(steps):
        torch.manual_seed(100 + number)
        with torch.autocast("cuda", enabled=False):  # what is cast is kept for an update, as in training
            for size in sizes:
                wavs, lengths = torch.randn(3, size, device="cuda"), torch.tensor([size, size // 2, size // 3])
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


STEPS = [[6400], [6400, 9600], [9600, 6400], [3200, 9600, 6400], [6400], [9600, 9600], [6400, 12800, 6400], [3200]]


@on_gpu
@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"freeze_cnn": True},
        {"family": "wav2vec2-group"},
        {"family": "hubert-layer"},
        {"family": "wavlm-group"},
        {"family": "data2vec-audio"},
        {"family": "whisper"},
    ],
    ids=lambda arguments: "-".join(map(str, arguments.values())) or "default",
)
def test_training_is_the_same_with_graphs_and_without(monkeypatch, precision, arguments):
    use_precision("fp32")
    made: list[graphs._Graph] = []
    begin = graphs._Graphs.begin
    monkeypatch.setattr(graphs._Graphs, "begin", lambda self: made.append(self) or begin(self))
    found = trained(precision, STEPS, **arguments)
    assert made and not graphs._FAILED
    monkeypatch.setattr(graphs, "_may_have_one", lambda module, hidden: False)
    for one, other in zip(found, trained(precision, STEPS, **arguments), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 if precision is None else 1e-4)


@on_gpu
def test_two_forward_passes_before_a_backward_pass():
    use_precision("fp32")
    model = encoder(steady=True)
    wavs, lengths = torch.randn(2, 2, 6400, device="cuda"), torch.tensor([6400, 3200])

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

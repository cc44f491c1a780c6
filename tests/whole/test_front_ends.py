"""Systems with a front end, or solved in closed form, as a model folder, as ONNX and as an ensemble."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.deploy import huggingface, onnx
from local.features import FrontEnd
from local.inference import model_folder
from local.inference.ensemble import Ensemble
from local.inference.model_folder import Model
from local.systems import Outputs, System
from local.systems.layers.standardise import Standardise


class Levels(FrontEnd):
    """The mean level of every 100 samples, of all utterances at once."""

    width, seconds_per_row = 1, 100 / 16_000

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("window", torch.ones(100), persistent=False)

    def batch(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frames = F.pad(wavs, (0, 100)).unfold(1, 100, 100)
        return self.scale * (frames.abs() * self.window).mean(2, keepdim=True), lengths.clamp(min=100) // 100

    def settings(self) -> dict:
        return {"scale": self.scale}


class Alone(Levels):
    """The same, one utterance after another."""

    batch = FrontEnd.batch

    def rows(self, wav: Tensor) -> Tensor:
        rows, n_rows = Levels.batch(self, wav[None], torch.tensor([len(wav)]))
        return rows[0, : int(n_rows)]


class Leveled(System):
    """Mean of the rows, a batch norm, a linear layer, and counts in several types."""

    title, certainty, weights = "Nobody 2020: levels", "own choice", "no pretraining"
    solves = True

    def __init__(self, n_labels: int, scale: float = 1.0, front_end: type[FrontEnd] = Levels) -> None:
        super().__init__(front_end=front_end(scale))
        self.standardise = Standardise(1)
        self.norm = nn.BatchNorm1d(1)
        self.head = nn.Linear(1, n_labels)
        self.register_buffer("seen", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("used", torch.zeros(2, dtype=torch.bool))

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        rows, n_rows = self.front_end(wavs, lengths)
        true = torch.arange(rows.shape[1])[None, :] < n_rows[:, None]
        mean = (self.standardise(rows) * true[:, :, None]).sum(1) / n_rows[:, None]
        return Outputs(self.head(self.norm(mean)))

    def settings(self) -> dict:
        return {"scale": self.front_end.scale}


def model_of(kind: type[System] = Leveled, **values) -> Model:
    torch.manual_seed(2)
    system = kind(3, **values)
    with torch.no_grad():
        system.standardise.mean.fill_(0.05)
        system.standardise.deviation.fill_(0.02)
        system.norm.running_mean.fill_(0.3)
    return Model(system.eval().requires_grad_(False), ["ang", "hap", "sad"], [], [0], 2.0, {})


BATCH = (0.1 * torch.randn(2, 9000, generator=torch.Generator().manual_seed(3)), torch.tensor([9000, 4321]))


@pytest.mark.parametrize("members", [1, 2])
def test_a_model_folder_has_no_encoder_and_is_read_back(tmp_path, monkeypatch, members):
    monkeypatch.setattr(model_folder, "system_class", lambda name: Leveled)
    model = model_of(scale=2.0)
    if members > 1:
        both = Ensemble([model.system, model_of(scale=2.0).system], torch.zeros(2, 0, dtype=torch.long)).eval()
        model = Model(both, model.labels, [], [0, 0], 2.0, {})
        assert both.encoder is None and not both.writes_text
    model_folder.write(tmp_path, model)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["encoder"] == config["preprocessor"] == {} and config["settings"] == {"scale": 2.0}
    read = model_folder.read(tmp_path)
    assert torch.equal(read.system(*BATCH).emotion, model.system(*BATCH).emotion)
    assert read.members[0].front_end.scale == 2.0


def test_transformers_has_none_by_name(tmp_path):
    (note,) = huggingface.write(tmp_path, model_of())
    assert note == "There is no folder `emotion` for plain transformers: it has no such model as Leveled."


def test_a_front_end_that_goes_one_by_one_has_no_graph(tmp_path):
    (tmp_path / "model.onnx").write_text("of an earlier export")
    (note,) = onnx.write(tmp_path / "model.onnx", model_of(front_end=Alone))
    assert note == "There is no ONNX file: the front end Alone computes one utterance after another."
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.slow
def test_a_front_end_of_one_operation_is_in_the_graph(tmp_path):
    model = model_of()
    assert onnx.write(tmp_path / "model.onnx", model) == []
    found = onnx.Runner(tmp_path / "model.onnx")(*(each.numpy() for each in BATCH))["emotion"]
    torch.testing.assert_close(torch.from_numpy(found), model.system(*BATCH).emotion, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_a_graph_that_says_something_else_is_not_left(tmp_path, monkeypatch):
    traced = onnx._traced

    def other(model: Model):
        system = copy.deepcopy(model.system)  # the graph refers to its tensors, until it is saved
        system.head.bias[0] += 1.0
        return traced(replace(model, system=system))

    monkeypatch.setattr(onnx, "_traced", other)
    (note,) = onnx.write(tmp_path / "model.onnx", model_of())
    assert note == "There is no ONNX file: that of Leveled would say something else."
    assert not (tmp_path / "model.onnx").exists()

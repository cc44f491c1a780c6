"""Weights of a file: loaded as they are, and refused by tensor and shape."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from local.core.errors import UserError
from local.encoders.weight_file import load_weights


def network(channels: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, channels), nn.BatchNorm1d(channels))


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_both_kinds_of_files_are_loaded(tmp_path, name):
    torch.manual_seed(1)
    given = {key: tensor for key, tensor in network().state_dict().items() if "tracked" not in key}
    save_file(given, tmp_path / name) if name.endswith("s") else torch.save(given, tmp_path / name)
    made = network()
    load_weights(made, tmp_path / name, "net")
    assert all(torch.equal(made.state_dict()[key], tensor) for key, tensor in given.items())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (network(4).state_dict(), r"net .*: the tensor 0\.weight is \[4, 2\], not \[3, 2\]"),
        ({"0.weight": torch.zeros(3, 2)}, r"the tensor 0\.bias, \[3\], is missing"),
        (network().state_dict() | {"2.weight": torch.zeros(1)}, r"the tensor 2\.weight is not one"),
        ({"epoch": 3}, "not one mapping"),
        ({"run": nn.Linear(1, 1)}, "more than weights"),
    ],
)
def test_another_network_is_refused_by_tensor_and_shape(tmp_path, content, why):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(UserError, match=why):
        load_weights(network(), tmp_path / "net.pth", "net")


class Evil:
    def __reduce__(self):
        return print, ("code of the file runs",)


def test_no_code_of_a_file_runs_and_a_broken_or_missing_one_is_told(tmp_path, capsys):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    torch.save({"0.weight": Evil()}, tmp_path / "evil2.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    for name in ("evil.pth", "evil2.pth", "broken.pth", "broken.safetensors", "missing.pth"):
        with pytest.raises(UserError, match=name):
            load_weights(network(), tmp_path / name, "net")
    assert "runs" not in capsys.readouterr().out

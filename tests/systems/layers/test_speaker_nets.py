"""The speaker networks and their weights: shapes, masks, and files that are read or refused."""

from __future__ import annotations

import pickle

import hub_cache
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from local.core.errors import UserError
from local.features.speaker_fbank import SpeakerFbank
from local.systems.layers import speaker_nets
from local.systems.layers.speaker_nets import Block, Mask, ResNet34, SpeechBrainNet


def net() -> ResNet34:
    torch.manual_seed(1)
    return speaker_nets.build("resnet34").eval()


@torch.no_grad()
def test_of_23_numbers_three_rows_of_frequency_are_left():
    made, shapes = net(), []
    for block in (2, 6, 12, 15):
        made.blocks[block].register_forward_hook(lambda *given: shapes.append(tuple(given[2].shape[1:])))
    frames, n_frames = made.frames(torch.randn(1, 296, 23), torch.tensor([296]))
    assert shapes == [(16, 296, 23), (32, 148, 12), (64, 74, 6), (128, 37, 3)]
    assert frames.shape == (1, 37, 128) and n_frames.tolist() == [37]
    with pytest.raises(AssertionError, match="rows of frequency"):
        made.frames(torch.randn(1, 8, 40), torch.tensor([8]))


@torch.no_grad()
def test_a_block_is_two_convolutions_and_a_shortcut():
    block = Block(3, 5, stride=2).eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.bias.normal_()
    maps = torch.randn(1, 3, 8, 6)
    inner = torch.relu(block.first[1](nn.functional.conv2d(maps, block.first[0].weight, stride=2, padding=1)))
    added = block.shortcut[1](nn.functional.conv2d(maps, block.shortcut[0].weight, stride=2))
    expected = torch.relu(block.second[1](nn.functional.conv2d(inner, block.second[0].weight, padding=1)) + added)
    found = block(maps, Mask(torch.tensor([4]), torch.zeros(1, 4, 3)))
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_padding_does_not_reach_the_frames():
    made, rows = net(), torch.randn(1, 40, 23)
    padded = torch.cat([rows, torch.zeros(1, 56, 23)], dim=1)
    both = torch.cat([padded, torch.randn(1, 96, 23)])
    found, n_frames = made.frames(both, torch.tensor([40, 96]))
    alone, _ = made.frames(rows, torch.tensor([40]))
    assert (found[:1, :5] - alone).abs().max() <= 1e-5 * alone.abs().max()
    assert n_frames.tolist() == [5, 12]


@pytest.mark.parametrize(("suffix", "save"), [("safetensors", save_file), ("pt", torch.save)])
def test_weights_of_the_same_network_are_loaded(tmp_path, suffix, save):
    first, path = net(), tmp_path / f"net.{suffix}"
    save({f"net.{name}": value.contiguous() for name, value in first.state_dict().items()}, path)
    name, tensors = speaker_nets.read(str(path))
    torch.manual_seed(2)
    second = speaker_nets.build(name)
    speaker_nets.load(second, tensors, str(path), prefix="net.")
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_a_tensor_of_another_shape_or_that_is_missing_is_named():
    tensors = net().state_dict()
    with pytest.raises(UserError, match=r"embedding.bias of FILE is \[7\] instead of \[512\]"):
        speaker_nets.load(net(), tensors | {"embedding.bias": torch.zeros(7)}, "FILE")
    tensors.pop("embedding.bias")
    with pytest.raises(UserError, match=r"lacks the tensor embedding\.bias"):
        speaker_nets.load(net(), tensors, "FILE")


def test_files_that_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    files = {"text": b"no tensors", "objects": None, "others.safetensors": None, "values": None}
    (tmp_path / "text").write_bytes(files["text"])
    (tmp_path / "objects").write_bytes(pickle.dumps(UserError("never built", "")))
    save_file({"a": torch.zeros(1)}, tmp_path / "others.safetensors")
    torch.save({"net.pooling.words": 1}, tmp_path / "values")
    for name, why in (
        ("empty", "has no weights"),
        ("absent", "cannot be read"),
        ("text", "cannot be read"),
        ("objects", "cannot be read"),
        ("others.safetensors", "of no known network"),
        ("values", "more than tensors"),
    ):
        with pytest.raises(UserError, match=why):
            speaker_nets.read(str(tmp_path / name))


@torch.no_grad()
def test_a_folder_of_speechbrain_is_read_by_its_tensors_alone(tmp_path):
    torch.manual_seed(1)
    first = SpeechBrainNet("speechbrain-xvector").eval()
    torch.save(first.model.state_dict(), tmp_path / "embedding_model.ckpt")
    (tmp_path / "hyperparams.yaml").write_text("never: !apply:os._exit [1]")
    name, tensors = speaker_nets.read(str(tmp_path))
    torch.manual_seed(2)
    second = SpeechBrainNet(name).eval()
    speaker_nets.load(second.model, tensors, str(tmp_path))
    rows, n_rows = torch.randn(2, 50, 24), torch.tensor([50, 20])
    found = second(rows, n_rows)
    assert found.shape == (2, 512) and torch.equal(found, first(rows, n_rows))
    torch.testing.assert_close(found[1:], second(rows[1:, :20], n_rows[1:]), rtol=0, atol=1e-5)


def test_a_repository_of_the_hub_is_read_as_its_folder(tmp_path, monkeypatch):
    hub_cache.use(tmp_path / "cache", monkeypatch)
    first, folder = SpeechBrainNet("speechbrain-xvector"), tmp_path / "net"
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text("never: !apply:os._exit [1]")
    with pytest.raises(UserError, match=r"speaker_net: speechbrain/xvect: the hub does not give embedding_model\.ckpt"):
        speaker_nets.read("speechbrain/xvect")
    torch.save(first.model.state_dict(), folder / "embedding_model.ckpt")
    hub_cache.add(tmp_path / "cache", "speechbrain/xvect", folder)
    (name, tensors), (_, expected) = speaker_nets.read("speechbrain/xvect"), speaker_nets.read(str(folder))
    assert name == "speechbrain-xvector" and tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[each], expected[each]) for each in tensors)
    assert speaker_nets.trained_on("speechbrain/xvect") == "xvect"


def test_speechbrains_resnet_is_known_by_its_tensors(tmp_path):
    torch.save({"norm_stats.weight": torch.zeros(1)}, tmp_path / "embedding_model.ckpt")
    assert speaker_nets.read(str(tmp_path))[0] == "speechbrain-resnet"


def test_its_front_end_has_no_state_and_a_mean_of_zero():
    front_end = SpeakerFbank(80)
    rows = front_end.rows(torch.randn(16_000))
    assert rows.shape == (101, 80) and not front_end.state_dict()
    torch.testing.assert_close(rows.mean(0), torch.zeros(80), rtol=0, atol=1e-4)
    assert front_end.rows(torch.randn(160)).isfinite().all()

"""Pretrained weights by any key: paths count from the user's folder, have a version, and stay private."""

from __future__ import annotations

import os
from pathlib import Path

import hub_cache
import pytest

from local.config import pretrained
from local.core.errors import UserError
from local.experiment.command_line import _locate_weights, parse
from local.experiment.encoder_version import refuse_missing, versions
from local.scoring.set_up import _weights

# Of a system that takes weights, as much as is read before it is built.
READ = [*pretrained.KEYS, "copied"]
YAML = "system: !new:local.systems.x.X\n" + "".join(f"    {key}: !ref <{key}>\n" for key in READ)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The user's folder, with a file and a folder of weights; the workplace is another."""
    (tmp_path / "asr" / "parts").mkdir(parents=True)
    (tmp_path / "asr" / "parts" / "encoder.ckpt").write_bytes(b"one")
    (tmp_path / "resnet.pth").write_bytes(b"two")
    (tmp_path / "workplace").mkdir()
    monkeypatch.chdir(tmp_path / "workplace")
    monkeypatch.setenv("SER_MTL_CALLER", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("resnet101_weights", "resnet.pth"),
        ("asr_encoder", "./asr"),
        ("speaker_net", "resnet.pth"),
        ("speaker_net", "asr/parts"),
        ("upstream", "./asr"),
        ("noise_csv", "resnet.pth"),
    ],
)
def test_a_path_counts_from_the_users_folder_and_must_exist(place, key, word):
    assert _locate_weights({key: word, "lr": 0.1}) == {key: str(place / word), "lr": 0.1}
    with pytest.raises(UserError, match=rf"--{key} \./x\.pth: there is no such (file|folder|file or folder)$"):
        _locate_weights({key: "./x.pth"})


def test_a_path_below_the_users_home_is_a_whole_path_from_the_command_line_and_from_the_yaml(place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    names = {key: "resnet.pth" if kind == "file" else "asr" for key, kind in pretrained.KEYS.items()}
    expected = {key: str(place / name) for key, name in names.items()}
    assert _locate_weights({key: f"~/{name}" for key, name in names.items()}) == expected
    written = "".join(f"{key}: ~/{name}\n" for key, name in names.items())
    Path("mine.yaml").write_text(f"{YAML}{written}copied: !ref <upstream>\n")
    options = parse(["--hparams", "mine.yaml", "--name", "x", "--", "--speaker_net", "./resnet.pth"])
    expected |= {"copied": expected["upstream"], "speaker_net": str(place / "resnet.pth")}
    assert {key: options.values[key] for key in expected} == expected


def test_a_folder_is_no_file_and_a_name_of_the_hub_no_path(place):
    with pytest.raises(UserError, match="there is no such file"):
        _locate_weights({"resnet101_weights": "./asr"})
    with pytest.raises(UserError, match="speaker_net a/b/c: there is no such file or folder") as error:
        refuse_missing("a/b/c", "speaker_net")
    assert error.value.remedy == "give a file or folder, or a hub name"
    with pytest.raises(UserError, match="there is no such folder"):
        _locate_weights({"upstream": "./resnet.pth"})
    names = {"upstream": "facebook/wav2vec2-base", "asr_encoder": None, "encoder": {"model_type": "wav2vec2"}}
    names |= {"resnet101_weights": "timm/resnet101.tv_in1k", "speaker_net": "speechbrain/spkrec-xvect-voxceleb"}
    assert _locate_weights(dict(names)) == names
    for word in ("net", "a/b/c", "a/net.pth", "./a/b"):  # nor is any other word of the last two
        assert all(pretrained.is_path(key, word) for key in ("resnet101_weights", "speaker_net"))


def test_weights_by_a_name_of_the_hub_must_be_in_its_cache_or_be_given_by_it(place, monkeypatch):
    hub_cache.use(place / "cache", monkeypatch)
    named = {"resnet101_weights": "some/resnet", "speaker_net": "some/net", "asr_encoder": "some/recognizer"}
    for key, name in named.items():
        with pytest.raises(UserError, match=rf"{key} {name}: .* the hub does not give it \(.*offline mode") as error:
            refuse_missing(name, key)
        assert error.value.remedy == f"give a {pretrained.KEYS[key]}, or, with a network, a name of the hub"
    assert versions(named) == {}
    for key, file in zip(named, ("pytorch_model.bin", "embedding_model.ckpt", "hyperparams.yaml"), strict=True):
        (place / key).mkdir()
        (place / key / file).touch()
        hub_cache.add(place / "cache", named[key], place / key)
        refuse_missing(named[key], key)
    assert versions(named) == {f"{key}_version": hub_cache.COMMIT for key in named}
    inputs = {"speaker_net": "some/net"} | versions(named)
    assert _weights(inputs, "speaker_net") == "some/net, version 0b5b8e868dd8"


def test_what_a_yaml_names_must_exist_before_a_job_starts(place):
    for key in ("asr_encoder", "speaker_net", "resnet101_weights"):
        refuse_missing(str(place / "resnet.pth"), key)
        with pytest.raises(UserError, match=f"{key} /no/such.pth: there is no such file"):
            refuse_missing("/no/such.pth", key)
    refuse_missing(str(place / "asr"), "asr_encoder")
    refuse_missing(None, "upstream")
    refuse_missing("A_NAME_OF_A_LIBRARY", "asr_encoder")
    with pytest.raises(UserError, match=r"upstream .*asr: the folder has no config\.json"):
        refuse_missing(str(place / "asr"), "upstream")


def test_other_weights_are_another_version(place):
    values = {"resnet101_weights": str(place / "resnet.pth"), "asr_encoder": str(place / "asr"), "upstream": None}
    before = versions(values)
    assert before.keys() == {"resnet101_weights_version", "asr_encoder_version"} and versions(values) == before
    (place / "asr" / "parts" / "encoder.ckpt").write_bytes(b"two")
    os.utime(place / "asr" / "parts" / "encoder.ckpt", (1, 1))
    after = versions(values)
    assert after["asr_encoder_version"] != before["asr_encoder_version"]
    assert after["resnet101_weights_version"] == before["resnet101_weights_version"]
    assert versions({"resnet101_weights": "/gone.pth"}) == {}


def test_pages_have_the_name_without_the_folder():
    assert pretrained.without_folder("resnet101_weights", "/home/me/resnet.pth") == "resnet.pth"
    assert pretrained.without_folder("upstream", "facebook/wav2vec2-base") == "facebook/wav2vec2-base"
    assert pretrained.without_folder("name", "/home/me") == "/home/me"
    inputs = {"upstream": "/home/me/base", "upstream_version": "0123456789abcdef"}
    assert _weights(inputs, "upstream") == "base, version 0123456789ab"
    assert _weights(inputs | {"encoder": "/home/me/base"}, "upstream") == ""  # named as the encoder
    assert _weights({}, "speaker_net") == ""

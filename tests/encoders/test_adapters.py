"""LoRA: that each adapter gets a gradient, none is bypassed, and merging leaves the outputs as they are."""

from __future__ import annotations

import re

import pytest
import tiny_models
import torch
from paths import REPOSITORY
from tiny_models import STEADY, padded, waves
from tiny_training import Corpus, build, resumed
from torch import nn

from local.core.errors import UserError
from local.encoders import Encoder, adapters, load_encoder
from local.encoders.adapters import TARGETS

FAMILIES = {
    **{"wav2vec2-group": "wav2vec2", "hubert-layer": "hubert", "wavlm-group": "wavlm", "wavlm-layer": "wavlm"},
    **{"data2vec-audio": "data2vec-audio", "whisper": "whisper"},
}
BATCH = padded(waves(16000, 9017))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {
        family: tiny_models.save(root / family, family, **({} if family == "whisper" else STEADY))
        for family in FAMILIES
    }


def adapted(folder: str, random: bool = True, **values) -> Encoder:
    """An encoder with adapters, which do nothing at first unless their second matrix is random."""
    pytest.importorskip("peft")
    torch.manual_seed(5)
    loading = {"freeze_layers": values.pop("freeze_layers", 0), "lora": {"rank": 4} | values}
    encoder = load_encoder(folder, **loading)
    if random:
        with torch.no_grad():
            for name, parameter in encoder.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.3)
    return encoder


def of_adapters(encoder: Encoder) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in encoder.named_parameters() if "lora_" in name}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("every", [False, True], ids=["default", "all"])
def test_every_adapter_gets_a_gradient_and_nothing_else(folders, family, every):
    known = TARGETS[FAMILIES[family]]
    encoder = adapted(folders[family], **({"targets": list(known[1])} if every else {})).train()
    frames, _ = encoder(*BATCH)
    frames[:, :20].square().sum().backward()
    wanted = of_adapters(encoder)
    assert len(wanted) == 2 * 2 * len(known[every])  # two matrices of each layer in two blocks
    for name, parameter in encoder.named_parameters():
        if name in wanted:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
        else:
            assert not parameter.requires_grad and parameter.grad is None, name


@pytest.mark.parametrize(
    "family", ["wav2vec2-group", *(pytest.param(each, marks=pytest.mark.slow) for each in [*FAMILIES][1:])]
)
@torch.no_grad()
def test_adapters_begin_as_nothing_count_in_use_and_are_merged_to_the_same(folders, family):
    plain = load_encoder(folders[family]).eval()
    expected, n_frames = plain(*BATCH)
    true = torch.arange(expected.shape[1]) < n_frames[:, None]
    begun = adapted(folders[family], random=False).eval()(*BATCH)[0][true]
    torch.testing.assert_close(begun, expected[true], rtol=0, atol=1e-6)
    encoder = adapted(folders[family]).eval()
    found = encoder(*BATCH)[0][true]
    assert (found - expected[true]).abs().max() > 0.1
    with torch.enable_grad():  # another kernel of linear layers on some CPUs
        torch.testing.assert_close(encoder(*BATCH)[0][true].detach(), found, rtol=0, atol=1e-5)
    adapters.merge(encoder)
    torch.testing.assert_close(encoder(*BATCH)[0][true], found, rtol=0, atol=1e-5)
    assert encoder.model.state_dict().keys() == plain.model.state_dict().keys() and not encoder.adapted
    plain.model.load_state_dict(encoder.model.state_dict())
    torch.testing.assert_close(plain(*BATCH)[0][true], found, rtol=0, atol=1e-5)


def test_with_frozen_layers_only_those_above_have_adapters(folders):
    encoder = adapted(folders["hubert-layer"], freeze_layers=1).train()
    assert all(".layers.1." in name for name in of_adapters(encoder)) and of_adapters(encoder)
    before = load_encoder(folders["hubert-layer"], freeze_layers=1)
    assert [*map(torch.sum, encoder.lowest_weights())] == [*map(torch.sum, before.lowest_weights())]
    assert encoder.lowest_signature() == before.lowest_signature()
    rows, n_frames = encoder.lowest(*BATCH)
    encoder(rows.half(), n_frames)[0].sum().backward()
    assert all(parameter.grad is not None for parameter in of_adapters(encoder).values())


def test_a_run_with_adapters_resumes_to_the_last_bit(tmp_path):
    pytest.importorskip("peft")
    corpus = Corpus(tmp_path)

    def brain(name: str):
        made = build(corpus, tmp_path / name)
        torch.manual_seed(6)
        adapters.adapt(made.system.encoder, {"rank": 2, "dropout": 0.1})
        return made

    whole = resumed(brain, corpus)
    learned = of_adapters(whole.system.encoder)
    assert len(whole.optimizer.state) == len(learned) + 4 and all(p in whole.optimizer.state for p in learned.values())


def test_adapters_that_no_head_reads_are_refused(folders):
    with pytest.raises(UserError, match="lora: the heads read the encoder up to block 0, and no adapter is below it"):
        adapted(folders["wav2vec2-group"]).take([0])
    encoder = adapted(folders["wav2vec2-group"])
    encoder.take([1])
    assert all("layers.0" in name for name, each in encoder.named_parameters() if each.requires_grad)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ranks": 4}, "lora has no value ranks"),
        ({"rank": 0}, "lora: rank is 0"),
        ({"rank": True}, "lora: rank is True"),
        ({"alpha": "x"}, "lora: alpha is 'x'"),
        ({"dropout": 1}, "lora: dropout is 1"),
        ({"targets": 3}, "lora: targets is 3"),
        ({"targets": ["fc1"]}, "targets has fc1, no such layer of a wav2vec2"),
    ],
)
def test_wrong_values_are_refused(folders, values, message):
    with pytest.raises(UserError, match=message):
        load_encoder(folders["wav2vec2-group"], lora=values)


def test_an_encoder_that_cannot_have_them_is_refused(folders, tmp_path):
    with pytest.raises(UserError, match="lora: the whole encoder is frozen"):
        load_encoder(folders["whisper"], freeze=True, lora={"rank": 4})
    with pytest.raises(UserError, match="lora: the whole encoder is frozen") as error:
        load_encoder(folders["whisper"], freeze_layers=2, lora={"rank": 4})
    assert "freeze_layers to less than its 2 layers" in error.value.remedy
    with pytest.raises(UserError, match="lora: a wav2vec2-bert encoder has no layers for it"):
        load_encoder(tiny_models.save(tmp_path, "w2v-bert"), lora={"rank": 4})


def test_without_the_library_it_is_named_with_what_installs_it(folders, monkeypatch):
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="lora: the library peft is not installed") as error:
        load_encoder(folders["whisper"], lora={"rank": 4})
    assert f"-r {adapters.LOCK}" in error.value.remedy


def test_the_version_of_the_extra_is_that_of_its_lock():
    project = (REPOSITORY / "pyproject.toml").read_text()
    (version,) = re.findall(r"^lora = \[\"peft==(.*)\"\]", project, re.MULTILINE)
    lock = (REPOSITORY / adapters.LOCK).read_text()
    assert f"\npeft=={version} " in lock and lock.count("--hash=sha256:") >= 4
    assert "\npeft==" not in (REPOSITORY / "requirements.txt").read_text()

"""A folder of SpeechBrain's: what its YAML may say, that nothing of it is built, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import hub_cache
import pytest
import tiny_conformer
import torch

from local.core.errors import UserError
from local.encoders import load_encoder, speechbrain_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "conformer"
    tiny_conformer.save(folder, tiny_conformer.text())
    return folder


def refuse(folder: Path, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_encoder(str(folder))


def rewrite(folder: Path, written: str) -> Path:
    (folder / "hyperparams.yaml").write_text(written, encoding="utf-8")
    return folder


def test_nothing_of_the_yaml_is_built(tmp_path):
    tiny_conformer.save(tmp_path, tiny_conformer.text())
    written = tmp_path / "written"
    evil = f"""
evil: !apply:pathlib.Path.touch [!new:pathlib.Path ["{written}"]]
more: !!python/object/apply:os.system ["touch {written}"]
"""
    rewrite(tmp_path, tiny_conformer.text() + evil)
    assert load_encoder(str(tmp_path)).dim == 24 and not written.exists()
    rewrite(tmp_path, tiny_conformer.text(d_ffn=f'!apply:os.system ["touch {written}"]'))
    refuse(tmp_path, "d_ffn is no plain value")
    lists = "".join(f"l{n}: &l{n} [{f'*l{n - 1}, ' * 10 if n else '1'}]\n" for n in range(30))
    rewrite(tmp_path, lists + tiny_conformer.text(strides="!ref <l29>"))  # ten to the 29th values, if they were built
    refuse(tmp_path, "strides is no plain value")
    torch.save({"0.x": print}, tmp_path / "asr.ckpt")
    rewrite(tmp_path, tiny_conformer.text())
    refuse(tmp_path, "more than weights, perhaps code")
    assert not written.exists()


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"encoder_module": "transformer"}, "encoder_module is transformer, not conformer"),
        ({"attention_type": "regularMHA"}, "attention_type is regularMHA, not RelPosMHAXL"),
        ({"sample_rate": "8000"}, "sample_rate is 8000, not 16000"),
        ({"input_shape": "(8, 10, 80)\n    norm: null"}, "norm is not known here"),
        ({"norm_type": "batch"}, "norm_type is batch, not global or sentence"),
        ({"nhead": "5"}, "no conformer can be built"),
        ({"strides": "2"}, "no conformer can be built"),
        ({"d_ffn": "16"}, r"the tensor 1\.encoder.* is \[.*32.*\], not \[.*16.*\]"),
        ({"num_encoder_layers": "3"}, r"the tensor 1\.encoder\.layers\.2\..* is missing"),
        ({"num_encoder_layers": "1"}, r"the tensor 1\.encoder\.layers\.1\..* is not one of the network's"),
        ({"out_channels": "(4, 3)", "input_size": "60"}, r"the tensor 0\..* is \[2.*\], not \[3.*\]"),
    ],
    ids=str,
)
def test_what_is_not_known_or_does_not_fit_is_refused(folder, replaced, said):
    refuse(rewrite(folder, tiny_conformer.text(**replaced)), said)


def test_what_must_be_there(folder):
    written = tiny_conformer.text()
    refuse(rewrite(folder, written.replace("    causal: False\n", "")), "causal is missing")
    refuse(rewrite(folder, written.replace("lobes.features.Fbank", "lobes.features.MFCC")), "has no Fbank")
    refuse(rewrite(folder, "a: [1"), r"hyperparams\.yaml cannot be read")
    rewrite(folder, written)
    statistics = torch.load(folder / "normalizer.ckpt")
    torch.save(statistics | {"glob_std": torch.ones(40)}, folder / "normalizer.ckpt")
    refuse(folder, r"glob_std is \[40\], not \[80\]")
    (folder / "normalizer.ckpt").unlink()
    refuse(folder, r"normalizer\.ckpt: there is no such file")
    (folder / "asr.ckpt").unlink()
    refuse(folder, r"has no asr\.ckpt")


def save_and_add(tmp_path: Path, written: str, config: str) -> Path:
    """A folder, which is a repository of the hub's cache as well."""
    tiny_conformer.save(tmp_path / "conformer", written)
    (tmp_path / "conformer" / "config.json").write_text(config)
    hub_cache.add(tmp_path / "cache", "speechbrain/asr-conformer", tmp_path / "conformer")
    return tmp_path / "conformer"


@pytest.mark.parametrize("norm_type", ["global", "sentence"])
def test_a_repository_of_the_hub_is_read_as_its_folder(tmp_path, monkeypatch, norm_type):
    hub_cache.use(tmp_path / "cache", monkeypatch)
    written = tiny_conformer.text(norm_type=norm_type)
    folder = save_and_add(tmp_path, written, '{"speechbrain_interface": "EncoderDecoderASR"}')
    wavs, lengths = torch.randn(2, 16_000), torch.tensor([16_000, 8000])
    with torch.no_grad():
        named, expected = (load_encoder(each).eval() for each in ("speechbrain/asr-conformer", str(folder)))
        found, expected = named(wavs, lengths), expected(wavs, lengths)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_a_repository_of_transformers_or_of_nobody_is_left_to_transformers(tmp_path, monkeypatch):
    hub_cache.use(tmp_path / "cache", monkeypatch)
    assert speechbrain_folder.load("speechbrain/asr-conformer", True, False) is None
    folder = save_and_add(tmp_path, tiny_conformer.text(), '{"model_type": "wav2vec2"}')
    assert speechbrain_folder.load("speechbrain/asr-conformer", True, False) is None
    assert speechbrain_folder.load(str(folder), True, False) is None


@pytest.mark.parametrize("absent", ["asr.ckpt", "normalizer.ckpt"])
def test_what_the_cache_has_not_is_named(tmp_path, monkeypatch, absent):
    hub_cache.use(tmp_path / "cache", monkeypatch)
    save_and_add(tmp_path, tiny_conformer.text(), "{}")
    next((tmp_path / "cache").glob(f"*/snapshots/*/{absent}")).unlink()
    with pytest.raises(UserError, match=f"asr_encoder speechbrain/asr-conformer: the hub does not give {absent}"):
        load_encoder("speechbrain/asr-conformer")

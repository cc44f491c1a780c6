"""Model folders: back as they were written, readable without this project, and refused where they are not right."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from speechbrain.lobes.models.ECAPA_TDNN import AttentiveStatisticsPooling
from speechbrain.nnet.pooling import StatisticsPooling

from local.core import model_json
from local.core.errors import UserError
from local.encoders import load_encoder
from local.inference import model_folder
from local.inference.analyzer import Analyzer
from local.inference.ensemble import Ensemble
from local.inference.model_folder import Model
from local.systems.mtl import MultiTaskSystem

LABELS = ["ang", "hap", "neu"]
TOKENS = ["<pad>", "<unk>", "\u2581", "A", "B"]
ALIKE = {"rtol": 0, "atol": 1e-5}


def system(folder: Path, family: str, seed: int = 1, n_tokens: int = len(TOKENS), **settings) -> MultiTaskSystem:
    encoder = load_encoder(tiny_models.save(folder / f"{family}-{seed}", family, seed=seed))
    return MultiTaskSystem(encoder, len(LABELS), n_tokens, **{"alpha": 0.1} | settings).eval()


def model(made: torch.nn.Module, tokens: list[str] = TOKENS, sizes: tuple[int, ...] = (len(TOKENS),)) -> Model:
    return Model(made, LABELS, tokens, list(sizes), 12.5, {"corpus": "own", "folds": ["1A"], "commit": None})


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return tiny_models.padded(tiny_models.waves(16_000, 7_000, 12_345))


def of_true_frames(outputs) -> list[torch.Tensor]:
    return [tokens[:length] for tokens, length in zip(outputs.tokens, outputs.n_frames, strict=True)]


@torch.no_grad()
def test_a_model_whose_lowest_layers_were_frozen_is_like_any_other(tmp_path):
    """It reads waveforms, with the posteriors that the stored output of these layers gives but for its 16 bits."""
    encoder = load_encoder(tiny_models.save(tmp_path / "encoder", "wavlm-layer"), freeze_layers=1)
    made = MultiTaskSystem(encoder, len(LABELS), len(TOKENS), alpha=0.1).eval()
    model_folder.write(tmp_path / "model", model(made))
    loaded = model_folder.read(tmp_path / "model").system
    assert not loaded.encoder.frozen_layers
    hidden, n_frames = encoder.lowest(*batch())
    given, stored = loaded(*batch()), made(hidden.half(), n_frames)
    torch.testing.assert_close(given.emotion, made(*batch()).emotion, **ALIKE)
    torch.testing.assert_close(given.emotion.softmax(1), stored.emotion.softmax(1), rtol=0, atol=1e-3)


HEADS = {"heads": {"gender": 0.1, "valence": 0.5, "votes": 0.3}}
HEADS |= {"head_classes": {"gender": ["F", "M"], "votes": ["ang", "neu", "oth"]}}


@torch.no_grad()
def test_further_heads_are_in_the_folder_and_an_ensemble_averages_them(tmp_path):
    members = [system(tmp_path, "wav2vec2-group", seed, **HEADS) for seed in (1, 2)]
    for place, member in enumerate(members):
        member.learn_labels({"valence": torch.tensor([1.0, 5.0 + place])})
    orders = torch.arange(len(TOKENS)).repeat(2, 1)
    model_folder.write(tmp_path / "one", model(members[0]))
    model_folder.write(tmp_path / "both", model(Ensemble(members, orders), sizes=(len(TOKENS),) * 2))
    expected = [member(*batch()).further for member in members]
    read = model_folder.read(tmp_path / "one")
    for found, wanted in zip(read.system(*batch()).further, expected[0], strict=True):
        torch.testing.assert_close(found, wanted, **ALIKE)
    gender, valence, votes = model_folder.read(tmp_path / "both").system(*batch()).further
    torch.testing.assert_close(valence, (expected[0][1] + expected[1][1]) / 2, **ALIKE)
    for found, place in ((gender, 0), (votes, 2)):
        mean = (expected[0][place].softmax(-1) + expected[1][place].softmax(-1)) / 2
        torch.testing.assert_close(found.softmax(-1), mean, **ALIKE)
    analysis = Analyzer(read).analyze(tiny_models.waves(16_000)[0], 16_000)
    assert analysis.heads["valence"] == pytest.approx(expected[0][1][0].item(), abs=1e-3)
    assert sum(analysis.heads["gender"].values()) == pytest.approx(1) and list(analysis.heads) == [*HEADS["heads"]]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    top = tmp_path_factory.mktemp("pristine")
    model_folder.write(top / "model", model(system(top, "wav2vec2-group")))
    return top / "model"


@pytest.fixture
def folder(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "model"))


def change(folder: Path, *path: str, to) -> None:
    """Set a value of config.json, or with `...` take it out; infinity is written so that JSON has it."""
    config = json.loads((folder / "config.json").read_text())
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    (folder / "config.json").write_text(json.dumps(config).replace("Infinity", "1e999"))


def refusal(folder: Path, names: str) -> str:
    """The reason for which a folder is refused, which begins with the path of a file of it."""
    with pytest.raises(UserError) as caught:
        model_folder.read(folder)
    assert caught.value.remedy
    where, _, why = caught.value.what.partition(": ")
    assert where == str(folder / names)
    return why


# ---------------------------------------------------------------- round trip


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_a_written_folder_is_read_back(tmp_path, family):
    written = model(system(tmp_path, family, pooling="sum", alpha=0.25))
    model_folder.write(tmp_path / "model", written)
    read = model_folder.read(str(tmp_path / "model"))
    for name in ("labels", "tokens", "sizes", "max_seconds", "provenance"):
        assert getattr(read, name) == getattr(written, name)
    assert read.system.settings() == {"pooling": "sum", "alpha": 0.25}
    assert not read.system.training and not any(weight.requires_grad for weight in read.system.parameters())
    before, after = written.system.state_dict(), read.system.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    with torch.no_grad():
        expected, result = written.system(*batch()), read.system(*batch())
    torch.testing.assert_close(result.emotion, expected.emotion, **ALIKE)
    torch.testing.assert_close(of_true_frames(result), of_true_frames(expected), **ALIKE)


def test_a_temperature_is_kept_and_folders_without_one_are_read(tmp_path):
    written = model(system(tmp_path, "wav2vec2-group"))
    for value in (None, 1.75):
        model_folder.write(tmp_path / "model", replace(written, temperature=value))
        config = json.loads((tmp_path / "model" / "config.json").read_text())
        assert config.get("temperature", "none") == (value or "none")
        assert model_folder.read(tmp_path / "model").temperature == value


@pytest.mark.parametrize("family", ["wav2vec2-layer", "hubert-group", "wavlm-group"])
def test_other_layers_than_the_last_are_read_back(tmp_path, family):
    """The first two are read with layers of this project, not with those of transformers."""
    made = system(tmp_path, family, emotion_layers="weighted", ctc_layer=1)
    torch.nn.init.normal_(made.layers.weights)
    model_folder.write(tmp_path / "out", model(made.eval()))
    again = model_folder.read(tmp_path / "out").system
    with torch.no_grad():
        expected, found = made(*batch()), again(*batch())
    torch.testing.assert_close(found.emotion, expected.emotion, **ALIKE)
    torch.testing.assert_close(of_true_frames(found), of_true_frames(expected), **ALIKE)


def test_what_other_threads_build_meanwhile_does_not_count(tmp_path, monkeypatch):
    model_folder.write(tmp_path, model(system(tmp_path, "wav2vec2-group")))
    build = model_folder._build

    def beside(config: dict) -> torch.nn.Module:
        other = threading.Thread(target=lambda: [torch.nn.Linear(2, 2, device="cpu") for _ in range(1000)])
        other.start(), other.join()
        return build(config)

    monkeypatch.setattr(model_folder, "_build", beside)
    monkeypatch.setattr(threading, "excepthook", lambda told: pytest.fail(str(told.exc_value)))
    assert model_folder.read(tmp_path).labels


@pytest.mark.parametrize("pooling", [StatisticsPooling(return_mean=False), AttentiveStatisticsPooling(32, 8)])
def test_a_pooling_of_speechbrains_is_read_back(tmp_path, pooling):
    written = model(system(tmp_path, "wav2vec2-group", pooling=pooling, alpha=0.25))
    model_folder.write(tmp_path / "model", written)
    read = model_folder.read(tmp_path / "model")
    assert type(read.system.pooling.how) is type(pooling)
    with torch.no_grad():
        expected, result = written.system(*batch()), read.system(*batch())
    torch.testing.assert_close(result.emotion, expected.emotion, **ALIKE)
    path = tmp_path / "model" / "config.json"
    path.write_text(path.read_text().replace("speechbrain.", "os."))
    with pytest.raises(UserError, match="pooling is"):
        model_folder.read(tmp_path / "model")


def test_a_pooling_that_cannot_be_read_back_is_named(tmp_path):
    class Own(torch.nn.Module):
        def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return frames[:, 0]

    with pytest.raises(UserError, match=r"cannot be exported: its pooling is .*Own"):
        model_folder.write(tmp_path / "model", model(system(tmp_path, "wav2vec2-group", pooling=Own())))
    assert not (tmp_path / "model").exists()


def test_an_ensemble_is_the_mean_of_its_members_posteriors(tmp_path):
    vocabularies = [TOKENS, ["<pad>", "<unk>", "B", "C", "A", "\u2581"]]
    tokens = [*TOKENS, "C"]
    members = [system(tmp_path, "hubert-layer", seed, len(own)) for seed, own in enumerate(vocabularies)]
    orders = torch.tensor([[0, 1, 2, 3, 4, 5], [0, 1, 5, 4, 2, 3]])  # 5 is one beyond the first's last
    model_folder.write(tmp_path / "model", model(Ensemble(members, orders), tokens, (5, 6)))
    read = model_folder.read(tmp_path / "model")
    assert len(read.members) == 2 and read.sizes == [5, 6]
    with torch.no_grad():
        outputs = [member(*batch()) for member in members]
        result = read.system(*batch())
    emotion = sum(output.emotion.softmax(-1) for output in outputs) / 2
    torch.testing.assert_close(result.emotion.softmax(-1), emotion, **ALIKE)
    for column, token in enumerate(tokens):
        shares = [
            output.tokens.softmax(-1)[..., own.index(token)]
            if token in own
            else torch.zeros_like(output.tokens[..., 0])
            for output, own in zip(outputs, vocabularies, strict=True)
        ]
        torch.testing.assert_close(result.tokens.softmax(-1)[..., column], sum(shares) / 2, **ALIKE)
    assert torch.equal(result.n_frames, outputs[0].n_frames)


WITHOUT_THIS_PROJECT = """
import importlib.util, json, sys
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

assert importlib.util.find_spec("local") is None
logits = {}
for folder in sys.argv[2:]:
    config = json.load(open(folder + "/config.json"))
    weights = load_file(folder + "/model.safetensors")
    part = lambda prefix: {name.removeprefix(prefix): weights[name] for name in weights if name.startswith(prefix)}
    encoder = AutoModel.from_config(AutoConfig.for_model(**config["encoder"])).eval()
    encoder.load_state_dict(part("encoder.model."))
    wav = torch.load(sys.argv[1])
    if config["preprocessor"]["do_normalize"]:
        wav = (wav - wav.mean()) / (wav.var(correction=0) + 1e-7).sqrt()
    with torch.no_grad():
        frames = encoder(wav[None]).last_hidden_state[0]
    emotion, token = part("emotion_head."), part("token_head.")
    logits[folder] = (emotion["weight"] @ frames.mean(0) + emotion["bias"], frames @ token["weight"].T + token["bias"])
torch.save(logits, sys.argv[1])
"""


@pytest.mark.slow
def test_a_folder_is_read_with_torch_and_transformers_alone(tmp_path):
    families = ("wav2vec2-group", "wavlm-layer", "data2vec-audio")
    for family in families:
        model_folder.write(tmp_path / "out" / family, model(system(tmp_path, family)))
    (wav,) = tiny_models.waves(15_000)
    torch.save(wav, tmp_path / "exchange")
    folders = [str(tmp_path / "out" / family) for family in families]
    command = [sys.executable, "-I", "-c", WITHOUT_THIS_PROJECT, str(tmp_path / "exchange"), *folders]
    subprocess.run(command, cwd=tmp_path, check=True)
    logits = torch.load(tmp_path / "exchange")
    for folder in folders:
        outputs = model_folder.read(folder).system(wav[None], torch.tensor([len(wav)]))
        torch.testing.assert_close(logits[folder], (outputs.emotion[0], outputs.tokens[0]), rtol=0, atol=1e-4)


# ---------------------------------------------------------------- config.json


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\x80\x02}q\x00.",
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b'{"format": "ser-mtl 1", "max_seconds": NaN}',
        b'{"format": "ser-mtl 1", "max_seconds": ' + b"9" * 5000 + b"}",
        b"[]",
        b"null",
        b"{}",
        b'{"format": "ser-mtl 99"}',
        b'{"format": "ser-mtl 1"}',
        b"!apply:os.system ['false']",
    ],
    ids=lambda content: content[:12].decode("latin-1").encode("unicode_escape").decode(),
)
def test_a_broken_config(folder, content):
    (folder / "config.json").write_bytes(content)
    refusal(folder, "config.json")


def test_a_config_of_a_megabyte(folder):
    with open(folder / "config.json", "a") as file:
        file.write(" " * 1_000_000)
    assert "larger" in refusal(folder, "config.json")


@pytest.mark.parametrize("key", model_json.KEYS)
def test_a_config_without_a_key(folder, key):
    change(folder, key, to=...)
    assert f'"{key}"' in refusal(folder, "config.json")


HUGE = 10**9
VALUES = [
    ("auto_map", {"AutoModel": "evil.Evil"}, '"auto_map"'),
    ("format", ["ser-mtl 1"], "format"),
    ("system", 1, "system"),
    ("system", "os", "not known"),
    ("system", "../mtl", "not known"),
    ("system", "__init__", "not known"),
    ("system", "", "not known"),
    ("settings", [], "settings"),
    ("settings", {}, "alpha"),
    ("settings", {"alpha": 0.1, "beta": 1}, "beta"),
    ("settings", {"alpha": 0.1, "encoder": "x"}, "encoder"),
    ("settings", {"alpha": 0.1, "n_tokens": 3}, "n_tokens"),
    ("settings", {"alpha": "0.1"}, "str"),
    ("settings", {"alpha": None}, "None"),
    ("settings", {"alpha": -1}, "alpha"),
    ("settings", {"alpha": float("nan")}, "NaN"),
    ("settings", {"alpha": 0.1, "pooling": "max"}, "pooling"),
    ("settings", {"alpha": 0.1, "pooling": 1}, "pooling"),
    ("encoder", "facebook/wav2vec2-base", "encoder"),
    ("encoder", {}, "model_type"),
    ("encoder", {"model_type": "bert"}, "model_type"),
    ("encoder", {"model_type": ["wav2vec2"]}, "model_type"),
    ("encoder", {"model_type": "w2v-evil", "auto_map": {"AutoModel": "evil--Evil"}}, "model_type"),
    ("encoder.auto_map", {"AutoModel": "evil.Evil"}, "auto_map"),
    ("encoder.quantization_config", {"quant_method": "bitsandbytes"}, "quantization_config"),
    ("encoder._attn_implementation", "evil/kernels:x", "_attn_implementation"),
    ("encoder.attn_implementation", "evil/kernels:x", "attn_implementation"),
    ("encoder.dtype", "float16", "dtype"),
    ("encoder.torch_dtype", "float16", "torch_dtype"),
    ("encoder._name_or_path", "/etc", "_name_or_path"),
    ("encoder.hidden_act", "os.system", "os.system"),
    ("encoder.hidden_size", "32", "hidden_size"),
    ("encoder.hidden_size", None, "hidden_size"),
    ("encoder.hidden_size", 32.5, "hidden_size"),
    ("encoder.hidden_size", True, "bool"),
    ("encoder.hidden_size", -32, "from 0"),
    ("encoder.hidden_size", 0, ""),
    ("encoder.hidden_size", 64, "not of the shape"),
    ("encoder.hidden_size", HUGE, "from 0"),
    ("encoder.hidden_size", 10**30, "from 0"),
    ("encoder.hidden_size", 100_000, "not of the shape"),
    ("encoder.num_attention_heads", 3, ""),
    ("encoder.num_hidden_layers", 3, "not of the shape"),
    ("encoder.num_hidden_layers", HUGE, "from 0"),
    ("encoder.num_hidden_layers", 100_000, "more weights"),
    ("encoder.num_hidden_layers", {"a": 1}, "num_hidden_layers"),
    ("encoder.conv_dim", [16] * 8, ""),
    ("encoder.conv_dim", [HUGE] * 7, "from 0"),
    ("encoder.conv_dim", [100_000] * 7, "not of the shape"),
    ("encoder.conv_dim", [], ""),
    ("encoder.conv_dim", ["16"] * 7, "conv_dim"),
    ("encoder.conv_stride", [0] * 7, "frames"),
    ("encoder.conv_stride", [1] * 7, "frames"),
    ("encoder.conv_stride", [99_999] * 7, "frames"),
    ("encoder.num_conv_pos_embeddings", 100_000, "not of the shape"),
    ("encoder.add_adapter", True, "adapter"),
    ("encoder.layer_norm_eps", 1e999, "from 0"),
    ("preprocessor", [], "preprocessor"),
    ("preprocessor", {}, ""),
    ("preprocessor.do_normalize", "yes", "from 0"),
    ("preprocessor.feature_size", 4096, "preprocessor"),
    ("preprocessor.auto_map", 1, "auto_map"),
    ("labels", "ang hap neu", "labels"),
    ("labels", [], "labels"),
    ("labels", ["ang", "hap", 3], "labels"),
    ("labels", ["ang", "hap", None], "labels"),
    ("labels", ["ang", "hap", "ang"], "twice"),
    ("labels", ["ang", "hap"], "emotion_head"),
    ("tokens", TOKENS[:-1], "sizes"),
    ("tokens", [*TOKENS[:-1], 4], "tokens"),
    ("tokens", [*TOKENS[:-1], ["B"]], "tokens"),
    ("sizes", [], "sizes"),
    ("sizes", [True], "sizes"),
    ("sizes", [5.0], "sizes"),
    ("sizes", [-5], "sizes"),
    ("sizes", [5, 5], "more weights"),
    ("sizes", [HUGE, 2], "more weights"),
    ("sizes", [5] * 300_000, "more weights"),
    ("max_seconds", True, "max_seconds"),
    ("max_seconds", "12", "max_seconds"),
    ("max_seconds", 0, "max_seconds"),
    ("max_seconds", -1, "max_seconds"),
    ("max_seconds", 1e999, "max_seconds"),
    ("max_seconds", 10**400, "max_seconds"),
    ("provenance", None, "provenance"),
    ("temperature", "1.5", "temperature"),
    ("temperature", True, "temperature"),
    ("temperature", None, "temperature"),
    ("temperature", 0, "temperature"),
    ("temperature", 1e999, "temperature"),
    ("temperature", 10**400, "temperature"),
]


@pytest.fixture
def short_of_memory():
    """Leave this process 2 GB more than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * 10**9, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize(("path", "value", "words"), VALUES, ids=lambda value: str(value)[:40])
def test_a_value_that_cannot_be_right(folder, short_of_memory, path, value, words):
    change(folder, *path.split("."), to=value)
    why = refusal(folder, "config.json")
    assert words in why
    assert why and "memory" not in why and "alloc" not in why  # it was not tried


@pytest.mark.parametrize(
    ("family", "path", "value"),
    [
        ("data2vec-audio", "encoder.num_conv_pos_embeddings", 100_000),
        ("w2v-bert", "encoder.max_source_positions", HUGE),
        ("w2v-bert", "encoder.position_embeddings_type", "os.system"),
        ("w2v-bert", "preprocessor.num_mel_bins", 0),
        ("w2v-bert", "preprocessor.num_mel_bins", 4096),
        ("w2v-bert", "preprocessor.stride", 0),
        ("w2v-bert", "preprocessor.sampling_rate", 4000),
        ("wavlm-layer", "encoder.num_buckets", 100_000),
        ("whisper", "encoder.max_source_positions", 100_000),
        ("whisper", "encoder.encoder_layers", 100_000),
        ("whisper", "preprocessor.n_fft", 0),
        ("whisper", "preprocessor.n_fft", HUGE),
        ("whisper", "preprocessor.n_fft", -400),
        ("whisper", "preprocessor.hop_length", 0),
        ("whisper", "preprocessor.hop_length", 1.5),
        ("whisper", "preprocessor.feature_size", 4096),
    ],
)
def test_a_value_that_cannot_be_right_of_other_families(tmp_path, short_of_memory, family, path, value):
    model_folder.write(tmp_path / "model", model(system(tmp_path, family)))
    change(tmp_path / "model", *path.split("."), to=value)
    why = refusal(tmp_path / "model", "config.json")
    assert why and "memory" not in why and "alloc" not in why


# ---------------------------------------------------------------- model.safetensors


def without_one(weights):
    return dict(list(weights.items())[1:])


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (without_one, "not of the shape"),
        (lambda weights: weights | {"more": torch.zeros(1)}, "more of model.safetensors"),
        (lambda weights: weights | {"emotion_head.bias": torch.zeros(4)}, "emotion_head.bias"),
        (lambda weights: weights | {"emotion_head.bias": torch.zeros(3, 1)}, "emotion_head.bias"),
        (lambda weights: {name: weight.half() for name, weight in weights.items()}, "type"),
        (lambda weights: weights | {"emotion_head.bias": torch.zeros(3, dtype=torch.int64)}, "emotion_head.bias"),
        (lambda weights: weights | {"emotion_head.bias": torch.tensor([0, torch.nan, 0])}, "finite"),
        (lambda weights: {}, "more weights"),
    ],
)
def test_weights_that_are_not_the_systems(folder, spoilt, words):
    save_file(spoilt(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    assert words in refusal(folder, "config.json")


@pytest.mark.parametrize("cut", [slice(0), slice(4), slice(5000), slice(-1), slice(100, None)], ids=str)
def test_weights_that_are_damaged(folder, cut):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[cut])
    refusal(folder, "model.safetensors")


class Payload:
    """A pickle of it makes a file where it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_is_not_opened(folder, tmp_path):
    trap = tmp_path / "sprung"
    pickle.loads(pickle.dumps(Payload(trap)))
    assert trap.exists()
    trap.unlink()
    torch.save(Payload(trap), folder / "model.safetensors")
    refusal(folder, "model.safetensors")
    (folder / "config.json").write_bytes(pickle.dumps(Payload(trap)))
    refusal(folder, "config.json")
    assert not trap.exists()


def test_an_ensemble_whose_orders_name_no_tokens(tmp_path):
    members = [system(tmp_path, "wav2vec2-layer", seed) for seed in (1, 2)]
    for wrong in (6, -1):
        orders = torch.tensor([[0, 1, 2, 3, 4], [0, 1, 2, 3, wrong]])
        model_folder.write(tmp_path / "model", model(Ensemble(members, orders), sizes=(5, 5)))
        assert "orders" in refusal(tmp_path / "model", "config.json")


# ---------------------------------------------------------------- what lies in a folder, and what does not


def test_other_files_of_the_folder_are_not_read(folder, tmp_path):
    trap = tmp_path / "sprung"
    (folder / "hyperparams.yaml").write_text(f"x: !apply:os.system ['touch {trap}']\n")
    (folder / "preprocessor_config.json").write_text("{")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(trap)))
    (folder / "modeling_evil.py").write_text(f"open({str(trap)!r}, 'w')\n")
    assert model_folder.read(folder).labels == LABELS
    assert not trap.exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path, name):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(Path("..") / name)
    assert "link" in refusal(folder, name)


def test_a_link_to_a_folder_is(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert model_folder.read(tmp_path / "link").labels == LABELS


@pytest.mark.parametrize("make", [Path.unlink, Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_is_missing_or_not_regular(folder, name, make):
    (folder / name).unlink()
    if make is not Path.unlink:
        make(folder / name)
    with pytest.raises(UserError, match=f"{folder} is no model folder: {name} is missing"):
        model_folder.read(folder)


def test_no_folder(folder, tmp_path):
    with pytest.raises(UserError, match="absent is missing"):
        model_folder.read(tmp_path / "absent")
    with pytest.raises(UserError, match=r"config\.json is no model folder"):
        model_folder.read(folder / "config.json")


def test_a_run_folder_names_the_model_in_it(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run" / "model")
    with pytest.raises(UserError) as caught:
        model_folder.read(tmp_path / "run")
    assert caught.value.remedy == f"give {tmp_path}/run/model"


def forbid(path: Path) -> None:
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read all")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_may_not_be_read(folder, name):
    forbid(folder / name)
    refusal(folder, name)


def test_a_folder_that_may_not_be_read(folder):
    forbid(folder)
    with pytest.raises(UserError):
        model_folder.read(folder)
    folder.chmod(0o700)

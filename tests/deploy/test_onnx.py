from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx as reference
import pytest
import tiny_models
import torch
from scipy.special import softmax
from speechbrain.nnet.pooling import StatisticsPooling
from tiny_folders import noise
from tiny_models import padded, waves

from local.deploy import onnx
from local.encoders import load_encoder, packing
from local.inference.ensemble import Ensemble
from local.inference.model_folder import Model
from local.systems.lu_asr_attention import AsrAttentionSystem
from local.systems.mtl import MultiTaskSystem
from local.systems.statistics import StatisticsSystem

LABELS = ["ang", "hap", "neu", "sad"]
TOKENS = ["<pad>", "<unk>", "\u2581", *"ABCDEF"]
each_family = pytest.mark.parametrize(  # an export takes half a minute: all but one are slow tests
    "family",
    ["wide", *(pytest.param(name, marks=pytest.mark.slow) for name in (*tiny_models.WAVEFORM, "whisper"))],
)
SECOND = 16_000
# None of them is what is traced; the first two are shorter than one window of the CNN.
BATCHES = {
    "shorter than a window": (100,),
    "one shorter than a window": (7, 200),
    "one frame": (400,),
    "a twentieth of a second": (800,),
    "one": (3 * SECOND,),
    "two alike": (8000, 8000),
    "eight": (801, 47_000, 1600, 25_123, 12_345, 999, 30_000, 5000),
}
LONG = {"long beside short": (20 * SECOND, 800)}
# All but matrices, as real models are: the family "wide".
WIDE = {
    "model_type": "wav2vec2",
    "hidden_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 2048,
    "conv_dim": (16, 16),  # the fewer convolutions, the faster the export
    "conv_kernel": (20, 20),
    "conv_stride": (16, 20),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 16,
}


def system(source: str | dict) -> MultiTaskSystem:
    torch.manual_seed(2)
    made = MultiTaskSystem(load_encoder(source), len(LABELS), len(TOKENS), alpha=0.1)
    return made.eval().requires_grad_(False)


def model_of(made: torch.nn.Module) -> Model:
    return Model(made, LABELS, TOKENS, [len(TOKENS)], 10.0)


@pytest.fixture(scope="module", autouse=True)
def models_pack() -> Iterator[None]:
    """Small ones too, as those of usual size do in training: a graph is to hold nothing of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "LEAST", 0)
        yield


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, wide_export: Wide
) -> Callable[[str], tuple[MultiTaskSystem, Path]]:
    """A system of a family and its ONNX file, each made once. Some normalise waveforms and some do not."""
    made = {"wide": wide_export[:2]}

    def of(family: str) -> tuple[MultiTaskSystem, Path]:
        if family not in made:
            path = tmp_path_factory.mktemp(family) / "model.onnx"
            multi_task = system(tiny_models.save(path.with_name("encoder"), family, do_normalize="group" in family))
            limit = ["The ONNX file takes 3 s at most, padding included."] if family == "whisper" else []
            assert onnx.write(path, model_of(multi_task)) == limit
            made[family] = multi_task, path
        return made[family]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("family", ["wav2vec2-layer", "wavlm-group", "data2vec-audio", "whisper"])
def test_of_a_system_whose_lowest_layers_were_frozen(tmp_path, family):
    """The graph reads waveforms; its posteriors are those that a training on stored 16 bits gives."""
    encoder = load_encoder(tiny_models.save(tmp_path / "encoder", family), freeze_layers=1)
    made = MultiTaskSystem(encoder, len(LABELS), len(TOKENS), alpha=0.1).eval().requires_grad_(False)
    onnx.write(tmp_path / "model.onnx", model_of(made))
    assert (tmp_path / "model.onnx").exists()
    for sizes in ((8000,), (47_000, 1600, 25_123)):
        assert_same(made, tmp_path / "model.onnx", sizes)
        wavs, lengths = padded(waves(*sizes))
        hidden, n_frames = encoder.lowest(wavs, lengths)
        given = onnx.Runner(tmp_path / "model.onnx")(wavs.numpy(), lengths.numpy())["emotion"]
        stored = made(hidden.half(), n_frames).emotion
        np.testing.assert_allclose(softmax(given, axis=1), stored.softmax(1), rtol=0, atol=1e-3)


class Wide(NamedTuple):
    """A system of `WIDE`, its ONNX file, and the program that was saved as this file."""

    system: MultiTaskSystem
    path: Path
    program: torch.onnx.ONNXProgram


@pytest.fixture(scope="module")
def wide_export(tmp_path_factory: pytest.TempPathFactory) -> Wide:
    made, path, programs = system(WIDE), tmp_path_factory.mktemp("wide") / "model.onnx", []
    with pytest.MonkeyPatch.context() as patch:
        traced = onnx._traced
        patch.setattr(onnx, "_traced", lambda model: programs.append(traced(model)) or programs[0])
        assert onnx.write(path, model_of(made)) == []
    return Wide(made, path, programs[0])


@pytest.fixture(scope="module")
def wide(wide_export: Wide) -> Path:
    return wide_export.path


def assert_same(made: torch.nn.Module, path: Path, sizes: tuple[int, ...]) -> None:
    wavs, lengths = padded(waves(*sizes, seed=len(sizes)))
    expected = made(wavs, lengths)
    given = onnx.Runner(path)(wavs.numpy(), lengths.numpy())
    assert given["n_frames"].tolist() == expected.n_frames.tolist()
    np.testing.assert_allclose(given["emotion"], expected.emotion, rtol=0, atol=1e-4)
    assert given["tokens"].shape == expected.tokens.shape
    for one, other, length in zip(given["tokens"], expected.tokens, expected.n_frames, strict=True):
        np.testing.assert_allclose(one[:length], other[:length], rtol=0, atol=1e-4)


@each_family
def test_onnxruntime_says_what_pytorch_says_for_any_batch(exported, family: str) -> None:
    multi_task, path = exported(family)
    for sizes in (BATCHES if family == "whisper" else BATCHES | LONG).values():
        assert_same(multi_task, path, sizes)


@each_family
def test_neither_its_batch_nor_padding_changes_what_the_file_says_of_an_utterance(exported, family: str) -> None:
    run = onnx.Runner(exported(family)[1])
    wavs, lengths = (values.numpy() for values in padded(waves(30_000, 800, 47_000, 3333)))
    together = run(np.pad(wavs, ((0, 0), (0, 777))), lengths)
    for place, length in enumerate(lengths):
        alone = run(wavs[place : place + 1, :length], lengths[place : place + 1])
        np.testing.assert_allclose(alone["emotion"][0], together["emotion"][place], rtol=0, atol=1e-4)
        n_frames = together["n_frames"][place]
        assert alone["n_frames"].tolist() == [n_frames] == [alone["tokens"].shape[1]]
        np.testing.assert_allclose(alone["tokens"][0], together["tokens"][place, :n_frames], rtol=0, atol=1e-4)


@each_family
def test_the_file_is_valid_names_its_sizes_and_nothing_of_this_machine(exported, family: str) -> None:
    path = exported(family)[1]
    reference.checker.check_model(path, full_check=True)
    graph = reference.load(path).graph
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "wavs": ["batch", "samples"],
        "lengths": ["batch"],
        "emotion": ["batch", len(LABELS)],
        "tokens": ["batch", "frames", len(TOKENS)],
        "n_frames": ["batch"],
    }
    assert str(Path(onnx.__file__).parents[2]).encode() not in path.read_bytes()


@pytest.mark.slow
def test_an_ensemble_is_one_file_too(tmp_path: Path) -> None:
    members = [system(WIDE), system(WIDE)]
    # The second has its tokens in another order, and no `F`.
    members[1].token_head = torch.nn.Linear(128, len(TOKENS) - 1).requires_grad_(False)
    members[1].emotion_head = torch.nn.Linear(128, len(LABELS)).requires_grad_(False)
    orders = torch.tensor([[*range(9)], [0, 1, 2, 7, 6, 5, 4, 3, 8]])
    model = model_of(Ensemble(members, orders).eval())
    onnx.write(tmp_path / "model.onnx", model)
    for sizes in BATCHES.values():
        assert_same(model.system, tmp_path / "model.onnx", sizes)


@each_family
def test_no_product_in_double_precision_is_of_a_transposition(exported, family: str) -> None:
    """Which onnxruntime makes one node of, for which 1.23 has no kernel (its issue 28136)."""
    graph = reference.load(exported(family)[1]).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    transposed = {name for node in graph.node if node.op_type == "Transpose" for name in node.output}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    doubles = [node for node in products if kinds[node.output[0]] == reference.TensorProto.DOUBLE]
    assert len(products) > 10 and len(doubles) == (2 if family == "wide" or family.endswith("group") else 0)
    assert not [node.name for node in doubles if {*node.input} & transposed]


def test_the_file_runs_where_this_project_is_not(exported, tmp_path: Path) -> None:
    multi_task, path = exported("wide")
    wavs, lengths = padded(waves(SECOND, 5000))
    np.savez(tmp_path / "batch.npz", wavs=wavs, lengths=lengths)
    program = """
import importlib.util, json, sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
emotion, tokens, n_frames = session.run(None, dict(numpy.load(sys.argv[2])))
metadata = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
assert importlib.util.find_spec("local") is None and "torch" not in sys.modules
print(json.dumps({"emotion": emotion.tolist(), "n_frames": n_frames.tolist(), "metadata": metadata}))
"""
    command = [sys.executable, "-I", "-c", program, path, tmp_path / "batch.npz"]
    # With what path.sh and this project set, it keeps no number of the machine for telemetry, and sends none.
    (home := tmp_path / "home").mkdir()
    own = {"HOME": str(home), "TMPDIR": str(home), "ORT_DISABLE_TELEMETRY": os.environ["ORT_DISABLE_TELEMETRY"]}
    done = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [*home.rglob("*")] == []
    given = json.loads(done.stdout)
    assert given["metadata"] == {"labels": LABELS, "tokens": TOKENS, "sample_rate": 16_000, "seconds_per_frame": 0.02}
    np.testing.assert_allclose(given["emotion"], multi_task(wavs, lengths).emotion, rtol=0, atol=1e-4)
    assert given["n_frames"] == [49, 15]


@pytest.mark.slow
def test_whisper_reads_as_long_as_it_says_and_no_longer(exported) -> None:
    multi_task, path = exported("whisper")
    assert_same(multi_task, path, (3 * SECOND, 2 * SECOND))
    with pytest.raises(Exception, match="dimension"):
        onnx.Runner(path)(np.zeros((1, 4 * SECOND), np.float32), np.array([4 * SECOND]))


def test_where_there_can_be_no_file_an_old_one_is_removed_and_the_reason_given(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.onnx.data"):
        (tmp_path / name).write_text("old")
    model = model_of(system(tiny_models.save(tmp_path / "encoder", "w2v-bert")))
    (note,) = onnx.write(tmp_path / "model.onnx", model)
    assert "w2v-BERT" in note
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch) -> None:
    def fill_the_disk(_: Path, temporary: Path, **__: object) -> None:
        temporary.write_text("half")
        raise OSError("no space left")

    (tmp_path / "model.onnx").write_text("old")
    monkeypatch.setattr(onnx, "quantize_dynamic", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        onnx.quantize(tmp_path / "wide.onnx", tmp_path / "model.onnx")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("model.onnx", "old")]


@pytest.mark.slow
def test_weights_beyond_what_a_file_holds_lie_beside_it(wide_export: Wide, tmp_path: Path, monkeypatch) -> None:
    multi_task, wide, program = wide_export
    monkeypatch.setattr(onnx, "_traced", lambda model: program)
    monkeypatch.setitem(torch.onnx.ONNXProgram.save.__globals__, "_LARGE_MODEL_THRESHOLD", 1000)
    large, small = tmp_path / "model.onnx", tmp_path / "model.int8.onnx"
    note = "model.onnx needs model.onnx.data beside it, which holds its weights."
    assert onnx.write(large, model_of(multi_task)) == [note]
    assert large.stat().st_size < 0.5 * wide.stat().st_size
    assert_same(multi_task, large, (12_345, 800))
    onnx.quantize(large, small)
    names = ["model.int8.onnx", "model.int8.onnx.data", "model.onnx", "model.onnx.data"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    wavs, lengths = (values.numpy() for values in padded(waves(12_345, 800)))
    posteriors = [softmax(onnx.Runner(path)(wavs, lengths)["emotion"], axis=1) for path in (large, small)]
    np.testing.assert_allclose(*posteriors, rtol=0, atol=0.02)
    onnx.quantize(wide, large)  # a file holds this: what lay beside the old one goes
    assert not (tmp_path / "model.onnx.data").exists()


def test_weights_of_eight_bits_are_a_third_of_the_size_and_say_almost_the_same(wide: Path, tmp_path: Path) -> None:
    small = tmp_path / "model.int8.onnx"
    onnx.quantize(wide, small)
    reference.checker.check_model(small)
    assert small.stat().st_size < 0.4 * wide.stat().st_size
    exact, quantized = onnx.Runner(wide), onnx.Runner(small)
    for sizes in (BATCHES | LONG).values():
        wavs, lengths = (values.numpy() for values in padded(waves(*sizes)))
        one, other = exact(wavs, lengths), quantized(wavs, lengths)
        assert (one["n_frames"] == other["n_frames"]).all()
        difference = np.abs(softmax(one["emotion"], 1) - softmax(other["emotion"], 1)).max()
        assert 0 < difference < 0.02


@pytest.mark.slow
def test_what_eight_bits_cost_is_counted_over_all_utterances(exported, wide: Path, tmp_path: Path) -> None:
    small = tmp_path / "model.int8.onnx"
    onnx.quantize(wide, small)
    batches = [tuple(values.numpy() for values in padded(waves(*sizes))) for sizes in BATCHES.values()]
    exact, quantized = (
        np.concatenate([softmax(onnx.Runner(path)(*batch)["emotion"], 1) for batch in batches])
        for path in (wide, small)
    )
    # The truth is what single precision says, but of the first utterance, which is alone in its class.
    truth = ["other", *(LABELS[place] for place in exact.argmax(1)[1:])]
    ends = np.cumsum([len(lengths) for _, lengths in batches])
    labelled = [(*batch, truth[end - len(batch[1]) : end]) for batch, end in zip(batches, ends, strict=True)]
    measured = onnx.cost(wide, small, iter(labelled), threads=1)
    classes = len(set(truth))
    assert measured["n"] == len(truth) == 16
    assert measured["ua"] == pytest.approx((classes - 1) / classes)
    assert measured["agreement"] == (exact.argmax(1) == quantized.argmax(1)).mean()
    assert measured["largest_difference"] == pytest.approx(np.abs(exact - quantized).max(), abs=1e-6)
    assert min(measured["speed"], measured["speed_int8"]) > 0
    # Against another model altogether, most is lost.
    other = onnx.cost(wide, exported("wav2vec2-group")[1], labelled)
    assert other["agreement"] < 0.5
    assert other["ua_int8"] < other["ua"] == measured["ua"]


def test_a_pooling_that_has_no_graph_is_said(tmp_path):
    pooled = MultiTaskSystem(
        load_encoder(tiny_models.config("wav2vec2-group").to_dict()), 2, 5, 0.1, StatisticsPooling()
    )
    notes = onnx.write(tmp_path / "model.onnx", Model(pooled.eval(), ["ang", "neu"], ["a"] * 5, [5], 2.0))
    assert "no ONNX file" in notes[0] and "StatisticsPooling" in notes[0] and not any(tmp_path.iterdir())


# ---------------------------------------------------------------- other systems


@pytest.mark.slow
def test_a_system_without_text_has_one_output(tmp_path):
    torch.manual_seed(1)
    system = StatisticsSystem(2).eval().requires_grad_(False)
    wavs, lengths = torch.zeros(2, 9000), torch.tensor([9000, 5000])
    for row, length in enumerate(lengths):
        wavs[row, :length] = torch.from_numpy(noise(1, seed=row))[:length]
    system.measure([(wavs, lengths)])
    assert onnx.write(tmp_path / "model.onnx", Model(system, ["a", "b"], [], [0], 1.0)) == []
    found = onnx.Runner(tmp_path / "model.onnx")(wavs.numpy(), lengths.numpy())
    assert list(found) == ["emotion"]
    torch.testing.assert_close(torch.from_numpy(found["emotion"]), system(wavs, lengths).emotion, atol=1e-3, rtol=0)


def test_a_system_that_the_exporter_cannot_write_has_no_file_and_a_line_says_why(tmp_path, monkeypatch):
    def fail(model: Model) -> None:
        raise RuntimeError("\nno such operator\nmore")

    monkeypatch.setattr(onnx, "_traced", fail)
    (tmp_path / "model.onnx").write_text("of an earlier export")
    (note,) = onnx.write(tmp_path / "model.onnx", Model(StatisticsSystem(2), ["a", "b"], [], [0], 1.0))
    assert note == "There is no ONNX file: PyTorch's exporter cannot write StatisticsSystem (no such operator)."
    assert not (tmp_path / "model.onnx").exists()


def test_nothing_is_printed_of_a_graph_that_the_exporter_cannot_write(tmp_path, monkeypatch, capsys):
    """As PyTorch's exporter does, before it fails on a size that depends on the data."""

    def fail(*_: object, **__: object) -> None:
        print("def forward(self, arg0_1):", file=sys.stderr)
        print("    item = torch.ops.aten.item.default(max_1)")
        raise RuntimeError("data-dependent expression u0")

    monkeypatch.setattr(torch.export, "export", fail)
    monkeypatch.setattr(logging.root.manager, "disable", logging.ERROR)  # by whoever calls it
    (note,) = onnx.write(tmp_path / "model.onnx", Model(StatisticsSystem(2).eval(), ["a", "b"], [], [0], 1.0))
    assert note.endswith("(data-dependent expression u0).")
    assert capsys.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.ERROR


def test_an_encoder_that_goes_through_utterances_one_by_one_has_no_file(tmp_path):
    emformer = {"model_type": "emformer", "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    emformer |= {"intermediate_size": 32, "time_reduction_input_dim": 8}
    made = AsrAttentionSystem(len(LABELS), asr_encoder=emformer).eval()
    (note,) = onnx.write(tmp_path / "model.onnx", Model(made, LABELS, [], [0], 10.0))
    assert note == "There is no ONNX file: the encoder, of the kind emformer, goes through the utterances one by one."
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "emotion", "ctc"),
    [
        ("wav2vec2-group", "weighted", 1),
        ("wavlm-layer", "weighted", "last"),
        ("whisper", "weighted", 1),
        ("hubert-layer", 1, 0),
    ],
)
def test_other_layers_give_the_same_logits(family, emotion, ctc, tmp_path):
    encoder = load_encoder(tiny_models.save(tmp_path / "encoder", family))
    made = MultiTaskSystem(encoder, len(LABELS), len(TOKENS), 0.1, emotion_layers=emotion, ctc_layer=ctc)
    if made.layers.weights is not None:
        torch.nn.init.normal_(made.layers.weights)
    made.eval().requires_grad_(False)
    onnx.write(tmp_path / "model.onnx", model_of(made))
    runner = onnx.Runner(tmp_path / "model.onnx", threads=1)
    for lengths in ((8000, 8000), (801, 25_123, 30_000), (16_000,)):
        batch = padded(waves(*lengths))
        expected, found = made(*batch), runner(batch[0].numpy(), batch[1].numpy())
        np.testing.assert_allclose(found["emotion"], expected.emotion, rtol=0, atol=1e-4)
        for row, count in enumerate(expected.n_frames.tolist()):
            np.testing.assert_allclose(found["tokens"][row, :count], expected.tokens[row, :count], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_further_heads_are_outputs_by_their_names(tmp_path):
    classes = {"gender": ["F", "M"], "votes": ["ang", "neu", "sad"]}
    further = {"heads": {"votes": 0.1, "valence": 0.5, "gender": 0.2}, "head_classes": classes}
    encoder = load_encoder(tiny_models.save(tmp_path / "encoder", "wav2vec2-group"))
    made = MultiTaskSystem(encoder, len(LABELS), len(TOKENS), alpha=0.1, **further).eval().requires_grad_(False)
    made.learn_labels({"valence": torch.tensor([1.0, 5.0])})
    notes = onnx.write(tmp_path / "model.onnx", model_of(made))
    assert notes == ["The ONNX file has further outputs: gender, valence, votes."]
    wavs, lengths = padded(waves(16_000, 7_000))
    given, expected = onnx.Runner(tmp_path / "model.onnx")(wavs.numpy(), lengths.numpy()), made(wavs, lengths)
    assert list(given) == ["emotion", "tokens", "n_frames", "gender", "valence", "votes"]
    for name, output in zip(made.tasks, expected.further, strict=True):
        np.testing.assert_allclose(given[name], output, rtol=0, atol=1e-4)
    np.testing.assert_allclose(given["emotion"], expected.emotion, rtol=0, atol=1e-4)

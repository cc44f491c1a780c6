"""The ways to train and to use a model: what they have to compute, and that each passes over all utterances."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import tiny_models
import torch
from paths import REPOSITORY
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, Wav2Vec2Config

from local.benchmark import flops, page, uses, ways
from local.benchmark.synthetic import iemocap_durations
from local.data.dataset import Utterances
from local.inference.items import Item
from local.inference.recognizer import EmotionRecognizer

BASE = Wav2Vec2Config()


def test_operations_are_those_that_torch_counts():
    config = tiny_models.config("wav2vec2-group")
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(1, 9000))
    counts = counter.get_flop_counts()
    cnn = sum(counts["Wav2Vec2Model.feature_extractor"].values())
    assert flops.total(config, 9000, (1, 0)) == cnn
    assert flops.total(config, 9000, (0, 1)) == pytest.approx(counter.get_total_flops() - cnn, rel=0.01)


def test_the_base_model_needs_what_is_known_of_it():
    """About 42 GFLOP a second of audio; about 32 with the CNN frozen, 27 with its output cached."""
    samples = round(4.55 * 16_000)
    per_second = [flops.total(BASE, samples, (passes, 3)) / 4.55e9 for passes in (3, 1, 0)]
    assert per_second == pytest.approx([42, 32, 27], rel=0.05)


@pytest.mark.parametrize(("rate", "largest"), [(0.5e9, 256), (2e11, 2048), (1e15, 8192)])
def test_matrix_products_are_timed_at_sizes_that_the_machine_is_fast_enough_for(rate, largest, monkeypatch):
    """Without bf16 hardware, at 0.5 GFLOP/s, a product takes 67 ms at 256, and would take half a second at 512."""
    clock, sizes = [0.0], []

    class Matrix:
        def __init__(self, size: int) -> None:
            self.size = size

        def to(self, dtype: torch.dtype) -> Matrix:
            return self

        def __matmul__(self, other: Matrix) -> None:
            sizes.append(self.size)
            clock[0] += 2 * self.size**3 / rate

    monkeypatch.setattr(ways.torch, "randn", lambda size, *_, device: Matrix(size))
    monkeypatch.setattr(ways, "_now", lambda device: clock[0])
    assert ways.gemm("cpu", torch.bfloat16) == pytest.approx(rate)
    assert sizes[-1] == max(sizes) == largest and sizes.count(largest) == 6 and clock[0] < 1


@pytest.mark.slow  # it exports a model as ONNX
def test_every_way_to_use_a_model_takes_all_files(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    encoder = tiny_models.save(tmp_path / "encoder", "wav2vec2-group")
    ways.make(tmp_path, 3)
    uses.make(tmp_path / uses.MODEL, str(encoder))
    assert uses.USES.keys() == page.USES.keys()
    taken = []

    def read(wav: Path, **kwargs) -> tuple:
        taken.append(wav.name)
        return soundfile.read(wav, **kwargs)

    def analyze(recognizer: EmotionRecognizer, wav: Path) -> None:
        taken.append(wav.name)
        return analyze_one(recognizer, wav)

    def analyze_items(items: Iterable[Item], *args, **kwargs) -> Iterator:
        items = list(items)
        taken.extend(Path(item.file).name for item in items if not item.error)
        return analyze_all(items, *args, **kwargs)

    analyze_one, analyze_all = EmotionRecognizer.analyze, uses.analyze_items
    monkeypatch.setattr(uses, "soundfile", SimpleNamespace(read=read))
    monkeypatch.setattr(EmotionRecognizer, "analyze", analyze)
    monkeypatch.setattr(uses, "analyze_items", analyze_items)
    wavs = sorted(wav.name for wav in tmp_path.rglob("*.wav"))
    for name in ("sb", "hf", "file", "int8", "bf16"):
        ways.build(name, ways.utterances_of(tmp_path), "", "cpu").once()
        assert taken == wavs and len(wavs) == 3, name
        taken.clear()


def test_every_way_passes_over_all_utterances(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    encoder = tiny_models.save(tmp_path / "encoder", "wav2vec2-group")
    ways.make(tmp_path, 4)
    results, taken = {}, []
    take = Utterances.__getitem__
    monkeypatch.setattr(Utterances, "__getitem__", lambda self, index: taken.append(index) or take(self, index))
    for way in page.WAYS:
        monkeypatch.setattr(sys, "stdin", io.StringIO("round\nround\n"))
        ways.serve(way, tmp_path, "cpu", str(encoder))
        first, second = map(json.loads, capsys.readouterr().out.splitlines())
        assert first["audio"] == second["audio"] == pytest.approx(iemocap_durations(4).sum(), abs=1e-3)
        results[way] = second
        assert sorted(taken[:4]) == sorted(taken[4:]) == [0, 1, 2, 3], way  # in each round
        taken.clear()
    operations = {way: result["flops"] for way, result in results.items()}
    assert operations["a"] == operations["c"] > operations["b"] > operations["d"]
    assert operations["d"] > operations["one"] == operations["many"] > 0


def test_a_system_is_trained_by_the_name_of_its_yaml(tmp_path):
    ways.make(tmp_path, 4)
    built = ways.build("statistics", ways.utterances_of(tmp_path), "", "cpu")
    assert built.config is None
    built.once()
    built.once()

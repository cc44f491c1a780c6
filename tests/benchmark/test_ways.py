"""The ways to train and to use a model: what they have to compute, and that each passes over all utterances."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import tiny_models
import torch
from paths import REPOSITORY
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, Wav2Vec2Config

from local.benchmark import flops, page, uses, ways
from local.benchmark.synthetic import iemocap_durations
from local.core.errors import UserError
from local.data.dataset import Utterances
from local.data.device import resolve_precision
from local.encoders.base import Encoder
from local.inference.items import Item
from local.inference.recognizer import EmotionRecognizer
from local.training import unfreezing
from local.training.brain import EmotionBrain

BASE = Wav2Vec2Config()
AUTO = {"precision": "auto", "eval_precision": "fp32"}


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


@pytest.mark.parametrize("module", [ways, uses])
def test_its_processes_have_a_help(module, monkeypatch, capsys):
    for words, code in ((["--help"], 0), ([], 2)):
        monkeypatch.setattr(sys, "argv", ["", *words])
        with pytest.raises(SystemExit) as ended:
            module.main()
        assert ended.value.code == code
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: python -m {module.__name__} [-h] ") and err.startswith("error: the following arg")


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
    utterances, run = ways.utterances_of(tmp_path), subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **pipes: taken.append(command) or run(command, **pipes))
    first = ways.build("first", utterances, "", "cpu")
    assert first.once() == 1
    ((*_, wav),) = taken
    (chosen,) = utterances.durations[first.taken]
    assert chosen == soundfile.info(wav).duration
    assert chosen == min(utterances.durations, key=lambda seconds: abs(seconds - utterances.durations.mean()))


def test_every_way_passes_over_all_utterances(tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level("INFO")
    monkeypatch.chdir(REPOSITORY)
    encoder = tiny_models.save(tmp_path / "encoder", "wav2vec2-group")
    ways.make(tmp_path, 4)
    results, taken, resting = {}, [], {}
    take, hold = Utterances.__getitem__, unfreezing.hold

    def note(values: SimpleNamespace, encoder: Encoder, epoch: int) -> None:
        hold(values, encoder, epoch)
        resting.setdefault(way, []).append(encoder.resting)

    monkeypatch.setattr(unfreezing, "hold", note)
    monkeypatch.setattr(Utterances, "__getitem__", lambda self, index: taken.append(index) or take(self, index))
    for way in [way for way in page.WAYS if way != "lora" or find_spec("peft")]:
        monkeypatch.setattr(sys, "stdin", io.StringIO("built\nround\nround\n"))
        ways.serve(way, tmp_path, "cpu", str(encoder))
        _, first, second = map(json.loads, capsys.readouterr().out.splitlines())
        assert first["audio"] == second["audio"] == pytest.approx(iemocap_durations(4).sum(), abs=1e-3)
        results[way] = second
        assert sorted(taken[:4]) == sorted(taken[4:]) == [0, 1, 2, 3], way  # in each round
        taken.clear()
    assert {results[way]["precision"] for way in ("c", "d")} == {resolve_precision({"device": "cpu"} | AUTO)}
    assert {results[way]["precision"] for way in ("a", "b", "one", "many")} == {"fp32"}
    operations = {way: result["flops"] for way, result in results.items()}
    assert operations["a"] == operations["c"] > operations["b"] > operations["d"]
    assert operations["d"] > operations["one"] == operations["many"] > 0
    assert operations["weighted"] == operations["c"] and operations["d"] > operations["layers"] > 0
    assert operations["c"] > operations["unfreeze"] > operations["layers"]
    assert resting["c"] == [0, 0] and resting["unfreeze"] == [1, 1]  # of two layers, in both rounds
    assert "begins to train" not in caplog.text  # a line in every round


@pytest.mark.parametrize("name", ["statistics", "majority"])  # by updates, and in closed form alone
def test_a_system_is_trained_by_the_name_of_its_yaml_in_every_round(name, tmp_path, monkeypatch):
    ways.make(tmp_path, 9)
    built, taken, take = ways.build(name, ways.utterances_of(tmp_path), "", "cpu"), [], Utterances.__getitem__
    monkeypatch.setattr(Utterances, "__getitem__", lambda self, index: taken.append(index) or take(self, index))
    assert built.config is None
    done = [built.once() for _ in range(3)]
    assert done == ([1, 1, 1] if name == "statistics" else [done[0]] * 3) and done[0] > 0
    assert sorted(taken) == sorted(3 * [*range(9)])


def test_a_round_says_what_a_system_was_pretrained_on_or_lacks(tmp_path, monkeypatch, capsys):
    ways.make(tmp_path, 4)
    monkeypatch.setattr(sys, "stdin", io.StringIO("round\n"))
    ways.serve("lu_asr_attention", tmp_path, "cpu", "")
    assert json.loads(capsys.readouterr().out)["weights"] == "no ASR"


def test_a_round_without_an_update_ends_the_way(tmp_path, monkeypatch, capsys):
    """As when the epoch that ended has left its progress behind: the next then has nothing to do."""
    ways.make(tmp_path, 4)
    end = EmotionBrain.on_stage_end

    def leave_progress(brain: EmotionBrain, *args: object) -> None:
        brain._note_progress()
        left = brain.progress
        end(brain, *args)
        brain.progress = left

    monkeypatch.setattr(EmotionBrain, "on_stage_end", leave_progress)
    monkeypatch.setattr(sys, "stdin", io.StringIO("round\nsettle\n"))
    with pytest.raises(UserError, match="way statistics made no update, or gave no answer"):
        ways.serve("statistics", tmp_path, "cpu", "")
    assert len(capsys.readouterr().out.splitlines()) == 1  # the round before it


def test_of_several_gpus_the_one_that_is_named_is_waited_for_and_measured(monkeypatch, capsys):
    asked = []

    def answer(name: str, found: object, device: str | None = None) -> object:
        asked.append((name, device))
        return found

    for name, found in (("synchronize", None), ("max_memory_allocated", 7), ("mem_get_info", (9, 9))):
        monkeypatch.setattr(ways.torch.cuda, name, partial(answer, name, found))
    monkeypatch.setattr(ways, "utterances_of", lambda folder: SimpleNamespace(durations=np.ones(2)))
    monkeypatch.setattr(ways, "build", lambda *_: ways.Way(None, (0, 0), "fp32", lambda: 1))
    monkeypatch.setattr(sys, "stdin", io.StringIO("round\n"))
    ways.serve("statistics", Path(), "cuda:1", "")
    assert json.loads(capsys.readouterr().out)["peak"] == 7
    names = ["synchronize", "synchronize", "max_memory_allocated", "mem_get_info"]
    assert asked == [(name, "cuda:1") for name in names]

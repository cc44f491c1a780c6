"""A system is one file and one YAML: one is added to a copy of the project, and the one that local/README.md shows."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys

import pytest
import tiny_models
import torch
from markdown_it import MarkdownIt
from paths import ONE_THREAD, REPOSITORY, copy_project
from tiny_folders import noise
from tones import tones

from local.config import hparams
from local.encoders import load_encoder
from local.systems.mtl import MultiTaskSystem
from local.systems.statistics import StatisticsSystem

SYSTEM = '''"""How often a waveform changes its sign, and one linear layer."""
import torch
from local.systems import Outputs, System
class CrossingsSystem(System):
    def __init__(self, n_labels):
        super().__init__()
        self.emotion_head = torch.nn.Linear(1, n_labels)
    def forward(self, wavs, lengths):
        crossings = (wavs[:, 1:] * wavs[:, :-1] < 0).sum(1) / lengths.to(wavs.device)
        return Outputs(self.emotion_head((crossings[:, None] + 1e-3).log() + 3))
SYSTEM = CrossingsSystem
'''
YAML = """lr: 0.1
system: !new:local.systems.crossings.CrossingsSystem
    n_labels: !ref <n_labels>
"""
# All stages, the export and its use in one process: each of its own would import torch.
DRIVER = """
import json, sys
from pathlib import Path
import pytest
from stages import run_stages
table, wav = sys.argv[1:]
words = ["--corpus", "csv", "--data", table, "--hparams", "hparams/crossings.yaml", "--folds", "A"]
run_stages(words, "prepare", "folds", "train", "decode", "score")
run_stages([*words, "--name", "other", "--", "--lr", "0.01"], "train", "decode", "score")
run_stages(words, "report")
place = "results/tones/speaker"
run_stages([f"{place}/crossings", f"{place}/other"], "compare")
run_stages([f"{place}/crossings/seed1/A", "model"], "export")
for form in ("table", "csv", "jsonl"):
    print("==", form)
    with pytest.raises(SystemExit) as ended:
        run_stages(["--model", "model", "--format", form, wav], "predict")
    assert ended.value.code == 0
from local.demo import names_of
from local.inference.demo_page.analysis import analyze
from local.inference.demo_page.page import build
from local.inference.demo_page.results import View
from local.inference.recognizer import EmotionRecognizer
recognizer = EmotionRecognizer.from_hparams("model")
view = View(names_of(recognizer.model), recognizer.writes_text)
print("==", "demo")
((summary, details),) = analyze(recognizer, view, wav, False, lambda: True, print)
print(summary, details)
*_, (summary, details) = analyze(recognizer, view, wav, True, lambda: True, lambda share: None)
assert summary and details
assert build(recognizer, view.names, []) is not None
"""
OF_TEXT = re.compile(r"\b(?:WER|CER|CTC|alpha|transcripts?)\b", re.IGNORECASE)


def of_the_model(text: str) -> str:
    """A text without the lines on the corpus, whose transcripts the sets share."""
    return "\n".join(line for line in text.splitlines() if "share their transcript" not in line)


@pytest.mark.slow
def test_one_file_and_one_yaml_go_through_all_stages(tmp_path):
    place = copy_project(tmp_path / "copy")
    (place / "local" / "systems" / "crossings.py").write_text(SYSTEM)
    (place / "hparams" / "crossings.yaml").write_text(YAML)
    (tmp_path / "data").mkdir()
    table = tones(tmp_path / "data")
    paths = os.pathsep.join([str(place), str(REPOSITORY / "tests" / "support")])
    command = [sys.executable, "-P", "-c", DRIVER, str(table), str(table.with_name("A_hi0.wav"))]
    environment = ONE_THREAD | {"PYTHONPATH": paths}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    experiment = place / "results" / "tones" / "speaker" / "crossings"
    with open(experiment / "summary.csv", newline="", encoding="utf-8") as file:
        summary = next(csv.DictReader(file))
    assert float(summary["ua"]) == 1 and summary["wer"] == summary["cer"] == ""
    stages, *uses = re.split(r"^== (?:table|csv|jsonl|demo)$", done.stdout, flags=re.MULTILINE)
    for text in (stages, (experiment / "RESULTS.md").read_text(), (place / "model" / "README.md").read_text(), *uses):
        assert not OF_TEXT.findall(of_the_model(text)), text
    assert uses[0].splitlines()[2].startswith("hi ")
    rows = list(csv.DictReader(uses[1].strip().splitlines()))
    posteriors = json.loads(uses[2])["posteriors"]
    assert [float(rows[0][f"p_{label}"]) for label in ("hi", "lo")] == pytest.approx([*posteriors.values()], abs=1e-6)
    assert f"{100 * posteriors['hi']:.0f}" in uses[3]


# ---------------------------------------------------------------- local/README.md


def blocks(language: str) -> list[str]:
    """The code blocks of local/README.md in a language."""
    text = (REPOSITORY / "local" / "README.md").read_text(encoding="utf-8")
    return [token.content for token in MarkdownIt().parse(text) if token.type == "fence" and token.info == language]


def test_the_yaml_of_the_readme_is_all_that_a_system_needs(tmp_path):
    (block,) = blocks("yaml")
    (tmp_path / "x.yaml").write_text(block)
    values = hparams.build(hparams.resolve(tmp_path / "x.yaml", {"n_labels": 5}))
    assert isinstance(values["system"], StatisticsSystem) and values["system"].emotion_head.out_features == 5
    assert {"epochs", "batch_size", "lr", "device", "slurm", "seed"} <= values.keys()


def test_the_subclass_of_the_readme_attends_to_true_frames_alone(tmp_path):
    (block,) = blocks("python")
    scope = {"__name__": "attentive"}
    exec(block, scope)
    encoder = load_encoder(tiny_models.save(tmp_path, "wav2vec2-group"))
    torch.manual_seed(1)
    system = scope["SYSTEM"](encoder, 3, 5, alpha=0.1).eval().requires_grad_(False)
    assert system.writes_text and system.attention in system.heads()
    type(system)(encoder, 3, 5, **system.settings())  # as a model folder builds it
    wavs, lengths = torch.from_numpy(noise(1))[None].repeat(2, 1), torch.tensor([16_000, 9000])
    wavs[1, 9000:] = 0
    together, alone = system(wavs, lengths), system(wavs[1:, :9000], lengths[1:])
    torch.testing.assert_close(together.emotion[1:], alone.emotion, atol=1e-4, rtol=0)
    # With equal scores, attention is the mean.
    system.attention.weight.zero_()
    mean = MultiTaskSystem(encoder, 3, 5, alpha=0.1).eval().requires_grad_(False)
    mean.emotion_head.load_state_dict(system.emotion_head.state_dict())
    difference = system(wavs, lengths).emotion - together.emotion
    torch.testing.assert_close(system(wavs, lengths).emotion, mean(wavs, lengths).emotion, atol=1e-5, rtol=0)
    assert difference.abs().max() > 1e-4

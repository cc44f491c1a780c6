"""Every line of hparams/SCIENCE.md is tried: the YAML with it builds a system that trains, validates and saves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import ruamel.yaml
import tiny_training
import torch
from paths import REPOSITORY
from tiny_training import LABELS, Corpus

from local.config import hparams, trust
from local.data.batches import Limits, UpdateSampler
from local.data.class_weights import class_weights
from local.training.brain import EmotionBrain
from local.training.checkpoints import RunCheckpointer

PAGE = (REPOSITORY / "hparams" / "SCIENCE.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| [^|]+ \| `([^`]+)` \|$", PAGE, re.MULTILINE)
BLOCKS = [
    re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:^ {4}.*\n)+", PAGE, re.MULTILINE)
]
TINY = {
    **{"model_type": "wav2vec2", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    **{"intermediate_size": 64, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16},
    **{"num_conv_pos_embedding_groups": 4},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


def changed_yaml(line: str, file: Path, n_tokens: int) -> str:
    """The YAML of the mini corpus, its encoder tiny, with a line of the page in the place of its own; resolved."""
    yaml = ruamel.yaml.YAML()
    values = yaml.load((REPOSITORY / "hparams" / "mini.yaml").read_text(encoding="utf-8"))
    values.update({"encoder": TINY, "epochs": 1, "batch_size": 16, "n_labels": 2, "precision": "fp32"})
    values.update(yaml.load(line.replace("channels: 768", "channels: 32")))
    with open(file, "w", encoding="utf-8") as stream:
        yaml.dump(values, stream)
    return hparams.resolve(file, {"n_tokens": n_tokens})


@pytest.mark.parametrize("line", [*LINES, *BLOCKS])
def test_a_line_of_the_page_trains(corpus, tmp_path, line):
    if line.startswith("lora"):
        pytest.importorskip("peft")
    text = changed_yaml(line, tmp_path / "mine.yaml", len(corpus.tokenizer))
    (tmp_path / "hyperparams.yaml").write_text(text, encoding="utf-8")
    trust.refuse_foreign(tmp_path)  # a run folder with it can be used by others
    values = hparams.build(text) | {"device": "cpu"}
    training = corpus.utterances()
    training.class_weights = class_weights(values["class_weights"], LABELS, training.emotions)
    sampler = UpdateSampler(training.durations, values["batch_size"], Limits(8, 1e9, 1e9), values["seed"])
    checkpointer, system = RunCheckpointer(tmp_path / "save"), values["system"]
    brain = EmotionBrain(system, values, tmp_path, sampler, LABELS, corpus.tokenizer, checkpointer)
    rates, step = [], brain.optimizers_step

    def stepping() -> None:
        rates.append(brain.optimizer.param_groups[-1]["lr"])
        brain.optimizer.param_groups[-1]["lr"] = 0.1  # where it begins with a rate of 0
        step()

    brain.optimizers_step = stepping
    brain.training = training
    before = system.emotion_head.weight.detach().clone()
    tiny_training.fit(brain, corpus.utterances(corpus.table[::4]))
    assert len(rates) == 1 and 0 <= rates[0] <= 3e-3
    assert not torch.equal(system.emotion_head.weight, before) and system.emotion_head.weight.isfinite().all()
    assert brain.log.rows[0]["skipped_updates"] == 0 and checkpointer.chosen().meta["epoch"] == 1


def test_the_page_has_a_line_for_each_key():
    keys = {re.match(r"\w+", line)[0] for line in (*LINES, *BLOCKS)}
    merging = {"ctc_run", "emotion_run", "merge_start"}  # which need two runs
    assert (
        keys >= hparams.NEWER.keys() - {"label_smoothing", *merging, *hparams.SET_BY_PIPELINE}
        and len(LINES) > 25
        and len(BLOCKS) == 1
    )

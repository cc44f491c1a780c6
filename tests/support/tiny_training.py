"""A tiny wav2vec 2.0 to train on sixteen tones and noises, a Brain that records its updates, comparison of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import tiny_models
import torch

from local.config import hparams
from local.corpora import manifest
from local.corpora.manifest import COLUMNS
from local.data.batches import Limits, UpdateSampler, sorted_batches
from local.data.dataset import Utterances, loader
from local.encoders import load_encoder
from local.systems.mtl import MultiTaskSystem
from local.text import tokenizer
from local.training.brain import EmotionBrain
from local.training.checkpoints import RunCheckpointer

LABELS = ["ang", "neu"]
VALUES = {
    "epochs": 3,
    "batch_size": 6,
    "micro_batch_size": 4,
    "lr": 2e-3,
    "head_lr": 1e-2,
    "warmup": 0.25,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "seed": 5,
    "device": "cpu",
    "precision": "fp32",
    "eval_precision": "fp32",
}


def completed(values: dict) -> dict:
    """The values with those of hparams/running.yaml, its optimizer and scheduler too."""
    defaults = hparams.read_values(hparams.RUNNING)
    own = {
        key: value for key, value in values.items() if key in defaults and isinstance(value, bool | int | float | str)
    }
    return hparams.build(hparams.resolve(hparams.RUNNING, own)) | values


class Interruption(Exception):
    """What ends a run in these tests, as a power cut would."""


def samples(path: str) -> torch.Tensor:
    """[N] samples of a file as they are, NaN too, which no training would be given."""
    return torch.from_numpy(soundfile.read(path, dtype="float32")[0])


class Corpus:
    """Sixteen utterances: tones are `ang`, noises `neu`; 0.1 to 0.4 s, two without a transcript."""

    def __init__(self, root: Path) -> None:
        self.root = root
        generator = np.random.default_rng(3)
        rows = []
        for index in range(16):
            samples = 1600 + 317 * index
            noise = generator.normal(size=samples)
            tone = np.sin(2 * np.pi * (200 + 30 * index) * np.arange(samples) / 16_000)
            soundfile.write(root / f"u{index:02d}.wav", 0.3 * (tone if index % 2 else noise / 4), 16_000, "PCM_16")
            text = "" if index in (3, 8) else ("AB", "B A", "A", "BAB")[index % 4]
            rows.append((f"u{index:02d}", samples / 16_000, LABELS[1 - index % 2], text))
        self.tokenizer = self._tokenizer([row[-1] for row in rows])
        self.table = self._table(rows)

    def _tokenizer(self, texts: list[str]) -> tokenizer.Tokenizer:
        tokenizer.train(texts, self.root / "tokenizer.model")
        return tokenizer.Tokenizer(self.root / "tokenizer.model")

    def _table(self, rows: list[tuple]) -> pd.DataFrame:
        table = pd.DataFrame(rows, columns=["ID", "duration", "emo", "wrd"])
        table["wav"] = "$data_root/" + table["ID"] + ".wav"
        return table.reindex(columns=list(COLUMNS), fill_value="")

    def utterances(self, table: pd.DataFrame | None = None, tasks: dict | None = None) -> Utterances:
        table = self.table if table is None else table
        paths = zip(table["ID"], manifest.resolve(table["wav"], self.root), strict=True)
        audio = {name: samples(path) for name, path in paths}
        return Utterances(table, audio, LABELS, self.tokenizer, tasks=tasks or {})

    def rated(self) -> pd.DataFrame:
        """The table with labels for further heads, of which some utterances lack one, and two lack an emotion."""
        table = self.table.assign(gender=["F", "M", "M", ""] * 4, valence=[f"{1 + i % 5}" for i in range(16)])
        table.loc[[2, 9], "valence"], table.loc[[4, 11], "emo"] = "", ""
        return table

    def spoilt(self, *names: str) -> pd.DataFrame:
        """The table with the audio of some utterances holding a NaN."""
        table = self.table.copy()
        for name in names:
            wav, _ = soundfile.read(self.root / f"{name}.wav")
            wav[100] = np.nan
            soundfile.write(self.root / f"{name}-spoilt.wav", wav, 16_000, "FLOAT")
        table.loc[table["ID"].isin(names), "wav"] = "$data_root/" + table["ID"] + "-spoilt.wav"
        return table


class Recorder(EmotionBrain):
    """Records each update, and ends the run at `interrupt`.

    For each update: `names` of the utterances in it, its loss, whether any weight `moved`, the `raw` gradient;
    for each step of the optimizer: the `clipped` gradient and the learning `rates`.
    """

    interrupt: tuple | None = None

    def init_optimizers(self) -> None:
        super().init_optimizers()
        self.names, self.moved, self.raw, self.clipped, self.rates, self.batches = [], [], [], [], [], []
        self.update_losses: list[float] = []
        self.shown = set()
        self.optimizer.register_step_pre_hook(self._note)

    def _gradients(self) -> dict[str, torch.Tensor]:
        return {name: p.grad.clone() for name, p in self.system.named_parameters() if p.grad is not None}

    def _note(self, *_) -> None:
        self.clipped.append(self._gradients())
        self.rates.append([group["lr"] for group in self.optimizer.param_groups])

    def fit_batch(self, batch):
        if self.interrupt == ("update", self.epoch_counter.current, self.step):
            raise Interruption
        self.batches.append(batch)
        self.shown |= set(batch.ids)
        return super().fit_batch(batch)

    def optimizers_step(self) -> None:
        self.raw.append(self._gradients())
        self.update_losses.append(float(self.update_loss))
        self.names.append(self.shown)
        self.shown = set()
        before = [parameter.detach().clone() for parameter in self.system.parameters()]
        super().optimizers_step()
        pairs = zip(self.system.parameters(), before, strict=True)
        self.moved.append(any(not torch.equal(parameter, old) for parameter, old in pairs))

    def on_stage_start(self, stage, epoch=None) -> None:
        if self.interrupt == (stage.name, epoch):
            raise Interruption
        super().on_stage_start(stage, epoch)


def build(
    corpus: Corpus, folder: Path, *, table=None, system_seed: int = 1, steady: bool = False, **changes
) -> Recorder:
    """A Brain on a tiny system, with dropout and SpecAugment unless `steady`."""
    folder.mkdir(exist_ok=True)
    values = completed(VALUES | changes)
    torch.manual_seed(system_seed)
    settings = tiny_models.STEADY if steady else {"mask_time_prob": 0.2, "mask_time_length": 2}
    lowest = values.pop("freeze_layers", 0)
    encoder = load_encoder(tiny_models.config("wav2vec2-group", **settings).to_dict(), freeze_layers=lowest)
    names = ("alpha", "pooling", "dropout", "emotion_weight", "heads", "head_classes")
    own = {key: values.pop(key) for key in names if key in values}
    system = MultiTaskSystem(encoder, len(LABELS), len(corpus.tokenizer), **{"alpha": 0.1} | own)
    training = corpus.utterances(table, system.tasks)
    system.learn_labels(training.tasks)
    # As few micro-batches as their size and their seconds allow.
    limits = Limits(values["micro_batch_size"], values.pop("micro_batch_seconds", 1e9), 1e9)
    sampler = UpdateSampler(training.durations, values["batch_size"], limits, values["seed"])
    brain = Recorder(system, values, folder, sampler, LABELS, corpus.tokenizer, RunCheckpointer(folder / "save"))
    brain.training = training
    return brain


def fit(brain: Recorder, valid: Utterances | None) -> Recorder:
    train_set = loader(brain.training, brain.train_sampler)
    valid_set = loader(valid, sorted_batches(valid.durations, Limits(4, 1e9, 1e9))) if valid else None
    brain.fit(brain.epoch_counter, train_set, valid_set, progressbar=False)
    return brain


def log_of(brain: EmotionBrain) -> str:
    """epochs.csv as text, but for the seconds, which end each line."""
    lines = (brain.folder / "epochs.csv").read_text().splitlines()
    return "\n".join(line.rsplit(",", 1)[0] for line in lines)


def assert_same(found, expected) -> None:
    """Equal to the last bit, in mappings and sequences of any depth."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


def checkpoints(brain: EmotionBrain) -> list[dict]:
    """The meta data of the checkpoints that are kept, in the order of epochs, without the time of day."""
    metas = [checkpoint.meta for checkpoint in brain.checkpointer.list_checkpoints()]
    metas = [{key: value for key, value in meta.items() if key not in ("unixtime", "checksum")} for meta in metas]
    return sorted(metas, key=lambda meta: meta["epoch"])


def assert_same_runs(one: EmotionBrain, other: EmotionBrain) -> None:
    """The same state, log and checkpoints, the latter byte for byte."""
    assert_same(one.system.state_dict(), other.system.state_dict())
    assert_same(one.optimizer.state_dict(), other.optimizer.state_dict())
    assert_same(one.scheduler.state_dict(), other.scheduler.state_dict())
    assert one.optimizer_step == other.optimizer_step
    assert log_of(one) == log_of(other)
    assert checkpoints(one) == checkpoints(other)


def resumed(make: Callable[[str], Recorder], corpus: Corpus) -> Recorder:
    """A run that was not interrupted, after one that was has ended the same; `make` makes a Brain in a folder."""
    whole, cut = fit(make("whole"), corpus.utterances()), make("cut")
    cut.interrupt = ("update", 2, 2)
    with pytest.raises(Interruption):
        fit(cut, corpus.utterances())
    assert_same_runs(fit(make("cut"), corpus.utterances()), whole)
    return whole

"""Trains tiny systems, one after the other, as one of several processes that torchrun starts, and saves what it did.

python -m local.jobs.torchrun ... tests/support/several.py CORPUS OUT '{"NAME": {"SETTING": VALUE}}'
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import tiny_models
import torch
from tiny_training import LABELS, VALUES, Corpus, Recorder, completed
from torch import Tensor, nn

from local.core import logs
from local.data.batches import Limits, UpdateSampler, sorted_batches
from local.data.dataset import loader
from local.encoders import load_encoder, task_vectors
from local.systems.mtl import MultiTaskSystem
from local.training import distributed
from local.training.checkpoints import RunCheckpointer


class Running(nn.Module):
    """Subtracts a running mean, as batch norm does, of batches of one as well."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(size))

    def forward(self, rows: Tensor) -> Tensor:
        if self.training:
            self.running_mean.lerp_(rows.detach().mean(0), 0.1)
        return rows - self.running_mean


class Solving(MultiTaskSystem):
    """Has a last step, in which the processes would find different things."""

    solves = True

    def solve(self, training, validation) -> None:
        counts = [sum(len(labels) for *_, labels in batches) for batches in (training, validation)]
        self.emotion_head.bias.copy_(torch.tensor(counts).float() + 100 * distributed.rank())


def train(
    corpus: Corpus,
    folder: Path,
    *,
    alpha: float = 0.1,
    ends_at: int = 0,
    freeze_encoder_epochs: int = 0,
    freeze_layers: int = 0,
    unfreeze: dict | None = None,
    emotion_layers: str = "last",
    running: bool = False,
    solves: bool = False,
    rated: bool = False,
    merged: bool = False,
    **settings,
) -> Recorder:
    """Train as one of the processes that there are, which may be the only one; without dropout unless set."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)
    config = tiny_models.config("wav2vec2-group", **tiny_models.STEADY | settings).to_dict()
    encoder = load_encoder(config, freeze_layers=freeze_layers)
    kind = Solving if solves else MultiTaskSystem
    further = {"heads": {"gender": 0.3, "valence": 0.8}, "head_classes": {"gender": ["F", "M"]}} if rated else {}
    system = kind(encoder, len(LABELS), len(corpus.tokenizer), alpha=alpha, emotion_layers=emotion_layers, **further)
    if merged:
        trained = {name: tensor + 0.02 for name, tensor in encoder.model.state_dict().items()}
        task_vectors.add(encoder, {"ctc": trained, "emotion": {name: -tensor for name, tensor in trained.items()}}, 0.1)
    if running:
        system.emotion_head = nn.Sequential(Running(encoder.dim), system.emotion_head)
    table = corpus.rated() if rated else corpus.table
    training = corpus.utterances(table, system.tasks)
    rank, world_size = distributed.rank(), distributed.world_size()
    # 16 utterances by 5: of the last update, a single one, one of two processes has nothing.
    sampler = UpdateSampler(training.durations, 5, Limits(2, 1e9, 1e9), VALUES["seed"], rank, world_size)
    values = completed(VALUES | {"freeze_encoder_epochs": freeze_encoder_epochs, "unfreeze": unfreeze or {}})
    brain = Recorder(system, values, folder, sampler, LABELS, corpus.tokenizer, RunCheckpointer(folder / "save"))
    if ends_at and rank == world_size - 1:
        end_at(brain, ends_at)
    valid = corpus.utterances(table.assign(emo=corpus.table["emo"])[::3], system.tasks)
    whole = [loader(each, sorted_batches(each.durations, Limits(2, 1e9, 1e9))) for each in (training, valid)]
    share = loader(valid, sorted_batches(valid.durations, Limits(2, 1e9, 1e9))[rank::world_size])
    brain.fit(brain.epoch_counter, loader(training, sampler), share, *whole, progressbar=False)
    return brain


def end_at(brain: Recorder, update: int) -> None:
    """Ask this process alone to end in an update."""
    step = brain.optimizers_step

    def stepping() -> None:
        step()
        if brain.optimizer_step == update:
            os.kill(os.getpid(), signal.SIGTERM)

    brain.optimizers_step = stepping


def main(place: Path, out: Path, trainings: str) -> None:
    logs.log_to_stderr()
    distributed.join_group("cpu")
    corpus = Corpus(place / f"corpus{distributed.rank()}")
    for name, settings in json.loads(trainings).items():
        brain = train(corpus, out / name, **settings)
        record = {
            "losses": brain.update_losses,
            "names": [sorted(names) for names in brain.names],
            "raw": brain.raw,
            "weights": brain.system.state_dict(),
        }
        torch.save(record, out / name / f"rank{distributed.rank()}.pt")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), sys.argv[3])

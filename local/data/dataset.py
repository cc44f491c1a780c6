"""Utterances as batches: audio at 16 kHz mono, token and class indices, true lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from local.audio.header import SAMPLE_RATE
from local.core.counted import counted
from local.core.errors import UserError
from local.corpora import manifest
from local.data import task_targets
from local.data.store import Store, refuse_too_long
from local.encoders.base import pad_batch
from local.systems import Outputs, System, Targets
from local.text.ctc import greedy_tokens
from local.text.tokenizer import Tokenizer


@dataclass
class Batch:
    """B utterances padded to the longest of them, and to a multiple of `local.encoders.base.GRID`."""

    ids: list[str]
    wavs: Tensor  # [B, N] float samples, or [B, T, c] features of a frozen CNN; zero beyond each utterance's end
    lengths: Tensor  # [B] int, true samples, or frames; like the tokens, always on the CPU (see `local.systems`)
    targets: Targets
    texts: list[str]  # normalised transcripts

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: str | torch.device) -> Batch:
        """Move the waveforms and the labels, but for transcripts, to a device."""
        moved = {"emotion": self.targets.emotion, "weights": self.targets.weights}
        moved = {name: None if each is None else each.to(device, non_blocking=True) for name, each in moved.items()}
        if (tasks := self.targets.tasks) is not None:
            moved["tasks"] = {name: labels.to(device, non_blocking=True) for name, labels in tasks.items()}
        targets = self.targets._replace(**moved)
        return replace(self, wavs=self.wavs.to(device, non_blocking=True), targets=targets)

    def pin_memory(self) -> Batch:
        """Move the tensors to page-locked memory (called by the DataLoader)."""
        pinned = {name: each.pin_memory() for name, each in self.targets._asdict().items() if isinstance(each, Tensor)}
        if (tasks := self.targets.tasks) is not None:
            pinned["tasks"] = {name: labels.pin_memory() for name, labels in tasks.items()}
        targets = self.targets._replace(**pinned)
        return Batch(self.ids, self.wavs.pin_memory(), self.lengths.pin_memory(), targets, self.texts)

    def prediction_rows(
        self,
        outputs: Outputs,
        labels: list[str],
        tokenizer: Tokenizer,
        tasks: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> list[tuple]:
        """Rows for `local.scoring.predictions.frame` from a system's outputs for this batch.

        `tasks` are the further tasks of the system, with their classes. An utterance without an emotion has an empty
        one. A `UserError` if posteriors are not finite: the highest of them would still be a class.
        """
        posteriors = outputs.emotion.double().softmax(-1)
        if not (finite := posteriors.isfinite().all(1)).all():
            name = self.ids[int((~finite).nonzero()[0])]
            raise UserError(
                f"utterance {name}: the model's output is not finite", "--eval-precision fp32, or a lower --lr"
            )
        posteriors = posteriors.tolist()
        emotions = [labels[index] if index >= 0 else "" for index in self.targets.emotion.tolist()]
        facts = zip(self.ids, emotions, posteriors, self.texts, strict=True)
        rows = [(name, emotion, *posterior, text) for name, emotion, posterior, text in facts]
        if outputs.tokens is not None:
            hypotheses = map(tokenizer.decode, greedy_tokens(outputs.tokens, outputs.n_frames))
            rows = [(*row, hypothesis) for row, hypothesis in zip(rows, hypotheses, strict=True)]
        if not tasks:
            return rows
        further = task_targets.cells(outputs.further, self.targets.tasks, tasks)
        return [(*row, *cells) for row, cells in zip(rows, further, strict=True)]


class Utterances(Dataset):
    """The utterances of a table, with the values of its column `classes` as indices of `labels`.

    `audio` holds, by ID, [N] float samples at 16 kHz; or [T, c] features, the output of the encoder's frozen CNN, or of
    a frozen encoder. `tasks` are the further tasks of a system (see `System.tasks`), whose labels are read too.
    `class_weights`, which may be set, are those of the classes in the loss. An utterance without an emotion has the
    index -100, and a weight of 0 there.
    """

    class_weights: Tensor | None = None  # [C]

    def __init__(
        self,
        table: pd.DataFrame,
        audio: Mapping[str, Tensor],
        labels: list[str],
        tokenizer: Tokenizer,
        classes: str = "emo",
        tasks: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self.ids = table["ID"].tolist()
        self.audio = audio
        self.durations = table["duration"].to_numpy()
        indices = {label: index for index, label in enumerate(labels)}  # of speakers there may be thousands
        indices |= {"": task_targets.MISSING}
        self.tasks = task_targets.targets(table, tasks)
        self.emotions = [indices[label] for label in table[classes]]
        self.texts = table["wrd"].tolist()
        self.tokenizer = tokenizer

    @classmethod
    def of(
        cls,
        path: Path,
        store: Store,
        labels: list[str],
        tokenizer: Tokenizer,
        classes: str = "emo",
        tasks: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Utterances:
        """Read the utterances of a manifest; `UserError` when the store lacks the audio of some."""
        table = manifest.read(path)
        store.refuse_missing(table["ID"])
        return cls(table, store, labels, tokenizer, classes, tasks)

    @property
    def unlabelled(self) -> int:
        """How many have no emotion."""
        return sum(index < 0 for index in self.emotions)

    def refuse_unlabelled(self, path: Path, system: System) -> None:
        """`UserError` where some, of the manifest at `path`, have no emotion and a system cannot take them."""
        if self.unlabelled and not system.takes_unlabelled:
            n = counted(self.unlabelled, "utterance")
            what = f"{path}: {type(system).__name__} cannot take {n} without an emotion"
            raise UserError(what, "train without them, or take a YAML of the multi-task system")

    def refuse_longer_than(self, max_samples: int | None) -> None:
        """`UserError`, before the first step, for an utterance that an encoder cannot read whole."""
        for name, duration in zip(self.ids, self.durations, strict=True):
            refuse_too_long(name, duration * SAMPLE_RATE, max_samples)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, self.audio[self.ids[index]]

    def collate(self, items: list[tuple[int, Tensor]], device: str = "cpu") -> Batch:
        """Pad utterances into a batch for a kind of device (see `pad_batch`)."""
        indices, wavs = [index for index, _ in items], [wav for _, wav in items]
        tokens = [torch.tensor(self.tokenizer.encode(self.texts[index]), dtype=torch.long) for index in indices]
        emotion = torch.tensor([self.emotions[index] for index in indices])
        targets = Targets(
            emotion=emotion,
            tokens=pad_sequence(tokens, batch_first=True),
            n_tokens=torch.tensor([len(item) for item in tokens]),
            weights=self._weights(emotion),
            tasks={name: labels[indices] for name, labels in self.tasks.items()} or None,
        )
        return Batch(
            ids=[self.ids[index] for index in indices],
            wavs=pad_batch(wavs, device),
            lengths=torch.tensor([len(wav) for wav in wavs]),
            targets=targets,
            texts=[self.texts[index] for index in indices],
        )

    def _weights(self, emotion: Tensor) -> Tensor | None:
        """[B] the weights of utterances in the cross-entropy of these emotions."""
        labelled = emotion >= 0
        if self.class_weights is not None:
            return self.class_weights[emotion.clamp(min=0)] * labelled
        return None if labelled.all() else labelled.float()


def loader(utterances: Utterances, batch_sampler, num_workers: int = 0, device: str = "cpu") -> DataLoader:
    """Read the batches whose indices a sampler gives, for a kind of device, `cpu` or `cuda`."""
    return DataLoader(
        utterances,
        batch_sampler=batch_sampler,
        collate_fn=partial(utterances.collate, device=device),
        num_workers=num_workers,
        pin_memory=device == "cuda",
    )

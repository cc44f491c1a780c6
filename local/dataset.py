"""Utterances as batches: audio at 16 kHz mono, token and class indices, true lengths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torchaudio
from speechbrain.dataio import audio_io
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

from local import manifest
from local.audio import SAMPLE_RATE
from local.errors import UserError
from local.job import Job
from local.systems import Targets
from local.tokenizer import Tokenizer


def load_wav(path: str | Path) -> Tensor:
    """Read an audio file of any rate and channel count: [N] float samples at 16 kHz, the mean of its channels.

    Raises
    ------
    UserError
        It is absent or cannot be decoded.
    """
    try:
        wav, rate = audio_io.load(str(path), dtype=torch.float32)
    except RuntimeError as error:
        raise UserError(str(error), "mend or remove the file, then run stage 0 again") from None
    if wav.shape[1] == 0:
        raise UserError(f"{path} holds no samples", "mend or remove the file, then run stage 0 again")
    wav = wav.mean(0)
    return wav if rate == SAMPLE_RATE else torchaudio.functional.resample(wav, rate, SAMPLE_RATE)


@dataclass
class Batch:
    """Utterances padded to the longest of them.

    Attributes
    ----------
    ids
        B names of utterances.
    wavs
        [B, N] float, zero beyond each utterance's end.
    lengths
        [B] int, true samples.
    targets
        Class and token indices.
    texts
        B normalised transcripts.
    """

    ids: list[str]
    wavs: Tensor
    lengths: Tensor
    targets: Targets
    texts: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: str | torch.device) -> Batch:
        """Move the tensors to a device."""
        targets = Targets(*(tensor.to(device, non_blocking=True) for tensor in self.targets))
        wavs, lengths = self.wavs.to(device, non_blocking=True), self.lengths.to(device, non_blocking=True)
        return Batch(self.ids, wavs, lengths, targets, self.texts)

    def pin_memory(self) -> Batch:
        """Move the tensors to page-locked memory (called by the DataLoader)."""
        targets = Targets(*(tensor.pin_memory() for tensor in self.targets))
        return Batch(self.ids, self.wavs.pin_memory(), self.lengths.pin_memory(), targets, self.texts)


class Utterances(Dataset):
    """The utterances of a manifest.

    Parameters
    ----------
    table
        Table of utterances.
    data_root
        What `$data_root` stands for.
    labels
        The emotions, in the order of the model's classes.
    tokenizer
        Turns transcripts into tokens.
    """

    def __init__(self, table: pd.DataFrame, data_root: Path, labels: list[str], tokenizer: Tokenizer) -> None:
        self.ids = table["ID"].tolist()
        self.wavs = manifest.resolve(table["wav"], data_root).tolist()
        self.durations = table["duration"].to_numpy()
        self.emotions = [labels.index(label) for label in table["emo"]]
        self.texts = table["wrd"].tolist()
        self.tokens = [tokenizer.encode(text) for text in self.texts]

    @classmethod
    def of(cls, job: Job, part: str) -> Utterances:
        """The utterances of a job's part: `train`, `valid` or `test`."""
        return cls(manifest.read(job.manifests / f"{part}.csv"), job.data_root, job.labels, job.tokenizer)

    def refuse_longer_than(self, max_samples: int | None) -> None:
        """Refuse, before the first step, utterances that an encoder cannot read whole.

        Raises
        ------
        UserError
            The first utterance that is too long.
        """
        for name, duration in zip(self.ids, self.durations, strict=True):
            if max_samples is not None and duration * SAMPLE_RATE > max_samples:
                raise UserError(
                    f"utterance {name} lasts {duration:.1f} s: the encoder reads {max_samples / SAMPLE_RATE:.0f} s",
                    "take another --encoder, or cut the utterance",
                )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, load_wav(self.wavs[index])

    def collate(self, items: list[tuple[int, Tensor]]) -> Batch:
        """Pad utterances into a batch."""
        indices, wavs = [index for index, _ in items], [wav for _, wav in items]
        tokens = [torch.tensor(self.tokens[index], dtype=torch.long) for index in indices]
        targets = Targets(
            emotion=torch.tensor([self.emotions[index] for index in indices]),
            tokens=pad_sequence(tokens, batch_first=True),
            n_tokens=torch.tensor([len(item) for item in tokens]),
        )
        return Batch(
            ids=[self.ids[index] for index in indices],
            wavs=pad_sequence(wavs, batch_first=True),
            lengths=torch.tensor([len(wav) for wav in wavs]),
            targets=targets,
            texts=[self.texts[index] for index in indices],
        )


class MicroBatch(NamedTuple):
    """Utterances that pass through the model together, on the way to one update.

    indices
        Of the utterances.
    update_size
        How many utterances the whole update has.
    ends_update
        Whether the optimizer steps after this one.
    """

    indices: list[int]
    update_size: int
    ends_update: bool


class UpdateSampler(Sampler[list[int]]):
    """Every utterance once an epoch, shuffled into updates, each cut into micro-batches of like lengths.

    The order depends on seed and epoch alone. The last update of an epoch has what is left.

    Parameters
    ----------
    durations
        Seconds per utterance.
    batch_size
        Utterances per update.
    micro_batch_size
        Utterances at a time.
    seed
        Of the experiment.
    """

    def __init__(self, durations: np.ndarray, batch_size: int, micro_batch_size: int, seed: int) -> None:
        self.durations = durations
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.seed = seed
        self.set_epoch(1)

    @property
    def updates_per_epoch(self) -> int:
        """How many times the optimizer steps in an epoch."""
        return -(-len(self.durations) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Draw the plan of an epoch: `plan`, its micro-batches in order."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.durations))
        self.plan: list[MicroBatch] = []
        for start in range(0, len(order), self.batch_size):
            update = order[start : start + self.batch_size]
            update = update[np.argsort(self.durations[update], kind="stable")].tolist()
            for first in range(0, len(update), self.micro_batch_size):
                indices = update[first : first + self.micro_batch_size]
                self.plan.append(MicroBatch(indices, len(update), first + self.micro_batch_size >= len(update)))

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[list[int]]:
        return iter([micro_batch.indices for micro_batch in self.plan])


def sorted_batches(utterances: Utterances, batch_size: int, num_workers: int = 0) -> DataLoader:
    """Batches of like lengths, longest first, for evaluation."""
    order = np.argsort(-utterances.durations, kind="stable").tolist()
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return loader(utterances, batches, num_workers)


def loader(utterances: Utterances, batch_sampler, num_workers: int = 0) -> DataLoader:
    """Read the batches that a sampler names."""
    return DataLoader(
        utterances,
        batch_sampler=batch_sampler,
        collate_fn=utterances.collate,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
    )

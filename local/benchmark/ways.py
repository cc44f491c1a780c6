"""The ways to train that the benchmark compares, each a process that does a round when told to.

    python -m local.benchmark.ways WAY FOLDER UTTERANCES DEVICE ENCODER

reads lines from standard input, does a round for each (a whole pass over the utterances, in updates), and
answers with a line of JSON: seconds, seconds of audio, operations asked for, bytes of memory at most.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
import torch.nn.functional as F
from speechbrain.utils.seed import seed_everything
from transformers import AutoModel, PretrainedConfig, Wav2Vec2Config

from local.audio.header import SAMPLE_RATE
from local.benchmark import flops
from local.benchmark.uses import LABELS, MODEL, USES, Use
from local.config import hparams  # logs before anything of SpeechBrain
from local.core import logs
from local.data.batches import UpdateSampler, sorted_batches
from local.data.dataset import Batch, Utterances, loader
from local.data.device import evaluation_limits, limits, resolve_precision
from local.data.feature_store import model_inputs
from local.data.store import AudioStore
from local.encoders import length_mask, load_encoder
from local.systems.mtl import MultiTaskSystem
from local.text.tokenizer import Tokenizer, train
from local.training.brain import EmotionBrain
from local.training.checkpoints import RunCheckpointer

YAML = Path("hparams/mtl_wav2vec2.yaml")
# Durations of IEMOCAP's 5,531 utterances in seconds, by quantile; the tenth is chosen so that their mean is 4.55.
QUANTILES = (0, 0.1, 0.5, 0.9, 0.95, 0.99, 1)
DURATIONS = (0.58, 1.3, 3.58, 8.7, 11.1, 15.5, 34.1)
# wav2vec2-base is what transformers makes by default, but for layers left out by chance, which would not be counted.
SHAPE = {"layerdrop": 0.0}
CHARACTERS = 12.3  # of transcript per second: 56 in 4.55 s
LITTLE = 0.3  # of the memory: when less is free, what is not in use is given back
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ' "


def iemocap_durations(n: int) -> np.ndarray:
    """[n] seconds, evenly spread over the quantiles of IEMOCAP's durations, shuffled."""
    durations = np.exp(np.interp((np.arange(n) + 0.5) / n, QUANTILES, np.log(DURATIONS)))
    return np.random.default_rng(1).permutation(durations)


def make(place: Path, n: int) -> None:
    """Write a corpus of noise of these durations: wav files, all.csv, the audio store and a tokenizer."""
    chance, rows = np.random.default_rng(2), []
    for number, duration in enumerate(iemocap_durations(n)):
        samples = chance.normal(0, 3000, round(duration * SAMPLE_RATE)).astype(np.int16)
        path = place / f"u{number:05}.wav"
        soundfile.write(path, samples, SAMPLE_RATE)
        letters = chance.choice(list(LETTERS), max(1, round(CHARACTERS * duration)))
        row = [path.stem, len(samples) / SAMPLE_RATE, f"$data_root/{path.name}", LABELS[number % 4], "".join(letters)]
        rows.append(row)
    table = pd.DataFrame(rows, columns=["ID", "duration", "wav", "emo", "wrd"])
    table.to_csv(place / "all.csv", index=False)
    train(pd.Series([LETTERS]), place / "tokenizer.model", "char")
    AudioStore.of(place, table, place)


class Way:
    """A way to pass over the utterances once.

    Attributes
    ----------
    config
        The encoder's shape.
    cnn_passes
        Forward and backward passes of the CNN, see `flops.update`; `None` where nothing is trained.
    """

    config: PretrainedConfig
    cnn_passes: int | None = 3

    def once(self) -> None:
        """Pass over the utterances."""
        raise NotImplementedError


class Released(Way):
    """As the paper's released code: fp32, gradient checkpointing, 2 x 4, random order, eager attention, no masks."""

    def __init__(self, utterances: Utterances, encoder: str, device: str) -> None:
        self.utterances, self.device = utterances, device
        self.model = _plain_model(encoder, "eager").to(device).train()
        self.model.gradient_checkpointing_enable()
        self.config = self.model.config
        self.heads = torch.nn.ModuleList([torch.nn.Linear(self.config.hidden_size, n) for n in (32, 4)]).to(device)
        self.parameters = [*self.model.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-5)
        self.order = np.random.default_rng(3)

    def once(self) -> None:
        """Updates of 8 utterances, 2 at a time."""
        order = self.order.permutation(len(self.utterances)).tolist()
        for start in range(0, len(order), 8):
            update = order[start : start + 8]
            for first in range(0, len(update), 2):
                batch = _padded(self.utterances, update[first : first + 2], self.device)
                frames = self.model(batch.wavs).last_hidden_state
                tokens = self.heads[0](frames).log_softmax(-1).transpose(0, 1)
                n_frames = self.model._get_feat_extract_output_lengths(batch.lengths)
                texts = batch.targets.tokens.to(self.device)
                ctc = F.ctc_loss(tokens, texts, n_frames, batch.targets.n_tokens, reduction="sum")
                ce = F.cross_entropy(self.heads[1](frames.mean(1)), batch.targets.emotion)
                ((ce + 0.1 * ctc / len(batch)) * len(batch) / len(update)).backward()
            _step(self.optimizer, self.parameters)


class SpeechBrainRecipe(Way):
    """As SpeechBrain's IEMOCAP recipe: fp32, 4 utterances an update, the CNN frozen, emotion alone."""

    cnn_passes = 1

    def __init__(self, utterances: Utterances, encoder: str, device: str) -> None:
        self.utterances, self.device = utterances, device
        self.model = _plain_model(encoder, "sdpa").to(device).train()
        self.model.feature_extractor.requires_grad_(False)
        self.config = self.model.config
        self.head = torch.nn.Linear(self.config.hidden_size, 4).to(device)
        self.parameters = [p for p in [*self.model.parameters(), *self.head.parameters()] if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-5)
        self.order = np.random.default_rng(3)

    def once(self) -> None:
        """Updates of 4 utterances."""
        order = self.order.permutation(len(self.utterances)).tolist()
        for start in range(0, len(order), 4):
            batch = _padded(self.utterances, order[start : start + 4], self.device)
            pooled = self.model(batch.wavs).last_hidden_state.mean(1)
            F.cross_entropy(self.head(pooled), batch.targets.emotion).backward()
            _step(self.optimizer, self.parameters)


class Ours(Way):
    """The trainer of this project: the Brain with its sampler and optimizer; what ends an epoch is left out."""

    def __init__(self, utterances: Utterances, encoder: str, device: str, freeze_cnn: bool, precision: str) -> None:
        values = hparams.read_values(YAML) | {"device": device, "freeze_cnn": freeze_cnn, "precision": precision}
        values["precision"] = resolve_precision(values)
        system = _system(encoder, freeze_cnn)
        self.config, self.cnn_passes = system.encoder.model.config, 0 if freeze_cnn else 3
        self.features = model_inputs(utterances.audio, system.encoder, device)
        tokenizer = Tokenizer(utterances.audio.path.with_name("tokenizer.model"))
        self.sampler = UpdateSampler(utterances.durations, values["batch_size"], limits(values, system), seed=1)
        folder = Path(tempfile.mkdtemp(dir=utterances.audio.path.parent))
        self.brain = EmotionBrain(
            system, values, folder, self.sampler, LABELS, tokenizer, RunCheckpointer(folder / "save")
        )
        self.brain.end_epoch = lambda: None  # neither logged nor saved
        self.batches = loader(utterances.over(self.features), self.sampler)
        self.epoch = 0

    def once(self) -> None:
        """An epoch's updates."""
        self.epoch += 1
        self.brain.fit([self.epoch], self.batches, progressbar=False)


class Inference(Way):
    """Forward alone, as stage 3 does; in its batches, or one utterance at a time."""

    cnn_passes = None

    def __init__(self, utterances: Utterances, encoder: str, device: str, one_by_one: bool) -> None:
        values = hparams.read_values(YAML) | {"device": device}
        self.system = _system(encoder, False).to(device).eval()
        self.config, self.device = self.system.encoder.model.config, device
        order = [[index] for index in range(len(utterances))]
        batches = order if one_by_one else sorted_batches(utterances.durations, evaluation_limits(values, self.system))
        self.batches = loader(utterances, batches)

    @torch.inference_mode()
    def once(self) -> None:
        """All utterances."""
        for batch in self.batches:
            batch = batch.to(self.device)
            self.system(batch.wavs, batch.lengths)


def build(way: str, utterances: Utterances, encoder: str, device: str) -> Way | Use:
    """Build a way by its letter; see `local.benchmark.__main__`."""
    if way in USES:
        folder = utterances.audio.path.parent
        return USES[way](folder / MODEL, sorted(folder.glob("*.wav")), device)
    fast = "bf16"
    ways: dict[str, Callable[[], Way]] = {
        "a": lambda: Released(utterances, encoder, device),
        "b": lambda: SpeechBrainRecipe(utterances, encoder, device),
        "c": lambda: Ours(utterances, encoder, device, freeze_cnn=False, precision="auto"),
        "d": lambda: Ours(utterances, encoder, device, freeze_cnn=True, precision=fast),
        "one": lambda: Inference(utterances, encoder, device, one_by_one=True),
        "many": lambda: Inference(utterances, encoder, device, one_by_one=False),
    }
    return ways[way]()


def gemm(device: str, dtype: torch.dtype) -> float:
    """Multiply two 2048 x 2048 matrices: operations per second, the best of five."""
    a, b = (torch.randn(2048, 2048, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        began = _now(device)
        a @ b
        best = min(best, _now(device) - began)
    return 2 * 2048**3 / best


def utterances_of(folder: Path) -> Utterances:
    """What `make` wrote."""
    table = pd.read_csv(folder / "all.csv", keep_default_na=False)
    return Utterances(table, AudioStore.of(folder, table, folder), LABELS, Tokenizer(folder / "tokenizer.model"))


def serve(way: str, folder: Path, device: str, encoder: str) -> None:
    """Do a round for each line of standard input."""
    utterances = utterances_of(folder)
    seed_everything(1, verbose=False)
    built = build(way, utterances, encoder, device)
    samples = (utterances.durations * SAMPLE_RATE).round().astype(int).tolist()
    passes = built.cnn_passes
    if passes is None:
        asked = sum(flops.cnn(built.config, n) + flops.transformer(built.config, n) for n in samples)
    else:
        asked = sum(flops.update(built.config, n, passes) for n in samples)
    for _ in sys.stdin:
        began = _now(device)
        built.once()
        seconds = _now(device) - began
        answer = {"seconds": seconds, "audio": float(utterances.durations.sum()), "flops": asked, "peak": _peak(device)}
        _give_back_memory()
        print(json.dumps(answer), flush=True)


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak(device: str) -> int:
    """Bytes of memory at most: of the GPU, or of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    # The system counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _give_back_memory() -> None:
    """Give what was freed back to the system where little is left, for those who wait for their turn.

    Otherwise the C library keeps it for the next tensor, as it does in a training that runs alone (see path.sh).
    """
    if sys.platform == "linux" and os.sysconf("SC_AVPHYS_PAGES") < LITTLE * os.sysconf("SC_PHYS_PAGES"):
        ctypes.CDLL(None).malloc_trim(0)


def _plain_model(encoder: str, attention: str) -> torch.nn.Module:
    """The encoder as transformers has it."""
    if encoder:
        return AutoModel.from_pretrained(encoder, attn_implementation=attention)
    return AutoModel.from_config(Wav2Vec2Config(**SHAPE), attn_implementation=attention)


def _system(encoder: str, freeze_cnn: bool) -> MultiTaskSystem:
    source = encoder or {"model_type": "wav2vec2"} | SHAPE
    return MultiTaskSystem(load_encoder(source, freeze_cnn=freeze_cnn), len(LABELS), 32, alpha=0.1)


def _padded(utterances: Utterances, indices: list[int], device: str) -> Batch:
    """A batch of waveforms, each normalised over its own length."""
    batch = utterances.collate([utterances[index] for index in indices])
    mask = length_mask(batch.lengths, batch.wavs.shape[1])
    wavs = batch.wavs - (batch.wavs.sum(1) / batch.lengths)[:, None]
    batch.wavs = wavs * mask / (wavs * mask).square().sum(1, keepdim=True).div(batch.lengths[:, None]).sqrt()
    return batch.to(device)


def _step(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> None:
    torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    logs.log_to_stderr()
    serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4])

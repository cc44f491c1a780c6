"""The ways to train and to infer that the benchmark compares, each a process that does a round when asked.

    python -m local.benchmark.ways WAY FOLDER DEVICE ENCODER

For each line of standard input it passes over all utterances once, in training in whole updates, and prints a line of
JSON: seconds, seconds of audio, floating-point operations, peak bytes of memory, precision, a system's pretrained
weights. A round in which nothing was done is an error.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from speechbrain.utils.seed import seed_everything
from torch import Tensor
from transformers import AutoConfig, AutoModel, PretrainedConfig, Wav2Vec2Config

from local.audio.header import SAMPLE_RATE
from local.benchmark import flops, page
from local.benchmark.machine import now
from local.benchmark.synthetic import LABELS, LETTERS, corpus, iemocap_durations
from local.benchmark.watch import UNIT
from local.config import hparams
from local.core import logs
from local.core.errors import Parser, UserError, as_command
from local.core.typed_csv import read_csv
from local.corpora import manifest
from local.data.batches import UpdateSampler, sorted_batches
from local.data.dataset import Batch, Utterances, loader
from local.data.device import evaluation_limits, kind, limits, resolve_precision, use_precision
from local.data.feature_store import model_inputs
from local.data.store import AudioStore
from local.encoders import load_encoder
from local.systems import System
from local.systems.mtl import MultiTaskSystem
from local.text.tokenizer import Tokenizer, train
from local.training.brain import EmotionBrain
from local.training.checkpoints import RunCheckpointer
from local.training.solving import Batches, solve

YAML = Path("hparams/mtl_wav2vec2.yaml")
# wav2vec2-base is what transformers makes by default, except that it skips layers at random.
SHAPE = {"layerdrop": 0.0}
TOKENS = 32
LITTLE = 0.5  # of the memory: when less is free, freed memory is given back
# Passes that do not count, before a way has its memory: of d on a CPU the system's new pages took two fifths of the
# first, a tenth of the second, a hundredth of the third.
SETTLE = 2


def make(folder: Path, n: int) -> None:
    """Write a corpus of n utterances: wav files, all.csv, the audio store and a tokenizer."""
    table = read_csv(corpus(folder, n))
    table["duration"] = (iemocap_durations(n) * SAMPLE_RATE).round() / SAMPLE_RATE
    table["wav"] = f"{manifest.DATA_ROOT}/" + table["wav"]
    table.to_csv(folder / "all.csv", index=False)
    train([LETTERS], folder / "tokenizer.model", "char")
    AudioStore.of(folder, table, folder)


def utterances_of(folder: Path) -> Utterances:
    """The utterances that `make` wrote."""
    table = read_csv(folder / "all.csv", numbers=["duration"])
    return Utterances(table, AudioStore.of(folder, table, folder), LABELS, Tokenizer(folder / "tokenizer.model"))


class Way(NamedTuple):
    """A way to pass over the utterances."""

    config: PretrainedConfig | None  # the encoder's shape; None where operations are not counted by it
    # Of the CNN and the rest: 3 where it learns, 1 where it only computes, 0 where cached; 2 where gradients only pass.
    passes: tuple[float, float]
    precision: str
    once: Callable[[], int]  # passes over all utterances; how many updates it made, or answers it gave
    taken: slice = slice(None)  # of the utterances, if that is not all
    weights: str = ""  # of a system: what it was pretrained on, or what it lacks


def plain(utterances: Utterances, encoder: str, device: str, released: bool) -> Way:
    """Train transformers' model in fp32, in random order, as the paper's released code or SpeechBrain's recipe does.

    The former: gradient checkpointing, 2 utterances x 4, eager attention, no masks, both tasks. The latter, for
    IEMOCAP: 4 utterances an update, the CNN frozen, emotion alone.
    """
    size, at_a_time = (8, 2) if released else (4, 4)
    attention = {"attn_implementation": "eager" if released else "sdpa"}
    if encoder:
        model = AutoModel.from_pretrained(encoder, dtype=torch.float32, **attention)
    else:
        model = AutoModel.from_config(Wav2Vec2Config(**SHAPE), **attention)
    heads = torch.nn.ModuleList(torch.nn.Linear(model.config.hidden_size, n) for n in (len(LABELS), TOKENS))
    model, heads = model.to(device).train(), heads.to(device)
    if released:
        model.gradient_checkpointing_enable()
    else:
        model.feature_extractor.requires_grad_(False)
    parameters, random = [*model.parameters(), *heads.parameters()], np.random.default_rng(3)
    optimizer = (torch.optim.AdamW if released else torch.optim.Adam)(parameters, lr=1e-5)

    def loss(batch: Batch) -> Tensor:
        frames = model(batch.wavs).last_hidden_state
        ce = F.cross_entropy(heads[0](frames.mean(1)), batch.targets.emotion)
        if not released:
            return ce
        tokens, texts = heads[1](frames).log_softmax(-1).transpose(0, 1), batch.targets.tokens.to(device)
        n_frames = model._get_feat_extract_output_lengths(batch.lengths)
        ctc = F.ctc_loss(tokens, texts, n_frames, batch.targets.n_tokens, reduction="sum")
        return ce + 0.1 * ctc / len(batch)

    def once() -> int:
        order = random.permutation(len(utterances)).tolist()
        starts = range(0, len(order), size)
        for start in starts:
            update = order[start : start + size]
            for first in range(0, len(update), at_a_time):
                batch = _padded(utterances, update[first : first + at_a_time]).to(device)
                (loss(batch) * len(batch) / len(update)).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return len(starts)

    return Way(model.config, (3 if released else 1, 3), "fp32", once)


def _padded(utterances: Utterances, indices: list[int]) -> Batch:
    """A batch of waveforms, each normalised over its own length."""
    items = [(index, wav - wav.mean()) for index, wav in map(utterances.__getitem__, indices)]
    return utterances.collate([(index, wav / wav.square().mean().sqrt()) for index, wav in items])


def ours(
    utterances: Utterances,
    encoder: str,
    device: str,
    passes: tuple[float, float] = (3, 3),
    emotion_layers: str = "last",
    unfreeze: Mapping[str, int] = MappingProxyType({}),
    **changes: Any,
) -> Way:
    """Train as this project does: the Brain with its sampler and optimizer, without what ends an epoch.

    `changes` are of the arguments of `load_encoder`; `passes` are those of `Way`; of `unfreeze` it is an epoch in
    which the first layers are trained already, as the log names layers in the epoch that begins to train them.
    """
    values = hparams.build(hparams.resolve(hparams.RUNNING, {})) | hparams.read_values(YAML)  # with the optimizer
    values |= {"device": device, "unfreeze": dict(unfreeze)}
    values["precision"] = resolve_precision(values)
    system = _system(encoder, emotion_layers, **changes)
    return Way(system.encoder.model.config, passes, values["precision"], _training(utterances, system, values))


def half_frozen(utterances: Utterances, encoder: str, device: str) -> Way:
    """The same, with the lower half of the layers frozen; the rest before them does not count as work, either."""
    half = len(_system(encoder).encoder.layers()) // 2
    return ours(utterances, encoder, device, (0, 1.5), freeze_layers=half)


def half_unfrozen(utterances: Utterances, encoder: str, device: str) -> Way:
    """The same in the middle of gradual unfreezing: the upper half is trained, and nothing is stored of the lower."""
    half = len(_system(encoder).encoder.layers()) // 2
    return ours(utterances, encoder, device, (1, 2), unfreeze={"every": 2, "layers": half})


def of_system(utterances: Utterances, encoder: str, device: str, file: Path) -> Way:
    """Train the system of a YAML as stage 2 does; of one that has no epochs, solve it.

    What is computed once for a corpus is computed before. `encoder` takes the place of the YAML's `encoder` or
    `upstream`, where it has one.
    """
    known = hparams.read_values(file)
    sizes = {"seed": 1, "n_labels": len(LABELS), "n_tokens": len(utterances.tokenizer)}
    given = {key: encoder for key in ("encoder", "upstream") if encoder and key in known}
    values = hparams.build(hparams.resolve(file, sizes | dict(list(given.items())[-1:])), file) | {"device": device}
    values["precision"] = resolve_precision(values)
    system = values["system"]
    once = _training(utterances, system, values)
    return Way(None, (0, 0), values["precision"], once, weights=system.weights)


def _training(utterances: Utterances, system: System, values: dict[str, Any]) -> Callable[[], int]:
    """What passes over all utterances: an epoch of the Brain, without what ends it; or the last step, if it is all."""
    folder = Path(tempfile.mkdtemp(dir=utterances.audio.path.parent))
    utterances.audio = model_inputs(utterances.audio, system, values["device"])
    sampler = UpdateSampler(utterances.durations, values["batch_size"], limits(values, system), seed=1)
    checkpointer = RunCheckpointer(folder / "save")
    brain = EmotionBrain(system, values, folder, sampler, LABELS, utterances.tokenizer, checkpointer)
    whole = sorted_batches(utterances.durations, evaluation_limits(values, system))
    brain.measured = loader(utterances, whole, device=kind(values))
    brain.on_fit_start()
    brain.on_fit_start = brain.end_epoch = lambda: None  # one optimizer for all rounds; nothing is logged or saved
    brain.is_solved = True
    if not values["epochs"]:
        return partial(_solve, brain)
    batches = loader(utterances, sampler, device=kind(values))
    epoch = 2 * values["unfreeze"].get("every", 0) or 1  # of `unfreeze`: no layers begin in it

    def once() -> int:
        before = brain.optimizer_step
        # The same updates in every round: their sizes are then new in the first alone, which does not count. So it is
        # in training: of IEMOCAP few are new after the first epoch, of a few utterances in another order most would be.
        brain.fit([epoch], batches, progressbar=False)
        return brain.optimizer_step - before - brain.skipped.in_epoch

    return once


def _solve(brain: EmotionBrain) -> int:
    """Let a system solve its last step; how many batches of the training set it took, which is no update if none."""
    taken: list[None] = []
    labelled = Batches(brain.measured, brain.device, lambda: taken.append(None))
    solve(brain.system, brain.checkpointer, [1], labelled, None)
    return len(taken)


def inference(utterances: Utterances, encoder: str, device: str, one_by_one: bool) -> Way:
    """Forward alone, as stage 3 does; in its batches, or one utterance at a time."""
    values = hparams.read_values(YAML) | {"device": device}
    system = _system(encoder).to(device).eval()
    in_batches = sorted_batches(utterances.durations, evaluation_limits(values, system))
    alone = [[index] for index in range(len(utterances))]
    batches = loader(utterances, alone if one_by_one else in_batches, device=kind(values))

    @torch.inference_mode()
    def once() -> int:
        answers = 0
        for batch in batches:
            batch = batch.to(device)
            answers += len(system(batch.wavs, batch.lengths).emotion)
        return answers

    return Way(system.encoder.model.config, (1, 1), values["eval_precision"], once)


def _system(encoder: str, emotion_layers: str = "last", **changes: Any) -> MultiTaskSystem:
    source = encoder or {"model_type": "wav2vec2"} | SHAPE
    shared = load_encoder(source, **changes)
    return MultiTaskSystem(shared, len(LABELS), TOKENS, alpha=0.1, emotion_layers=emotion_layers)


WAYS = {
    "a": partial(plain, released=True),
    "b": partial(plain, released=False),
    "c": ours,
    "d": partial(ours, passes=(0, 3), freeze_cnn=True),
    "layers": half_frozen,
    "lora": partial(ours, passes=(1, 2), lora={"rank": 8}),
    "unfreeze": half_unfrozen,
    "weighted": partial(ours, emotion_layers="weighted"),
    "one": partial(inference, one_by_one=True),
    "many": partial(inference, one_by_one=False),
}


def build(way: str, utterances: Utterances, encoder: str, device: str) -> Way:
    """Build a way by its name: of `WAYS`, a system, or to use a trained model on the wav files of the utterances."""
    if way in WAYS:
        return WAYS[way](utterances, encoder, device)
    if file := page.yaml_of(way):
        return of_system(utterances, encoder, device, file)
    from local.benchmark import uses  # loads all that exports: the other ways are not to hold it in memory

    folder = utterances.audio.path.parent
    model, wavs, taken = folder / uses.MODEL, sorted(folder.rglob("*.wav")), slice(None)
    config, precision = AutoConfig.from_pretrained(model / "emotion"), way if way in ("bf16", "int8") else "fp32"
    if way == page.FIRST:  # an utterance of about the mean duration
        index = int(np.abs(utterances.durations - utterances.durations.mean()).argmin())
        taken = slice(index, index + 1)
    return Way(config, (1, 1), precision, partial(uses.USES[way](model, device), wavs[taken]), taken)


def serve(way: str, folder: Path, device: str, encoder: str) -> None:
    """For each line of standard input settle, do a round, or say that all is built; answer with what was measured."""
    utterances = utterances_of(folder)
    seed_everything(1, verbose=False)
    use_precision("fp32")  # unless a way takes another
    built = build(way, utterances, encoder, device)
    durations = utterances.durations[built.taken]
    samples, audio = (durations * SAMPLE_RATE).round().astype(int).tolist(), float(durations.sum())
    if built.config is None:
        operations = 3e9 * page.FORWARD.get(way, 0.0) * audio
    else:
        operations = sum(flops.total(built.config, n, built.passes) for n in samples)
    row = {"audio": audio, "flops": operations, "precision": built.precision, "weights": built.weights}
    for line in sys.stdin:
        asked = line.strip()
        for _ in range({"built": 0, "settle": SETTLE}.get(asked, 1)):
            began = now(device)
            done = built.once()
            row["seconds"] = now(device) - began
            if not done:
                raise UserError(f"way {way} made no update, or gave no answer", "correct the way")
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
        row["peak"] = torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else own
        row["gave_back"] = asked == "round" and _give_back_memory(device)
        print(json.dumps(row), flush=True)


def _give_back_memory(device: str) -> bool:
    """Give freed memory back where little is left, for the ways that wait: PyTorch keeps a GPU's, the C library ours.

    See path.sh of the latter. Returns whether there was any to give.
    """
    gave_back = False
    if device.startswith("cuda"):
        free, size = torch.cuda.mem_get_info(device)
        if free < LITTLE * size:
            torch.cuda.empty_cache()
            gave_back = True
    if sys.platform == "linux" and os.sysconf("SC_AVPHYS_PAGES") < LITTLE * os.sysconf("SC_PHYS_PAGES"):
        gave_back |= bool(ctypes.CDLL(None).malloc_trim(0))
    return gave_back


@as_command
def main() -> None:
    """Serve a way."""
    parser = Parser(prog="python -m local.benchmark.ways", description=__doc__.splitlines()[0])
    for name in ("way", "folder", "device", "encoder"):
        parser.add_argument(name, metavar=name.upper())
    given = parser.parse_args()
    logs.log_to_stderr()
    serve(given.way, Path(given.folder), given.device, given.encoder)


if __name__ == "__main__":
    main()

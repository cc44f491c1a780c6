"""The ways to use a trained model that the benchmark compares: each loads it and returns a function of wav files.

    python -m local.benchmark.uses FOLDER ENCODER

exports a model into FOLDER/model, for all of them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import pipeline

from local.benchmark import page
from local.benchmark.synthetic import LABELS, LETTERS, LONGEST
from local.core.errors import Parser, UserError, as_command
from local.deploy import huggingface, onnx
from local.encoders import load_encoder
from local.inference import model_folder
from local.inference.items import analyze_items, files, whole_items
from local.inference.recognizer import EmotionRecognizer
from local.systems.mtl import MultiTaskSystem

TOKENS = ["<pad>", "<unk>", *LETTERS.replace(" ", "\u2581")]
MODEL = "model"  # the exported model's folder
Use = Callable[[list[Path]], int]  # takes wav files; how many it answered


def make(folder: Path, encoder: str) -> None:
    """Export a model of an encoder's shape, or of wav2vec2-base's, in all its forms."""
    torch.manual_seed(1)
    loaded = load_encoder(encoder or {"model_type": "wav2vec2"})
    system = MultiTaskSystem(loaded, len(LABELS), len(TOKENS), alpha=0.1)
    model = model_folder.Model(system.eval(), LABELS, TOKENS, [len(TOKENS)], LONGEST)
    model_folder.write(folder, model)
    huggingface.write(folder, model)
    notes = onnx.write(folder / "model.onnx", model)
    if (folder / "model.onnx").exists():
        onnx.quantize(folder / "model.onnx", folder / "model.int8.onnx")
    else:
        print(*notes, file=sys.stderr)


def one_by_one(take: Callable[[np.ndarray, int], object]) -> Use:
    """Read one file after another, and take its samples and their rate."""
    return lambda wavs: len([take(*soundfile.read(wav, dtype="float32")) for wav in wavs])


def pipelines(model: Path, device: str, tasks: dict[str, str]) -> Use:
    """The pipelines of transformers, as their documentation has them: each task has a model of its own."""
    pipes = [pipeline(task, str(model / name), device=device) for task, name in tasks.items()]
    return one_by_one(lambda samples, rate: [pipe({"raw": samples, "sampling_rate": rate}) for pipe in pipes])


def foreign_class(model: Path, device: str) -> Use:
    """As SpeechBrain's foreign_class of its IEMOCAP recognizer: load, encode, average, classify; emotion alone."""
    # Imported before `local.core.logs`, it would warn that it cannot save pictures.
    from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2

    encoder = Wav2Vec2(str(model / "emotion"), save_path=str(model / "cache"), freeze=True).to(device).eval()
    head = torch.nn.Linear(encoder.model.config.hidden_size, len(LABELS)).to(device)

    @torch.no_grad()
    def take(samples: np.ndarray, _: int) -> None:
        frames = encoder(torch.from_numpy(samples)[None].to(device))
        head(frames.mean(1)).softmax(-1).argmax(-1).item()

    return one_by_one(take)


def recognizer(model: Path, device: str, precision: str, batches: bool) -> Use:
    """`local.predict`, in batches of similar lengths; or `EmotionRecognizer.analyze`, one by one, with word times."""
    loaded = EmotionRecognizer.from_hparams(model, run_opts={"device": device, "precision": precision})

    def predict(wavs: list[Path]) -> int:
        items = whole_items(files([str(wav) for wav in wavs]), loaded.longest)
        return sum(1 for _ in analyze_items(items, loaded, seconds=120, words=False))

    return predict if batches else lambda wavs: len([loaded.analyze(wav) for wav in wavs])


def onnxruntime(model: Path, device: str, name: str) -> Use:
    """The exported file in onnxruntime on the CPU, one file at a time: the logits of both heads."""
    if not (model / name).exists():
        raise UserError(f"there is no {name} of this encoder", "leave the ways onnx and int8 out of --ways")
    runner = onnx.Runner(model / name, threads=torch.get_num_threads())
    return one_by_one(lambda samples, _: runner(samples[None], np.array([len(samples)])))


def first_answer(model: Path, device: str) -> Use:
    """A process of `local.predict` for the first file, from its start to its end: so long a user waits for it."""
    command = [sys.executable, "-m", "local.predict", "--model", str(model), "--device", device]
    return lambda wavs: int(subprocess.run([*command, str(wavs[0])], stdout=subprocess.DEVNULL).returncode == 0)


EMOTION = {"audio-classification": "emotion"}
USES = {
    "hf": partial(pipelines, tasks=EMOTION | {"automatic-speech-recognition": "ctc"}),
    "hf-emotion": partial(pipelines, tasks=EMOTION),
    "sb": foreign_class,
    "file": partial(recognizer, precision="fp32", batches=False),
    "predict": partial(recognizer, precision="fp32", batches=True),
    "bf16": partial(recognizer, precision="bf16", batches=True),
    "onnx": partial(onnxruntime, name="model.onnx"),
    "int8": partial(onnxruntime, name="model.int8.onnx"),
    page.FIRST: first_answer,
}


@as_command
def main() -> None:
    """Export a model."""
    parser = Parser(prog="python -m local.benchmark.uses", description=__doc__.splitlines()[0])
    for name in ("folder", "encoder"):
        parser.add_argument(name, metavar=name.upper())
    given = parser.parse_args()
    make(Path(given.folder) / MODEL, given.encoder)


if __name__ == "__main__":
    main()

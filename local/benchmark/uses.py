"""The ways to use a trained model that the benchmark compares: wav files in, emotions out.

    python -m local.benchmark.uses FOLDER ENCODER

exports a model into a folder, for all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import AutoConfig, pipeline

from local.deploy import huggingface, onnx
from local.encoders import load_encoder
from local.inference import model_folder
from local.inference.items import analyze_items, files, whole_items
from local.inference.recognizer import EmotionRecognizer
from local.systems.mtl import MultiTaskSystem

LABELS = ["ang", "hap", "neu", "sad"]
TOKENS = ["<pad>", "<unk>", "\u2581", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
MODEL = "model"  # the exported model's folder
LONGEST = 34.1  # seconds, of IEMOCAP's utterances


def make(folder: Path, encoder: str) -> None:
    """Export a model of an encoder's shape, or of wav2vec2-base's, in all its forms."""
    torch.manual_seed(1)
    loaded = load_encoder(encoder or {"model_type": "wav2vec2"})
    system = MultiTaskSystem(loaded, len(LABELS), len(TOKENS), alpha=0.1)
    model = model_folder.Model(system.eval(), LABELS, TOKENS, [len(TOKENS)], LONGEST)
    model_folder.write(folder, model)
    huggingface.write(folder, model)
    onnx.write(folder / "model.onnx", model)
    onnx.quantize(folder / "model.onnx", folder / "model.int8.onnx")


class Use:
    """A way to use a model: `once` takes all files.

    Parameters
    ----------
    model
        A folder that `make` wrote.
    wavs
        The files.
    device
        What it runs on.
    """

    cnn_passes = None

    def __init__(self, model: Path, wavs: list[Path], device: str) -> None:
        self.wavs = wavs
        self.config = AutoConfig.from_pretrained(model / "emotion")

    def once(self) -> None:
        """Take all files."""
        for wav in self.wavs:
            self.take(wav)

    def take(self, wav: Path) -> None:
        """Take one file."""
        raise NotImplementedError


class Pipeline(Use):
    """transformers' pipelines, as their documentation has them: one file at a time, emotion and transcript."""

    def __init__(self, model: Path, wavs: list[Path], device: str) -> None:
        super().__init__(model, wavs, device)
        self.pipelines = [
            pipeline("audio-classification", str(model / "emotion"), device=device),
            pipeline("automatic-speech-recognition", str(model / "ctc"), device=device),
        ]

    def take(self, wav: Path) -> None:
        """Both tasks, which the pipelines have a model each for."""
        samples, rate = soundfile.read(wav, dtype="float32")
        for each in self.pipelines:
            each({"raw": samples, "sampling_rate": rate})


class EmotionPipeline(Pipeline):
    """The same for the emotion alone."""

    def __init__(self, model: Path, wavs: list[Path], device: str) -> None:
        super().__init__(model, wavs, device)
        self.pipelines = self.pipelines[:1]


class ForeignClass(Use):
    """As SpeechBrain's foreign_class of its IEMOCAP recognizer: one file at a time, emotion alone."""

    def __init__(self, model: Path, wavs: list[Path], device: str) -> None:
        super().__init__(model, wavs, device)
        self.device = device
        # It regrets, on being imported, that it could not save pictures, unless `local.core.logs` was before it.
        from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2

        encoder = Wav2Vec2(str(model / "emotion"), save_path=str(model / "cache"), freeze=True)
        self.encoder = encoder.to(device).eval()
        self.head = torch.nn.Linear(self.encoder.model.config.hidden_size, len(LABELS)).to(device)

    @torch.no_grad()
    def take(self, wav: Path) -> None:
        """Load, encode, average, classify."""
        samples, _ = soundfile.read(wav, dtype="float32")
        frames = self.encoder(torch.from_numpy(samples)[None].to(self.device))
        self.head(frames.mean(1)).softmax(-1).argmax(-1).item()


class Files(Use):
    """`EmotionRecognizer.analyze`, one file at a time: emotion, transcript and word times."""

    def __init__(self, model: Path, wavs: list[Path], device: str, precision: str = "fp32") -> None:
        super().__init__(model, wavs, device)
        self.recognizer = EmotionRecognizer.from_hparams(model, run_opts={"device": device, "precision": precision})

    def take(self, wav: Path) -> None:
        """Everything that is known."""
        self.recognizer.analyze(wav)


class Predict(Files):
    """`local.predict`: batches of like lengths."""

    def once(self) -> None:
        """All lines."""
        items = whole_items(files([str(wav) for wav in self.wavs]), self.recognizer.longest)
        for _ in analyze_items(items, self.recognizer, seconds=120, words=False):
            pass


class Onnx(Use):
    """onnxruntime, one file at a time: the logits of both heads."""

    name = "model.onnx"

    def __init__(self, model: Path, wavs: list[Path], device: str) -> None:
        super().__init__(model, wavs, device)
        self.runner = onnx.Runner(model / self.name, threads=torch.get_num_threads())

    def take(self, wav: Path) -> None:
        """Read and run."""
        samples, _ = soundfile.read(wav, dtype="float32")
        self.runner(samples[None], np.array([len(samples)]))


class Int8(Onnx):
    """The same with weights of 8 bits."""

    name = "model.int8.onnx"


USES = {
    "hf": Pipeline,
    "hf-emotion": EmotionPipeline,
    "sb": ForeignClass,
    "file": Files,
    "predict": Predict,
    "bf16": lambda *words: Predict(*words, precision="bf16"),
    "onnx": Onnx,
    "int8": Int8,
}


if __name__ == "__main__":
    make(Path(sys.argv[1]) / MODEL, sys.argv[2])

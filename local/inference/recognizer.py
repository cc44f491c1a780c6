"""A model in use: emotion, posteriors, transcript and word times of any recording.

    from local.inference import EmotionRecognizer

    recognizer = EmotionRecognizer.from_hparams(source="MODEL")   # what python -m local.export wrote
    recognizer.analyze("any.flac")

`EmotionRecognizer` is one of SpeechBrain's `Pretrained` interfaces, with their methods; but it is loaded from a model
folder (see `local.inference.model_folder`), so that no code of the folder is run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from huggingface_hub import snapshot_download
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.autocast import AMPConfig
from torch import Tensor

from local.audio import recordings
from local.audio.header import SAMPLE_RATE
from local.audio.recordings import Blocks, Recording
from local.audio.segments import segments
from local.core.errors import UserError
from local.data.device import full_name, use_precision
from local.encoders.base import pad_batch
from local.inference import model_folder
from local.inference.model_folder import Model
from local.systems import Outputs
from local.text import ctc
from local.text.ctc import Word, greedy_tokens, to_text

Audio = str | Path | np.ndarray | Tensor
LONGEST = 60.0  # seconds that are analyzed at once, or the longest of training: attention grows with their square


@dataclass(frozen=True)
class Analysis:
    """The output of a model for a recording."""

    emotion: str  # the most probable label
    posteriors: dict[str, float]  # probability of each label, in the model's order; they add up to 1
    transcript: str  # greedy CTC text, normalised as in training; empty where the model writes none
    words: list[Word]  # of the transcript, with their times in seconds
    duration: float  # seconds
    flags: tuple[str, ...] = ()  # warnings about the recording, see `local.audio.survey.FLAGS`

    def later(self, seconds: float) -> Analysis:
        """The same with the words' times shifted: those in the recording, of a window that starts at `seconds`."""
        words = [word._replace(start=word.start + seconds, end=word.end + seconds) for word in self.words]
        return replace(self, words=words)


class Window(NamedTuple):
    """A part of a long recording, `start` and `end` in seconds, with its analysis."""

    start: float
    end: float
    analysis: Analysis


class EmotionRecognizer(Pretrained):
    """Recognizes emotion and words in recordings.

    Parameters
    ----------
    model
        The result of `local.inference.model_folder.read`; it is changed, to the device and the precision.
    run_opts
        SpeechBrain's run options: `device`, and `precision` (fp32; tf32, bf16 and fp16 are faster if the device
        has them). The last recognizer that computes in a process decides whether a GPU may round to TF32 there.

    Raises
    ------
    UserError
        There is no such device or precision.
    """

    def __init__(self, model: Model, run_opts: dict[str, Any] | None = None) -> None:
        options = {"precision": "fp32"} | (run_opts or {})
        options["device"] = full_name(options.get("device"))
        self.asked_precision = options["precision"]
        try:
            super().__init__({"system": model.system}, {}, options | {"precision": use_precision(options["precision"])})
        except (ValueError, RuntimeError, AssertionError) as error:  # of SpeechBrain or torch
            raise UserError(
                f"the model cannot be used with {run_opts}: {str(error).partition(chr(10))[0]}",
                "give a device of torch, such as cpu or cuda",
            ) from None
        for module in model.system.modules():
            if isinstance(module, torch.nn.Linear):
                # Autocast would cast its weights again for every batch.
                module.to(AMPConfig.from_name(self.precision).dtype)
        self.model = model
        self.labels = model.labels
        self.writes_text = model.system.writes_text
        limit = model.system.max_samples
        self.longest = min(max(LONGEST, model.max_seconds), limit / SAMPLE_RATE if limit else np.inf)
        # Of `follow`, in seconds: no more than the longest utterance of training, but at least a second.
        self.window = min(max(1.0, model.max_seconds), self.longest)

    @classmethod
    def from_hparams(
        cls,
        source: str | Path,
        hparams_file: str = model_folder.CONFIG,
        savedir: str | Path | None = None,
        run_opts: dict[str, Any] | None = None,
    ) -> EmotionRecognizer:
        """Load a model folder.

        Parameters
        ----------
        source
            The folder, or the name of a model on the Hugging Face hub.
        hparams_file
            `config.json`; SpeechBrain has this parameter.
        savedir
            Folder for the files from the hub; by default one below `~/.cache/ser-mtl`.
        run_opts
            See `EmotionRecognizer`.

        Raises
        ------
        UserError
            There is no such folder, it is broken, or it could run code.
        """
        if hparams_file != model_folder.CONFIG:
            raise UserError(
                f"{hparams_file} is not read: a YAML can run any code", f"leave hparams_file at {model_folder.CONFIG}"
            )
        if not os.path.exists(source):
            source = _download(str(source), savedir)
        return cls(model_folder.read(source), run_opts)

    # SpeechBrain's methods

    def forward(self, wavs: Tensor, wav_lens: Tensor | None = None) -> Outputs:
        """Logits of a batch: [B, N] float samples at 16 kHz, zero beyond each utterance's end.

        `wav_lens` are [B] true lengths relative to N; by default all are N long.
        """
        relative = torch.ones(len(wavs)) if wav_lens is None else wav_lens.cpu()
        return self._outputs(wavs, (relative * wavs.shape[1]).round().long())

    def _outputs(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """Logits of waveforms [B, N] with their lengths [B] in samples, in single precision."""
        use_precision(self.asked_precision)  # another recognizer may have another
        with torch.inference_mode(), self.inference_ctx:
            outputs = self.mods["system"](wavs.to(self.device, torch.float32), lengths)
        tokens = None if outputs.tokens is None else outputs.tokens.float()
        return Outputs(outputs.emotion.float(), tokens, outputs.n_frames)

    def classify_batch(self, wavs: Tensor, wav_lens: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Classify a batch; parameters as in `forward`.

        Returns [B, C] probabilities; [B] the highest of them; [B] the index of its class; B names of the class.
        """
        posteriors = self(wavs, wav_lens).emotion.softmax(-1)
        score, index = posteriors.max(-1)
        return posteriors, score, index, [self.labels[each] for each in index.tolist()]

    def classify_file(self, path: str | Path) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Classify an audio file of any rate, channels and format; returns as `classify_batch` does, B = 1."""
        return self.classify_batch(self._read(path).wav[None])

    def transcribe_batch(self, wavs: Tensor, wav_lens: Tensor | None = None) -> tuple[list[str], list[list[int]]]:
        """Transcribe a batch greedily; parameters as in `forward`. B texts, and B lists of tokens.

        A `UserError` where the model writes no text.
        """
        if not self.writes_text:
            raise UserError("this model writes no text", "use its emotions, or a model with a CTC head")
        outputs = self(wavs, wav_lens)
        tokens = greedy_tokens(outputs.tokens, outputs.n_frames)
        return [to_text(each, self.model.tokens) for each in tokens], tokens

    def transcribe_file(self, path: str | Path) -> str:
        """Transcribe an audio file of any rate, channels and format greedily."""
        return self.transcribe_batch(self._read(path).wav[None])[0][0]

    # Emotion and words together

    def analyze(self, audio: Audio, sample_rate: int | None = None) -> Analysis:
        """Find emotion, posteriors, transcript and word times of a recording.

        `audio` is the path of an audio file; or samples, numpy or torch, [N], [channels, N] or [N, channels], at
        `sample_rate` Hz. A `UserError` if it cannot be read, has no samples, or is longer than `longest` seconds: for
        those see `follow`.
        """
        return self.analyze_batch([self._read(audio, sample_rate)])[0]

    def analyze_batch(self, batch: Sequence[Recording], words: bool = True) -> list[Analysis]:
        """Analyze recordings of at most `longest` seconds in a batch, each as if alone; `words`: with their times."""
        lengths = torch.tensor([len(recording.wav) for recording in batch])
        wavs = pad_batch([recording.wav for recording in batch], torch.device(self.device).type)
        outputs = self._outputs(wavs, lengths)
        posteriors = outputs.emotion.double().softmax(-1).tolist()
        silent = [[] for _ in batch]
        transcripts = greedy_tokens(outputs.tokens, outputs.n_frames) if self.writes_text else silent
        analyses = []
        for index, recording in enumerate(batch):
            probabilities = dict(zip(self.labels, posteriors[index], strict=True))
            transcript = to_text(transcripts[index], self.model.tokens)
            spoken = self._words(outputs, index, transcripts[index], recording.duration) if words else []
            emotion = max(probabilities, key=probabilities.get)
            analyses.append(Analysis(emotion, probabilities, transcript, spoken, recording.duration, recording.flags))
        return analyses

    def follow(self, audio: Audio, sample_rate: int | None = None) -> Iterator[Window]:
        """Find emotion and transcript over a long recording, window by window, in bounded memory.

        Windows are cut at pauses (see `local.audio.segments`), none longer than the longest utterance of training;
        silence between them is left out. The times of words are those in the recording.
        """
        if isinstance(audio, str | Path):
            blocks = recordings.blocks(audio)
        else:
            recording = recordings.of_array(audio, sample_rate)
            blocks = Blocks(iter([recording.wav]), recording.flags)
        for start, end, wav in segments(blocks, self.window):
            analysis = self.analyze_batch([recordings.window(wav, blocks.flags)])[0]
            yield Window(start, end, analysis.later(start))

    def _words(self, outputs: Outputs, index: int, tokens: list[int], duration: float) -> list[Word]:
        if not tokens:
            return []
        log_probs = outputs.tokens[index, : outputs.n_frames[index]].log_softmax(-1)
        seconds = self.model.system.seconds_per_frame
        return ctc.words(log_probs, tokens, self.model.tokens, seconds, duration)

    def _read(self, audio: Audio, sample_rate: int | None = None) -> Recording:
        if isinstance(audio, str | Path):
            return recordings.read(audio, longest=self.longest)
        recording = recordings.of_array(audio, sample_rate)
        recordings.refuse_longer("the recording", recording.duration, self.longest)
        return recording


def _download(name: str, savedir: str | Path | None) -> str:
    """Download a model folder from the hub: the two files that are read, and nothing else."""
    try:
        # Not into the hub's cache, which consists of links: these are refused.
        savedir = savedir or Path.home() / ".cache" / "ser-mtl" / name
        return snapshot_download(name, local_dir=savedir, allow_patterns=[model_folder.CONFIG, model_folder.WEIGHTS])
    except Exception as error:  # wrong name, hub, network and disk each raise their own classes
        what = f"{name} is neither a folder nor a model of the hub ({str(error).partition(chr(10))[0]})"
        raise UserError(what, "give a folder that python -m local.export wrote") from None

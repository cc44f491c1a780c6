"""A model in use: emotion, posteriors, transcript and word times of any recording.

    from local.inference import EmotionRecognizer

    recognizer = EmotionRecognizer.from_hparams(source="MODEL")   # what python -m local.export wrote
    recognizer.analyze("any.flac")

`EmotionRecognizer` is one of SpeechBrain's `Pretrained` interfaces, and has their methods; but what it is made of
is a model folder (see `local.inference.recognizer.model_folder`), so that no code of the folder is run.
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
from local.audio.recordings import Recording
from local.audio.segments import segments
from local.core.errors import UserError
from local.encoders.base import pad_batch
from local.inference import model_folder
from local.inference.model_folder import Model
from local.systems import Outputs
from local.text import ctc
from local.text.ctc import Word, greedy_tokens, to_text

Audio = str | Path | np.ndarray | Tensor
LONGEST = 60.0  # seconds that are taken at a time where training saw less: attention grows with their square


@dataclass(frozen=True)
class Analysis:
    """What a model says of a recording.

    Attributes
    ----------
    emotion
        The likeliest label.
    posteriors
        Probability of each label, in the model's order; they add up to 1.
    transcript
        Greedy CTC text, normalised as in training; empty where the model has no CTC head.
    words
        The transcript's words and when they were said, in seconds.
    duration
        Seconds.
    flags
        What is to be known of the recording (see `local.audio.recordings.FLAGS`).
    """

    emotion: str
    posteriors: dict[str, float]
    transcript: str
    words: list[Word]
    duration: float
    flags: tuple[str, ...] = ()

    def later(self, seconds: float) -> Analysis:
        """The same with the words' times so much later: those of the recording that this is a part of."""
        words = [word._replace(start=word.start + seconds, end=word.end + seconds) for word in self.words]
        return replace(self, words=words)


class Window(NamedTuple):
    """A part of a long recording, `start` and `end` in seconds, and what a model says of it."""

    start: float
    end: float
    analysis: Analysis


class EmotionRecognizer(Pretrained):
    """Says of recordings which emotion is heard and what is spoken.

    Parameters
    ----------
    model
        What `local.inference.recognizer.model_folder.read` gives; it is taken over, to the device and the precision.
    run_opts
        SpeechBrain's run options: `device`, `precision` (fp32; bf16 and fp16 are faster where the device has them).

    Raises
    ------
    UserError
        There is no such device or precision.
    """

    def __init__(self, model: Model, run_opts: dict[str, Any] | None = None) -> None:
        try:
            super().__init__({"system": model.system}, {}, run_opts)
        except (ValueError, RuntimeError, AssertionError) as error:  # of SpeechBrain or torch
            raise UserError(
                f"the model cannot be used with {run_opts}: {str(error).partition(chr(10))[0]}",
                "give a device that torch has, such as cpu or cuda, and fp32, bf16 or fp16",
            ) from None
        for module in model.system.modules():
            if isinstance(module, torch.nn.Linear):
                # Autocast would cast its weights anew for every batch, to the same.
                module.to(AMPConfig.from_name(self.precision).dtype)
        self.model = model
        self.labels = model.labels
        limit = model.system.encoder.max_samples
        self.longest = min(max(LONGEST, model.max_seconds), limit / SAMPLE_RATE if limit else np.inf)
        # What `follow` takes at a time: no more than training saw, but a second of speech at least.
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
            The folder, or the name of a repository of the Hugging Face hub that holds one.
        hparams_file
            `config.json`; there for SpeechBrain's sake.
        savedir
            Where the files of a repository of the hub are put; without it, a folder below `~/.cache/ser-mtl`.
        run_opts
            See `EmotionRecognizer`.

        Raises
        ------
        UserError
            There is no such folder, or it is broken, or would run code of its own.
        """
        if hparams_file != model_folder.CONFIG:
            raise UserError(
                f"{hparams_file} is not read: a YAML can run any code", f"leave hparams_file {model_folder.CONFIG}"
            )
        if not os.path.exists(source):
            source = _downloaded(str(source), savedir)
        return cls(model_folder.read(source), run_opts)

    # SpeechBrain's methods

    def forward(self, wavs: Tensor, wav_lens: Tensor | None = None) -> Outputs:
        """Logits of a batch.

        Parameters
        ----------
        wavs
            [B, N] float samples at 16 kHz, zero beyond each utterance's end.
        wav_lens
            [B] float, true lengths relative to N; without it all are N long.
        """
        relative = torch.ones(len(wavs)) if wav_lens is None else wav_lens.cpu()
        return self._outputs(wavs, (relative * wavs.shape[1]).round().long())

    def _outputs(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """Logits of waveforms [B, N] with their lengths [B] in samples, in single precision."""
        with torch.inference_mode(), self.inference_ctx:
            outputs = self.mods["system"](wavs.to(self.device, torch.float32), lengths)
        tokens = None if outputs.tokens is None else outputs.tokens.float()
        return Outputs(outputs.emotion.float(), tokens, outputs.n_frames)

    def classify_batch(self, wavs: Tensor, wav_lens: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Classify a batch; parameters as in `forward`.

        Returns
        -------
        posteriors
            [B, C] probabilities.
        score
            [B] the highest of them.
        index
            [B] of its class.
        labels
            B names of it.
        """
        posteriors = self(wavs, wav_lens).emotion.softmax(-1)
        score, index = posteriors.max(-1)
        return posteriors, score, index, [self.labels[each] for each in index.tolist()]

    def classify_file(self, path: str | Path) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Classify an audio file of any rate, channels and format; returns as `classify_batch` does, B = 1."""
        return self.classify_batch(self._taken(path).wav[None])

    def transcribe_batch(self, wavs: Tensor, wav_lens: Tensor | None = None) -> tuple[list[str], list[list[int]]]:
        """Transcribe a batch greedily; parameters as in `forward`. B texts, and B lists of tokens."""
        outputs = self(wavs, wav_lens)
        tokens = greedy_tokens(outputs.tokens, outputs.n_frames)
        return [to_text(each, self.model.tokens) for each in tokens], tokens

    def transcribe_file(self, path: str | Path) -> str:
        """Transcribe an audio file of any rate, channels and format greedily."""
        return self.transcribe_batch(self._taken(path).wav[None])[0][0]

    # All at once

    def analyze(self, audio: Audio, sample_rate: int | None = None) -> Analysis:
        """Tell emotion, posteriors, transcript and word times of a recording.

        Parameters
        ----------
        audio
            The path of an audio file; or samples, numpy or torch, [N], [channels, N] or [N, channels].
        sample_rate
            Of samples, in Hz.

        Raises
        ------
        UserError
            It cannot be read, holds nothing, or is longer than `longest` seconds: `follow` takes those.
        """
        return self.analyze_batch([self._taken(audio, sample_rate)])[0]

    def analyze_batch(self, batch: Sequence[Recording], words: bool = True) -> list[Analysis]:
        """Analyze recordings together, each as if alone; none may be longer than `longest` seconds.

        Without `words` their times are not looked for.
        """
        lengths = torch.tensor([len(recording.wav) for recording in batch])
        wavs = pad_batch([recording.wav for recording in batch])
        outputs = self._outputs(wavs, lengths)
        posteriors = outputs.emotion.double().softmax(-1).tolist()
        transcripts = greedy_tokens(outputs.tokens, outputs.n_frames)
        analyses = []
        for index, recording in enumerate(batch):
            probabilities = dict(zip(self.labels, posteriors[index], strict=True))
            transcript = to_text(transcripts[index], self.model.tokens)
            spoken = self._words(outputs, index, transcripts[index], recording.duration) if words else []
            emotion = max(probabilities, key=probabilities.get)
            analyses.append(Analysis(emotion, probabilities, transcript, spoken, recording.duration, recording.flags))
        return analyses

    def follow(self, audio: Audio, sample_rate: int | None = None) -> Iterator[Window]:
        """Tell emotion and transcript over a long recording, window by window, in bounded memory.

        Windows are cut where it is quiet (see `local.audio.segments`), none longer than training's longest utterance;
        silence between them is left out. Words' times are of the recording.
        """
        if isinstance(audio, str | Path):
            blocks = recordings.blocks(audio)
        else:
            blocks = [recordings.of_array(audio, sample_rate).wav]
        for start, end, wav in segments(blocks, self.window):
            analysis = self.analyze_batch([recordings.of_array(wav, SAMPLE_RATE)])[0]
            yield Window(start, end, analysis.later(start))

    def _words(self, outputs: Outputs, index: int, tokens: list[int], duration: float) -> list[Word]:
        if not tokens:
            return []
        log_probs = outputs.tokens[index, : outputs.n_frames[index]].log_softmax(-1)
        seconds = self.model.system.encoder.seconds_per_frame
        return ctc.words(log_probs, tokens, self.model.tokens, seconds, duration)

    def _taken(self, audio: Audio, sample_rate: int | None = None) -> Recording:
        """Read what can be taken at once."""
        if isinstance(audio, str | Path):
            return recordings.read(audio, longest=self.longest)
        recording = recordings.of_array(audio, sample_rate)
        recordings.refuse_longer("the recording", recording.duration, self.longest)
        return recording


def _downloaded(name: str, savedir: str | Path | None) -> str:
    """Bring a model folder from the hub: the two files that are read, and nothing else."""
    try:
        # A folder of its own: the hub's cache is made of links.
        savedir = savedir or Path.home() / ".cache" / "ser-mtl" / name
        return snapshot_download(name, local_dir=savedir, allow_patterns=[model_folder.CONFIG, model_folder.WEIGHTS])
    except Exception as error:  # of the name, the hub, the network or the disk, each in classes of its own
        what = f"{name} is neither a folder nor a model of the hub ({str(error).partition(chr(10))[0]})"
        raise UserError(what, "give a folder that python -m local.export wrote") from None

"""A model in use, without SpeechBrain, which takes a second to load: what `local.predict` needs."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
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
from local.inference.unsure import UNTRAINED, Confidence
from local.systems import Outputs
from local.text import ctc
from local.text.ctc import Word, greedy_tokens, to_text

logger = logging.getLogger(__name__)

Audio = str | os.PathLike | np.ndarray | Tensor
LONGEST = 60.0  # seconds that are analyzed at once, or the longest of training: attention grows with their square
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

if hasattr(os, "register_at_fork"):  # not on Windows
    # A worker that is forked once a model is loaded has none of OpenMP's threads, and would wait for them forever.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@dataclass(frozen=True)
class Analysis:
    """The output of a model for a recording."""

    emotion: str  # the most probable label
    posteriors: dict[str, float]  # probability of each label, in the model's order; they add up to 1
    transcript: str  # greedy CTC text, normalised as in training; empty where the model writes none
    words: list[Word]  # of the transcript, with their times in seconds
    duration: float  # seconds
    flags: tuple[str, ...] = ()  # warnings about the recording, see `local.audio.survey.FLAGS`
    # Of the model's further heads, by name: a number on the scale of its corpus, or the probability of each class.
    heads: dict[str, float | dict[str, float]] = field(default_factory=dict)
    confidence: float | None = None  # the highest posterior, calibrated, and whether it is below the threshold;
    unsure: bool | None = None  # both None without a threshold

    def later(self, seconds: float) -> Analysis:
        """The same with the words' times shifted: those in the recording, of a window that starts at `seconds`."""
        words = [word._replace(start=word.start + seconds, end=word.end + seconds) for word in self.words]
        return replace(self, words=words)


class NotFinite(UserError):
    """A recording has overflowed the model: it has no answer for it."""


class Window(NamedTuple):
    """A part of a long recording, `start` and `end` in seconds, with its analysis."""

    start: float
    end: float
    analysis: Analysis


class Analyzer:
    """Finds emotion and words in recordings; parameters and errors as of `local.inference.EmotionRecognizer`."""

    def __init__(self, model: Model, run_opts: dict[str, Any] | None = None, unsure: str | float | None = None) -> None:
        options = run_opts or {}
        self.confidence = Confidence.of(model, unsure)
        if not model.emotions_trained:
            logger.warning(UNTRAINED)
        device = options.get("device")
        self.device = full_name(None if device is None else str(device))
        self.asked_precision = options.get("precision", "fp32")
        self.dtype = DTYPES[use_precision(self.asked_precision)]
        try:
            model.system.to(self.device)
        except (ValueError, RuntimeError, AssertionError) as error:  # of torch
            raise unusable(run_opts, error) from None
        for module in model.system.modules():
            if isinstance(module, torch.nn.Linear):
                # Autocast would cast its weights again for every batch.
                module.to(self.dtype)
        self.model = model
        self.labels = model.labels
        self.writes_text = model.system.writes_text
        self.tasks = dict(model.system.tasks)
        limit = model.system.max_samples
        self.longest = min(max(LONGEST, model.max_seconds), limit / SAMPLE_RATE if limit else np.inf)
        # Of `follow`, in seconds: no more than the longest utterance of training, but at least a second.
        self.window = min(max(1.0, model.max_seconds), self.longest)

    @classmethod
    def load(
        cls,
        source: str | Path,
        savedir: str | Path | None = None,
        unsure: str | float | None = None,
        **run_opts: Any,
    ) -> Analyzer:
        """Load a model folder, or a model of the Hugging Face hub by its name; see `EmotionRecognizer.from_hparams`."""
        if not os.path.exists(source):
            source = _download(str(source), savedir)
        return cls(model_folder.read(source), run_opts, unsure)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled: another process could not read it, and a pool of them waits forever then."""
        raise UserError("a recognizer cannot be pickled", "load the model in each process, or before they are forked")

    def __copy__(self) -> Analyzer:
        """Copy it, which `copy` does by pickling; model and weights are shared."""
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Analyzer:
        """Copy it with its model."""
        made = memo[id(self)] = type(self).__new__(type(self))
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

    def _outputs(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """Logits of waveforms [B, N] with their lengths [B] in samples, in single precision."""
        use_precision(self.asked_precision)  # another recognizer may have another
        autocast = torch.autocast(torch.device(self.device).type, self.dtype, enabled=self.dtype != torch.float32)
        with torch.inference_mode(), autocast:
            outputs = self.model.system(wavs.to(self.device, torch.float32), lengths)
        tokens = None if outputs.tokens is None else outputs.tokens.float()
        further = tuple(each.float() for each in outputs.further) if self.tasks else ()
        return Outputs(outputs.emotion.float(), tokens, outputs.n_frames, further)

    def analyze(self, audio: Audio, sample_rate: int | None = None) -> Analysis:
        """Find emotion, posteriors, transcript and word times of a recording.

        `audio` is the path of an audio file; or samples, numpy or torch, [N], [channels, N] or [N, channels], at
        `sample_rate` Hz. A `UserError` if it cannot be read, has no samples, or is longer than `longest` seconds: for
        those see `follow`. `NotFinite` if the model has no answer.
        """
        return self.analyze_batch([self._read(audio, sample_rate)])[0]

    def analyze_batch(self, batch: Sequence[Recording], words: bool = True) -> list[Analysis]:
        """Analyze recordings of at most `longest` seconds in a batch, each as if alone; `words`: with their times.

        `NotFinite` if the model's output for one of them is.
        """
        if not batch:
            return []
        lengths = torch.tensor([len(recording.wav) for recording in batch])
        wavs = pad_batch([recording.wav for recording in batch], torch.device(self.device).type)
        outputs = self._outputs(wavs, lengths)
        posteriors = self._posteriors(outputs).tolist()
        silent = [[] for _ in batch]
        transcripts = greedy_tokens(outputs.tokens, outputs.n_frames) if self.writes_text else silent
        heads, analyses = self._heads(outputs, len(batch)), []
        for index, recording in enumerate(batch):
            probabilities = dict(zip(self.labels, posteriors[index], strict=True))
            transcript = to_text(transcripts[index], self.model.tokens)
            spoken = self._words(outputs, index, transcripts[index], recording.duration) if words else []
            emotion = max(probabilities, key=probabilities.get)
            facts = (recording.duration, recording.flags, heads[index], *self._sure(probabilities))
            analyses.append(Analysis(emotion, probabilities, transcript, spoken, *facts))
        return analyses

    def _posteriors(self, outputs: Outputs) -> Tensor:
        """[B, C] in double precision; `NotFinite` where they are not."""
        posteriors = outputs.emotion.double().softmax(-1)
        if not posteriors.isfinite().all():
            raise NotFinite(
                f"the model's output is not finite in {self.asked_precision}", "use fp32, or other recordings"
            )
        return posteriors

    def _sure(self, posteriors: dict[str, float]) -> tuple[float | None, bool | None]:
        """The confidence, and whether it is below the threshold, if there is one."""
        if self.confidence is None:
            return None, None
        highest = self.confidence.highest(posteriors)
        return highest, highest < self.confidence.threshold

    def _heads(self, outputs: Outputs, size: int) -> list[dict[str, float | dict[str, float]]]:
        """What the further heads say of each recording."""
        found: list[dict] = [{} for _ in range(size)]
        for output, (name, classes) in zip(outputs.further, self.tasks.items(), strict=True):
            rows = output.double().softmax(-1).tolist() if classes else output.tolist()
            for each, row in zip(found, rows, strict=True):
                each[name] = dict(zip(classes, row, strict=True)) if classes else row
        return found

    def follow(self, audio: Audio, sample_rate: int | None = None) -> Iterator[Window]:
        """Find emotion and transcript over a long recording, window by window, in bounded memory.

        Windows are cut at pauses (see `local.audio.segments`), none longer than the longest utterance of training;
        silence between them is left out. The times of words are those in the recording.
        """
        if isinstance(audio, str | os.PathLike):
            blocks = recordings.blocks(_path(audio, sample_rate))
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
        if isinstance(audio, str | os.PathLike):
            return recordings.read(_path(audio, sample_rate), longest=self.longest)
        recording = recordings.of_array(audio, sample_rate)
        recordings.refuse_longer("the recording", recording.duration, self.longest)
        return recording


def _path(file: str | os.PathLike, sample_rate: int | None) -> str:
    """The path of a file, which has a rate of its own: a `UserError` where another is given."""
    if sample_rate is not None:
        raise UserError(f"{file} is a file, whose header has its rate", "give a rate with samples alone")
    return os.fspath(file)


def unusable(run_opts: dict[str, Any] | None, error: Exception) -> UserError:
    """The error of options that SpeechBrain or torch refuses."""
    return UserError(
        f"the model cannot be used with {run_opts}: {str(error).partition(chr(10))[0]}",
        "give a device of torch, such as cpu or cuda",
    )


def _download(name: str, savedir: str | Path | None) -> str:
    """Download a model folder from the hub: the two files that are read, and nothing else."""
    from huggingface_hub import snapshot_download  # takes a second to load

    try:
        # Not into the hub's cache, which consists of links: these are refused.
        savedir = savedir or Path.home() / ".cache" / "ser-mtl" / name
        return snapshot_download(name, local_dir=savedir, allow_patterns=[model_folder.CONFIG, model_folder.WEIGHTS])
    except Exception as error:  # wrong name, hub, network and disk each raise their own classes
        what = f"{name} is neither a folder nor a model of the hub ({str(error).partition(chr(10))[0]})"
        raise UserError(what, "give a folder that python -m local.export wrote") from None

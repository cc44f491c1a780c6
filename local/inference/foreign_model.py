"""A model that was not trained here over files: transformers' `audio-classification`, or what `local.export` wrote.

A model of transformers is given one file at a time, as its pipeline does: many of them have other results in a padded
batch. None of its code is run, and of a pickle only weights are read.
"""

from __future__ import annotations

import csv
import io
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor
from tqdm import tqdm
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from local.audio.header import SAMPLE_RATE
from local.core import partial
from local.core.errors import UserError
from local.data.device import full_name, refuse_missing_device, use_precision
from local.inference.analyzer import Analyzer
from local.inference.foreign_card import REMEDY, is_export, read_config
from local.inference.items import Item, analyze_items, whole_items
from local.scoring.predictions import POSTERIOR

BATCH_SECONDS = 120  # of our own models, whose results do not depend on the batch
FRAMES_A_SECOND = 100  # of the spectrograms that extractors cut to a length in frames
NAMED = 3  # tensors in a message
HEADER = ""  # among the parts of a file of predictions; the others are named by ID


class Output(NamedTuple):
    """What a model says of a file: posteriors by label, or why there are none."""

    file: str
    posteriors: dict[str, float]
    transcript: str = ""
    error: str = ""


class Exported:
    """A model that `local.export` wrote; `labels` and `longest` as of `Classifier`."""

    def __init__(self, source: str, device: str | None) -> None:
        self.analyzer = Analyzer.load(source, device=device)
        self.labels, self.writes_text, self.longest = self.analyzer.labels, self.analyzer.writes_text, math.inf
        self.provenance = self.analyzer.model.provenance

    def outputs(self, files: Iterable[str]) -> Iterator[Output]:
        """The output for each file, in order."""
        items = whole_items(map(Item, files), self.analyzer.longest)
        for item, analysis in analyze_items(items, self.analyzer, BATCH_SECONDS, words=False):
            if analysis is None:
                yield Output(item.file, {}, error=item.error)
            else:
                yield Output(item.file, analysis.posteriors, analysis.transcript)


class Classifier:
    """A model of transformers that classifies audio.

    Attributes
    ----------
    labels
        In the order of its classes.
    longest
        Seconds after which its feature extractor cuts off a recording.
    """

    writes_text = False
    provenance: dict[str, Any] = {}  # noqa: RUF012 -- never changed

    def __init__(self, source: str, device: str | None) -> None:
        refuse_missing_device(device)
        self.source, self.device = source, full_name(device)
        use_precision("fp32")
        config = self._read(AutoConfig)
        self.model = self._read_model(config).to(self.device).eval()
        self.extractor = self._read(AutoFeatureExtractor)
        if (rate := self.extractor.sampling_rate) != SAMPLE_RATE:
            raise UserError(f"--model {source}: it takes {rate:,} Hz", f"give a model of {SAMPLE_RATE:,} Hz")
        if config.problem_type == "regression" or config.num_labels < 2:
            raise UserError(f"--model {source}: it gives numbers and not classes", "give a model of classes")
        self.labels = [str(config.id2label[index]) for index in range(config.num_labels)]
        if len(set(self.labels)) < len(self.labels):
            raise UserError(f"--model {source}: its config.json has a label twice", "correct its id2label")
        self.longest = math.inf
        if hasattr(self.extractor, "n_samples"):  # Whisper's
            self.longest = self.extractor.n_samples / SAMPLE_RATE
        elif isinstance(self.extractor, transformers.ASTFeatureExtractor):
            self.longest = self.extractor.max_length / FRAMES_A_SECOND

    def outputs(self, files: Iterable[str]) -> Iterator[Output]:
        """The output for each file, in order; of one that it cannot process, the error."""
        for item in whole_items(map(Item, files), math.inf):
            if item.recording is None:
                yield Output(item.file, {}, error=item.error)
                continue
            try:
                shares = self.posteriors(item.recording.wav)
            except (RuntimeError, ValueError, IndexError) as error:  # as of a recording that is shorter than a kernel
                yield Output(item.file, {}, error=f"the model fails: {str(error).strip().partition(chr(10))[0]}")
                continue
            if shares.isfinite().all():
                yield Output(item.file, dict(zip(self.labels, shares.tolist(), strict=True)))
            else:
                yield Output(item.file, {}, error="the model's output is not finite")

    @torch.inference_mode()
    def posteriors(self, wav: Tensor) -> Tensor:
        """[N] samples at 16 kHz -> [C] posteriors."""
        inputs = self.extractor(wav.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return self.model(**inputs.to(self.device)).logits[0].double().softmax(-1).cpu()

    def _read_model(self, config: Any) -> transformers.PreTrainedModel:
        """Load the weights; a `UserError` for those that transformers would fill with random numbers."""
        options = {"config": config, "dtype": torch.float32, "output_loading_info": True}
        model, found = self._read(AutoModelForAudioClassification, **options)
        missing = sorted(name for name in found["missing_keys"] if not name.endswith("masked_spec_embed"))
        if missing:
            some = ", ".join(missing[:NAMED]) + (f", ... ({len(missing)} tensors)" if len(missing) > NAMED else "")
            raise UserError(
                f"--model {self.source}: its weights lack {some}: transformers would take random numbers for them",
                "give a model whose weights have the names that transformers knows; its card may say how it is used",
            )
        return model

    def _read(self, auto: type, **options: Any) -> Any:
        try:
            only_here = os.path.exists(self.source)
            return auto.from_pretrained(self.source, trust_remote_code=False, local_files_only=only_here, **options)
        except Exception as error:  # a broken folder raises errors of any class
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"--model {self.source}: cannot be loaded ({reason})", REMEDY) from None


def load(source: str, device: str | None = None) -> Exported | Classifier:
    """Load a model, a folder or a name of the hub; a `UserError` if it cannot be used here, see `REMEDY`."""
    return (Exported if is_export(read_config(source)) else Classifier)(source, device)


def write_predictions(model: Exported | Classifier, files: Mapping[str, str], path: Path) -> None:
    """Run a model over files of utterances, by ID: `ID,emo_hyp,p_<label>...`, `wrd_hyp` if it writes text, `error`.

    Whoever is interrupted goes on after the last utterance that is on the disk (`local.core.partial`), so the path must
    say which model and files they are. A `UserError` where the model fails for all of them.
    """
    text = ["wrd_hyp"] if model.writes_text else []
    error = ""
    with partial.resumed(path, 0) as parts:
        if not parts.sizes:
            columns = ["ID", "emo_hyp", *(POSTERIOR + label for label in model.labels), *text, "error"]
            parts.add(HEADER, _line(columns), 0)
        left = {name: file for name, file in files.items() if name not in parts.sizes}
        outputs = model.outputs([*left.values()])
        shown = tqdm(outputs, total=len(files), initial=len(files) - len(left), disable=not sys.stderr.isatty())
        try:
            for name, output in zip(left, shown, strict=True):
                best = max(output.posteriors, key=output.posteriors.get, default="")
                shares = [f"{output.posteriors[label]:.8f}" if output.posteriors else "" for label in model.labels]
                said = [output.transcript] if text else []
                parts.add(name, _line([name, best, *shares, *said, output.error]), 1, mark=bool(best))
                error = error or output.error
        except (KeyboardInterrupt, SystemExit):
            parts.seal()
            raise
        if files and not parts.marked:
            raise UserError(f"the model gives nothing for any of {len(files)} files; one of them: {error}", REMEDY)


def _line(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode()

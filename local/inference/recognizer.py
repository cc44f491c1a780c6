"""A model in use: emotion, posteriors, transcript and word times of any recording.

    from local.inference import EmotionRecognizer

    recognizer = EmotionRecognizer.from_hparams(source="MODEL")   # what python -m local.export wrote
    recognizer.analyze("any.flac")
    EmotionRecognizer.from_hparams(source="MODEL", unsure=0.6).analyze("any.flac").unsure

`EmotionRecognizer` is one of SpeechBrain's `Pretrained` interfaces, with their methods; but it is loaded from a model
folder (see `local.inference.model_folder`), so that no code of the folder is run. What it does without them is
`local.inference.analyzer.Analyzer`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from speechbrain.inference.interfaces import Pretrained
from torch import Tensor

from local.core.errors import UserError
from local.data.device import use_precision
from local.inference import model_folder
from local.inference.analyzer import Analyzer, unusable
from local.inference.model_folder import Model
from local.systems import Outputs
from local.text.ctc import greedy_tokens, to_text


class EmotionRecognizer(Analyzer, Pretrained):
    """Recognizes emotion and words in recordings.

    Parameters
    ----------
    model
        The result of `local.inference.model_folder.read`; it is changed, to the device and the precision.
    run_opts
        SpeechBrain's run options: `device`, and `precision` (fp32; tf32, bf16 and fp16 are faster if the device
        has them). The last recognizer that computes in a process decides whether a GPU may round to TF32 there.
    unsure
        A threshold: an analysis is `unsure` where its highest posterior, calibrated by the model's temperature, is
        below it. The posteriors that are returned are always those of the model itself.

    Raises
    ------
    UserError
        There is no such device or precision, or no highest posterior can be below the threshold.
    """

    def __init__(self, model: Model, run_opts: dict[str, Any] | None = None, unsure: str | float | None = None) -> None:
        Analyzer.__init__(self, model, run_opts, unsure)
        options = (run_opts or {}) | {"device": self.device, "precision": use_precision(self.asked_precision)}
        try:
            Pretrained.__init__(self, {"system": model.system}, {}, options)
        except (ValueError, RuntimeError, AssertionError) as error:
            raise unusable(run_opts, error) from None

    @classmethod
    def from_hparams(
        cls,
        source: str | Path,
        hparams_file: str = model_folder.CONFIG,
        savedir: str | Path | None = None,
        run_opts: dict[str, Any] | None = None,
        unsure: str | float | None = None,
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
        run_opts, unsure
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
        return cls.load(source, savedir, unsure, **(run_opts or {}))

    # SpeechBrain's methods

    def forward(self, wavs: Tensor, wav_lens: Tensor | None = None) -> Outputs:
        """Logits of a batch: [B, N] float samples at 16 kHz, zero beyond each utterance's end.

        `wav_lens` are [B] true lengths relative to N; by default all are N long. A `UserError` for anything else.
        """
        if not (isinstance(wavs, Tensor) and wavs.ndim == 2 and wavs.is_floating_point() and wavs.numel()):
            found = f"{tuple(wavs.shape)} of {wavs.dtype}" if isinstance(wavs, Tensor) else type(wavs).__name__
            raise UserError(f"a batch is a tensor [B, N] of floats, and not {found}", "or give `analyze` a recording")
        relative = torch.as_tensor([1.0] * len(wavs) if wav_lens is None else wav_lens, device="cpu")
        if relative.shape != wavs.shape[:1] or not ((relative > 0) & (relative <= 1)).all():
            what = f"wav_lens are the {len(wavs)} lengths relative to N, above 0 and at most 1, and not {wav_lens}"
            raise UserError(what, f"divide those in samples by {wavs.shape[1]}")
        return self._outputs(wavs, (relative * wavs.shape[1]).round().long())

    def classify_batch(self, wavs: Tensor, wav_lens: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Classify a batch; parameters as in `forward`.

        Returns [B, C] probabilities; [B] the highest of them; [B] the index of its class; B names of the class.
        `NotFinite` if the model has no answer for one.
        """
        posteriors = self._posteriors(self(wavs, wav_lens)).float()
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

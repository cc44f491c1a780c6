"""The output of a frozen CNN, computed once for the corpus and shared by every fold, seed and alpha.

`manifests/<corpus>/cnn-<fingerprint>.f16` holds 16-bit little-endian floats, [frames, c] per utterance, one after the
other; the JSON file beside it, written last, holds their numbers of frames. The first job that needs it computes it,
in evaluation mode, in single precision, each utterance alone.

Error of 16 bits: a float16 has 11 significant bits, so a feature changes by up to 2^-11 of itself (0.05 %), eight times
less than in bfloat16, and by up to 3e-8 where it is below 6e-5. The projection's layer norm, which follows, enlarges
the latter by 316 at most (its epsilon is 1e-5).
"""

from __future__ import annotations

import logging
import sys
from typing import IO, Any, Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from local.core.errors import UserError
from local.core.files import digest
from local.data.device import use_precision
from local.data.store import AudioStore, Store
from local.encoders import Encoder
from local.encoders.waveform import WaveformEncoder

logger = logging.getLogger(__name__)

VERSION = 1  # of the file's contents: a store of another version is rebuilt
LARGEST = torch.finfo(torch.float16).max


class FeatureStore(Store):
    """The CNN's output for a corpus's utterances: `store[ID]`, [T, c] float16."""

    dtype = "<f2"

    @classmethod
    def of(cls, audio: AudioStore, encoder: WaveformEncoder, device: str | torch.device) -> Self:
        """Open the store of a corpus and a CNN, beside that of the audio; compute it first if there is none.

        `UserError` when the disk is full, or a feature does not fit 16 bits.
        """
        sources = fingerprint(audio, encoder)
        path = audio.path.with_name(f"cnn-{sources}.f16")
        width, stride = encoder.model.config.conv_dim[-1], np.prod(encoder.model.config.conv_stride)
        expected = int(sum(len(audio.rows(name)) for name in audio) // stride) * width * 2

        def write(file: IO[bytes]) -> dict[str, Any]:
            logger.info("computing the CNN's output for %d utterances: %s", len(audio), path)
            rows = _compute_all(audio, encoder.to(device), file)
            return {"rows": rows, "faults": audio.facts["faults"], "width": width}

        return cls.make(path, sources, expected, write)

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self.rows(name)))


def model_inputs(audio: AudioStore, encoder: Encoder | None, device: str | torch.device) -> Store:
    """The store that a job's batches are read from: waveforms, or the features of an encoder's frozen CNN."""
    if isinstance(encoder, WaveformEncoder) and encoder.freeze_cnn:
        return FeatureStore.of(audio, encoder, device)
    return audio


def fingerprint(audio: AudioStore, encoder: WaveformEncoder) -> str:
    """Hash the sources of features: the audio, the CNN with its weights, and whether waveforms are normalised."""
    cnn = encoder.model.feature_extractor
    # The `repr` of a module has its layers with sizes, strides, norms and activations.
    layers = f"{VERSION}\t{audio.fingerprint}\t{encoder.normalise}\t{cnn}"
    return digest(layers, *(weight.detach().float().cpu().numpy().tobytes() for weight in cnn.state_dict().values()))


@torch.no_grad()
def _compute_all(audio: AudioStore, encoder: WaveformEncoder, file: IO[bytes]) -> dict[str, int]:
    """Write the features of all utterances; return their numbers of frames."""
    device, was_training, rows = next(encoder.parameters()).device, encoder.training, {}
    encoder.eval()
    use_precision("fp32")
    with torch.autocast(device.type, enabled=False):
        for name in tqdm(audio, desc="CNN", unit="utterance", leave=False, disable=not sys.stderr.isatty()):
            wav = audio[name][None].to(device)
            features, _ = encoder.features(wav, torch.tensor([wav.shape[1]], device=device))
            if not (features.abs() < LARGEST).all():
                raise UserError(
                    f"utterance {name}: the CNN's output does not fit 16-bit floats, in which it is stored",
                    "set freeze_cnn and freeze to False, or use another --encoder",
                )
            file.write(features[0].half().cpu().numpy().astype("<f2", copy=False).tobytes())
            rows[name] = features.shape[1]
    encoder.train(was_training)
    return rows

"""The encoder of torchaudio's Emformer transducers, `torchaudio.models.emformer_rnnt_base`.

Y. Shi et al.: Emformer: efficient memory transformer based acoustic model for low latency streaming speech recognition,
ICASSP 2021. torchaudio's pipelines (`EMFORMER_RNNT_BASE_LIBRISPEECH`) read two files, the weights of the whole
transducer and mean and deviation of its training set's spectra; a folder with both is what is read here.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import melscale_fbanks
from transformers import PreTrainedConfig

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.encoders.spectral import SpectralEncoder, by_length
from local.encoders.weight_file import fill, read_tensors

STATISTICS, WEIGHTS = "global_stats*.json", "*.pt"
OTHERS = ("predictor.", "joiner.")  # the tensors of a transducer that are not its encoder's
N_FFT, HOP, BANDS = 400, 160, 80  # of its pipelines
GAIN = 32767.0**2  # a sample of theirs is a 16-bit number


class EmformerConfig(PreTrainedConfig):
    """Sizes of the encoder, those of `emformer_rnnt_base`; the lengths are in spectra, before `stride`."""

    model_type = "emformer"

    hidden_size: int = 1024  # of a frame
    num_hidden_layers: int = 20
    num_attention_heads: int = 8
    intermediate_size: int = 2048
    time_reduction_input_dim: int = 128  # of a spectrum, of which `stride` are joined
    stride: int = 4
    segment_length: int = 16
    right_context_length: int = 4
    left_context_length: int = 30  # in joined spectra


class EmformerFeatures:
    """The spectra of torchaudio's pipelines, which have no settings."""


class EmformerModel(nn.Module):
    """torchaudio's module, and the statistics of its inputs."""

    def __init__(self, config: EmformerConfig) -> None:
        from torchaudio.models import emformer_rnnt_model

        super().__init__()
        self.config = config
        # The rest of the transducer is made as small as may be, and left.
        self.transcriber = emformer_rnnt_model(
            input_dim=BANDS,
            encoding_dim=config.hidden_size,
            num_symbols=1,
            segment_length=config.segment_length,
            right_context_length=config.right_context_length,
            time_reduction_input_dim=config.time_reduction_input_dim,
            time_reduction_stride=config.stride,
            transformer_num_heads=config.num_attention_heads,
            transformer_ffn_dim=config.intermediate_size,
            transformer_num_layers=config.num_hidden_layers,
            transformer_dropout=0.1,
            transformer_activation="gelu",
            transformer_left_context_length=config.left_context_length,
            transformer_max_memory_size=0,
            transformer_weight_init_scale_strategy="depthwise",
            transformer_tanh_on_mem=True,
            symbol_embedding_dim=1,
            num_lstm_layers=1,
            lstm_layer_norm=True,
            lstm_layer_norm_epsilon=1e-3,
            lstm_dropout=0.0,
        ).transcriber
        self.register_buffer("mean", torch.zeros(BANDS))
        self.register_buffer("invstddev", torch.ones(BANDS))

    def forward(self, spectra: Tensor) -> Tensor:
        """[B, M, 80] normalised spectra of one length -> [B, M // stride, d].

        As the pipelines have it, silence of the right context's length follows.
        """
        padded = F.pad(spectra, (0, 0, 0, self.config.right_context_length))
        lengths = torch.full((len(spectra),), spectra.shape[1], device=spectra.device)
        return self.transcriber(padded, lengths)[0]


class EmformerEncoder(SpectralEncoder):
    """One frame per 40 ms. Of the frames of a segment of 160 ms a layer sees it, 1.2 s before it and 40 ms after."""

    def __init__(
        self, model: EmformerModel, extractor: EmformerFeatures, freeze: bool = False, freeze_cnn: bool = False
    ) -> None:
        super().__init__(model, None, freeze, freeze_cnn)
        self.preprocessor = {}
        self.seconds_per_frame = model.config.stride * HOP / SAMPLE_RATE
        self.min_samples = model.config.stride * HOP  # a frame, and the spectra are not fewer than the window needs
        with torch.device("cpu"), warnings.catch_warnings():  # torchaudio: some bands lie between two frequencies
            warnings.simplefilter("ignore")
            filters = melscale_fbanks(N_FFT // 2 + 1, 0.0, SAMPLE_RATE / 2, BANDS, SAMPLE_RATE)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def log_mels(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N], [B] samples -> [B, M, 80], [B]: each over its own length, at whose ends the signal is mirrored."""
        wavs = F.pad(wavs.float(), (0, max(0, self.min_samples - wavs.shape[1])))
        counts = lengths.clamp(min=self.min_samples).tolist()
        with torch.autocast(wavs.device.type, enabled=False):
            spectra = [self._log_mels(wav[:count]) for wav, count in zip(wavs, counts, strict=True)]
        return pad_sequence(spectra, batch_first=True), torch.tensor([len(each) for each in spectra])

    def _log_mels(self, wav: Tensor) -> Tensor:
        """[N] -> [1 + N // 160, 80], logarithms, of small ones linear, normalised."""
        bins = torch.stft(wav, N_FFT, HOP, window=self.window, center=True, pad_mode="reflect", return_complex=True)
        energies = GAIN * ((bins.real.square() + bins.imag.square()).T @ self.filters)
        logarithms = torch.where(energies > math.e, energies.clamp(min=math.e).log(), energies)
        # Also of logarithms of up to e: so torchaudio has it, and so the networks were trained.
        logarithms = torch.where(logarithms > math.e, logarithms, logarithms / math.e)
        return (logarithms - self.model.mean) * self.model.invstddev

    def of_log_mels(self, log_mels: Tensor, n_spectra: Tensor) -> tuple[Tensor, Tensor]:
        """[B, M, 80], [B] -> [B, T, d], [B]; torchaudio's segments are right only if it ends the batch."""
        return by_length(self.model, log_mels, n_spectra)


def load(source: str, freeze: bool, freeze_cnn: bool) -> EmformerEncoder | None:
    """The encoder of a folder with the two files of one of torchaudio's pipelines; None for any other source.

    A `UserError` names a file that is missing, or the first tensor that does not fit.
    """
    folder, where = Path(source).expanduser(), f"asr_encoder {source}"
    if folder.is_file():
        raise UserError(
            f"{where} is a file, but an encoder is a folder",
            f"give the folder with it and its {STATISTICS}, as torchaudio's pipeline has both",
        )
    statistics = sorted(folder.glob(STATISTICS)) if folder.is_dir() else []
    if not statistics:
        return None
    weights = sorted(folder.glob(WEIGHTS))
    if len(statistics) > 1 or len(weights) != 1:
        raise UserError(
            f"{where}: it has {len(statistics)} {STATISTICS} and {len(weights)} {WEIGHTS}",
            "leave one of each: the two files of one of torchaudio's Emformer pipelines",
        )
    model = EmformerModel(EmformerConfig())
    for name, values in _read_statistics(statistics[0], where).items():
        getattr(model, name).copy_(values)
    where = f"asr_encoder {weights[0]}"
    tensors = {name: tensor for name, tensor in read_tensors(weights[0], where).items() if not name.startswith(OTHERS)}
    fill(model.transcriber, tensors, where, prefix="transcriber.")
    return EmformerEncoder(model, EmformerFeatures(), freeze, freeze_cnn)


def _read_statistics(file: Path, where: str) -> dict[str, Tensor]:
    """`mean` and `invstddev`, [80] each."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        found = {name: torch.tensor(values[name], dtype=torch.float32) for name in ("mean", "invstddev")}
        if any(each.shape != (BANDS,) or not each.isfinite().all() for each in found.values()):
            raise ValueError(f"mean and invstddev are not {BANDS} numbers each")
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise UserError(f"{where}: {file.name} cannot be used ({error})", "give the file that came with it") from None
    return found

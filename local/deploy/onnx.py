"""One file that onnxruntime runs, without this project: waveforms in, the logits of both heads out.

    wavs      [B, N] float32    16 kHz, zero beyond each utterance's end; as recorded: the graph normalises
    lengths   [B] int64         samples of each utterance
    emotion   [B, C] float32    logits
    tokens    [B, T, V] float32 logits per frame; what lies beyond an utterance's last true frame is undefined
    n_frames  [B] int64         true frames of each utterance

Its metadata hold as JSON what these mean: `labels`, `tokens`, `sample_rate`, `seconds_per_frame`.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxscript import optimizer
from scipy.special import softmax
from torch.export import Dim

from local.audio.header import SAMPLE_RATE
from local.encoders.filterbank import FilterbankEncoder
from local.inference.model_folder import Model
from local.scoring.metrics import emotion_scores
from local.systems import Outputs

AXES = {"wavs": {0: "batch", 1: "samples"}, "lengths": {0: "batch"}}
TRACED = (16001, 9001, 5003)  # samples; unlike each other, that none is taken for another
ANY_SIZE = 2**40
ROUNDS = 5  # of timing


def write(path: Path, model: Model) -> list[str]:
    """Write a model as an ONNX file; its results are those of the model to 1e-4.

    Weights of more than 1.5 GB lie beside it, in `<path>.data`, because a file of ONNX holds 2 GB.

    Parameters
    ----------
    path
        The file.
    model
        On the CPU, in evaluation mode.

    Returns
    -------
    Sentences for the reader: what to know of the file, or why there is none, in which case an old one is removed.
    """
    encoder = model.system.encoder
    if isinstance(encoder, FilterbankEncoder):
        _remove(path)
        return ["There is no ONNX file: the filter banks of w2v-BERT are computed outside of the graph."]
    program = _traced(model)
    program.model.metadata_props.update({key: json.dumps(value) for key, value in _metadata(model).items()})
    _put(path, program.save)
    notes = []
    if encoder.max_samples is not None:
        notes.append(f"The ONNX file takes {encoder.max_samples / SAMPLE_RATE:.0f} s at most, padding included.")
    if _data(path).exists():
        notes.append(f"{path.name} needs {_data(path).name} beside it, which holds its weights.")
    return notes


def _traced(model: Model) -> torch.onnx.ONNXProgram:
    """The graph, for any number of utterances of any lengths."""
    lengths = torch.tensor(TRACED)
    wavs = torch.zeros(len(TRACED), max(TRACED))
    free = {name: dict.fromkeys(axes, Dim.DYNAMIC) for name, axes in AXES.items()}
    with torch.no_grad(), _quiet():
        # torch.onnx, left to export by itself, would take Whisper's slices for slices of unknown size, and fail.
        exported = torch.export.export(model.system, (wavs, lengths), dynamic_shapes=free)
        program = torch.onnx.export(
            exported, input_names=list(AXES), output_names=Outputs._fields, dynamic_shapes=AXES, verbose=False
        )
    # The weights of the positional convolution, which would be normalised anew at each run.
    optimizer.optimize(program.model, input_size_limit=ANY_SIZE, output_size_limit=ANY_SIZE)
    ClearMetadataAndDocStringPass()(program.model)  # they name the files of this machine
    program.model.graph.outputs[1].shape[1] = "frames"  # a long term of samples otherwise
    return program


def _metadata(model: Model) -> dict[str, object]:
    return {
        "labels": model.labels,
        "tokens": model.tokens,
        "sample_rate": SAMPLE_RATE,
        "seconds_per_frame": model.system.encoder.seconds_per_frame,
    }


def quantize(path: Path, out: Path) -> None:
    """Write an ONNX file anew, with the weights of its matrix products in 8 bits and a scale for each column.

    One bit is left unused: without it, processors that have AVX2 but not VNNI saturate. Convolutions keep their
    weights. Seen for a wav2vec2-base with random weights on one thread with AVX-512 VNNI: matrix products alone
    make it 1.5 times as fast; with convolutions as well it is half as fast as it was, and tokens change three
    times as often.
    """
    with _quiet():
        _put(
            out,
            lambda temporary: quantize_dynamic(
                path,
                temporary,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                weight_type=QuantType.QInt8,
                reduce_range=True,
                use_external_data_format=_data(path).exists(),
            ),
        )


class Runner:
    """Runs an ONNX file on the processor.

    Parameters
    ----------
    path
        What `write` or `quantize` wrote.
    threads
        As many as there are cores where it is None.

    Attributes
    ----------
    labels
        The emotions, in the order of the logits.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        self.labels: list[str] = json.loads(self._session.get_modelmeta().custom_metadata_map["labels"])

    def __call__(self, wavs: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
        """[B, N] float32 waveforms, [B] samples -> what the module's docstring says, by name."""
        values = self._session.run(self._names, {"wavs": wavs, "lengths": lengths.astype(np.int64)})
        return dict(zip(self._names, values, strict=True))


def cost(
    exact: Path,
    quantized: Path,
    batches: Iterable[tuple[np.ndarray, np.ndarray, Sequence[str]]],
    threads: int | None = None,
) -> dict[str, float]:
    """Measure what weights of 8 bits cost and gain.

    Parameters
    ----------
    exact, quantized
        The files.
    batches
        [B, N] float32 waveforms, [B] samples, and B emotions.
    threads
        See `Runner`.

    Returns
    -------
    n
        Utterances.
    agreement
        Share of them for which both say the same emotion.
    ua, ua_int8
        Unweighted accuracy of both.
    largest_difference
        Of a posterior.
    speed, speed_int8
        Seconds of audio a second of both; the median of rounds in turn.
    """
    batches = list(batches)
    runners = [Runner(path, threads) for path in (exact, quantized)]
    posteriors = [
        softmax(np.concatenate([runner(wavs, lengths)["emotion"] for wavs, lengths, _ in batches]), axis=1)
        for runner in runners
    ]
    labels = np.array(runners[0].labels)
    reference = pd.Series([emotion for *_, emotions in batches for emotion in emotions])
    first, second = (pd.Series(labels[values.argmax(1)]) for values in posteriors)
    speed, speed_int8 = _speeds(runners, batches)
    return {
        "n": len(reference),
        "agreement": float((first == second).mean()),
        "ua": emotion_scores(reference, first)["ua"],
        "ua_int8": emotion_scores(reference, second)["ua"],
        "largest_difference": float(np.abs(posteriors[0] - posteriors[1]).max()),
        "speed": speed,
        "speed_int8": speed_int8,
    }


def _speeds(runners: list[Runner], batches: list[tuple[np.ndarray, np.ndarray, Sequence[str]]]) -> list[float]:
    """Seconds of audio a second of each, all of which have run already."""
    seconds = np.empty((ROUNDS, len(runners)))
    for taken in seconds:
        for place, runner in enumerate(runners):
            start = time.perf_counter()
            for wavs, lengths, _ in batches:
                runner(wavs, lengths)
            taken[place] = time.perf_counter() - start
    audio = sum(int(lengths.sum()) for _, lengths, _ in batches) / SAMPLE_RATE
    return (audio / np.median(seconds, axis=0)).tolist()


def _data(path: Path) -> Path:
    """Where the weights of a file lie that is too large; by this name torch and onnxruntime write them."""
    return path.with_name(path.name + ".data")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _data(path).unlink(missing_ok=True)


def _put(path: Path, save: Callable[[Path], object]) -> None:
    """Write a file, and the weights beside it if there are any, so that the file is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        save(temporary)
        _remove(path)
        if _data(temporary).exists():
            _data(temporary).replace(_data(path))
        temporary.replace(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep from the user what the exporters say of their own insides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)

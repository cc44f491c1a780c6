"""One file that onnxruntime runs, without this project: waveforms in, the logits of both heads out.

    wavs      [B, N] float32    16 kHz, zero beyond each utterance's end; as recorded: the graph normalises
    lengths   [B] int64         samples of each utterance
    emotion   [B, C] float32    logits
    tokens    [B, T, V] float32 logits per frame, undefined beyond an utterance's last true frame
    n_frames  [B] int64         true frames of each utterance

Its metadata hold, as JSON, `labels`, `tokens`, `sample_rate` and `seconds_per_frame`. A model that writes no text has
neither tokens nor frames. Further heads are outputs by their names, [B, C] logits or [B] numbers, and in the metadata
`heads` with their classes.
"""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read on import; otherwise it is on

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
from local.encoders import length_mask
from local.encoders.conformer import ConformerEncoder
from local.encoders.emformer import EmformerEncoder
from local.encoders.filterbank import FilterbankEncoder
from local.features import FrontEnd
from local.inference.model_folder import Model
from local.scoring.metrics import emotion_scores
from local.systems import Outputs
from local.systems.layers.pooling import NAMES, Pooling
from local.systems.mtl import MultiTaskSystem

AXES = {"wavs": {0: "batch", 1: "samples"}, "lengths": {0: "batch"}}
TRACED = (16001, 9001, 5003)  # samples; different, so that the exporter does not take two sizes for one
CHECKED = ((40000,), (3000, 22050))  # the same, of two batches
ANY_SIZE = 2**40
ROUNDS = 5  # of timing


def write(path: Path, model: Model) -> list[str]:
    """Write a model as an ONNX file, or remove the file if the exporter cannot write the model.

    The model is on the CPU, in evaluation mode; the file's results are the same to 1e-4. Weights of more than 1.5 GB
    go to `<path>.data`, because an ONNX file holds at most 2 GB. Returns sentences for the reader: what to know of the
    file, or why there is none.
    """
    system = model.system
    if isinstance(system.encoder, FilterbankEncoder):
        _remove(path)
        return ["There is no ONNX file: the filter banks of w2v-BERT are computed outside of the graph."]
    if isinstance(system.encoder, EmformerEncoder | ConformerEncoder):
        _remove(path)
        kind = system.encoder.model.config.model_type
        return [f"There is no ONNX file: the encoder, of the kind {kind}, goes through the utterances one by one."]
    pooling = getattr(model.members[0], "pooling", None)
    if isinstance(pooling, Pooling) and pooling.kind not in NAMES:
        _remove(path)
        return [f"There is no ONNX file: {pooling.kind} goes through the utterances one by one or by their lengths."]
    front_end = model.members[0].front_end
    if front_end is not None and type(front_end).batch is FrontEnd.batch:
        _remove(path)
        return [
            f"There is no ONNX file: the front end {type(front_end).__name__} computes one utterance after another."
        ]
    try:
        program = _traced(model)
    except Exception as error:  # the exporter does not know all of torch, and fails in many ways
        _remove(path)
        reason = next(filter(None, str(error).splitlines()), type(error).__name__).strip()
        kind = type(model.members[0]).__name__
        return [f"There is no ONNX file: PyTorch's exporter cannot write {kind} ({reason})."]
    metadata = {"labels": model.labels, "sample_rate": SAMPLE_RATE}
    if system.writes_text:
        metadata |= {"tokens": model.tokens, "seconds_per_frame": system.seconds_per_frame}
    if system.tasks:
        metadata["heads"] = {name: list(classes) for name, classes in system.tasks.items()}
    program.model.metadata_props.update({key: json.dumps(value) for key, value in metadata.items()})
    _put(path, program.save)
    if type(model.members[0]) is not MultiTaskSystem and not _says_the_same(path, system):
        _remove(path)
        return [f"There is no ONNX file: that of {type(model.members[0]).__name__} would say something else."]
    notes = [f"The ONNX file has further outputs: {', '.join(system.tasks)}."] if system.tasks else []
    if system.max_samples is not None:
        notes.append(f"The ONNX file takes {system.max_samples / SAMPLE_RATE:.0f} s at most, padding included.")
    if _data(path).exists():
        notes.append(f"{path.name} needs {_data(path).name} beside it, which holds its weights.")
    return notes


def _traced(model: Model) -> torch.onnx.ONNXProgram:
    """The graph, for any number of utterances of any lengths."""
    lengths = torch.tensor(TRACED)
    wavs = torch.zeros(len(TRACED), max(TRACED))
    names = [*(Outputs._fields[:3] if model.system.writes_text else Outputs._fields[:1]), *model.system.tasks]
    free = {name: dict.fromkeys(axes, Dim.DYNAMIC) for name, axes in AXES.items()}
    with torch.no_grad(), _quiet():
        # torch.onnx.export alone takes Whisper's slices for slices of unknown size, and fails.
        exported = torch.export.export(model.system, (wavs, lengths), dynamic_shapes=free)
        program = torch.onnx.export(
            exported, input_names=list(AXES), output_names=names, dynamic_shapes=AXES, verbose=False
        )
    # Folds the weight norm of the positional convolution, which would be computed at each run.
    optimizer.optimize(program.model, input_size_limit=ANY_SIZE, output_size_limit=ANY_SIZE)
    ClearMetadataAndDocStringPass()(program.model)  # they name files of this machine
    if model.system.writes_text:
        program.model.graph.outputs[1].shape[1] = "frames"  # otherwise a long expression of samples
    return program


@torch.no_grad()
def _says_the_same(path: Path, system: torch.nn.Module) -> bool:
    """Whether a file gives a system's posteriors, to 1e-3, for other lengths than it was made with.

    What depends on the data may be fixed in the graph, in which case the file may also not run at all.
    """
    chance = torch.Generator().manual_seed(1)
    for lengths in CHECKED:
        n_samples = torch.tensor(lengths)
        wavs = 0.1 * torch.randn(len(lengths), max(lengths), generator=chance)
        wavs = wavs.masked_fill(~length_mask(n_samples, wavs.shape[1], wavs.device), 0.0)
        expected = system(wavs, n_samples).emotion.softmax(-1)
        try:
            found = Runner(path)(wavs.numpy(), n_samples.numpy())["emotion"]
        except Exception:  # onnxruntime's are of many classes
            return False
        if not np.allclose(softmax(found, axis=1), expected, rtol=0, atol=1e-3):
            return False
    return True


def quantize(path: Path, out: Path) -> None:
    """Write a copy of an ONNX file with the weights of its matrix products in 8 bits, with a scale per column.

    One bit is left unused, because CPUs with AVX2 but without VNNI saturate otherwise. Convolutions keep their
    weights: on a wav2vec2-base with random weights (one thread, AVX-512 VNNI), quantized matrix products make it
    1.5 times as fast, while convolutions as well make it half as fast and change tokens three times as often. With AVX2
    alone (2 threads) it is 1.29 times as fast as single precision. onnxruntime fuses its norms, activations and 8-bit
    products itself when a file is loaded; OpenVINO runs both files slower there, 0.96 and 0.61 times as fast.
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
    """Runs an ONNX file of `write` or `quantize` on the CPU; `threads` None takes one per core.

    `labels` are the emotions, in the order of the logits.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        self.labels: list[str] = json.loads(self._session.get_modelmeta().custom_metadata_map["labels"])

    def __call__(self, wavs: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
        """[B, N] float32 waveforms, [B] samples -> the outputs in the module's docstring, by name."""
        values = self._session.run(self._names, {"wavs": wavs, "lengths": lengths.astype(np.int64)})
        return dict(zip(self._names, values, strict=True))


def cost(
    exact: Path,
    quantized: Path,
    batches: Iterable[tuple[np.ndarray, np.ndarray, Sequence[str]]],
    threads: int | None = None,
) -> dict[str, float]:
    """Measure what weights of 8 bits cost and gain on batches: [B, N] float32 waveforms, [B] samples, and B emotions.

    Returns `n` utterances; `agreement`, the share of them with the same emotion; `ua`, `ua_int8`; `largest_difference`
    of a posterior; `speed`, `speed_int8` in seconds of audio per second, the median of alternating rounds.
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
    """Seconds of audio per second of each runner, after a first run."""
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
    """The file of the weights beside a file that is too large, as torch and onnxruntime name it."""
    return path.with_name(path.name + ".data")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _data(path).unlink(missing_ok=True)


def _put(path: Path, save: Callable[[Path], object]) -> None:
    """Write a file, and its weights beside it if there are any, whole or not at all."""
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
    """Suppress the exporters' warnings on their own internals, and the graph that they print where they fail."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(max(disabled, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(disabled)

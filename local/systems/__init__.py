"""Systems: one file each, pure torch modules without I/O, built by one YAML in hparams.

A system is a `System`, whose defaults are those of the smallest one: no encoder, no CTC head, cross-entropy alone, any
length of input. It implements `forward`, and what differs from the defaults. For the export, its file names its class
`SYSTEM`.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.core.errors import UserError
from local.encoders.base import Encoder
from local.features import FrontEnd


class Outputs(NamedTuple):
    """The output of a system for a batch. A batch's rows of the tensors are those of its utterances, in order."""

    emotion: Tensor  # [B, C] logits
    tokens: Tensor | None = None  # [B, T, V] logits per frame, or None without a CTC head
    n_frames: Tensor | None = None  # [B] true frames of `tokens`, or None; on the CPU
    further: tuple[Tensor, ...] = ()  # of each of the system's `tasks`, in order; or what else its own losses need


class Targets(NamedTuple):
    """The labels of a batch."""

    emotion: Tensor  # [B] class indices, -100 without an emotion (of a system with `takes_unlabelled`); on the device
    tokens: Tensor  # [B, L] token indices, padded with 0; on the CPU
    n_tokens: Tensor  # [B] true tokens, 0 without a transcript; on the CPU
    weights: Tensor | None = None  # [B] of the utterances in the cross-entropy; None: all 1. On the device
    tasks: dict[str, Tensor] | None = None  # the labels of `System.tasks`, see `layers.task_heads`; on the device
    moments: Tensor | None = None  # `System.moments` of the update; None: the batch is all of it


class Losses(NamedTuple):
    """The loss of a batch and its parts, scalars, each a mean over the batch's utterances.

    The mean over micro-batches, weighted by their sizes, is then that of the whole batch. `total` may have terms that
    are not among the parts, which are for the log. `ctc_left_out` is the number of utterances without a CTC term, whose
    transcript is missing or needs more frames than there are; on the CPU.
    """

    total: Tensor  # the loss to minimise
    ce: Tensor  # cross-entropy of the emotions
    ctc: Tensor | None = None  # CTC loss, summed over each transcript; 0 for an utterance without a CTC term
    ctc_left_out: Tensor | None = None
    tasks: Tensor | None = None  # [k, 2] of each of the system's `tasks`: its loss, and utterances without a label


Labelled = Iterable[tuple[Tensor, Tensor, Tensor]]


class System(nn.Module):
    """What the pipeline asks of a system.

    Attributes
    ----------
    encoder
        The encoder, or None. What is frozen of it is computed once for all, so that its inputs are then its own frames,
        or its CNN's output, instead of waveforms.
    front_end
        The front end, or None. Its rows are computed once for all: the system's inputs are then rows. A system that has
        one passes its inputs through it, `rows, n_rows = self.front_end(wavs, lengths)`, whatever they are.
    max_samples
        The longest input in samples; None: any.
    most_seconds
        Of a longer utterance it does not read the rest, and takes no memory for it.
    seconds_per_frame
        From one frame of `Outputs.tokens` to the next; None without a CTC head.
    writes_text
        Whether there is a CTC head: `Outputs.tokens` and the parts of `Losses` on CTC are given. Without one, a run
        has no transcripts, no WER and no CER.
    solves
        Whether a last step follows the training, `solve`. With `epochs: 0` it is the only one.
    tasks
        The further tasks, see `local.core.tasks`, in the order of `Outputs.further`: each with its classes, none of a
        number.
    takes_unlabelled
        Whether an utterance without an emotion trains the other tasks. Else there may be none in training.
    emotion_weight
        The weight of the emotions in the loss; 0: their head is not trained.
    depends_on_update
        Whether a loss is a statistic of the update and no mean over its utterances: its `moments` are then computed
        first, by a pass more of an update that is cut.
    title, certainty, weights
        What tables say of it: whose system it is, `Wu et al. 2019: capsules`; how much of it is known from its authors,
        `known`, `partly known` or `own choice`; and what it was pretrained on, or what it lacks, `no ImageNet`. Empty
        where there is nothing to say.
    """

    max_samples: int | None = None
    most_seconds: float = math.inf
    solves: bool = False
    title: str = ""
    certainty: str = ""
    weights: str = ""
    seconds_per_frame: float | None = None
    writes_text: bool = False
    tasks: Mapping[str, Sequence[str]] = MappingProxyType({})
    takes_unlabelled: bool = False
    emotion_weight: float = 1.0
    depends_on_update: bool = False

    def __init__(self, encoder: Encoder | None = None, front_end: FrontEnd | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.front_end = front_end
        if encoder is not None:
            self.max_samples, self.seconds_per_frame = encoder.max_samples, encoder.seconds_per_frame

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """Compute the outputs of a batch, which depend on nothing but each utterance itself in evaluation mode.

        Parameters
        ----------
        wavs
            [B, N] float, 16 kHz, zero beyond each utterance's end; or what the encoder, or the front end, takes
            instead.
        lengths
            [B] int, true samples, or frames, or rows, per utterance; always on the CPU.
        """
        raise NotImplementedError

    def losses(self, outputs: Outputs, targets: Targets) -> Losses:
        """The loss of a batch: cross-entropy of the emotions, in single precision."""
        ce = cross_entropy(outputs, targets)
        return Losses(ce, ce.detach())

    def moments(self, outputs: Outputs, targets: Targets) -> Tensor:
        """What of a batch enters a statistic of its update: the sum over its micro-batches is that of the update."""
        raise NotImplementedError

    def learn_labels(self, labels: Mapping[str, Tensor]) -> None:
        """Take from the labels of the training set's utterances, by task, what is fixed; by default nothing."""

    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take from the training set what is fixed before the first update, into buffers; by default nothing.

        `batches` are the arguments of `forward`, each utterance once. Called without gradients, in evaluation mode.
        """

    def solve(self, training: Labelled, validation: Labelled | None) -> None:
        """Compute what has a closed form, after the last epoch, from the weights of the chosen one.

        Each of the two gives, for each batch, the arguments of `forward` and the emotions, [B] class indices on the
        device, each utterance once, in a fixed order, whenever it is iterated over; `validation` is None where there is
        none. Called without gradients, in evaluation mode, in single precision, once, if `solves`. Several processes
        each do it, and take the first's tensors of the `state_dict`.
        """

    def heads(self) -> list[nn.Module]:
        """The modules that are trained at `head_lr`; the rest is trained at `lr`."""
        return []

    def learned(self) -> dict[str, Any]:
        """What it has learned that pages show, as plain values: facts of a decoding."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor besides encoder, `n_labels` and `n_tokens`, as plain values."""
        return {}


def cross_entropy(outputs: Outputs, targets: Targets, label_smoothing: float = 0.0, focal_gamma: float = 0.0) -> Tensor:
    """Cross-entropy of the emotions, in single precision: the mean over utterances, each times its weight.

    An utterance without an emotion adds 0. With `focal_gamma` each is times (1 - p)^gamma too, where p is the posterior
    of its emotion: the focal loss (Lin et al. 2017: Focal loss for dense object detection, ICCV, eq. 4; with weights of
    the classes eq. 5).
    """
    logits, emotions = outputs.emotion.float(), targets.emotion
    if targets.weights is None and not focal_gamma:
        return F.cross_entropy(logits, emotions, label_smoothing=label_smoothing)
    # Not a mean by the sum of the weights, as PyTorch's: that over a batch's parts would not be that of the batch.
    each = F.cross_entropy(logits, emotions, reduction="none", label_smoothing=label_smoothing)
    if focal_gamma:
        posterior = logits.log_softmax(-1).gather(1, emotions.clamp(min=0)[:, None])[:, 0]
        # Not 0, where the power of a gamma below 1 has no derivative.
        each = each * (-torch.expm1(posterior)).clamp(min=torch.finfo(each.dtype).eps) ** focal_gamma
    return (each if targets.weights is None else targets.weights * each).mean()


def system_class(name: str) -> type[System]:
    """The system of a file here, by its name; a UserError if there is none."""
    known = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)
    if name not in known:
        raise UserError(f"system '{name}' is not known", f"known are: {' '.join(known)}")
    return importlib.import_module(f"{__name__}.{name}").SYSTEM

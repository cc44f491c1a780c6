"""The base class of encoders; masks and padding."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from local.core.errors import UserError
from local.encoders.kernels import use_kernels
from local.encoders.kernels.attention import NAME, padding_mask
from local.encoders.kernels.graphs import forget
from local.encoders.masking import Masked, length_mask

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# A batch's length is a multiple of this, in samples and in frames: operations are prepared again for each new size. On
# a CPU that took half of the time of a small model. On an H100 it took most of an update of the base model, which waits
# for the host, not for the device: there padding costs little. Whisper's 30 s are a multiple of all.
GRID = {"cpu": {1: 640, 2: 2}, "cuda": {1: 9600, 2: 30}}
LAST = -1  # among the numbers of hidden states: the encoder's output


def pad_batch(items: list[Tensor], device: str = "cpu") -> Tensor:
    """Pad with zeros to the longest, and to a multiple of `GRID`: [N] or [T, c] each -> [B, N'] or [B, T', c].

    `device` is the kind, `cpu` or `cuda`, of that where they will be computed with.
    """
    batch = pad_sequence(items, batch_first=True)
    extra = -batch.shape[1] % GRID.get(device, GRID["cpu"])[items[0].ndim]
    return F.pad(batch, (*(0, 0) * (batch.ndim - 2), 0, extra))


class Encoder(Masked):
    """Base of the families: freezing, and hidden states. A row is a frame.

    `freeze` says that it is never trained; `held`, which the trainer sets, that it is not trained in this epoch, and
    `resting` the number of its lowest layers that are not, see `rest`.
    `frozen_layers` are the lowest layers of its transformer that are never trained, see `freeze_lowest`. Their output
    is then taken in place of waveforms as well, [B, T, d] of any type with [B] frames.
    `taken` are the numbers of the hidden states that `states` gives, see `take`. With `task_vectors` its weights are
    merged.
    """

    held = False
    frozen_layers = resting = 0
    taken: tuple[int, ...] = ()
    norms_last_state = False  # whether transformers has the output of its last block after the final layer norm
    adapted = False  # whether it has adapters, see `local.encoders.adapters`
    source = ""  # the folder that its weights are from, or the name on the hub; empty where they are random
    preprocessor: dict[str, Any]  # the settings of its feature extractor that are used here
    seconds_per_frame = 0.02  # from one frame to the next
    _learning: list[nn.Parameter] | None = None  # what learns of it at all, once `rest` has been called

    def __init__(self, model: PreTrainedModel, cnn: nn.Module | None, freeze: bool, freeze_cnn: bool) -> None:
        super().__init__()
        use_kernels(model)
        self.model = model
        self.dim = self.width = model.config.hidden_size
        self.freeze = freeze
        self.freeze_cnn = freeze or freeze_cnn
        self.task_vectors: nn.Module | None = None  # see `local.encoders.task_vectors`
        if freeze_cnn and cnn is None:
            raise UserError(f"freeze_cnn: a {model.config.model_type} encoder has no CNN", "set freeze_cnn to False")
        if getattr(model.config, "add_adapter", False):
            raise UserError("this encoder shortens its output with an adapter (add_adapter)", "use another checkpoint")
        if freeze:
            model.requires_grad_(False)
        elif freeze_cnn:
            cnn.requires_grad_(False)

    @property
    def seconds_per_row(self) -> float:
        """That of a frame."""
        return self.seconds_per_frame

    @property
    def packs(self) -> bool:
        """Whether its layers can be given utterances one behind the other, see `local.encoders.packing`."""
        return False

    def compute(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode waveforms; or, of what is frozen below its end, the output, [B, T, c]."""
        if wavs.ndim == 2:
            wavs, lengths = self.cut(wavs, lengths)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not (self.freeze or self.held)), self._merged():
            # In use, on waveforms, it is an encoder like any other, which can be exported.
            if not self.frozen_layers or (wavs.ndim == 2 and not self.training):
                return self.encode(wavs, lengths)
            hidden, n_frames = (wavs.float(), lengths) if wavs.ndim == 3 else self.lowest(wavs, lengths)
            hidden = self._spec_augment(hidden, n_frames)
            return self.leave(self.through(self.layers()[self.frozen_layers :], hidden, n_frames)), n_frames

    def _merged(self) -> AbstractContextManager[None]:
        """A context with its merged weights in place, if it has task vectors."""
        return nullcontext() if self.task_vectors is None else self.task_vectors.applied(self.model)

    def cut(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What is read of waveforms, [B, N], [B] samples: the first `most_samples`."""
        if self.most_samples is None:
            return wavs, lengths
        return wavs[:, : self.most_samples], lengths.clamp(max=self.most_samples)

    def encode(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Implement `forward` for a family; same shapes."""
        raise NotImplementedError

    # The lowest layers

    def freeze_lowest(self, count: int) -> None:
        """Freeze what comes before its transformer's layers, and the lowest `count` of these; 0 changes nothing.

        With all of them it is frozen as by `freeze`. A `UserError` if there are not so many, or it has none that could
        be computed apart.
        """
        if not count:
            return
        if count > (most := len(self.layers())):
            raise UserError(
                f"freeze_layers is {count}, and the encoder has {most} layers",
                f"set freeze_layers to at most {most}, which freezes the whole encoder",
            )
        self.model.requires_grad_(False)
        self.freeze_cnn, self.freeze = True, self.freeze or count == most
        if not self.freeze:
            self.frozen_layers = count
            for module in self._upper(count):
                module.requires_grad_(True)

    def lowest(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The output of the frozen layers: [B, N] waveforms, [B] samples -> [B, T, d], [B] frames.

        With hidden states below it that are taken, [B, T, n d]: those of `stored`, one after another.
        """
        with torch.set_grad_enabled(False):
            hidden, n_frames = self.enter(wavs, lengths)
            if len(self.stored) == 1:
                return self.through(self.layers()[: self.frozen_layers], hidden, n_frames), n_frames
            states = self._onward({0: hidden}, n_frames, self.stored)
            return torch.cat([states[number] for number in self.stored], 2), n_frames

    def layers(self) -> Sequence[nn.Module]:
        """Its transformer's layers, from the lowest; a `UserError` for a family whose layers cannot be run apart."""
        raise UserError(
            f"freeze_layers: the layers of {self.model.config.model_type} pass on more than frames",
            "set freeze_layers to 0, or freeze to True, which freezes all of them",
        )

    @property
    def has_layers(self) -> bool:
        """Whether its layers can be run apart."""
        return type(self).layers is not Encoder.layers

    def enter(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What its lowest layer is given, in evaluation mode: [B, N], [B] -> [B, T, d], [B]."""
        raise NotImplementedError

    def each(self, layers: Sequence[nn.Module], hidden: Tensor, n_frames: Tensor) -> Iterator[Tensor]:
        """Run some of its layers over the true frames, [B, T, d], [B]; give the output of each, [B, T, d]."""
        raise NotImplementedError

    def through(self, layers: Sequence[nn.Module], hidden: Tensor, n_frames: Tensor) -> Tensor:
        """Run some of its layers over the true frames: [B, T, d], [B] -> [B, T, d]."""
        return [hidden, *deque(self.each(layers, hidden, n_frames), maxlen=1)][-1]

    def attention_mask(self, hidden: Tensor, n_frames: Tensor) -> Tensor | None:
        """What transformers' layers are given so that no frame attends to padding; of [B, T, d] and [B] frames."""
        true = length_mask(n_frames, hidden.shape[1], hidden.device)
        if self.model.config._attn_implementation == NAME:
            return padding_mask(attention_mask=true)
        from transformers.masking_utils import create_bidirectional_mask  # takes seconds

        return create_bidirectional_mask(config=self.model.config, inputs_embeds=hidden, attention_mask=true)

    def leave(self, hidden: Tensor) -> Tensor:
        """What it makes of the output of its highest layer: [B, T, d] -> [B, T, d]."""
        for module in self.after_layers():
            hidden = module(hidden)
        return hidden

    def after_layers(self) -> list[nn.Module]:
        """What comes after its highest layer."""
        return []

    def _upper(self, count: int) -> list[nn.Module]:
        """What is trained although that many of the lowest layers are not."""
        return [*self.layers()[count:], *self.after_layers()]

    def lowest_signature(self) -> str:
        """What the output of the frozen layers depends on besides the weights: not what a training alone has."""
        from local.encoders import description  # takes seconds

        config, preprocessor = description(self)
        kept = {key: value for key, value in config.items() if not re.search("drop|^mask_|spec_augment", key)}
        below = [self.stored] if len(self.stored) > 1 else []
        return json.dumps([self.frozen_layers, kept, preprocessor, *below], sort_keys=True, default=str)

    def lowest_weights(self) -> Iterator[Tensor]:
        """The weights that the output of the frozen layers depends on."""
        upper = self._upper(self.frozen_layers)
        upper = {id(weight) for module in upper for weight in (*module.parameters(), *module.buffers())}
        for name, weight in self.model.state_dict(keep_vars=True).items():
            if id(weight) not in upper and name != "masked_spec_embed":
                yield weight

    def signature(self) -> str:
        """Its configuration, its preprocessor and its layers."""
        from local.encoders import description  # takes seconds

        states = f"\t{self.taken}" if self.taken else ""
        return f"{json.dumps(description(self), sort_keys=True, default=str)}\t{self.model}{states}"

    def weights(self) -> Iterable[Tensor]:
        """All of its weights."""
        return self.model.state_dict(keep_vars=True).values()

    def train(self, mode: bool = True) -> Encoder:
        """A frozen, held or merged encoder stays in evaluation mode, without SpecAugment; so do layers not trained."""
        mode = mode and not (self.freeze or self.held or self.task_vectors is not None)
        super().train(mode)
        if count := max(self.frozen_layers, self.resting):
            self.model.eval()
            for module in self._upper(count):
                module.train(mode)
        return self

    # Hidden states

    def take(self, numbers: Iterable[int]) -> None:
        """Let `states` give these hidden states: 0, the input of its first layer, to L, the output of the last; `LAST`.

        What none of them needs is not trained, nor computed. The encoder must have `layers`. A `UserError` where it has
        adapters, and none of them is needed.
        """
        self.taken = tuple(sorted({*numbers}))
        if self.frozen_layers and self.highest <= self.frozen_layers:
            self.freeze, self.frozen_layers = True, 0
            self.model.requires_grad_(False)
        unused = self.layers()[self.highest :]
        for module in unused if self._leaves() else [*unused, *self.after_layers()]:
            module.requires_grad_(False)
        if self.adapted and not any(parameter.requires_grad for parameter in self.model.parameters()):
            raise UserError(
                f"lora: the heads read the encoder up to block {self.highest}, and no adapter is below it",
                "set emotion_layers or ctc_layer to a higher one, or lora to {}",
            )
        self.width = len(self.stored) * self.dim

    @property
    def highest(self) -> int:
        """How many of its layers are computed."""
        return len(self.layers()) if not self.taken or LAST in self.taken else max(self.taken)

    @property
    def stored(self) -> tuple[int, ...]:
        """The hidden states, by number, that are stored of what is frozen."""
        if not self.frozen_layers:
            return self.taken
        return (*(number for number in self.taken if 0 <= number < self.frozen_layers), self.frozen_layers)

    def states(self, wavs: Tensor, lengths: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """The hidden states of `take`, by number, [B, T, d] each, and [B] true frames; parameters as of `forward`.

        State N is what transformers has as `hidden_states[N]`: of encoders with a final layer norm all are before it,
        but for the last of those that have `norms_last_state`. A layer that layer drop skips passes on its input.
        """
        if wavs.ndim == 2:
            wavs, lengths = self.cut(wavs, lengths)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not (self.freeze or self.held)), self._merged():
            if self.freeze and wavs.ndim == 3:
                return self._split(wavs.float()), lengths
            if not self.frozen_layers or (wavs.ndim == 2 and not self.training):
                hidden, n_frames = self.start(wavs, lengths)
                return self._onward({0: hidden}, n_frames, self.taken), n_frames
            rows, n_frames = (wavs.float(), lengths) if wavs.ndim == 3 else self.lowest(wavs, lengths)
            known = self._split(self._spec_augment(rows, n_frames))
            return self._onward(known, n_frames, self.taken), n_frames

    def start(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What its lowest layer is given, masked in training: as `enter`; or of what a frozen CNN made."""
        return self.enter(wavs, lengths)

    def _split(self, rows: Tensor) -> dict[int, Tensor]:
        """[B, T, n d] -> the states of `stored`, [B, T, d] each, by number."""
        return dict(zip(self.stored, rows.unflatten(2, (-1, self.dim)).unbind(2), strict=True))

    def _onward(self, known: dict[int, Tensor], n_frames: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        """From the highest state that is known to those that are wanted, by number."""
        first, top = max(known), len(self.layers())
        hidden = known[first]
        until = top if LAST in wanted else max(wanted)
        for number, passed in enumerate(self.each(self.layers()[first:until], known[first], n_frames), first + 1):
            hidden = passed
            if number in wanted:
                known[number] = hidden
        if LAST in wanted or (self.norms_last_state and top in wanted):
            known[LAST] = self.leave(hidden)
            if self.norms_last_state:
                known[top] = known[LAST]
        return {number: known[number] for number in wanted}

    def _leaves(self) -> bool:
        """Whether what comes after its highest layer is computed."""
        return LAST in self.taken or (self.norms_last_state and self.highest == len(self.layers()))

    # Epochs in which some of it is not trained

    def rest(self, count: int) -> None:
        """Do not train its lowest `count` layers, nor what is before them, until the next call; 0: what learns at all.

        They are in evaluation mode, as frozen ones are.
        """
        if self._learning is None:
            self._learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        upper = {id(parameter) for module in self._upper(count) for parameter in module.parameters()}
        for parameter in self._learning:
            parameter.requires_grad_(not count or id(parameter) in upper)
        if count != self.resting:
            forget(self.model)
        self.resting = count


def each_kept(
    layers: Iterable[nn.Module], drop: float, hidden: Tensor, run: Callable[[nn.Module, Tensor], Tensor]
) -> Iterator[Tensor]:
    """Run layers one after another, but for those that layer drop, of this probability, skips in training.

    `run` is called with a layer and its input. Gives what is passed on from each layer.
    """
    for layer in layers:
        if not (layer.training and drop > 0 and torch.rand([]) < drop):
            hidden = run(layer, hidden)
        yield hidden

"""Merging: an encoder that is the pretrained one and a share of what each of several trainings has changed in it.

theta_l = theta0_l + sum_t lambda_{l,t} tau_{l,t}      tau_t = theta_t - theta0, l a part of the encoder, t a task

G. Ilharco et al.: Editing models with task arithmetic. ICLR 2023 (one lambda for all). E. Yang et al.: AdaMerging:
Adaptive model merging for multi-task learning. ICLR 2024 (a lambda for each layer and task, learned). There they are
learned by the entropy of unlabelled test data, here by the losses of the training set: nothing of the test set is seen.

A part is a layer of the transformer, `1` the lowest, what comes before (`front`) or after (`output`) the layers; of an
encoder whose layers cannot be run apart it is `all`. Nothing but the lambdas is trained, so the encoder is in
evaluation mode throughout, without SpecAugment and dropout, as a frozen one is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from local.core.errors import UserError
from local.encoders.base import Encoder

UNUSED = "masked_spec_embed"  # of SpecAugment, which is off


class TaskVectors(nn.Module):
    """The task vectors of a model, buffers, and their coefficients, [parts, tasks], which are learned.

    `parts` has the part of each weight, by its name in the model, and `tasks` the trained weights of each task.
    """

    def __init__(
        self, model: nn.Module, parts: Mapping[str, str], tasks: Mapping[str, Mapping[str, Tensor]], start: float
    ) -> None:
        super().__init__()
        self.tasks, self.parts = list(tasks), list(dict.fromkeys(parts.values()))
        self.of_weights = {name: self.parts.index(part) for name, part in parts.items()}
        self.coefficients = nn.Parameter(torch.full((len(self.parts), len(self.tasks)), float(start)))
        for name in parts:
            begun = model.get_parameter(name).detach()
            vectors = torch.stack([trained[name].to(begun) - begun for trained in tasks.values()])
            self.register_buffer(_key(name), vectors)

    def merged(self, model: nn.Module) -> dict[str, Tensor]:
        """The merged weights of a model, by name, as functions of the coefficients."""
        found = {}
        for name, part in self.of_weights.items():
            weight = model.get_parameter(name)
            for share, vector in zip(self.coefficients[part], self.get_buffer(_key(name)), strict=True):
                weight = weight + share * vector
            found[name] = weight
        return found

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within it a model has the merged weights; its own are not touched."""
        own = []
        try:
            for name, weight in self.merged(model).items():
                path, _, last = name.rpartition(".")
                module = model.get_submodule(path)
                own.append((module, last, module._parameters[last]))
                module._parameters[last] = weight  # as torch.func.functional_call does, which calls `forward` alone
            yield
        finally:
            for module, last, weight in own:
                module._parameters[last] = weight

    def table(self) -> dict[str, dict[str, float]]:
        """The coefficients, by task and part."""
        columns = self.coefficients.detach().double().T.tolist()
        return {
            task: dict(zip(self.parts, column, strict=True)) for task, column in zip(self.tasks, columns, strict=True)
        }


def add(encoder: Encoder, tasks: Mapping[str, Mapping[str, Tensor]], start: float) -> None:
    """Give an encoder the task vectors of what it would train, and train nothing of it but their coefficients.

    `tasks` has, by the name of each task, the tensors of an encoder of the same shape after its training; `start` is
    the first value of every coefficient. A `UserError` where nothing of the encoder is trained, it has adapters, or a
    training has another encoder or has changed statistics that are no weights.
    """
    if encoder.adapted:
        raise UserError("ctc_run and emotion_run: the encoder has adapters (lora)", "set lora to {}")
    model = encoder.model
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad and name != UNUSED}
    if not trained:
        raise UserError(
            "ctc_run and emotion_run: the whole encoder is frozen, so there is nothing to merge", "set freeze to False"
        )
    for task, found in tasks.items():
        _refuse_other_shape(task, model, found)
    model.requires_grad_(False)
    encoder.task_vectors = TaskVectors(model, _parts(encoder, trained), tasks, start)


def merge(encoder: Encoder) -> None:
    """Give an encoder the merged weights as its own: it is then one as any other, of the same outputs."""
    if encoder.task_vectors is None:
        return
    with torch.no_grad():
        for name, weight in encoder.task_vectors.merged(encoder.model).items():
            encoder.model.get_parameter(name).copy_(weight)
    encoder.task_vectors = None


def _key(name: str) -> str:
    return name.replace(".", "-")  # a buffer's name has no dots


def _parts(encoder: Encoder, trained: set[str]) -> dict[str, str]:
    """The part of each weight that is trained, by its name, from the lowest part on."""
    layers = encoder.layers() if encoder.has_layers else []
    known = {id(weight): str(number) for number, layer in enumerate(layers, 1) for weight in layer.parameters()}
    known |= {id(weight): "output" for module in encoder.after_layers() for weight in module.parameters()}
    parts = {
        name: known.get(id(weight), "front" if layers else "all")
        for name, weight in encoder.model.named_parameters()
        if name in trained
    }
    order = ["front", "all", *map(str, range(1, len(layers) + 1)), "output"]
    return dict(sorted(parts.items(), key=lambda pair: order.index(pair[1])))


def _refuse_other_shape(task: str, model: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Raise a `UserError` where tensors are not those of a model of this shape, or statistics differ."""
    weights, remedy = dict(model.named_parameters()), "give a run that began with this very encoder"
    for name, tensor in model.state_dict().items():
        if name == UNUSED:
            continue
        if name not in found:
            raise UserError(f"{task}_run: its encoder has no {name}", remedy)
        if found[name].shape != tensor.shape:
            shapes = f"{[*found[name].shape]}, here it is {[*tensor.shape]}"
            raise UserError(f"{task}_run: {name} of its encoder is {shapes}", remedy)
        if name not in weights and not torch.equal(found[name].to(tensor), tensor):
            raise UserError(
                f"{task}_run: its training has changed {name}, a statistic of batch norm, which cannot be merged",
                "take another encoder",
            )

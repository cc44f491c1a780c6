"""LoRA: beside linear layers of a pretrained encoder small adapters, which are all of it that is trained.

E. J. Hu et al.: LoRA: Low-Rank Adaptation of Large Language Models. ICLR 2022.

y = W x + b + (alpha / rank) B A dropout(x)         A: rank x in, B: out x rank, which begins at 0

The library is peft, which is an extra. The layers that may have adapters are listed by family, because an adapter gets
a gradient only where its layer is called. In transformers' own WavLM those of attention are not; here they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

from torch import nn

from local.core.errors import UserError
from local.encoders.base import Encoder

LOCK = "requirements-lora.txt"  # of the extra
ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
FEED_FORWARD = ("intermediate_dense", "output_dense")
# The layers that have adapters by default, and all that may.
_USUAL = (("q_proj", "v_proj"), (*ATTENTION, *FEED_FORWARD))
TARGETS = {
    **dict.fromkeys(("wav2vec2", "hubert", "data2vec-audio"), _USUAL),
    "wavlm": (FEED_FORWARD, _USUAL[1]),
    "whisper": (("q_proj", "v_proj"), (*ATTENTION, "fc1", "fc2")),
}


class Lora(NamedTuple):
    """The values of the YAML's `lora`."""

    rank: int = 8
    alpha: float = 16
    targets: tuple[str, ...] = ()  # names of layers; none: those of the family
    dropout: float = 0.0


def adapt(encoder: Encoder, values: Mapping[str, Any]) -> None:
    """Give an encoder adapters, and train nothing else of it.

    `values` are the YAML's, see `Lora`. With `freeze_layers` the layers above those alone have adapters. A `UserError`
    for wrong values, for an encoder that is frozen or of another family, and without peft.
    """
    lora = _read(values, kind := encoder.model.config.model_type)
    if encoder.freeze:
        raise UserError(
            "lora: the whole encoder is frozen, so no adapter would learn",
            f"set freeze to False, and freeze_layers to less than its {len(encoder.layers())} layers",
        )
    if find_spec("peft") is None:
        raise UserError(
            "lora: the library peft is not installed",
            f"install the extra: . ./path.sh && python -m pip install --no-deps --require-hashes -r {LOCK}",
        )
    import peft  # takes seconds

    upper = {id(module) for layer in encoder.layers()[encoder.frozen_layers :] for module in layer.modules()}
    targets = lora.targets or TARGETS[kind][0]
    names = [
        name
        for name, module in encoder.model.named_modules()
        if id(module) in upper and isinstance(module, nn.Linear) and name.rpartition(".")[2] in targets
    ]
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names, bias="none"
    )
    peft.inject_adapter_in_model(config, encoder.model)
    encoder.adapted = True


def merge(encoder: Encoder) -> None:
    """Add the adapters to the weights of their layers: the encoder is then one as any other, of the same outputs."""
    if not encoder.adapted:
        return
    from peft.tuners.tuners_utils import BaseTunerLayer  # takes seconds

    for parent in list(encoder.model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())
    encoder.adapted = False


def _read(values: Mapping[str, Any], kind: str) -> Lora:
    if kind not in TARGETS:
        raise UserError(f"lora: a {kind} encoder has no layers for it here", f"take one of: {' '.join(TARGETS)}")
    if unknown := sorted(map(str, values.keys() - {*Lora._fields})):
        raise UserError(f"lora has no value {unknown[0]}", f"take some of: {' '.join(Lora._fields)}")
    lora = Lora(**values)
    _refuse(type(lora.rank) is int and lora.rank >= 1, "rank", lora.rank, "a whole number of at least 1")
    _refuse(_is_number(lora.alpha) and lora.alpha > 0, "alpha", lora.alpha, "a number above 0")
    _refuse(_is_number(lora.dropout) and 0 <= lora.dropout < 1, "dropout", lora.dropout, "a number from 0 to below 1")
    known = TARGETS[kind][1]
    targets = lora.targets.split() if isinstance(lora.targets, str) else lora.targets
    _refuse(isinstance(targets, list | tuple), "targets", targets, f"a list of some of: {' '.join(known)}")
    if strange := [name for name in targets if name not in known]:
        raise UserError(f"lora: targets has {strange[0]}, no such layer of a {kind}", f"take of: {' '.join(known)}")
    return lora._replace(targets=tuple(targets))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _refuse(is_right: bool, key: str, value: Any, wanted: str) -> None:
    if not is_right:
        raise UserError(f"lora: {key} is {value!r}", f"give {wanted}")

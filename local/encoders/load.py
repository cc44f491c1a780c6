"""Load encoders from the Hugging Face hub or a folder, or build them from a configuration."""

from __future__ import annotations

import difflib
import inspect
import logging
import re
from collections.abc import Collection
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
    SequenceFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder as WhisperModel

from local.audio.header import SAMPLE_RATE
from local.core import model_json
from local.core.errors import UserError
from local.encoders import adapters, conformer, emformer, exported, speechbrain_folder
from local.encoders.base import Encoder
from local.encoders.filterbank import FilterbankEncoder
from local.encoders.waveform import WaveformEncoder
from local.encoders.whisper import WhisperEncoder

logger = logging.getLogger(__name__)


class _Family(NamedTuple):
    config: type
    model: type
    extractor: type[SequenceFeatureExtractor]
    encoder: type[Encoder]


def _family(name: str, encoder: type, extractor: type = transformers.Wav2Vec2FeatureExtractor) -> _Family:
    """The classes of transformers whose names begin with `name`."""
    model = getattr(transformers, f"{name}Model") if encoder is not WhisperEncoder else WhisperModel
    return _Family(getattr(transformers, f"{name}Config"), model, extractor, encoder)


_FAMILIES = {
    "wav2vec2": _family("Wav2Vec2", WaveformEncoder),
    "hubert": _family("Hubert", WaveformEncoder),
    "wavlm": _family("WavLM", WaveformEncoder),
    "data2vec-audio": _family("Data2VecAudio", WaveformEncoder),
    "wav2vec2-bert": _family("Wav2Vec2Bert", FilterbankEncoder, transformers.SeamlessM4TFeatureExtractor),
    "whisper": _family("Whisper", WhisperEncoder, transformers.WhisperFeatureExtractor),
    "emformer": _Family(
        emformer.EmformerConfig, emformer.EmformerModel, emformer.EmformerFeatures, emformer.EmformerEncoder
    ),
    "speechbrain-conformer": _Family(
        conformer.ConformerConfig, conformer.ConformerModel, conformer.ConformerFeatures, conformer.ConformerEncoder
    ),
}
OF_OTHERS = (emformer.load, speechbrain_folder.load)  # what is not transformers'; None of any other source
KNOWN = tuple(_FAMILIES)
SPEC_AUGMENT = (  # the keys of transformers' configurations
    *("apply_spec_augment", "mask_time_prob", "mask_time_length", "mask_time_min_masks"),
    *("mask_feature_prob", "mask_feature_length", "mask_feature_min_masks"),
)
# Tensors that a checkpoint may lack: what SpecAugment puts in the place of a frame, which not all were trained with,
# and Whisper's decoder, which is not used here.
MAY_LACK = re.compile(rf"{exported.OF_SPEC_AUGMENT}|decoder\..*")
NAMED = 3  # tensors in a message


def load_encoder(
    source: str | dict | None,
    freeze: bool = False,
    freeze_cnn: bool = False,
    spec_augment: dict[str, Any] | None = None,
    freeze_layers: int = 0,
    lora: dict[str, Any] | None = None,
) -> Encoder:
    """Load a pretrained encoder, or build one with random weights.

    `source` is a Hugging Face folder or hub name, a model folder of this project, or what one of `OF_OTHERS` reads; or
    a mapping, the configuration of an encoder with random weights: `model_type` and the keys of transformers, and
    `do_normalize`. With `freeze` the encoder is not trained, with `freeze_cnn` its CNN, with `freeze_layers` all up to
    the so many lowest layers of its transformer (see `Encoder.freeze_lowest`). `spec_augment` has values of SpecAugment
    (`mask_time_prob`, ...) that come before those of the checkpoint, and turns it on. With values in `lora` adapters
    are trained in place of its weights (see `local.encoders.adapters`). The weights are in single precision, whatever
    the checkpoint's are: in bfloat16 most steps of an optimizer are too small to change a weight. A `UserError` if
    there is no such encoder, it cannot be read, lacks weights, or its architecture is not
    supported; and for None, which the YAML of a probe gives.
    """
    if source is None:
        raise UserError(
            "encoder or upstream is null: this system is of no use without a pretrained encoder",
            "give a folder with config.json and weights, or a name of the hub: -- --upstream FOLDER; where the YAML "
            "has no upstream, --encoder",
        )
    encoder = _load(source, freeze, freeze_cnn, spec_augment)
    encoder.source = "" if isinstance(source, dict) else str(source)
    encoder.freeze_lowest(freeze_layers)
    if lora:
        adapters.adapt(encoder, lora)
    return encoder


def _load(source: str | dict, freeze: bool, freeze_cnn: bool, spec_augment: dict[str, Any] | None) -> Encoder:
    if isinstance(source, dict):
        config = source | _spec_augment(spec_augment, source.get("model_type"))
        preprocessor = {"do_normalize": config.pop("do_normalize")} if "do_normalize" in config else {}
        return build_encoder(config, preprocessor, freeze, freeze_cnn)
    if model_json.is_model(source):
        kind = model_json.read(Path(source))["encoder"].get("model_type")
        return exported.load(source, _spec_augment(spec_augment, kind), partial(_build_exported, freeze, freeze_cnn))
    for load in OF_OTHERS:
        if (encoder := load(source, freeze, freeze_cnn)) is not None:
            _spec_augment(spec_augment, encoder.model.config.model_type)
            return encoder
    config = _read(AutoConfig, source)
    kind = config.model_type
    if kind not in KNOWN:
        raise UserError(
            f"encoder {source}: the architecture '{kind}' is not supported",
            f"use a checkpoint of one of: {' '.join(KNOWN)}",
        )
    extractor = _read_extractor(source, kind)
    config.update(_spec_augment(spec_augment, kind))
    model = _read_model(source, config)
    model = model.encoder if kind == "whisper" else model
    return _FAMILIES[kind].encoder(model, extractor, freeze, freeze_cnn)


def _build_exported(freeze: bool, freeze_cnn: bool, config: dict[str, Any], preprocessor: dict[str, Any]) -> Encoder:
    if config.get("model_type") in KNOWN:
        refuse_undeclared(config, preprocessor)
    return build_encoder(config, preprocessor, freeze, freeze_cnn)


def _spec_augment(values: dict[str, Any] | None, kind: str | None) -> dict[str, Any]:
    """The values of SpecAugment by which a configuration is changed; a `UserError` for a key that has no use."""
    # Of Whisper's, frames of spectra are masked; of those that transformers does not know, nothing is.
    known = {"whisper": SPEC_AUGMENT[:4], "emformer": (), "speechbrain-conformer": ()}.get(kind, SPEC_AUGMENT)
    if unknown := [key for key in values or {} if key not in known]:
        raise UserError(
            f"spec_augment: {unknown[0]} is no value of SpecAugment of a {kind} encoder",
            f"take one of: {' '.join(known)}",
        )
    return {"apply_spec_augment": True} | values if values else {}


def build_encoder(
    config: dict[str, Any], preprocessor: dict[str, Any], freeze: bool = False, freeze_cnn: bool = False
) -> Encoder:
    """Build an encoder with random weights.

    `config` has transformers' `model_type` and any of the keys of its configuration, `preprocessor` any of the keys of
    its feature extractor, as in the encoder's `preprocessor`; the rest as in `load_encoder`. A `UserError` if the type
    is not supported, or the values are wrong.
    """
    kind = config.get("model_type")
    if kind not in KNOWN:
        raise UserError(f"encoder: model_type is {kind}", f"set model_type to one of: {' '.join(KNOWN)}")
    family = _FAMILIES[kind]
    settings = {key: value for key, value in config.items() if key != "model_type"}
    try:
        model = family.model(family.config(**settings))
        extractor = family.extractor(**preprocessor)
    except Exception as error:  # transformers checks little: wrong values raise errors of any class
        raise UserError(f"encoder: no {kind} can be built with these values: {error}", "correct the values") from None
    return family.encoder(model, extractor, freeze, freeze_cnn)


def description(encoder: Encoder) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `config` and the `preprocessor` with which `build_encoder` builds an encoder of this shape."""
    config = encoder.model.config
    names = _declared(_FAMILIES[config.model_type].config)
    values = {name: value for name, value in config.to_dict().items() if name in names}
    return {"model_type": config.model_type} | values, encoder.preprocessor


def refuse_undeclared(config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
    """Raise a UserError for keys that the `model_type` does not declare: transformers would accept and use some."""
    family = _FAMILIES[config["model_type"]]
    names = _declared(family.config) | set(family.config.attribute_map)  # with the other names of some
    for keys, known in ((config, names), (preprocessor, _declared(family.extractor))):
        unknown = sorted(set(keys) - known - {"model_type"})
        if unknown:
            near = difflib.get_close_matches(unknown[0], known, n=1)
            raise UserError(
                f"encoder: {config['model_type']} has no {' '.join(unknown)}",
                f"{'; '.join([*near, 'known are: '])}{' '.join(sorted(known))}",
            )


def _declared(kind: type) -> set[str]:
    """The parameters of a configuration or a feature extractor, without those that all configurations have."""
    names = {name for name, key in inspect.signature(kind).parameters.items() if key.kind is not key.VAR_KEYWORD}
    return names - set(inspect.signature(PreTrainedConfig).parameters)


def _read_model(source: str, config: PreTrainedConfig) -> PreTrainedModel:
    """Load the weights of a checkpoint; a `UserError` for those that transformers would fill with random numbers."""
    options = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    model, found = _read(AutoModel, source, config=config, **options)
    missing = [name for name in found["missing_keys"] if not MAY_LACK.fullmatch(name)]
    if exported.OF_SPEC_AUGMENT in found["missing_keys"]:  # transformers 5.20, of Python 3.10, leaves what memory had
        torch.nn.init.uniform_(getattr(model, exported.OF_SPEC_AUGMENT))
    unused = [name for name in found["unexpected_keys"] if name != exported.OF_SPEC_AUGMENT]  # it is off
    if missing:
        instead = f"; they have {_some(unused)}, which the encoder has not" if unused else ""
        raise UserError(
            f"encoder {source}: its weights lack {_some(missing)}{instead}",
            "correct the names in the file of the weights, or the sizes in config.json, or use another checkpoint",
        )
    sizes = [each for each in found["mismatched_keys"] if not MAY_LACK.fullmatch(each[0])]
    if differing := [f"{name} {[*has]} instead of {[*wanted]}" for name, has, wanted in sizes]:
        raise UserError(
            f"encoder {source}: its weights are not of the sizes of its config.json: {_some(differing)}",
            "correct config.json, or use another checkpoint",
        )
    if unused:
        logger.warning("encoder %s: its weights have %s, which the encoder does not use", source, _some(unused))
    return model


def _some(names: Collection[str]) -> str:
    """The first of some tensors, and how many there are."""
    more = f", ... ({len(names)} tensors)" if len(names) > NAMED else ""
    return ", ".join(sorted(names)[:NAMED]) + more


def _read(auto: type, source: str, **options: Any) -> Any:
    """Load a part of a checkpoint, without running code of its own: transformers would ask for permission."""
    try:
        return auto.from_pretrained(source, trust_remote_code=False, **options)
    except UnpicklingError:
        raise UserError(
            f"encoder {source}: its weights are a pickle that holds more than weights, perhaps code",
            "use a checkpoint with model.safetensors",
        ) from None
    except Exception as error:  # a broken folder raises errors of any class
        raise UserError(
            f"encoder {source}: cannot be loaded ({str(error).partition(chr(10))[0]})",
            "give a folder of transformers, torchaudio or SpeechBrain, or, with a network, a name of the hub",
        ) from None


def _read_extractor(source: str, kind: str) -> SequenceFeatureExtractor:
    """Load the checkpoint's feature extractor; a waveform encoder without one gets transformers' default."""
    missing = Path(source).is_dir() and not (Path(source) / "preprocessor_config.json").exists()
    if missing and _FAMILIES[kind].encoder is WaveformEncoder:
        logger.warning("encoder %s has no preprocessor_config.json: waveforms will be normalised", source)
        return transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    extractor = _read(AutoFeatureExtractor, source)
    if (rate := getattr(extractor, "sampling_rate", SAMPLE_RATE)) != SAMPLE_RATE:
        raise UserError(
            f"encoder {source} reads audio at {rate} Hz, and all audio here has {SAMPLE_RATE}", "use another"
        )
    return extractor

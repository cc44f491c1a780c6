"""Encoders from the Hugging Face hub, from a folder, or from a description alone."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    PreTrainedConfig,
    SeamlessM4TFeatureExtractor,
    SequenceFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder as WhisperModel

from local.core.errors import UserError
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


_FAMILIES = {
    "wav2vec2": _Family(Wav2Vec2Config, Wav2Vec2Model, Wav2Vec2FeatureExtractor, WaveformEncoder),
    "hubert": _Family(HubertConfig, HubertModel, Wav2Vec2FeatureExtractor, WaveformEncoder),
    "wavlm": _Family(WavLMConfig, WavLMModel, Wav2Vec2FeatureExtractor, WaveformEncoder),
    "data2vec-audio": _Family(Data2VecAudioConfig, Data2VecAudioModel, Wav2Vec2FeatureExtractor, WaveformEncoder),
    "wav2vec2-bert": _Family(Wav2Vec2BertConfig, Wav2Vec2BertModel, SeamlessM4TFeatureExtractor, FilterbankEncoder),
    "whisper": _Family(WhisperConfig, WhisperModel, WhisperFeatureExtractor, WhisperEncoder),
}
KNOWN = tuple(_FAMILIES)


def load_encoder(source: str | dict, freeze: bool = False, freeze_cnn: bool = False) -> Encoder:
    """Load a pretrained encoder, or make one with random weights.

    Parameters
    ----------
    source
        A Hugging Face folder or hub name; or a mapping, the configuration of an encoder to be made
        with random weights: transformers' `model_type` and its keys, and `do_normalize`.
    freeze
        Nothing of the encoder learns.
    freeze_cnn
        Its CNN does not learn.

    Raises
    ------
    UserError
        There is no such encoder, it cannot be read, or its architecture is not one of the known.
    """
    if isinstance(source, dict):
        config = dict(source)
        preprocessor = {"do_normalize": config.pop("do_normalize")} if "do_normalize" in config else {}
        return build_encoder(config, preprocessor, freeze, freeze_cnn)
    kind = _read(AutoConfig, source).model_type
    if kind not in KNOWN:
        raise UserError(
            f"encoder {source}: '{kind}' is not an architecture known here",
            f"take a checkpoint of one of: {' '.join(KNOWN)}",
        )
    extractor = _read_extractor(source, kind)
    model = _read(AutoModel, source)
    model = model.encoder if kind == "whisper" else model
    return _FAMILIES[kind].encoder(model, extractor, freeze, freeze_cnn)


def build_encoder(
    config: dict[str, Any], preprocessor: dict[str, Any], freeze: bool = False, freeze_cnn: bool = False
) -> Encoder:
    """Make an encoder with random weights.

    Parameters
    ----------
    config
        Transformers' `model_type`, and any of the keys of its configuration of that type.
    preprocessor
        Any of the keys of the type's feature extractor, as in the encoder's `preprocessor`.
    freeze, freeze_cnn
        As in `load_encoder`.

    Raises
    ------
    UserError
        The type is not known, or the values make no encoder.
    """
    kind = config.get("model_type")
    if kind not in KNOWN:
        raise UserError(f"encoder: model_type is {kind}", f"set model_type to one of: {' '.join(KNOWN)}")
    family = _FAMILIES[kind]
    settings = {key: value for key, value in config.items() if key != "model_type"}
    try:
        model = family.model(family.config(**settings))
        extractor = family.extractor(**preprocessor)
    except Exception as error:  # transformers checks little, and fails in as many ways as there are mistakes
        raise UserError(f"encoder: no {kind} can be made of these values: {error}", "mend the values") from None
    return family.encoder(model, extractor, freeze, freeze_cnn)


def description(encoder: Encoder) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `config` and the `preprocessor` from which `build_encoder` makes an encoder of this shape."""
    config = encoder.model.config
    names = _declared(_FAMILIES[config.model_type].config)
    values = {name: value for name, value in config.to_dict().items() if name in names}
    return {"model_type": config.model_type} | values, encoder.preprocessor


def refuse_undeclared(config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
    """Refuse keys that a known `model_type` does not declare: transformers would keep them, and act on some.

    Raises
    ------
    UserError
        They are named.
    """
    family = _FAMILIES[config["model_type"]]
    for keys, known in ((config, _declared(family.config)), (preprocessor, _declared(family.extractor))):
        unknown = sorted(set(keys) - known - {"model_type"})
        if unknown:
            raise UserError(
                f"encoder: {config['model_type']} has no {' '.join(unknown)}", f"known are: {' '.join(sorted(known))}"
            )


def _declared(kind: type) -> set[str]:
    """The keys that a configuration or a feature extractor takes, without those that any configuration takes."""
    names = {name for name, key in inspect.signature(kind).parameters.items() if key.kind is not key.VAR_KEYWORD}
    return names - set(inspect.signature(PreTrainedConfig).parameters)


def _read(auto: type, source: str):
    """Load a part of a checkpoint, which brings no code: transformers would ask whether to run what it finds."""
    try:
        return auto.from_pretrained(source, trust_remote_code=False)
    except UnpicklingError:
        raise UserError(
            f"encoder {source}: its weights are a pickle of more than weights, and so of code",
            "take a checkpoint with model.safetensors",
        ) from None
    except Exception as error:  # transformers fails in as many ways as there are mistakes in a folder
        raise UserError(
            f"encoder {source}: cannot be loaded ({str(error).partition(chr(10))[0]})",
            "give a folder with config.json and weights, or a hub name when there is a network",
        ) from None


def _read_extractor(source: str, kind: str) -> SequenceFeatureExtractor:
    """Load the checkpoint's preprocessor; a waveform encoder without one gets transformers' default."""
    unsaid = Path(source).is_dir() and not (Path(source) / "preprocessor_config.json").exists()
    if unsaid and _FAMILIES[kind].encoder is WaveformEncoder:
        logger.warning("encoder %s has no preprocessor_config.json: waveforms will be normalised", source)
        return Wav2Vec2FeatureExtractor(do_normalize=True)
    return _read(AutoFeatureExtractor, source)

"""Folders that plain transformers loads, without this project and without remote code.

    emotion/    AutoModelForAudioClassification, AutoFeatureExtractor; pipeline("audio-classification")
    ctc/        AutoModelForCTC, AutoProcessor; pipeline("automatic-speech-recognition")

transformers' classification head is a linear layer, the mean over true frames, and a second linear layer. The
emotion head is the first of them; the second is the identity. Where it reads all hidden states, or one, these are
weighted there (`use_weighted_layer_sum`); where the CTC head reads one, the layers above it are left out.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForAudioClassification,
    AutoModelForCTC,
    PreTrainedModel,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
)

from local.audio.header import SAMPLE_RATE
from local.encoders import Encoder, description
from local.encoders.waveform import WaveformEncoder
from local.inference.ensemble import Ensemble
from local.inference.model_folder import Model
from local.systems.layers.layer_choice import OUTPUT
from local.systems.mtl import MultiTaskSystem
from local.text.ctc import SPACE
from local.text.tokenizer import BLANK, UNKNOWN

EMOTION, CTC = "emotion", "ctc"
NOTHING = -1e4  # of the logarithm of a weight: its softmax is 0
SAME = 1e-4  # logits that differ by less count as the same


def write(folder: Path, model: Model) -> list[str]:
    """Write both folders into a folder, created if missing, or remove them where transformers has no such model.

    The model is in evaluation mode, on any device. Returns sentences for the reader: what transformers does
    differently, measured; or why there are no such folders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reason = _reason_against(model)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as name:
        made = Path(name)
        notes = [reason] if reason else _write_emotion(made / EMOTION, model) + _write_ctc(made / CTC, model)
        if model.system.tasks and not reason:
            notes.append(f"`{EMOTION}` and `{CTC}` lack the further heads: {', '.join(model.system.tasks)}.")
        for part in (EMOTION, CTC):
            if (folder / part).exists():
                shutil.rmtree(folder / part)
            if (made / part).exists():
                # Weights come out readable by their owner alone, whatever the umask.
                shutil.copymode(made / part / "config.json", made / part / "model.safetensors")
                (made / part).rename(folder / part)
    return notes


def _reason_against(model: Model) -> str | None:
    """Why transformers has no such model; None if it has."""
    folders = f"are no folders `{EMOTION}` and `{CTC}`" if model.system.writes_text else f"is no folder `{EMOTION}`"
    without = f"There {folders} for plain transformers: "
    if isinstance(model.system, Ensemble):
        return without + "it has no model that averages several."
    if type(model.system) is not MultiTaskSystem:
        return without + f"it has no such model as {type(model.system).__name__}."
    if (kind := model.system.pooling.kind) != "mean":
        return without + f"its models take the mean over frames, this one takes {'the sum' if kind == 'sum' else kind}."
    if not isinstance(model.system.encoder, WaveformEncoder):
        return without + f"it has none with a {model.system.encoder.model.config.model_type} encoder."
    return None


def _write_emotion(folder: Path, model: Model) -> list[str]:
    """Write the classifier of utterances; return notes on it."""
    system, labels = model.system, model.labels
    weights = _layer_weights(system)
    classifier = _with_encoder(
        AutoModelForAudioClassification,
        system.encoder,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        problem_type="single_label_classification",
        classifier_proj_size=len(labels),
        use_weighted_layer_sum=weights is not None,
    )
    if weights is not None:
        classifier.layer_weights.data = weights
    classifier.projector.load_state_dict(system.emotion_head.state_dict())
    nn.init.eye_(classifier.classifier.weight)
    nn.init.zeros_(classifier.classifier.bias)
    extractor = _extractor(system.encoder)
    classifier.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return [_note_on_batches(classifier, extractor)]


def _layer_weights(system: MultiTaskSystem) -> Tensor | None:
    """What transformers is to weight hidden states with, before the softmax; None where it takes the output."""
    choice = system.layers
    if choice.weights is not None:
        return choice.weights.detach().clone()
    if choice.emotion == OUTPUT:
        return None
    weights = torch.full((len(system.encoder.layers()) + 1,), NOTHING)
    weights[choice.emotion] = 0.0
    return weights


def _write_ctc(folder: Path, model: Model) -> list[str]:
    """Write the recogniser of tokens, where transformers has one; return notes on it."""
    system, notes = model.system, []
    settings = {"vocab_size": len(model.tokens), "pad_token_id": BLANK, "bos_token_id": None, "eos_token_id": None}
    if (layer := system.layers.ctc) != OUTPUT:
        if system.encoder.after_layers():
            return [
                f"There is no folder `{CTC}` for plain transformers: the CTC head reads the output of block {layer}, "
                "and transformers' models have a layer norm before theirs."
            ]
        settings["num_hidden_layers"] = layer
        notes = [f"`{CTC}` has the blocks up to {layer} alone, whose output the CTC head reads."]
    recogniser = _with_encoder(AutoModelForCTC, system.encoder, **settings)
    recogniser.lm_head.load_state_dict(system.token_head.state_dict())
    recogniser.save_pretrained(folder)
    _extractor(system.encoder).save_pretrained(folder)
    _save_tokenizer(folder, model.tokens)
    note = (
        f"`{CTC}` writes two spaces where it predicts two word boundaries in a row; "
        "`' '.join(text.split())` is this model's transcript."
    )
    if any(SPACE in token and token != SPACE for token in model.tokens):
        note += " It gives times of tokens (`char`), not of words, because words begin within a token."
    return [note, *notes]


def _with_encoder(auto: type, encoder: Encoder, **settings: object) -> PreTrainedModel:
    """Make a model of transformers with a copy of the encoder's weights, of all its layers or the lowest, and heads."""
    # From the description, because the encoder's own modules were replaced by faster ones.
    config, _ = description(encoder)
    model = auto.from_config(AutoConfig.for_model(**config | settings)).eval()
    weights = encoder.model.state_dict()
    if "num_hidden_layers" in settings:
        weights = {name: weights[name] for name in model.base_model.state_dict()}
    model.base_model.load_state_dict(weights)
    return model


def _extractor(encoder: WaveformEncoder) -> Wav2Vec2FeatureExtractor:
    """Make the feature extractor; with its mask, attention and the mean ignore padding."""
    return Wav2Vec2FeatureExtractor(
        sampling_rate=SAMPLE_RATE, padding_value=0.0, do_normalize=encoder.normalise, return_attention_mask=True
    )


def _save_tokenizer(folder: Path, tokens: list[str]) -> None:
    """Write a tokenizer that decodes as `local.text.ctc` does, but for several spaces in a row."""
    # Once loaded, it takes | as a space and knows no other delimiter; transcripts have no |. The unknown symbol is
    # decoded as nothing.
    pieces = ["|" if token == SPACE else token.replace(SPACE, " ") for token in tokens]
    pieces[UNKNOWN : UNKNOWN + 1] = [""]
    path = folder / "vocab.json"
    path.write_text(json.dumps({piece: index for index, piece in enumerate(pieces)}), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(
        str(path),
        pad_token=pieces[BLANK],
        unk_token="",
        bos_token=None,
        eos_token=None,
        clean_up_tokenization_spaces=False,
        processor_class="Wav2Vec2Processor",  # AutoProcessor knows of none for data2vec-audio
    )
    tokenizer.save_pretrained(folder)


def _note_on_batches(classifier: PreTrainedModel, extractor: Wav2Vec2FeatureExtractor) -> str:
    """Measure what a padded batch does to the logits; posteriors close to 1 would hide it."""
    noise = np.random.default_rng(1)
    times = [np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE for seconds in (3, 1)]
    # Four bursts a second, like syllables.
    wavs = [0.1 * np.sin(4 * np.pi * time) * noise.normal(size=len(time)) for time in times]

    def logits(wavs: list[np.ndarray]) -> Tensor:
        inputs = extractor(wavs, sampling_rate=SAMPLE_RATE, padding=True, return_tensors="pt")
        return classifier(**inputs).logits

    with torch.inference_mode():
        alone = torch.cat([logits([wav]) for wav in wavs])
        difference = (logits(wavs) - alone).abs().max().item()
    if difference < SAME:
        within = f"{max(difference, 1e-6):.0e}"
        return f"In a padded batch of transformers an utterance has the same logits as alone, to {within}."
    through = "group norm" if getattr(classifier.config, "feat_extract_norm", "") == "group" else "convolutions"
    return (
        f"In a padded batch of transformers, padding changes the result through the encoder's {through}: "
        f"logits of 1 s and 3 s of noise changed by up to {difference:.1g}, so give it one utterance at a time."
    )

"""The model card: README.md of an exported model, as the Hugging Face hub shows it.

All its scores are in the experiment's folds.csv or summary.csv. Names come from anywhere: whatever enters the
template is escaped, unless it is `Markup`, which was made here.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from huggingface_hub import ModelCardData
from markupsafe import Markup

from local import corpora
from local.config import hparams, pretrained
from local.corpora import About
from local.encoders import description
from local.inference.model_folder import Model
from local.pages.markdown import code, percent, prose
from local.pages.tables import Table, columns, interval_source, name_solved, score_table
from local.pages.templates import load_template
from local.scoring.scored import Experiment
from local.scoring.stats import RATES
from local.splits import naming, protocols

HUB_METRICS = {"accuracy": True, "recall": True, "f1": True, "wer": False, "cer": False}  # and whether of emotions
VALUES = {  # what the values of a training mean; the others explain themselves
    "freeze": "True: the encoder was not trained",
    "freeze_cnn": "True: its CNN was not trained",
    "freeze_layers": "layers of its transformer, the lowest, that were not trained, nor what is before them",
    "lora": "adapters were trained in place of the encoder's weights, and then added to these",
    "merge_start": "where the shares of a merged encoder began",
    "emotion_layers": "hidden states that the emotion head reads: all, weighted, or one; 0 is the input of block 1",
    "ctc_layer": "hidden state that the CTC head reads",
    "unfreeze": "after each so many epochs so many more of the encoder's layers were trained, from the top",
    "pooling": "over the frames of an utterance",
    "alpha": "weight of the CTC task",
    "emotion_weight": "weight of the emotion task",
    "focal_gamma": "of the focal loss of the emotions",
    "heads": "weights of further tasks",
    "token_type": "the CTC head's tokens",
    "vocab_size": "number of tokens, if they are unigrams",
    "epochs": "passes over the training set",
    "batch_size": "utterances per update",
    "lr": "highest learning rate",
    "head_lr": "that of the heads",
    "warmup": "share of the updates",
    "max_grad_norm": "at which gradients are clipped",
}
OF_TEXT = ("token_type", "vocab_size")  # values that only a system with a CTC head reads
# These do not change what is learned, or are said elsewhere on the card.
HIDDEN = {"encoder", "eval_precision", "ctc_run", "emotion_run"}
HIDDEN |= {*hparams.RUNTIME, *hparams.SET_BY_PIPELINE, *hparams.SIZES}


def render(model: Model, experiment: Experiment | None, contents: dict[str, str], notes: list[str]) -> str:
    """Write the card: Markdown behind a YAML front matter.

    The model's `provenance` is that of `local.deploy.gather`; `experiment` is where it comes from, None if that has not
    been scored; `contents` are the files and folders beside the card, and how each is loaded; `notes` are on these.
    """
    origin, member = model.provenance, model.members[0]
    about = corpora.about(origin["corpus"])
    alpha = member.settings().get("alpha")
    spelled = member.writes_text and alpha != 0
    content = {
        "front_matter": Markup(_front_matter(about, spelled)),
        "origin": origin,
        "about": about,
        "alpha": alpha,
        "spelled": spelled,
        "writes_text": member.writes_text,
        "emotions_trained": member.emotion_weight != 0,
        "heads": {name: " ".join(classes) or "a number on its scale" for name, classes in member.tasks.items()},
        "system": (sys.modules[type(member).__module__].__doc__ or type(member).__name__).splitlines()[0],
        "title": member.title,
        "certainty": member.certainty,
        "weights": member.weights,
        "solves": member.solves,
        "encoder": description(member.encoder)[0]["model_type"] if member.encoder is not None else None,
        "parameters": f"{sum(weight.numel() for weight in model.system.parameters()):,}",
        "labels": {label: about.labels.get(label) for label in model.labels},
        "max_seconds": f"{model.max_seconds:.1f}",
        "members": len(model.members),
        "temperature": None if model.temperature is None else f"{model.temperature:.3f}",
        "without_temperature": _without_temperature(origin),
        "contents": contents,
        "notes": notes,
        **_protocol(origin["protocol"], experiment),
        "text_held": origin["protocol"].endswith(naming.HOLD_TEXT),
        "valid": naming.describe_valid(origin["valid"]),
        "optimistic": naming.is_optimistic(origin["protocol"]),
        "of_lists": naming.is_official(origin["protocol"]),
        "runs": _runs(origin),
        "experiment": experiment,
        "figures": _figures(origin, experiment) if experiment else None,
        "training": _training(experiment.values, member.writes_text).markdown() if experiment else None,
    }
    return _template().render(content)


def _without_temperature(origin: dict[str, Any]) -> str:
    """Why a model has no temperature, if it has none."""
    if origin["averaged"] > 1:
        return "of means of several checkpoints none was fitted"
    if origin["valid"] == "none":
        return "there was no validation set to fit one on"
    if origin["valid"] == naming.valid_name(protocols.ORACLE):
        return "the test set itself validates, and none is fitted on it"
    return "stage 3, which fits one, had not run when this was exported, or was an earlier version's"


def _template() -> jinja2.Template:
    """The card's template: all that is not `Markup` goes through `prose`."""
    filters = {"code": code, "percent": percent, "lines": lambda lines: Markup("\n".join(lines))}
    path = Path(__file__).with_name("card.md.j2")
    return load_template(path, filters, finalize=prose, keep_trailing_newline=True)


def _front_matter(about: About, spelled: bool) -> str:
    known = about.licence.startswith("cc-")
    tags = ["speech-emotion-recognition", "audio-classification", "automatic-speech-recognition"]
    return ModelCardData(
        language=about.language,
        library_name="ser-mtl",
        license=about.licence if known else "other",
        license_name=None if known else about.licence,
        pipeline_tag="audio-classification",
        tags=tags if spelled else tags[:-1],
        metrics=[metric for metric, of_emotions in HUB_METRICS.items() if spelled or of_emotions],
    ).to_yaml()


def _runs(origin: dict[str, Any]) -> list[dict[str, Any]]:
    """Fold, epoch and folder of each run that the model was made of, the last quoted for a shell."""
    seed = f"results/{origin['corpus']}/{origin['protocol']}/{origin['name']}/seed{origin['seed']}"
    return [
        {"fold": fold, "epoch": epoch, "folder": Markup(" ".join(shlex.quote(f"{seed}/{fold}").split()))}
        for fold, epoch in zip(origin["folds"], origin["epochs"], strict=True)
    ]


def _protocol(name: str, experiment: Experiment | None) -> dict[str, Any]:
    """The protocol in words, and which share of the tested utterances has a speaker of training; None: unknown."""
    if experiment is None:
        return {"protocol": naming.describe(name), "overlap": 0 if name.startswith("speaker") else None}
    known, overlap = experiment.summary["speakers_known"], experiment.summary["speaker_overlap"]
    words = naming.describe(name, known, overlap)
    return {"protocol": words, "overlap": None if pd.isna(overlap) else overlap}


def _figures(origin: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """The table of the experiment's scores, and whether the model itself is in it."""
    summary, epochs = experiment.summary, dict(zip(origin["folds"], origin["epochs"], strict=True))
    weights, same = [], []
    for row in experiment.folds.to_dict("records"):
        weights.append("")
        if row["seed"] == origin["seed"] and row["fold"] in epochs:
            same.append(origin["averaged"] == 1 and row["epoch"] == epochs[row["fold"]])
            this = "member" if len(epochs) > 1 else Markup("**this model**")
            weights[-1] = this if same[-1] else "its fold, other weights"
    present, known = summary["folds"].split("/")
    return {
        "table": score_table(name_solved(experiment.folds, experiment.epochs), summary, RATES, weights).markdown(),
        "partial": present != known,
        "tested": len(same) == len(epochs),
        "same": all(same),
        "summary": summary,
        "interval": interval_source(summary) if pd.notna(summary["wa_low"]) else None,
    }


def _training(values: dict[str, Any], writes_text: bool) -> Table:
    hidden = HIDDEN if writes_text else HIDDEN | {*OF_TEXT}
    values = {key: pretrained.without_folder(key, value) for key, value in values.items()}
    rows = [[code(key), code(value), VALUES.get(key, "")] for key, value in values.items() if key not in hidden]
    return Table("The values of the training.", columns(["key", "value", "meaning"], []), rows)

"""The model card: README.md of an exported model, as the Hugging Face hub shows it.

No score stands on it that is not in the experiment's folds.csv or summary.csv. Names come from anywhere: all
that is put into the template is escaped, unless it is `Markup`, which was made here.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from huggingface_hub import ModelCardData
from markupsafe import Markup

from local.config import hparams
from local.corpora import iemocap, mini, nemo
from local.encoders import description
from local.inference.model_folder import Model
from local.pages.markdown import BY_WORDS, HEADS, code, percent, prose
from local.pages.markdown import table as table_lines
from local.scoring.scored import Experiment
from local.splits import protocols

SCORES = {"wa": "accuracy", "ua": "recall", "f1": "f1", "wer": "wer", "cer": "cer"}  # and the hub's names of them
OF_TEXT = ("wer", "cer")
EMOTIONS = {
    **{"ang": "anger", "dis": "disgust", "exc": "excitement", "fea": "fear", "fru": "frustration"},
    **{"hap": "happiness", "neu": "neutral", "sad": "sadness", "sur": "surprise"},
}
VALUES = {  # what the values of a training mean; others stand without words
    "freeze": "True: nothing of the encoder learned",
    "freeze_cnn": "True: its CNN did not learn",
    "pooling": "over the frames of an utterance",
    "alpha": "weight of the CTC task",
    "token_type": "what the CTC head spells with",
    "vocab_size": "pieces, where it spells with unigrams",
    "epochs": "passes over the training part",
    "batch_size": "utterances per update",
    "lr": "highest learning rate",
    "head_lr": "that of the two heads",
    "warmup": "share of the updates",
    "max_grad_norm": "at which gradients are clipped",
}
UNSAID = {
    "encoder",
    "eval_precision",
    *hparams.RUNTIME,
    *hparams.SET_BY_PIPELINE,
    *hparams.SIZES,
}  # do not change what is learned


class _Data(NamedTuple):
    """What a card says of a corpus; `licence` as the hub names it, or a name of our own."""

    source: str
    language: str | None
    licence: str
    facts: str
    terms: str


OWN = _Data(
    "a table of the user's own",
    None,
    "of-the-data-owner",
    "What it holds is known to who made the table; it is to be described here before the model is passed on.",
    "Whoever owns the recordings, and those who speak in them, say what may be done with weights made of them. "
    "Ask before the model is passed on.",
)
DATA = {
    "iemocap": _Data(
        iemocap.FACTS.source,
        "en",
        "iemocap-release-agreement",
        "Ten actors in five sessions, in English, improvising and playing scenes; labels are a vote of listeners, and "
        "`exc` (excitement) counts as `hap`.",
        "IEMOCAP is given for research, under an agreement with its owners (https://sail.usc.edu/iemocap/). These "
        "weights are derived from it: use them and pass them on only as your own agreement allows.",
    ),
    "nemo": _Data(
        nemo.SOURCE,
        "pl",
        "cc-by-nc-sa-4.0",
        "Nine actors in Polish; each speaks the same 90 sentences, in an emotion that was asked for.",
        "nEMO is under CC BY-NC-SA 4.0: name its author, no commercial use, share under the same terms. Whether "
        "weights are an adaptation of recordings is not settled; here they are treated as one.",
    ),
    "mini": _Data(
        mini.FACTS.source.removeprefix("mini: "),
        "en",
        "synthetic-mini-corpus",
        Markup(
            "Nobody speaks here: espeak-ng's voices vary rate, pitch and loudness. **The model shows that the pipeline "
            "works, and is of no use on real speech.**"
        ),
        "The sentences are this project's, under its licence (Apache 2.0), and the voices espeak-ng's, a program under "
        "GPL-3.0.",
    ),
}


def render(model: Model, experiment: Experiment | None, contents: dict[str, str], notes: list[str]) -> str:
    """Write the card.

    Parameters
    ----------
    model
        What is exported; its `provenance` is that of `local.deploy.gather`.
    experiment
        Which it comes from; None if that has not been scored.
    contents
        Files and folders beside the card, and how each is loaded.
    notes
        What is to be known of them, a sentence or more each.

    Returns
    -------
    Markdown behind a YAML front matter.
    """
    origin, member = model.provenance, model.members[0]
    data = DATA.get(origin["corpus"], OWN)
    alpha = member.settings().get("alpha")
    spelled = alpha != 0
    content = {
        "front_matter": Markup(_front_matter(data, spelled)),
        "origin": origin,
        "data": data,
        "alpha": alpha,
        "spelled": spelled,
        "system": sys.modules[type(member).__module__].__doc__.splitlines()[0],
        "encoder": description(member.encoder)[0]["model_type"],
        "parameters": f"{sum(weight.numel() for weight in model.system.parameters()):,}",
        "labels": {label: EMOTIONS.get(label) for label in model.labels},
        "max_seconds": f"{model.max_seconds:.1f}",
        "members": len(model.members),
        "contents": contents,
        "notes": notes,
        "protocol": protocols.describe(origin["protocol"]),
        "text_held": origin["protocol"].endswith(protocols.HOLD_TEXT),
        "valid": protocols.VALID_WORDS[origin["valid"]],
        "runs": _runs(origin),
        "experiment": experiment,
        "figures": _figures(origin, experiment) if experiment else None,
        "by_words": BY_WORDS,
        "training": _training(experiment.values) if experiment else None,
    }
    return _template().render(content)


def _template() -> jinja2.Template:
    """The card's template: all that is not `Markup` goes through `prose`, and a missing name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        finalize=prose,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "percent": percent}
    return environment.get_template("card.md.j2")


def _front_matter(data: _Data, spelled: bool) -> str:
    known = data.licence.startswith("cc-")
    tags = ["speech-emotion-recognition", "audio-classification", "automatic-speech-recognition"]
    return ModelCardData(
        language=data.language,
        library_name="ser-mtl",
        license=data.licence if known else "other",
        license_name=None if known else data.licence,
        pipeline_tag="audio-classification",
        tags=tags if spelled else tags[:-1],
        metrics=[metric for score, metric in SCORES.items() if spelled or score not in OF_TEXT],
    ).to_yaml()


def _runs(origin: dict[str, Any]) -> list[dict[str, Any]]:
    """Fold, epoch and folder of each run that the model was made of, the last as a word of a shell."""
    place = f"results/{origin['corpus']}/{origin['protocol']}/{origin['name']}/seed{origin['seed']}"
    return [
        {"fold": fold, "epoch": epoch, "folder": Markup(" ".join(shlex.quote(f"{place}/{fold}").split()))}
        for fold, epoch in zip(origin["folds"], origin["epochs"], strict=True)
    ]


def _figures(origin: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """The table of the experiment's scores, and what of the model itself stands in it."""
    summary, epochs = experiment.summary, dict(zip(origin["folds"], origin["epochs"], strict=True))
    lines, own = [], []
    for row in experiment.folds.to_dict("records"):
        mark = ""
        if row["seed"] == origin["seed"] and row["fold"] in epochs:
            same = origin["averaged"] == 1 and row["epoch"] == epochs[row["fold"]]
            mark = ("member" if len(epochs) > 1 else "**this model**") if same else "its fold, other weights"
            own.append(same)
        scores = (percent(row[score]) for score in SCORES)
        lines.append([row["seed"], code(row["fold"]), row["n"], *scores, row["epoch"], mark])
    pooled = (percent(summary[score]) for score in SCORES)
    bounds = [[percent(summary[f"{score}_{end}"]) for end in ("low", "high")] for score in SCORES]
    spans = ("–" if bound == ["–", "–"] else " to ".join(bound) for bound in bounds)
    lines.append(["", f"**pooled, {summary['folds']} folds**", summary["n"], *pooled, "", ""])
    lines.append(["", "95 % interval", "", *spans, "", ""])
    heads = ["seed", "fold", "utterances", *(f"{HEADS[score]}, %" for score in SCORES), "epoch", "weights"]
    present, known = summary["folds"].split("/")
    return {
        "table": _table(heads, lines),
        "partial": present != known,
        "tested": len(own) == len(epochs),
        "same": all(own),
        "summary": summary,
        "interval": pd.notna(summary["wa_low"]),
    }


def _training(values: dict[str, Any]) -> Markup:
    shown = {key: value for key, value in values.items() if key not in UNSAID}
    return _table(
        ["key", "value", "what"], [[code(key), code(value), VALUES.get(key, "")] for key, value in shown.items()]
    )


def _table(heads: list[str], rows: list[list[Any]]) -> Markup:
    return Markup("\n".join(table_lines(heads, [[str(cell).replace("|", r"\|") for cell in row] for row in rows])))

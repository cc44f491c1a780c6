"""What a model folder says of its model, as HTML: its quality, what it was trained on, its labels.

A model folder may come from anywhere, and one of an earlier version says less: whatever is missing or of another type
than `local.deploy.gather` writes is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.core.counted import counted
from local.inference.demo_page.results import TEMPLATES
from local.inference.model_folder import Model
from local.inference.unsure import UNTRAINED

CAUTION = (
    "Emotion labels are categories that somebody acted or that listeners perceived. They are not a person's state of "
    "mind, and a probability says how sure the model is, not that it is right. Do not make decisions about people "
    "from them."
)
UNKNOWN = "not noted: it had not been scored when it was exported, or by an earlier version"
PLAIN = {"corpus": "corpus", "protocol": "protocol", "encoder": "encoder"}


def about(model: Model, names: Mapping[str, str]) -> str:
    """The facts of a model; `names` are its labels with their words."""
    origin = model.provenance
    facts = {
        "quality": quality(origin, len(names)) if model.emotions_trained else f"none: {UNTRAINED}",
        "trained on": speakers(origin),
        "tested on": tested_folds(origin),
        **{shown: _text(origin.get(name)) for name, shown in PLAIN.items()},
        "emotions": _text(list(names.values())),
        "further heads": _heads(model),
        "longest utterance": f"{model.max_seconds:.1f} s",
        "temperature": f"{model.temperature:.2f}, with which probabilities are compared with --unsure"
        if model.temperature
        else "",
    }
    shown = {name: fact for name, fact in facts.items() if fact}
    return TEMPLATES.get_template("model.html.j2").render(facts=shown, caution=CAUTION)


def _heads(model: Model) -> str:
    """The further heads of a model; empty if it has none."""
    scale = "; numbers are on the scale of its corpus" if any(not each for each in model.system.tasks.values()) else ""
    return ", ".join(model.system.tasks) + scale


def quality(origin: Mapping[str, Any], n_labels: int) -> str:
    """UA of the model on its test set, and that of its whole experiment if this has tested more."""
    own, whole = origin.get("tested"), origin.get("experiment")
    sentences = []
    if score := _score(own):
        members = ", each by the member that was not trained on it" if _count(origin.get("folds")) > 1 else ""
        sentences.append(f"UA {score} on {counted(own['n'], 'utterance')} of the test set{members}.")
    if (score := _score(whole)) and (not sentences or whole["n"] > own["n"]):
        sentences.append(f"Trained in the same way, over {_text(whole.get('folds'))} folds: UA {score}.")
    if not sentences:
        return UNKNOWN
    return f"{' '.join(sentences)} UA is the mean recall of the emotions; chance is {100 / n_labels:.2f} %."


def _score(entry: Any) -> str:
    """UA with its interval, of what `local.deploy.quality` noted; empty if there is none."""
    match entry:
        case {"ua": float(ua), "n": int()}:
            pass
        case _:
            return ""
    low, high = entry.get("low"), entry.get("high")
    if not (isinstance(low, float) and isinstance(high, float)):
        return f"{100 * ua:.2f} % (no interval: too little was tested)"
    cluster = entry.get("cluster")
    over = f" over {cluster}s" if isinstance(cluster, str) else ""
    return f"{100 * ua:.2f} % (95 % interval {100 * low:.1f}–{100 * high:.1f}{over})"


def speakers(origin: Mapping[str, Any]) -> str:
    """The speakers of training."""
    match origin.get("speakers"):
        case []:
            return "unknown speakers"
        case list(names):
            return f"{counted(len(names), 'speaker')}: {_text(names)}"
        case int(count):
            return counted(count, "speaker")
    return "speakers not noted: exported by an earlier version"


def tested_folds(origin: Mapping[str, Any]) -> str:
    """The folds whose test sets the model, or its members, were held from."""
    folds = origin.get("folds")
    if _count(folds) > 1:
        return f"folds {_text(folds)}, a member each"
    return f"fold {_text(folds)}" if folds else ""


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list) else 1


def _text(value: Any) -> str:
    """A plain value, or a list of them, on one line; empty for none."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")

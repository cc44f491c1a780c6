"""The further tasks of the multi-task system, `heads` of its YAML: their names, weights and labels. No torch.

A label is a cell of a table of utterances (see `local.corpora.manifest`), empty where an utterance has none.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from local.core.errors import UserError

CLASSES, NUMBER, SHARES = "classes", "number", "shares"


class Task(NamedTuple):
    """A task: the column that has its labels, and what they are.

    The `kind` is `CLASSES`, one of several; `NUMBER`, on the corpus's own scale; or `SHARES`, how many raters chose
    each of several.
    """

    column: str
    kind: str


TASKS = {  # in the order of all columns, tables and outputs
    "gender": Task("gender", CLASSES),
    "speaker": Task("spk_id", CLASSES),
    **{name: Task(name, NUMBER) for name in ("valence", "arousal", "dominance")},
    "votes": Task("votes", SHARES),
}
OTHER_KEYS = {"ctc": "alpha", "emotion": "emotion_weight"}  # tasks whose weight is a key of its own
UNTRAINED = "Emotions were not trained (emotion_weight 0): WA, UA, F1, ECE and Brier mean nothing"
UNTRAINED_TEXT = "Transcripts were not trained (alpha 0): WER and CER mean nothing"
MEANT = {"activation": "arousal", "sex": "gender", "spk_id": "speaker", "speakers": "speaker", "vote": "votes"}


def weights(heads: Any) -> dict[str, float]:
    """The weight of each further task, in the order of `TASKS`; `heads` is the value in the YAML.

    A `UserError` for what is no mapping, a name that is not known, or a weight that is not a number of at least 0.
    """
    if not isinstance(heads, Mapping):
        raise UserError(f"heads is '{heads}'", 'write names and weights, as "{gender: 0.1, valence: 0.5}"; none: {}')
    for name, weight in heads.items():
        if name in OTHER_KEYS:
            raise UserError(f"heads: {name} has a key of its own", f"set {OTHER_KEYS[name]}: {weight}")
        if name not in TASKS:
            near = MEANT.get(name) or next(iter(difflib.get_close_matches(str(name), TASKS, n=1)), "")
            meant = f"{near}, or " if near else ""
            if weight is None and ":" in str(name):  # to YAML the whole is a name
                raise UserError(f"heads: '{name}' has no space behind its colon", 'write "{gender: 0.1}"')
            raise UserError(f"heads: '{name}' is not known", f"take {meant}one of: {' '.join(TASKS)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise UserError(f"heads: the weight of {name} is {weight}", "give a number of at least 0")
    return {name: float(heads[name]) for name in TASKS if name in heads}


def emotions_trained(values: Mapping[str, Any]) -> bool:
    """Whether the emotion head is trained, by the values of a YAML; of most systems it always is.

    >>> emotions_trained({"emotion_weight": 0.0, "alpha": 1.0}), emotions_trained({})
    (False, True)
    """
    return values.get("emotion_weight", 1) != 0


def transcripts_trained(values: Mapping[str, Any]) -> bool:
    """Whether the CTC head is trained, by the values of a YAML; of a system without one nothing is said against it.

    >>> transcripts_trained({"alpha": 0.0}), transcripts_trained({"alpha": 0.1}), transcripts_trained({})
    (False, True, True)
    """
    return values.get("alpha") != 0


def votes(cell: str) -> dict[str, float]:
    """How many raters chose each label, from a cell of the column `votes`; a `ValueError` if it is none.

    >>> votes("ang 3 neu 1.5"), votes("")
    ({'ang': 3.0, 'neu': 1.5}, {})
    """
    words = cell.split()
    try:
        counts = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    except ValueError:  # a label without a number, or a word in its place
        counts = {}
    wrong = len(counts) < len(words) / 2 or "_" in "".join(words[1::2])  # float takes 1_0 for 10
    if wrong or not all(0 < count < float("inf") for count in counts.values()):
        raise ValueError(f"'{cell}' is not how many raters chose each label, as 'ang 3 neu 2'")
    return counts


def shares(labels: Iterable[str], values: Iterable[float]) -> str:
    """Shares of labels as a cell, those above 0: what `votes` reads.

    >>> shares(["ang", "neu", "sad"], [0.75, 0.25, 0])
    'ang 0.750000 neu 0.250000'
    """
    return " ".join(f"{label} {value:.6f}" for label, value in zip(labels, values, strict=True) if value >= 5e-7)

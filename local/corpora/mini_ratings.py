"""What the raters of the mini corpus say: lines as in IEMOCAP's evaluation files, see `local.corpora.iemocap_ratings`.

Nobody listened: the label is known, and raters agree with it more or less. All that is odd in the real files occurs:
several labels of one rater, a missing value, an actor who rates what he or she said.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

AFFECT = {  # valence, activation and dominance of each label, 1 to 5
    "ang": (1.8, 4.2, 4.0),
    "hap": (4.2, 3.4, 3.2),
    "exc": (4.4, 4.2, 3.5),
    "neu": (3.0, 2.5, 3.0),
    "sad": (1.8, 1.9, 2.1),
    "fru": (2.1, 3.2, 3.3),
    "sur": (3.5, 3.9, 2.7),
    "fea": (1.7, 3.8, 1.8),
    "dis": (1.9, 2.8, 3.2),
    "oth": (3.0, 3.0, 3.0),
    "xxx": (2.8, 3.0, 3.0),
}
WORDS = {
    **{"ang": "Anger", "hap": "Happiness", "exc": "Excited", "neu": "Neutral", "sad": "Sadness"},
    **{"fru": "Frustration", "sur": "Surprise", "fea": "Fear", "dis": "Disgust", "oth": "Other"},
}
NAMES = ("val", "act", "dom")
SPREAD = 0.6  # standard deviation from rater to rater
AGREE = 0.6  # share of third raters who say what the first two say
RARE = 0.05  # share of forms without a value, and of raters who choose two labels


def lines(label: str, gender: str, rng: Random) -> tuple[str, str]:
    """The means of a turn's own line, and the lines below it: three raters' categories, two forms, the actor's own."""
    others = rng.sample([name for name in WORDS if name != label], 3)
    chosen = [[each] for each in others]  # the raters of xxx do not agree
    if label in WORDS:
        chosen = [[label], [label], [label if rng.random() < AGREE else others[0]]]
    if rng.random() < RARE:
        chosen[-1].append(others[1])
    said = [f"C-E{rater}:\t{_fields(WORDS[each] for each in labels)}\t()" for rater, labels in enumerate(chosen, 1)]
    said.append(f"C-{gender}1:\tFrustration; Anger;\t(guarded)")
    forms = [[str(min(max(round(rng.gauss(mean, SPREAD)), 1), 5)) for mean in AFFECT[label]] for _ in range(2)]
    means = [sum(map(int, values)) / len(values) for values in zip(*forms, strict=True)]
    if rng.random() < RARE:
        forms[1][-1] = ""
    for rater, form in enumerate(forms, 1):
        said.append(f"A-E{rater}:\t{_fields(map(' '.join, zip(NAMES, form, strict=True)))}\t()")
    said.append(f"A-{gender}1:\tval 1; act 5; dom  5;\t()")
    return ", ".join(f"{mean:.4f}" for mean in means), "\n".join(said) + "\n"


def _fields(values: Iterable[str]) -> str:
    """Fields as the raters' program wrote them.

    >>> _fields(["val 3", "dom "])
    'val 3; dom ;'
    """
    return " ".join(f"{value};" for value in values)

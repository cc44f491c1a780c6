"""What each rater of IEMOCAP says of a turn: the lines below the turn in its evaluation file.

    C-E2:	Neutral; Anger;	(curious)
    C-F1:	Frustration;	()
    A-E3:	val 3; act 2; dom  ;	(guarded)

C are categories, several of which a rater may choose; A is the form with valence, activation and dominance, from 1 to
5, where a value may be missing. Raters E listened and watched. F and M are the actors, who rated what they had said
themselves: the release leaves them out of a turn's label and means, and so does this.

A turn's own line has means, too. They are used only where no rater's form is there: the forms say which values are
missing, and a mean does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from local.corpora.msp_ratings import number
from local.corpora.msp_ratings import votes as count

WORDS = {
    **{"anger": "ang", "happiness": "hap", "excited": "exc", "neutral": "neu", "neutral state": "neu"},
    **{"sadness": "sad", "frustration": "fru", "surprise": "sur", "fear": "fea", "disgust": "dis"},
}
OTHER = "oth"  # a vote for an emotion in the rater's own words
DIMENSIONS = {"val": "valence", "act": "arousal", "dom": "dominance"}  # in the order of a turn's own means
LEAST, MOST = 1, 5  # on the form
LINE = re.compile(r"(?P<form>[CA])-E(?P<rater>\d+)\s*:(?P<given>[^(]*)")  # a comment is in parentheses
VALUE = re.compile(r"\b(val|act|dom)\s*(-?\d+(?:\.\d+)?)")


@dataclass
class Ratings:
    """The ratings of a turn; a rater whose line is there twice counts once, with the first."""

    labels: dict[str, list[str]] = field(default_factory=dict)  # by rater, each label once
    forms: dict[str, dict[str, float]] = field(default_factory=dict)  # by rater, the values that are given
    own: dict[str, float] = field(default_factory=dict)  # the means of the turn's own line

    @classmethod
    def of_line(cls, means: str) -> Ratings:
        """Begin with the means of a turn's own line.

        >>> Ratings.of_line("2.5000, 3.0000, 2.0000").own
        {'valence': 2.5, 'arousal': 3.0, 'dominance': 2.0}
        """
        words = means.split(",")
        known = all(re.fullmatch(r"\s*\d+(\.\d+)?\s*", word) for word in words) and len(words) == len(DIMENSIONS)
        return cls(own=dict(zip(DIMENSIONS.values(), map(float, words), strict=True)) if known else {})

    def add(self, line: str) -> None:
        """Take a line below the turn; one that is not of a rater changes nothing."""
        if not (found := LINE.match(line)):
            return
        if found["form"] == "C":
            words = [" ".join(word.split()).lower() for word in found["given"].split(";")]
            chosen = dict.fromkeys(WORDS.get(word, OTHER) for word in words if word)
            self.labels.setdefault(found["rater"], list(chosen))
        else:
            values = {DIMENSIONS[name]: float(value) for name, value in VALUE.findall(found["given"])}
            self.forms.setdefault(found["rater"], values)

    def votes(self, merged: Mapping[str, str]) -> str:
        """How many raters chose each label, as the column `votes` of a manifest has it; `merged` renames labels.

        A rater who chose several labels counts for each of them, and once for those that are merged.
        """
        return count(label for chosen in self.labels.values() for label in {merged.get(each, each) for each in chosen})

    def means(self) -> dict[str, str]:
        """The mean of the raters in each dimension, as the columns of a manifest have it; empty where none rated it."""
        given: dict[str, list[float]] = {name: [] for name in DIMENSIONS.values()}
        for values in self.forms.values() if self.forms else [self.own]:
            for name, value in values.items():
                if LEAST <= value <= MOST:
                    given[name].append(value)
        return {name: number(str(sum(values) / len(values))) if values else "" for name, values in given.items()}

    def by_rater(self) -> str:
        """What each rater gave in each dimension, as the column `ratings` of a manifest has it; raters by their number.

        >>> ratings = Ratings()
        >>> ratings.add("A-E2: val 3; act 2; dom  ; ()")
        >>> ratings.by_rater()
        'E2.valence 3 E2.arousal 2'
        """
        given = sorted(self.forms.items(), key=lambda form: int(form[0]))
        each = ((rater, name, value) for rater, values in given for name, value in values.items())
        return " ".join(f"E{rater}.{name} {value:g}" for rater, name, value in each if LEAST <= value <= MOST)

    def off_scale(self) -> Iterator[float]:
        """The values of raters that the form does not have: they are in no mean, and not in the table."""
        return (each for values in self.forms.values() for each in values.values() if not LEAST <= each <= MOST)

"""What raters say below a turn of IEMOCAP: a block as the release has it, and all that is odd in such lines."""

from __future__ import annotations

import pandas as pd
import pytest

from local.core.tasks import votes
from local.corpora.iemocap_ratings import Ratings
from local.corpora.iemocap_release import EMOTION

# As it is quoted in public descriptions of the corpus; its means leave out A-F1, with which valence would be 2.67.
BLOCK = """\
C-E2:	Neutral;	()
C-E3:	Neutral;	()
C-E4:	Neutral;	()
C-F1:	Neutral;	(curious)
A-E3:	val 3; act 2; dom  2;	()
A-E4:	val 2; act 3; dom  3;	(mildly aggravated but staying polite, attitude)
A-F1:	val 3; act 2; dom  1;	()
"""
MEANS = "2.5000, 2.5000, 2.5000"


def ratings(text: str, means: str = MEANS) -> Ratings:
    found = Ratings.of_line(means)
    for line in text.splitlines():
        found.add(line)
    return found


def test_a_block_of_the_release():
    found = ratings(BLOCK)
    assert found.votes({}) == "neu 3"
    assert found.means() == {"valence": "2.5", "arousal": "2.5", "dominance": "2.5"}
    assert [float(value) for value in found.means().values()] == list(found.own.values())
    assert found.by_rater() == (
        "E3.valence 3 E3.arousal 2 E3.dominance 2 E4.valence 2 E4.arousal 3 E4.dominance 3"  # but not the actor's
    )


@pytest.mark.parametrize(
    ("lines", "merged", "expected"),
    [
        ("C-E1:\tNeutral state; Anger;\t()\nC-E2:\tanger;\t()", {}, "ang 2 neu 1"),
        ("C-E1:\tHappiness; Excited;\t()\nC-E2:\tExcited;\t()", {}, "exc 2 hap 1"),
        ("C-E1:\tHappiness; Excited;\t()\nC-E2:\tExcited;\t()", EMOTION, "hap 2"),  # a rater counts once
        ("C-E1:\tAnger; Anger;\t()\nC-E1:\tSadness;\t()", {}, "ang 1"),
        ("C-E1:\tOther;\t(bored; neutral)\nC-E2: Confused; (a)\nC-E3:\tFrustration;\t()", {}, "oth 2 fru 1"),
        ("C-F1:\tAnger;\t()\nC-M1:\tFear;\t()\nC-E1:\t;\t()\n\nC-E12:\tDisgust; Surprise; Fear; Sadness;", {}, None),
        ("", {}, ""),
    ],
)
def test_votes(lines, merged, expected):
    assert ratings(lines).votes(merged) == ("dis 1 fea 1 sad 1 sur 1" if expected is None else expected)


def test_values_that_are_missing_or_not_on_the_form():
    text = "A-E1:\tval 4; act 3; dom  ;\t(val 1)\nA-E2:\tval 5; act 0; dom  ;\t()\nA-E4:\tval  4; act 2; dom 9;\t()\n"
    found = ratings(text + "A-M1:\tval 1; act 1; dom  1;\t()\nA-E1:\tval 1; act 1; dom  1;\t()\n")
    assert found.means() == {"valence": "4.33333", "arousal": "2.5", "dominance": ""}
    assert sorted(found.off_scale()) == [0, 9]
    # By hand: a rater whose form is there twice counts with the first; raters by number, not by their places.
    assert found.by_rater() == "E1.valence 4 E1.arousal 3 E2.valence 5 E4.valence 4 E4.arousal 2"
    found.add("A-E12:\tval 1; act 2; dom 3;\t()")
    found.add("A-E3:\tval 2.5;\t()")
    assert found.by_rater().endswith(
        " E3.valence 2.5 E4.valence 4 E4.arousal 2 E12.valence 1 E12.arousal 2 E12.dominance 3"
    )


def test_what_each_rater_gave_has_the_grammar_of_votes_and_the_means_of_the_table():
    """The reader of `votes` reads it, and the mean over raters, by pandas, is that of the column."""
    found = ratings(BLOCK)
    cells = pd.Series(votes(found.by_rater()))
    means = cells.groupby(cells.index.str.partition(".").get_level_values(2)).mean()
    assert {name: float(value) for name, value in found.means().items()} == means.to_dict()


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ("2.0000, 3.3333, 4.0000", {"valence": "2", "arousal": "3.3333", "dominance": "4"}),
        ("0.0000, 3.0000, 6.0000", {"valence": "", "arousal": "3", "dominance": ""}),
        ("2.0, 3.0", dict.fromkeys(("valence", "arousal", "dominance"), "")),
        ("a, b, c", dict.fromkeys(("valence", "arousal", "dominance"), "")),
    ],
)
def test_without_forms_the_turn_s_own_means_are_taken(means, expected):
    found = ratings("C-E1:\tAnger;\t()\nA-F1:\tval 1; act 1; dom 1;\t()\n", means)
    assert found.means() == expected and found.by_rater() == ""

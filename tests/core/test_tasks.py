"""`heads` of the YAML: weights by name, and what is refused with what is to be done."""

from __future__ import annotations

import pytest

from local.core import tasks
from local.core.errors import UserError


def test_weights_are_in_one_order():
    assert list(tasks.weights({"votes": 1, "valence": 0.5, "gender": 0})) == ["gender", "valence", "votes"]
    assert tasks.weights({"votes": 1}) == {"votes": 1.0} and tasks.weights({}) == {}


@pytest.mark.parametrize(
    ("heads", "what", "remedy"),
    [
        ({"ctc": 0.2}, "ctc has a key of its own", "set alpha: 0.2"),
        ({"emotion": 0}, "emotion has a key of its own", "set emotion_weight: 0"),
        ({"valance": 1}, "'valance' is not known", "take valence, or one of: gender speaker valence arousal"),
        ({"activation": 1}, "'activation' is not known", "take arousal, or one of"),
        ({"gender:0.1": None}, "'gender:0.1' has no space behind its colon", 'write "{gender: 0.1}"'),
        ({"xyz": 1}, "'xyz' is not known", "take one of: gender"),
        ({"gender": -1}, "the weight of gender is -1", "at least 0"),
        ({"gender": "much"}, "the weight of gender is much", "at least 0"),
        ({"gender": True}, "the weight of gender is True", "at least 0"),
        ({"gender": float("nan")}, "the weight of gender is nan", "at least 0"),
        ("gender", "heads is 'gender'", "write names and weights"),
    ],
)
def test_what_is_refused(heads, what, remedy):
    with pytest.raises(UserError) as caught:
        tasks.weights(heads)
    assert what in caught.value.what and remedy in caught.value.remedy


@pytest.mark.parametrize("cell", ["ang", "ang x", "ang 1 ang 2", "ang -1", "ang inf", "ang 0"])
def test_what_are_no_votes(cell):
    with pytest.raises(ValueError, match=f"'{cell}' is not how many raters chose each label, as 'ang 3 neu 2'"):
        tasks.votes(cell)


def test_shares_are_read_as_votes_are():
    assert tasks.votes(tasks.shares(["b", "a"], [0.25, 0.75])) == {"b": 0.25, "a": 0.75}

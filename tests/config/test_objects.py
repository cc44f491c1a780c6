"""Objects of a YAML that cannot be built: an error of two lines that names the object, the reason and the remedy."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from local.config.hparams import build
from local.core.errors import UserError


class Choosy:
    """What a YAML of these tests builds."""

    def __init__(self, rate: float, size: int = 1) -> None:
        if rate > 1:
            raise ValueError(f"rate is {rate}:\nabove 1")
        if rate < 0:
            raise UserError("rate is below 0", "give 0 or more")
        self.rate, self.size = rate, 1 / size


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        build(text)
    assert "\n" not in caught.value.what + caught.value.remedy
    return caught.value.what, caught.value.remedy


def of_this_file(arguments: str, tag: str = "!new") -> str:
    return f"made: {tag}:{__name__}.Choosy\n    {arguments}\n"


def test_what_can_be_built_is_built():
    assert build(of_this_file("rate: 0.5"))["made"].rate == 0.5
    later = build(of_this_file("size: 2", "!name"))["made"]
    assert isinstance(later, functools.partial) and later(rate=1).size == 0.5
    assert build("f: !name:builtins.print {sep: x}\ng: !name:builtins.dict {any: 1}\n")["g"]() == {"any": 1}


@pytest.mark.parametrize("tag", ["!new", "!name"])
def test_a_wrong_name_of_an_argument_leads_to_the_nearest(tag):
    what, remedy = refusal(of_this_file("rat: 0.5", tag))
    assert what.startswith(f"{tag}:{__name__}.Choosy cannot be built: ")
    assert "got an unexpected keyword argument 'rat'" in what
    assert remedy == "rate; its arguments are: rate size"


def test_an_argument_that_is_missing():
    what, remedy = refusal(of_this_file("size: 1"))
    assert what.endswith("missing 1 required positional argument: 'rate'") and remedy == "correct it in the YAML"


def test_an_error_within_the_object_has_its_file_and_line():
    what, _ = refusal(of_this_file("rate: 2"))
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    line = 1 + next(number for number, line in enumerate(lines) if "raise ValueError" in line)
    assert what == f"!new:{__name__}.Choosy cannot be built: rate is 2: above 1 ({__file__}, line {line})"
    assert "division by zero" in refusal("made: !new:" + __name__ + ".Choosy {rate: 1, size: 0}\n")[0]


def test_a_message_of_the_object_itself_stays():
    assert refusal(of_this_file("rate: -1")) == ("rate is below 0", "give 0 or more")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("made: !new:no.such.Thing\n", "!new:no.such.Thing cannot be built: There is no such class as no.such.Thing"),
        ("made: !name:no.such.thing\n", "There is no such entity as no.such.thing"),
        ("made: !apply:no.such.thing []\n", "There is no such callable as no.such.thing"),
        ("made: !new:math.sqrt\n", "should be a class"),
        ("made: !module:no.such\n", "There is no such module as no.such"),
    ],
)
def test_what_is_not_there(text, said):
    assert said in refusal(text)[0]

"""Lines of output of a model that writes no text: nothing of transcripts is in them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from local.inference.analyzer import Analysis
from local.inference.items import Item
from local.inference.lines import FORMATS, Shown

ANALYSIS = Analysis("ang", {"ang": 0.75, "sad": 0.25}, "", [], 1.5, ("clipped",))


def lines(form: str, in_windows: bool = False) -> str:
    """The output of a file and of one that cannot be read."""
    out = io.StringIO()
    writer = FORMATS[form](out, Shown(["ang", "sad"], in_windows, text=False))
    writer.write(Item("a.wav", *((0.5, 2.0) if in_windows else ())), ANALYSIS)
    writer.write(Item("b.wav", error="no audio"), None)
    return out.getvalue()


@pytest.mark.parametrize("in_windows", [False, True])
def test_a_table(in_windows):
    head, line, error = lines("table", in_windows).splitlines()
    times = (["from", "to"], ["0.50", "2.00"]) if in_windows else ([], [])
    assert head.split() == ["emotion", "prob.", "seconds", *times[0], "file"]
    assert line.split() == ["ang", "75.0%", "1.50", *times[1], "a.wav", "[clipped]"]
    assert error.split()[-4:] == ["b.wav:", "error:", "no", "audio"]


def test_csv():
    rows = list(csv.DictReader(io.StringIO(lines("csv"))))
    assert list(rows[0]) == ["file", "emotion", "p_ang", "p_sad", "duration", "flags", "error"]
    assert rows[0]["emotion"] == "ang" and rows[1] | {"file": "", "error": ""} == dict.fromkeys(rows[1], "")


def with_heads(form: str) -> str:
    out = io.StringIO()
    heads = {"gender": {"F": 0.25, "M": 0.75}, "valence": 3.25, "votes": {"ang": 0.5, "neu": 0.5}}
    writer = FORMATS[form](out, Shown(["ang", "sad"], False, text=False, heads=[*heads]))
    writer.write(Item("a.wav"), replace(ANALYSIS, heads=heads))
    writer.write(Item("b.wav", error="no audio"), None)
    return out.getvalue()


def test_further_heads():
    head, line, error = with_heads("table").splitlines()
    assert head.split()[3:] == ["gender", "valence", "votes", "file"] and line.split()[3:6] == ["M", "3.25", "ang"]
    assert head.index("file") == line.index("a.wav") == error.index("b.wav")
    first, second = csv.DictReader(io.StringIO(with_heads("csv")))
    assert [first[name] for name in ("gender", "valence", "votes")] == ["M", "3.250000", "ang 0.500000 neu 0.500000"]
    assert second["valence"] == ""
    first, second = map(json.loads, with_heads("jsonl").splitlines())
    assert first["heads"]["gender"] == {"F": 0.25, "M": 0.75} and first["heads"]["valence"] == 3.25


def test_json():
    first, second = map(json.loads, lines("jsonl").splitlines())
    assert sorted(first) == ["duration", "emotion", "file", "flags", "posteriors"]
    assert second == {"file": "b.wav", "error": "no audio"}


@pytest.mark.parametrize("unsure", [True, False])
def test_what_is_unsure_stands_beside_the_posteriors(unsure):
    analysis = replace(ANALYSIS, confidence=0.55, unsure=unsure)
    found = {}
    for form, kind in FORMATS.items():
        writer = kind(out := io.StringIO(), Shown(["ang", "sad"], False, False, unsure=True))
        writer.write(Item("a.wav"), analysis)
        writer.write(Item("b.wav", error="no audio"), None)
        found[form] = out.getvalue()
    head, line, error = found["table"].splitlines()
    assert head.split() == ["emotion", "conf.", "sure?", "seconds", "file"]
    assert line.split() == ["ang", "55.0%", *["unsure"] * unsure, "1.50", "a.wav", "[clipped]"]
    assert head.index("file") == line.index("a.wav") == error.index("b.wav")
    row, broken = csv.DictReader(io.StringIO(found["csv"]))
    assert (row["p_ang"], row["confidence"], row["unsure"]) == ("0.750000", "0.550000", "yes" if unsure else "no")
    assert broken["unsure"] == broken["confidence"] == ""
    told = json.loads(found["jsonl"].splitlines()[0])
    assert (told["confidence"], told["unsure"], told["posteriors"]["ang"]) == (0.55, unsure, 0.75)

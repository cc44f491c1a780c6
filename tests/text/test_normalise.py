"""Normalised transcripts."""

import unicodedata

import pytest

from local.text.normalise import ENGLISH, normalise


@pytest.mark.parametrize(
    ("raw", "normalised"),
    [
        ("Excuse me.", "EXCUSE ME"),
        ("I'm  not\tsure--", "I'M NOT SURE"),
        ("{LG} {BR}", ""),
        ("Oh [LAUGHTER] no <unk> (sighs) really?", "OH NO REALLY"),
        ("don\u2019t", "DON'T"),
        ("' quoted '", "QUOTED"),
        ("caf\u00e9 24", "CAF"),
        ("", ""),
    ],
)
def test_english(raw, normalised):
    assert normalise(raw, ENGLISH) == normalised


def test_any_alphabet_keeps_letters_and_digits():
    assert normalise("Zażółć gęślą jaźń, 24!") == "ZAŻÓŁĆ GĘŚLĄ JAŹŃ 24"


def test_composed_and_decomposed_are_one_text():
    word = "źródło"
    assert normalise(unicodedata.normalize("NFD", word)) == normalise(word)


@pytest.mark.parametrize("text", ["It\u2019s {LG} so, so!", "straße \ufb01n", "źle [x] y"])
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)
